"""Measure what a discussion does to answers, and which of its failures are groupthink.

The paper says that in discussions small models fall into groupthink, "reinforcing incorrect
reasoning and amplifying rather than mitigating errors", and attributes 59.5 % of the failures to it
(appendix). It gives no rule; this one is ours, and it is deterministic, so that two readers of one
transcript agree. A failed question (final score below 1) has one cause, the first that holds:

    given up         groupthink   In some round an agent left a right answer for a wrong one that
                                  another agent had shown it.
    followed         groupthink   In some round an agent left another answer, or none, for the
                                  failing answer, which another agent had shown it.
    lost otherwise                Some agent was right in some round: it was outvoted, or left its
                                  answer for one that nobody had shown it.
    never right                   No agent was ever right, and none took the failing answer over.
    no answer                     The discussion ended without an answer.

So an error that all agents made independently from the start is not groupthink: the discussion
neither made nor spread it. An agent is shown what the others said in the round before its own, in a
debate and in Mixture-of-Agents alike. Turns belong to the same agent where number and member are
the same; Mixture-of-Agents' aggregator continues its member's first seat in the layer before.
Unreadable answers are not shown, answers are equal where the verdict grouped them, and each turn is
right by its own score.

The functions here are pure, over the rows of a run (`results.jsonl`); none asks a model.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from dspy_mux.replay.intervals import Estimate, accuracy, paired_difference, wilson
from dspy_mux.voting.ballot import Ballot

from ..runs.folder import errors_of


class Turn(TypedDict):
    """What one agent said in one round: the keys of a recorded turn that are read here."""

    round: int
    agent: int
    member: str
    text: str
    group: int | None
    answer: Any  # a program's answer may be of any type
    score: float


class Row(TypedDict):
    """The answer of one method to one question: the keys of a result row that are read here."""

    task: str
    method: str
    question_id: str
    inputs: Mapping[str, Any]
    gold: Any
    answer: Any
    score: float
    turns: Sequence[Turn]


#: Why a question failed, in the order of precedence; True where it is groupthink.
CAUSES = {
    "given up": True,
    "followed": True,
    "lost otherwise": False,
    "never right": False,
    "no answer": False,
    "error": False,
}
DIRECTIONS = (
    "right → right",
    "right → wrong",
    "right → none",
    "wrong → right",
    "wrong → same wrong",
    "wrong → other wrong",
    "wrong → none",
    "none → right",
    "none → wrong",
    "none → none",
)
DEFINITION = (
    "A failed question is groupthink where, in some round, an agent left a right answer for a "
    "wrong one that another agent had shown it (“given up”), or left another answer, or none, for "
    "the failing answer, which another agent had shown it (“followed”); shown is what the others "
    "said in the round before. The other causes: a right answer was there but was outvoted, or "
    "left for one that nobody had shown (“lost otherwise”); no agent was ever right and none took "
    "the failing answer over (“never right”); no answer; or an error, such as a server's, ended a "
    "turn, and the reason is unknown (“error”)."
)


@dataclass(frozen=True)
class Step:
    """An agent's turn, its turn in the round before, and what the others had said there."""

    before: Turn
    after: Turn
    shown: Sequence[Turn]

    def took_over(self) -> bool:
        """Whether the agent changed its answer to one that another agent had shown it."""
        group = self.after["group"]
        return (
            group is not None
            and group != self.before["group"]
            and any(turn["group"] == group for turn in self.shown)
        )

    def direction(self) -> str:
        """How the agent's answer changed: one of DIRECTIONS."""
        before, after = state(self.before), state(self.after)
        if before == after == "wrong":
            after = "same wrong" if self.before["group"] == self.after["group"] else "other wrong"
        return f"{before} → {after}"


@dataclass(frozen=True)
class Rate:
    """How often something happened out of the times it could.

    Agents of one question are not independent, so the interval is Wilson's over the questions in
    which it could happen, which is too wide rather than too narrow.
    """

    hits: int
    chances: int
    questions: int

    def estimate(self) -> Estimate:
        """The rate with its interval; NaN where it could never happen."""
        if not self.chances:
            return accuracy([])
        share = self.hits / self.chances
        return Estimate(share, *wilson(share, self.questions), self.questions)


@dataclass(frozen=True)
class Round:
    """A round's accuracy over the questions.

    Attributes:
        agents: of an agent on average.
        plurality: of the agents' plurality; ties go to the answer seen first.
    """

    number: int
    agents: Estimate
    plurality: Estimate


@dataclass(frozen=True)
class Discussion:
    """What became of answers in one method's discussions of one task.

    Attributes:
        questions: number of rows.
        left_out: rows with a turn that an error ended, or without a recorded turn. Rates and rounds
            come from the other rows.
        failures: questions with a final score below 1, by cause.
        groupthink: share of the failures that are groupthink.
        given_up: of the agents right in the first round, those not right in their last.
        wrong_majority, right_majority: a majority is more than half of a round's agents. Of the
            turns of agents that did not share a wrong (right) majority's answer in the round
            before, those that then gave it.
        flips: member → direction → how many of its turns, compared with the turn before.
        change: plurality of the last round − of the first, on the same questions.
        turned_wrong, turned_right: questions whose plurality changed that way.
    """

    task: str
    method: str
    questions: int
    left_out: int
    failures: dict[str, int]
    groupthink: Estimate
    given_up: Rate
    wrong_majority: Rate
    right_majority: Rate
    flips: dict[str, dict[str, int]]
    rounds: list[Round]
    change: Estimate
    turned_wrong: int
    turned_right: int

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


def discussions(rows: Sequence[Row]) -> list[Discussion]:
    """Measure each task and method with a discussion: some row of more than one round."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["task"], row["method"]), []).append(row)
    return [
        discussion(task, method, group)
        for (task, method), group in grouped.items()
        if any(len(rounds_of(row)) > 1 for row in group)
    ]


def discussion(task: str, method: str, rows: Sequence[Row]) -> Discussion:
    """Measure one method's rows on one task."""
    spoken = [row for row in rows if row["turns"] and not errors_of(row["turns"])]
    causes = [cause for row in rows if (cause := cause_of(row)) is not None]
    flips: dict[str, Counter[str]] = {}
    for row in spoken:
        for step in steps_of(row):
            flips.setdefault(str(step.after["member"]), Counter())[step.direction()] += 1
    first, last = ([_plurality(rounds_of(row)[at]) for row in spoken] for at in (0, -1))
    return Discussion(
        task=task,
        method=method,
        questions=len(rows),
        left_out=len(rows) - len(spoken),
        failures={name: causes.count(name) for name in CAUSES},
        groupthink=accuracy([float(CAUSES[cause]) for cause in causes]),
        given_up=_rate([_given_up(row) for row in spoken]),
        wrong_majority=_rate([_followed(row, right=False) for row in spoken]),
        right_majority=_rate([_followed(row, right=True) for row in spoken]),
        flips={name: {way: counted[way] for way in DIRECTIONS} for name, counted in flips.items()},
        rounds=_rounds(spoken),
        change=paired_difference(last, first),
        turned_wrong=sum(a > b for a, b in zip(first, last, strict=True)),
        turned_right=sum(a < b for a, b in zip(first, last, strict=True)),
    )


def cause_of(row: Row) -> str | None:
    """Return why a question failed, one of CAUSES; None where it did not."""
    if row["score"] >= 1:
        return None
    if errors_of(row["turns"]):
        return "error"
    steps = list(steps_of(row))
    if any(
        state(step.before) == "right" and state(step.after) == "wrong" and step.took_over()
        for step in steps
    ):
        return "given up"
    failing = _final_group(row)
    if failing is not None and any(
        step.after["group"] == failing and step.took_over() for step in steps
    ):
        return "followed"
    if row["answer"] is None:
        return "no answer"
    return (
        "lost otherwise" if any(state(turn) == "right" for turn in row["turns"]) else "never right"
    )


def steps_of(row: Row) -> Iterator[Step]:
    """Yield every turn after the first round whose agent spoke in the round before."""
    rounds = rounds_of(row)
    for before, after in itertools.pairwise(rounds):
        for turn in after:
            same_member = [earlier for earlier in before if earlier["member"] == turn["member"]]
            if same_member:
                own = next(
                    (earlier for earlier in same_member if earlier["agent"] == turn["agent"]),
                    same_member[0],
                )
                yield Step(own, turn, [earlier for earlier in before if earlier is not own])


def rounds_of(row: Row) -> list[list[Turn]]:
    """Return the turns round by round, agents in order."""
    rounds: dict[int, list[Turn]] = {}
    for turn in sorted(row["turns"], key=lambda turn: (turn["round"], turn["agent"])):
        rounds.setdefault(turn["round"], []).append(turn)
    return list(rounds.values())


def state(turn: Turn) -> str:
    """Return "right", "wrong", or "none" for an abstention."""
    return "none" if turn["group"] is None else "right" if turn["score"] >= 1 else "wrong"


def _final_group(row: Row) -> int | None:
    """The group of the final answer: that of the latest turn which gave it."""
    if row["answer"] is None:
        return None
    answers = [
        turn for turns in reversed(rounds_of(row)) for turn in turns if turn["group"] is not None
    ]
    return next((turn["group"] for turn in answers if turn["answer"] == row["answer"]), None)


def _given_up(row: Row) -> tuple[int, int]:
    """(agents not right in their last round, agents), of those right in the first of several."""
    first: dict[int, Turn] = {}  # a turn, by identity → its agent's first turn
    last: dict[int, tuple[Turn, Turn]] = {}
    for step in steps_of(row):
        begun = first.setdefault(id(step.before), step.before)
        first[id(step.after)] = begun
        last[id(begun)] = begun, step.after
    right = [end for begun, end in last.values() if begun["round"] == 1 and state(begun) == "right"]
    return sum(state(end) != "right" for end in right), len(right)


def _followed(row: Row, *, right: bool) -> tuple[int, int]:
    """(turns that took over the majority's answer, turns of agents that had not shared it).

    Only majorities that are `right`, or that are not, count.
    """
    majorities = {turns[0]["round"]: _majority(turns) for turns in rounds_of(row)}
    hits = chances = 0
    for step in steps_of(row):
        majority = majorities[step.before["round"]]
        if (
            majority is None
            or (state(majority) == "right") != right
            or step.before["group"] == majority["group"]
        ):
            continue
        chances += 1
        hits += step.after["group"] == majority["group"]
    return hits, chances


def _majority(turns: Sequence[Turn]) -> Turn | None:
    """The first turn of the answer that more than half of the agents gave, if any."""
    counts: Counter[int | None] = Counter(
        turn["group"] for turn in turns if turn["group"] is not None
    )
    return next((turn for turn in turns if 2 * counts[turn["group"]] > len(turns)), None)


def _plurality(turns: Sequence[Turn]) -> float:
    """1 if the answer that most agents gave is right; ties go to the answer seen first."""
    group = Ballot("round", tuple(turn["group"] for turn in turns)).plurality
    first = next((turn for turn in turns if group is not None and turn["group"] == group), None)
    return float(first is not None and state(first) == "right")


def _rounds(rows: Sequence[Row]) -> list[Round]:
    by_number: dict[int, list[list[Turn]]] = {}
    for row in rows:
        for turns in rounds_of(row):
            by_number.setdefault(turns[0]["round"], []).append(turns)
    return [
        Round(
            number,
            accuracy(
                [sum(state(turn) == "right" for turn in turns) / len(turns) for turns in group]
            ),
            accuracy([_plurality(turns) for turns in group]),
        )
        for number, group in sorted(by_number.items())
    ]


def _rate(counted: Sequence[tuple[int, int]]) -> Rate:
    return Rate(
        sum(hits for hits, _ in counted),
        sum(chances for _, chances in counted),
        sum(chances > 0 for _, chances in counted),
    )
