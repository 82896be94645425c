// The list of questions: filtered by what a method made of them, and opened to see every draw. All text is set as text, never as HTML.
(() => {
  const tasks = JSON.parse(document.getElementById("questions-data").textContent);
  const at = (id) => document.getElementById(id);
  const [method, outcome, member, subtask, text] = ["method", "outcome", "member", "subtask", "text"].map((name) => at(`filter-${name}`));
  const list = at("list"), more = at("more"), count = at("count");
  const AT_ONCE = 100;
  const SIGNS = { right: "✓", wrong: "✗", "no answer": "–" };
  let task, found = [], shown = 0;

  const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const titled = (tag, content, className = "") => made(tag, { textContent: content, className });
  const kind = (what) => (what === "no answer" ? "none" : what);
  const options = (select, entries) => select.replaceChildren(...entries.map(([value, label]) => made("option", { value, textContent: label })));

  // --- filtering

  const memberIsRight = (question) => question.draws.some((ballot) => ballot.answers[0]?.right);

  const searched = (question) => {
    if (question.text === undefined) {
      const answers = Object.values(question.answers).map((each) => each.answer ?? "");
      const draws = question.draws.flatMap((ballot) => ballot.answers.map((each) => each.answer));
      question.text = [question.id, question.gold, ...question.inputs.map((input) => input[1]), ...answers, ...draws].join("\n").toLowerCase();
    }
    return question.text;
  };

  const fits = (question) => {
    const answer = question.answers[method.value];
    if (subtask.value !== "" && question.subtask !== subtask.value.slice(1)) return false;
    if (outcome.value === "missed" ? !answer || answer.outcome === "right" || !memberIsRight(question)
      : outcome.value && answer?.outcome !== outcome.value) return false;
    if (member.value && answer?.member !== member.value) return false;
    return searched(question).includes(text.value.trim().toLowerCase());
  };

  const filter = () => {
    found = task.questions.filter(fits);
    shown = 0;
    list.replaceChildren();
    count.textContent = `${found.length} of ${task.questions.length} questions`;
    showMore();
  };

  const showMore = () => {
    list.append(...found.slice(shown, shown + AT_ONCE).map(item));
    shown = Math.min(shown + AT_ONCE, found.length);
    more.hidden = shown === found.length;
    more.textContent = `Show ${Math.min(AT_ONCE, found.length - shown)} more`;
  };

  // --- a question

  const item = (question) => {
    const what = question.answers[method.value]?.outcome;
    const sign = titled("span", SIGNS[what] ?? "·", kind(what ?? "no answer"));
    sign.setAttribute("role", "img");
    sign.setAttribute("aria-label", what ?? "not asked");
    const asked = titled("span", question.inputs[0]?.[1] ?? question.id, "asked");
    const details = made("details", {}, made("summary", {}, sign, asked, titled("span", question.subtask, "tag")));
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(opened(question));
    });
    return made("li", {}, details);
  };

  const table = (columns, rows) => made("div", { className: "scroll", tabIndex: 0 }, made("table", {},
    made("thead", {}, made("tr", {}, ...columns.map((name) => made("th", { scope: "col", textContent: name })))),
    made("tbody", {}, ...rows.map((cells) => made("tr", {}, ...cells.map((cell) =>
      cell instanceof Node ? made("td", {}, cell) : made("td", { textContent: cell })))))));

  const judged = (answer) => titled("span", `${SIGNS[answer.outcome]} ${answer.answer ?? answer.cause ?? "no answer"}`, kind(answer.outcome));

  const draws = (ballot) => {
    const chips = ballot.votes.map((vote, draw) => {
      const answer = ballot.answers[vote], probability = ballot.probabilities[draw];
      if (!answer) return titled("li", "–", "none");
      const chip = titled("li", `${answer.answer} ${answer.right ? "✓" : "✗"}`, answer.right ? "right" : "wrong");
      if (probability != null) chip.append(made("small", { textContent: ` ${probability.toFixed(2)}`, title: "probability of the answer, as the model gave it" }));
      return chip;
    });
    return made("ol", { className: "draws" }, ...chips);
  };

  const counts = (ballot) => [
    ...ballot.answers.map((each) => `${each.count} × ${each.answer}`),
    ...ballot.abstentions.map(([cause, number]) => `${number} × abstained: ${cause}`),
  ].join("\n");

  const opened = (question) => {
    const facts = made("dl", {});
    for (const [name, value] of [...question.inputs, ["gold answer", question.gold], ["question id", question.id]]) {
      facts.append(titled("dt", name), titled("dd", value));
    }
    const box = made("div", { className: "opened" }, facts, titled("h4", "Every draw, in the order drawn"),
      table(["member", "draws", "counted"], question.draws.map((ballot) => [ballot.member, draws(ballot), counts(ballot)])),
      titled("h4", "What each method answered"),
      table(["method", "answer", "whose", "confidence", "tie broken by", "calls"],
        task.methods.filter(({ id }) => question.answers[id]).map(({ id, title }) => {
          const answer = question.answers[id];
          const tie = answer.tie && answer.tie !== "nothing" ? answer.tie : "";
          return [title, judged(answer), answer.member ?? "", answer.confidence?.toFixed(2) ?? "", tie, String(answer.calls)];
        })));
    for (const { id, title } of task.methods) {
      if (question.turns[id]) box.append(discussion(title, question.turns[id]));
    }
    return box;
  };

  const discussion = (title, turns) => {
    const details = made("details", { className: "said" }, titled("summary", `${title}: what was said, ${turns.length} turns`));
    for (const turn of turns) {
      const head = titled("p", `round ${turn.round}, agent ${turn.agent}, ${turn.member}: `, "said");
      const approved = turn.approvals ? ` — ${turn.approvals.map(([aspect, said]) => `${aspect} ${said ? "✓" : "✗"}`).join(", ")}` : "";
      head.append(judged(turn), approved, ...turn.unjudged.map((reason) => `; ${reason}`));
      details.append(head, titled("p", turn.text || "(nothing)", "turn"));
    }
    return details;
  };

  // --- the task

  document.addEventListener("task", ({ detail }) => {
    task = tasks[detail];
    options(method, task.methods.map(({ id, title }) => [id, title]));
    if (task.methods.some(({ id }) => id === "slm_mux")) method.value = "slm_mux";
    options(member, [["", "any member"], ...task.members.map((name) => [name, name])]);
    const subtasks = [...new Set(task.questions.map((question) => question.subtask))].sort();
    options(subtask, [["", "all"], ...subtasks.map((name) => [`=${name}`, name])]);
    at("subtasks-label").hidden = task.subtask_field === null;
    at("subtasks-name").textContent = task.subtask_field ?? "";
    filter();
  });

  const form = document.querySelector(".filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(() => {
    if (task.methods.some(({ id }) => id === "slm_mux")) method.value = "slm_mux";
    filter();
  }));
  more.addEventListener("click", showMore);
})();
