"""One answered question of `dspy-mux ask`: for people, or as a JSON object."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..layout import Table
from ..text import visible
from .logs import errors_only
from .output import print_json, say, tables
from .step import step

if TYPE_CHECKING:
    from ..mux.slm_mux import SLMMux
    from ..voting.verdict import Verdict
    from ..voting.verdict_parts import MemberBallot

#: Of an answer in the table, in characters; the answer that won is shown in full above it.
_LONGEST = 160
#: Answers of one member that the table shows; the others are counted.
_MOST_ANSWERS = 8
#: Probabilities of one answer's draws that are shown one by one.
_MOST_PROBABILITIES = 3


@dataclass(frozen=True)
class Answer:
    """What became of a question.

    Attributes:
        outputs: the program's; None where the answer is kept back, as it is not trusted.
        compared: the fields that are the answer.
        threshold: from which the mux trusts an answer; None if it has none.
        free: whether all members run on this machine.
        seconds: that it took.
    """

    inputs: Mapping[str, Any]
    verdict: Verdict
    outputs: Mapping[str, Any] | None
    compared: Sequence[str]
    threshold: float | None
    free: bool
    seconds: float

    @property
    def unpriced(self) -> int:
        """The calls that may have cost something, where that is not known."""
        verdict = self.verdict
        known = verdict.cost is not None or (self.free and not verdict.escalated)
        return 0 if known else verdict.calls

    def show(self, *, as_json: bool) -> None:
        """Print it on stdout."""
        if as_json:
            self._print_json()
            return
        from ..sampling.causes import advice_to
        from ..voting.verdict_sentence import verdict_sentence
        from ..voting.verdict_text import answer_line

        _print_text(*self._head())
        print()
        say(verdict_sentence(self.verdict, self.threshold))
        if self.verdict.ballots:
            print()
            tables(_table(self.verdict))
        say(self._spent())
        abstained = {
            answer_line(ballot.member): ballot.abstentions for ballot in self.verdict.ballots
        }
        for sentence in advice_to(abstained):
            say(sentence)

    def _head(self) -> tuple[str, str]:
        """Return the answer, with the outputs that are no part of it, and its style."""
        from ..voting.verdict_text import readable_answer

        if self.outputs is None:
            return "No answer: the pool's is not trusted.", "bold yellow"
        lines = [readable_answer(self.verdict.answer)]
        for name, value in self.outputs.items():
            if name not in self.compared and name != "reasoning":
                lines.append(f"{name}: {readable_answer(value)}")
        return "\n".join(lines), "bold green"

    def _spent(self) -> str:
        """Return what it cost."""
        from ..voting.verdict_text import calls_text

        verdict = self.verdict
        parts = [calls_text(verdict)]
        if verdict.cached_calls:
            parts.append(f"{verdict.cached_calls} from the cache")
        if spared := sum(ballot.spared for ballot in verdict.ballots):
            parts.append(f"{spared} spared")
        parts.append(f"{verdict.prompt_tokens + verdict.completion_tokens} tokens")
        parts.append(cost_text(verdict.cost, self.unpriced))
        return ", ".join([*filter(None, parts), f"{self.seconds:.1f} s"])

    def _print_json(self) -> None:
        from ..mux.prediction import verdict_body
        from ..voting.verdict_parts import jsonable

        outputs = None if self.outputs is None else jsonable(dict(self.outputs))
        print_json(
            {
                **verdict_body(self.verdict),
                "inputs": jsonable(dict(self.inputs)),
                "outputs": outputs,
                "seconds": round(self.seconds, 3),
            }
        )


def answer(mux: SLMMux, inputs: Mapping[str, Any]) -> Answer:
    """Ask a question.

    Raises:
        MuxError: there is no answer.
    """
    from ..mux.trust import is_kept_back
    from ..voting.verdict import NotTrusted

    outputs: dict[str, Any] | None = None
    draws = sum(member.k or 1 for member in mux.members)
    began = time.monotonic()
    # The verdict shows why a draw failed; the logs would repeat it.
    with step(f"asking {len(mux.members)} members, {draws} draws"), errors_only("dspy", "dspy_mux"):
        try:
            prediction = mux(**inputs)
            verdict = prediction.verdict
            if not is_kept_back(prediction, mux.compared.fields):
                outputs = dict(prediction.items())
        except NotTrusted as kept_back:
            verdict = kept_back.verdict
    seconds = time.monotonic() - began
    threshold, free = mux.pool.settings.threshold, _runs_here(mux)
    return Answer(inputs, verdict, outputs, mux.compared.fields, threshold, free, seconds)


def cost_text(cost: float | None, unpriced: int) -> str:
    """Return what calls cost.

    Args:
        cost: of those whose price is known; None if there are none.
        unpriced: how many others there were.
    """
    if cost is None:
        return "price unknown" if unpriced else ""
    return f"${cost:.6f}" + (f" and the price of {unpriced} LM calls" if unpriced else "")


def _runs_here(mux: SLMMux) -> bool:
    """Return whether all members are in this process, or on servers on this machine."""
    from ..local import is_embedded
    from ..sampling.usage import address_of, is_loopback

    return all(
        is_embedded(member.lm) or is_loopback(address_of(member.lm)) for member in mux.members
    )


def inputs_text(inputs: Mapping[str, Any]) -> str:
    """Return a question as one line: its only input, or all by name."""
    from ..voting.verdict_text import answer_line

    if len(inputs) == 1:
        (text,) = inputs.values()
        return answer_line(text, _LONGEST)
    return answer_line(json.dumps(inputs, ensure_ascii=False, default=str), _LONGEST)


def _print_text(text: str, style: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if console.is_terminal:
        console.print(Text(visible(text)), style=style)
    else:  # its lines are those of the answer
        print(visible(text))


def _table(verdict: Verdict) -> Table:
    """Return how each member voted; the rows of the answer that won are strong."""
    known = any(ballot.probabilities for ballot in verdict.ballots)
    columns = ("member", "answer", "draws", "probability")[: 4 if known else 3]
    rows: list[Sequence[str | tuple[str, ...]]] = []
    strong = []
    for ballot in verdict.ballots:
        member: str | tuple[str, ...] = (ballot.member,)
        for answer, count, probability, group in _votes(ballot):
            if group is not None and group == verdict.group:
                strong.append(len(rows))
            rows.append((member, answer, count, probability)[: len(columns)])
            member = ""
    return Table("", columns, rows, words=2, strong=strong)


def _votes(ballot: MemberBallot) -> Iterator[tuple[str, str, str, int | None]]:
    """Yield a member's answers, abstentions and spared draws: text, draws, probability, group."""
    from ..voting.verdict_text import answer_line

    k = len(ballot.votes) + ballot.spared
    for counted in ballot.answers[:_MOST_ANSWERS]:
        text = answer_line(counted.answer, _LONGEST)
        probability = _probabilities(ballot, counted.group)
        yield text, f"{counted.count} of {k}", probability, counted.group
    if others := ballot.answers[_MOST_ANSWERS:]:
        count = sum(each.count for each in others)
        noun = "answer" if len(others) == 1 else "answers"
        yield f"({len(others)} other {noun})", f"{count} of {k}", "", None
    for cause, count in ballot.abstentions.items():
        yield f"abstained: {answer_line(cause, _LONGEST)}", f"{count} of {k}", "", None
    if ballot.spared:
        yield "spared: could change nothing", f"{ballot.spared} of {k}", "", None
    if not k:
        yield "not asked", "0", "", None


def _probabilities(ballot: MemberBallot, group: int) -> str:
    """Return what the model gave the answer in the draws that hold it."""
    pairs = zip(ballot.votes, ballot.probabilities, strict=False)
    found = [one for vote, one in pairs if vote == group]
    known = [one for one in found if one is not None]
    if not known:
        return ""
    if len(found) > _MOST_PROBABILITIES:
        return f"{min(known):.2f} to {max(known):.2f}"
    return " ".join("?" if one is None else f"{one:.2f}" for one in found)
