"""What a discussion does to answers: given up, followed, flipped; and the share of failures that are groupthink.

The paper: in discussions small models fall into groupthink, "reinforcing incorrect reasoning and amplifying rather than mitigating
errors", to which its appendix lays 59.5 % of the failures. It gives no rule for it; this is ours, deterministic, so that two
readers of one transcript agree. A failed question (final score below 1) has one cause, the first of these that holds:

    given up         groupthink   In some round an agent left a right answer for a wrong one that another agent had shown it.
    followed         groupthink   In some round an agent left another answer, or none, for the failing answer, which another agent
                                  had shown it.
    lost otherwise                Some agent was right in some round: it was outvoted, or left its answer for one that nobody had
                                  shown it.
    never right                   No agent was ever right, and none took the failing answer over from another.
    no answer                     The discussion ended without an answer.

So an error that all agents made alone from the beginning is no groupthink: the discussion neither made nor spread it. An agent is
shown what the others said in the round before its own, in a debate and in Mixture-of-Agents alike. It is the same agent where
number and member are the same; Mixture-of-Agents' aggregator goes on from its member's first seat in the layer before. An answer is
shown where it could be read, answers are the same where the verdict counted them as one group, and each turn is right by its own
score.

Pure functions over the rows of a run (`results.jsonl`); nothing here asks a model.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspy_mux.replay.intervals import Estimate, accuracy, paired_difference, wilson
from dspy_mux.voting.ballot import Ballot

from ..runs.folder import errors_of

Row = Mapping[str, Any]
Turn = Mapping[str, Any]

#: Why a failed question failed, in the order in which they are asked for; True where it is groupthink.
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
    "A failed question is groupthink where, in some round, an agent left a right answer for a wrong one that another agent had "
    "shown it (“given up”), or left another answer, or none, for the failing answer, which another agent had shown it "
    "(“followed”); shown is what the others said in the round before. The other causes: a right answer was there but was outvoted, "
    "or left for one that nobody had shown (“lost otherwise”); no agent was ever right and none took the failing answer over "
    "(“never right”); no answer; or an error, as of a server, ended a turn, and nothing is said of why (“error”)."
)


@dataclass(frozen=True)
class Step:
    """An agent's turn and its turn in the round before, with what the other agents had said there."""

    before: Turn
    after: Turn
    shown: Sequence[Turn]

    def took_over(self) -> bool:
        """Whether its answer is another one than before, and one that another agent had shown it."""
        group = self.after["group"]
        return (
            group is not None
            and group != self.before["group"]
            and any(turn["group"] == group for turn in self.shown)
        )

    def direction(self) -> str:
        """One of DIRECTIONS."""
        before, after = state(self.before), state(self.after)
        if before == after == "wrong":
            after = "same wrong" if self.before["group"] == self.after["group"] else "other wrong"
        return f"{before} → {after}"


@dataclass(frozen=True)
class Rate:
    """How often something happened of the times it could; agents of one question are not independent, so the interval is Wilson's
    over the questions in which it could, which is rather too wide than too narrow."""

    hits: int
    chances: int
    questions: int

    def estimate(self) -> Estimate:
        if not self.chances:
            return accuracy([])
        share = self.hits / self.chances
        return Estimate(share, *wilson(share, self.questions), self.questions)


@dataclass(frozen=True)
class Round:
    """A round's accuracy over the questions: of an agent on average, and of the agents' plurality, the first seen among equals."""

    number: int
    agents: Estimate
    plurality: Estimate


@dataclass(frozen=True)
class Discussion:
    """What became of answers in one method's discussions of one task.

    Attributes:
        questions: of all rows; left_out: of them those with a turn that an error ended, or without a recorded turn. Rates and
            rounds are of the others.
        failures: questions with a final score below 1, by cause; groupthink: the share that is.
        given_up: of the agents right in the first round, those wrong or without an answer in their last.
        wrong_majority, right_majority: of the turns of agents that did not share the answer of the majority (more than half) of the
            round before, where that was wrong or right: those that then gave it.
        flips: member → direction → how many of its turns, against the turn before.
        change: plurality of the last round − of the first, on the same questions; turned_wrong, turned_right: questions.
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
    """One for each task and method that discussed: those with a row of more than one round."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["task"], row["method"]), []).append(row)
    return [
        discussion(task, method, of_both)
        for (task, method), of_both in grouped.items()
        if any(len(rounds_of(row)) > 1 for row in of_both)
    ]


def discussion(task: str, method: str, rows: Sequence[Row]) -> Discussion:
    """The figures of one method's rows on one task."""
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
    """Why a question failed, one of CAUSES; None where it did not."""
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
    """Every turn after the first round whose agent spoke in the round before."""
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
    """The turns, round after round, agents in order."""
    rounds: dict[int, list[Turn]] = {}
    for turn in sorted(row["turns"], key=lambda turn: (turn["round"], turn["agent"])):
        rounds.setdefault(turn["round"], []).append(turn)
    return list(rounds.values())


def state(turn: Turn) -> str:
    """ "right", "wrong", or "none" for an abstention."""
    return "none" if turn["group"] is None else "right" if turn["score"] >= 1 else "wrong"


def _final_group(row: Row) -> int | None:
    """The group of the answer that the discussion ended with: that of the turn which gave it, in the last round where one did."""
    if row["answer"] is None:
        return None
    answers = [
        turn for turns in reversed(rounds_of(row)) for turn in turns if turn["group"] is not None
    ]
    return next((turn["group"] for turn in answers if turn["answer"] == row["answer"]), None)


def _given_up(row: Row) -> tuple[int, int]:
    """(agents right in the first round and not in their last, agents right in the first), of those that went on after it."""
    first: dict[int, Turn] = {}  # a turn, by identity → its agent's first turn
    last: dict[int, tuple[Turn, Turn]] = {}
    for step in steps_of(row):
        begun = first.setdefault(id(step.before), step.before)
        first[id(step.after)] = begun
        last[id(begun)] = begun, step.after
    right = [end for begun, end in last.values() if begun["round"] == 1 and state(begun) == "right"]
    return sum(state(end) != "right" for end in right), len(right)


def _followed(row: Row, *, right: bool) -> tuple[int, int]:
    """(turns that took the majority's answer over, turns of agents that had not shared it), where it is `right` or is not."""
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
    """The first turn of the answer that more than half of the agents gave; None where there is none."""
    counts = Counter(turn["group"] for turn in turns if turn["group"] is not None)
    return next((turn for turn in turns if 2 * counts[turn["group"]] > len(turns)), None)


def _plurality(turns: Sequence[Turn]) -> float:
    """Whether the answer that most agents gave is right, the first seen among equals."""
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
                [sum(state(turn) == "right" for turn in turns) / len(turns) for turns in of_round]
            ),
            accuracy([_plurality(turns) for turns in of_round]),
        )
        for number, of_round in sorted(by_number.items())
    ]


def _rate(counted: Sequence[tuple[int, int]]) -> Rate:
    return Rate(
        sum(hits for hits, _ in counted),
        sum(chances for _, chances in counted),
        sum(chances > 0 for _, chances in counted),
    )
