/** The members' draws, one by one, and what was decided on them. */
class Board {
  constructor(mux) {
    this.mux = mux;
    this.letters = new Map();
    this.counts = new Map();
    this.rows = new Map(mux.members.map(name => [name, this.row(name)]));
    for (const id of ["verdict", "facts", "outputs"]) show(id, false);
    show("votes", true);
    show("progress", true);
    $("status").classList.remove("heard");
    $("answers").replaceChildren();
    $("members").replaceChildren(...[...this.rows.values()].map(row => row.item));
    $("progress").value = 0;
    say("Waiting for the first draw …");
  }

  row(name, draws = this.mux.k) {
    const item = make("li");
    const votes = make("div", "row");
    const note = make("p", "note");
    votes.append(...Array.from({ length: draws }, () => blank("under way")));
    item.append(make("span", "name", name), votes, note);
    return { item, votes, note, settled: 0, causes: new Map() };
  }

  letter(text) {
    if (!this.letters.has(text)) this.letters.set(text, this.letters.size);
    return this.letters.get(text);
  }

  draw({ member, answer, cause, settled, total, leading }) {
    if (!this.rows.has(member)) {
      this.rows.set(member, this.row(member, 0));
      $("members").append(this.rows.get(member).item);
    }
    const row = this.rows.get(member);
    let vote;
    if (answer === null || answer === undefined) {
      vote = blank(`abstained: ${cause ?? "no answer"}`, "abstained", "–");
      row.causes.set(cause ?? "no answer", (row.causes.get(cause ?? "no answer") ?? 0) + 1);
      row.note.textContent = causesText(row.causes);
    } else {
      vote = cast(this.letter(answer), answer);
      this.counts.set(answer, (this.counts.get(answer) ?? 0) + 1);
      listAnswers([...this.counts].map(([text, count]) => ({
        text, count, letter: this.letter(text), wins: text === leading,
      })));
    }
    vote.classList.add("new");
    const open = row.votes.children[row.settled];
    if (open) open.replaceWith(vote);
    else row.votes.append(vote);
    row.settled += 1;
    $("progress").max = total;
    $("progress").value = settled;
    const ahead = leading === null ? "" : `, leading: ${leading}`;
    say(`${settled} of ${total} draws${ahead}`);
  }

  /** No further draw comes. */
  end() {
    show("progress", false);
    show("votes", this.counts.size > 0 || [...this.rows.values()].some(row => row.settled));
    for (const row of this.rows.values()) {
      for (const vote of row.votes.querySelectorAll(".vote:not(.cast, .abstained)")) {
        vote.replaceWith(blank("not drawn", "spared"));
      }
    }
  }

  decide({ outputs, verdict }, seconds) {
    show("progress", false);
    show("verdict", true);
    const answer = outputs === null ? null : verdict.answer;
    showAnswer(answer, outputs === null ? "Kept back, as it is not trusted" : "No answer");
    showBadges(verdict);
    showOutputs(outputs, this.mux.answer);
    this.ballots(verdict);
    showFacts(verdict, seconds);
    const trust = { true: ", trusted", false: ", not trusted" }[verdict.trusted] ?? "";
    const whose = verdict.escalated ? "the pool's confidence" : "confidence";
    const confidence = `${whose} ${verdict.confidence.toFixed(2)}${trust}`;
    say(`Answer: ${oneLine(answer ?? "none").slice(0, 200)}; ${confidence}.`);
    $("status").classList.add("heard");
  }

  ballots(verdict) {
    // Two wordings of one answer were two until now.
    const groups = new Map();
    for (const ballot of verdict.ballots) {
      for (const { answer, count, group } of ballot.answers) {
        const known = groups.get(group);
        if (known) known.count += count;
        else groups.set(group, { text: asText(answer), count, wins: group === verdict.group });
      }
    }
    this.name(groups);
    const rows = verdict.ballots.map(ballot => {
      const row = this.row(ballot.member, 0);
      row.votes.append(...ballot.votes.map(group => group === null
        ? blank("abstained", "abstained", "–")
        : cast(groups.get(group).letter, groups.get(group).text)));
      row.votes.append(...Array.from({ length: ballot.spared }, () => blank("spared", "spared")));
      row.note.textContent = ballotText(ballot);
      row.item.classList.toggle("wins", ballot.member === verdict.member);
      return row.item;
    });
    $("members").replaceChildren(...rows);
    listAnswers([...groups.values()]);
  }

  /** Keep the letters that the reader has seen, where the answers are the same. */
  name(groups) {
    const taken = new Set();
    for (const group of groups.values()) {
      const seen = this.letters.get(oneLine(group.text));
      if (seen === undefined || taken.has(seen)) continue;
      group.letter = seen;
      taken.add(seen);
    }
    let next = 0;
    for (const group of groups.values()) {
      if (group.letter !== undefined) continue;
      while (taken.has(next)) next += 1;
      group.letter = next;
      taken.add(next);
    }
  }
}

const nameOf = letter => letter < 26 ? String.fromCharCode(65 + letter) : String(letter + 1);

function cast(letter, answer) {
  const vote = make("span", "vote cast", nameOf(letter));
  vote.style.setProperty("--color", `var(--answer-${letter < COLORS ? letter + 1 : COLORS})`);
  vote.title = oneLine(answer).slice(0, 200);
  vote.setAttribute("role", "img");
  vote.setAttribute("aria-label", `vote for ${nameOf(letter)}`);
  return vote;
}

function blank(meaning, className = "", sign = "") {
  const vote = make("span", `vote ${className}`, sign);
  vote.title = meaning;
  vote.setAttribute("role", "img");
  vote.setAttribute("aria-label", meaning);
  return vote;
}

function listAnswers(answers) {
  answers.sort((one, other) => other.count - one.count || one.letter - other.letter);
  $("answers").replaceChildren(...answers.map(({ text, count, letter, wins }) => {
    const item = make("li", wins ? "wins" : "");
    item.append(cast(letter, text), make("span", "text", text),
      make("span", "count", plural(count, "vote")));
    return item;
  }));
}

const causesText = causes =>
  [...causes].map(([cause, count]) => `${plural(count, "draw")} abstained: ${cause}`).join("; ");

function ballotText(ballot) {
  const parts = [`confidence ${ballot.confidence.toFixed(2)}`];
  if (ballot.accuracy !== null) parts.push(`accuracy ${ballot.accuracy.toFixed(2)}`);
  if (ballot.spared) parts.push(`${plural(ballot.spared, "draw")} spared`);
  const causes = causesText(Object.entries(ballot.abstentions));
  return [...parts, ...(causes ? [causes] : [])].join(" · ");
}

function showAnswer(answer, none) {
  const text = answer === null ? none : asText(answer);
  $("answer").textContent = text;
  $("answer").classList.toggle("long", text.length > 120);
  $("answer").classList.toggle("none", answer === null);
}

function confidenceText(verdict) {
  if (verdict.escalated) {
    return `Of the pool's answer; of ${verdict.member}'s own, no confidence is known.`;
  }
  return verdict.calibrated
    ? "The chance that the answer is right, fitted on labelled questions."
    : `By the rule ${verdict.rule}: it ranks answers and is not the chance of being right.`;
}

function showBadges(verdict) {
  const badges = [make("span", "badge", `by ${verdict.member}`)];
  if (verdict.escalated) badges.push(make("span", "badge", "in place of the pool"));
  if (verdict.escalation_cause) {
    badges.push(make("span", "badge bad", `not escalated: ${verdict.escalation_cause}`));
  }
  if (verdict.trusted === true) badges.push(make("span", "badge good", "✓ trusted"));
  if (verdict.trusted === false) {
    const whose = verdict.escalated ? "the pool's answer was not trusted" : "not trusted";
    badges.push(make("span", "badge bad", `✗ ${whose}`));
  }
  if (verdict.tie_break !== "nothing") {
    badges.push(make("span", "badge", `tie, decided by ${verdict.tie_break}`));
  }
  $("badges").replaceChildren(...badges);
  $("sure").setAttribute("aria-valuenow", verdict.confidence.toFixed(2));
  $("sure-bar").style.width = `${100 * verdict.confidence}%`;
  $("sure-value").textContent = verdict.confidence.toFixed(2);
  $("sure-about").textContent = confidenceText(verdict);
}

function showOutputs(outputs, answer) {
  const others = Object.entries(outputs ?? {}).filter(([name, value]) =>
    name !== answer && value !== null && value !== "");
  $("outputs").replaceChildren(...others.map(([name, value]) => {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", "", asText(value)));
    return pair;
  }));
  show("outputs", others.length > 0);
}

function showFacts(verdict, seconds) {
  const cached = verdict.cached_calls ? ` and ${verdict.cached_calls} from the cache` : "";
  const facts = {
    Calls: `${verdict.calls.toLocaleString("en")}${cached}`,
    Tokens: `${verdict.prompt_tokens.toLocaleString("en")} in, `
      + `${verdict.completion_tokens.toLocaleString("en")} out`,
    Cost: verdict.cost === null
      ? "no price known"
      : `$${verdict.cost.toLocaleString("en", { maximumSignificantDigits: 3 })}`,
    Time: `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`,
  };
  $("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", "", value));
    return pair;
  }));
  show("facts", true);
}

$("ask").addEventListener("submit", event => {
  event.preventDefault();
  ask();
});
$("ask").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    ask();
  }
});
$("stop").addEventListener("click", () => running?.abort());
$("mux").addEventListener("change", choose);
load();
