"""Methods that are functions of independent draws: decided from the shared bank, without a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import dspy

from dspy_mux import AllMembersFailed, SampleBank, SLMMux
from dspy_mux.bank.evidence import evidence_of
from dspy_mux.bank.fingerprint import fingerprint_inputs, fingerprint_member
from dspy_mux.bank.record import Record
from dspy_mux.optimize.search import search
from dspy_mux.replay.decisions import rules_for
from dspy_mux.voting.ballot import Ballot, Rule, by_accuracy, rule_for
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.evidence import any_of
from dspy_mux.voting.probability_fit import fit_probability
from dspy_mux.voting.rules import Consistency, Pooled, SelfConsistencyRule
from dspy_mux.voting.tally import Tally
from dspy_mux.voting.verdict_parts import MemberBallot, most_frequent_first

from .methods import PROBABILITY, Method


@dataclass(frozen=True)
class Measured:
    """The validation split: the draws that rules are fitted on, and the members' accuracies a_i."""

    record: Record
    accuracies: dict[str, float]

    @classmethod
    def of(cls, record: Record) -> Measured:
        means = Tally(record.votes).plurality_scores(record.scores).mean(axis=0)
        return cls(record, dict(zip(record.members, means.tolist(), strict=True)))

    @property
    def has_probabilities(self) -> bool:
        return PROBABILITY in rules_for(self.record)

    @property
    def best(self) -> str:
        """Return the most accurate member; among equals, the first in pool order."""
        return self.record.members[by_accuracy(list(self.accuracies.values()))[0]]


@dataclass(frozen=True)
class Decider:
    """The draws that a method uses, and the rule that decides among them.

    Attributes:
        choice: chosen on validation, as the run's manifest holds it.
    """

    method: Method
    members: tuple[str, ...]
    k: int
    rule: Rule
    choice: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """Return what its decisions depend on, beside the draws and the members' accuracies."""
        rule = {
            name: value
            for name, value in vars(self.rule).items()
            if isinstance(value, (str, int, float, tuple, Mapping))
        }
        return {"members": self.members, "k": self.k, "rule": rule}


def decider(method: Method, measured: Measured, k: int, context: str | None) -> Decider:
    """Return the method, with what is chosen or fitted on validation.

    Args:
        context: an input of the questions that the calibrated rule may weigh by.
    """
    members, best = measured.record.members, measured.best
    if method.id.startswith("single:"):
        name = method.id.partition(":")[2]
        return Decider(method, (name,), 1, SelfConsistencyRule(name), {})
    if method.id in ("self_consistency", "self_consistency_equal"):
        return Decider(
            method, (best,), method.settings["k"], SelfConsistencyRule(best), {"member": best}
        )
    if method.id == "agent_forest":
        return Decider(method, members, k, Pooled(), {})
    if method.id == PROBABILITY:
        return Decider(method, members, k, fit_probability(_training(measured.record, None)), {})
    if method.id == "calibrated":
        rule = fit(_training(measured.record, context))
        return Decider(
            method,
            members,
            k,
            rule,
            {"rule": rule.instead or "calibrated", "context": rule.context},
        )
    if method.id == "searched":
        found = search(measured.record, range(2, len(members) + 1), k=k, top=1).results[0]
        subset = tuple(name for name in members if name in found.members)
        return Decider(
            method,
            subset,
            k,
            Consistency(),
            {"members": list(subset), "objective": found.objective},
        )
    return Decider(method, members, k, Consistency(), {})


def _training(record: Record, context: str | None) -> Training:
    return Training(
        record.tally(),
        record.scores,
        record.members,
        contexts=None if context is None else record.field(context),
        context=context,
    )


class Draws:
    """The recorded draws of a mux's members on a task, by question."""

    def __init__(self, bank: SampleBank, dataset: str, mux: SLMMux):
        made_by = {
            (member.label, fingerprint_member(mux, at)[0]) for at, member in enumerate(mux.members)
        }
        self._draws: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        for row in bank.rows(dataset=dataset):
            if (row["model"], row["program"]) in made_by:
                del row["outputs"]  # most of a bank's bytes, and no rule uses them
                self._draws.setdefault((row["question_fingerprint"], row["model"]), {})[
                    row["draw"]
                ] = row

    def first(self, question: str, member: str, k: int) -> list[dict[str, Any]]:
        """Return the member's first k draws for the question with this fingerprint."""
        drawn = self._draws[question, member]
        return [drawn[number] for number in range(k)]

    def unmeasured(self) -> int:
        """Return the number of answers without token counts.

        They came from DSPy's cache when they were recorded, or the server reports none.
        """
        rows = (row for drawn in self._draws.values() for row in drawn.values())
        return sum(
            row["answer_class"] is not None
            and not row["prompt_tokens"]
            and not row["completion_tokens"]
            for row in rows
        )


class Deciding(Protocol):
    """A method that answers from recorded draws.

    Attributes:
        settings: what its decisions depend on, beside the draws and the members' accuracies.
        choice: chosen on validation, as the run's manifest holds it.
        note: what to say of that choice beside the table, if anything.
    """

    @property
    def method(self) -> Method: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def choice(self) -> dict[str, Any]: ...
    @property
    def note(self) -> str | None: ...

    def answer(self, example: dspy.Example) -> dict[str, Any]:
        """Return the row's fields that are the method's."""
        ...


@dataclass(frozen=True)
class Banked:
    """A decider with the draws that it decides among."""

    by: Decider
    draws: Draws
    accuracies: Mapping[str, float]
    note: str | None = None

    @property
    def method(self) -> Method:
        return self.by.method

    @property
    def settings(self) -> dict[str, Any]:
        return self.by.settings

    @property
    def choice(self) -> dict[str, Any]:
        return self.by.choice

    def answer(self, example: dspy.Example) -> dict[str, Any]:
        return decide(self.by, self.draws, example, self.accuracies)


def decide(
    by: Decider, draws: Draws, example: dspy.Example, accuracies: Mapping[str, float]
) -> dict[str, Any]:
    """Return a row's answer, score, ballots and usage, from the recorded draws.

    A question's draws are in flight at once, so its `seconds` are those of the slowest.
    """
    drawn = _drawn(by, draws, example)
    every = [draw for of_member in drawn.values() for draw in of_member]
    ballots = _ballots(drawn, _groups(every), accuracies)
    choice = rule_for(by.rule, example.inputs().toDict()).choose(ballots)
    # A draw that failed before it had a price has no known cost.
    costs = [
        draw["cost"]
        for draw in every
        if draw["cost"] is not None or draw["answer_class"] is not None
    ]
    row = {
        "calls": sum(1 if draw["calls"] is None else draw["calls"] for draw in every),
        "prompt_tokens": sum(draw["prompt_tokens"] or 0 for draw in every),
        "completion_tokens": sum(draw["completion_tokens"] or 0 for draw in every),
        "cost": None if None in costs or not costs else sum(costs),
        "seconds": max(draw["seconds"] or 0.0 for draw in every),
        "ballots": [_scored_ballot(ballot, drawn[ballot.member]) for ballot in ballots],
    }
    if choice is None:
        causes = {
            name: most_frequent_first(draw["cause"] for draw in of_member)
            for name, of_member in drawn.items()
        }
        return {**row, "cause": str(AllMembersFailed(causes))}
    ballot = ballots[choice.ballot]
    winner = drawn[ballot.member][ballot.votes.index(choice.answer)]
    return {
        **row,
        "score": winner["score"],
        "answer": winner["answer"],
        "member": ballot.member,
        "confidence": choice.confidence,
        "tie_break": choice.tie_break,
    }


def ballots_with(
    example: dspy.Example,
    parts: Sequence[tuple[Decider, Draws]],
    accuracies: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Return the scored ballots of several methods on a question; equal answers have one group."""
    drawn = {
        name: draws_of_member
        for by, draws in parts
        for name, draws_of_member in _drawn(by, draws, example).items()
    }
    groups = _groups([draw for of_member in drawn.values() for draw in of_member])
    ballots = _ballots(drawn, groups, accuracies)
    return [_scored_ballot(ballot, drawn[ballot.member]) for ballot in ballots]


def _drawn(by: Decider, draws: Draws, example: dspy.Example) -> dict[str, list[dict[str, Any]]]:
    """Return member → the draws that a method uses of it."""
    key = fingerprint_inputs(example.inputs().toDict())
    return {name: draws.first(key, name, by.k) for name in by.members}


def _ballots(
    drawn: Mapping[str, Sequence[Mapping[str, Any]]],
    groups: Mapping[int | None, int],
    accuracies: Mapping[str, float],
) -> list[Ballot]:
    return [
        Ballot(
            name,
            tuple(groups.get(draw["answer_class"]) for draw in of_member),
            accuracies.get(name),
            evidence=any_of([evidence_of(draw) for draw in of_member]),
        )
        for name, of_member in drawn.items()
    ]


def _groups(draws: Sequence[Mapping[str, Any]]) -> dict[int | None, int]:
    """Number the bank's answer classes like a verdict's groups: in order of appearance."""
    classes = dict.fromkeys(
        draw["answer_class"] for draw in draws if draw["answer_class"] is not None
    )
    return {its_class: number for number, its_class in enumerate(classes)}


def _scored_ballot(ballot: Ballot, draws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a ballot as in a verdict, each answer with its score."""
    first = {group: draws[ballot.votes.index(group)] for group in ballot.counts}
    answers = {group: draw["answer"] for group, draw in first.items()}
    ballot_row = MemberBallot.of(ballot, answers, (draw["cause"] for draw in draws)).model_dump(
        mode="json"
    )
    for answer in ballot_row["answers"]:
        answer["score"] = first[answer["group"]]["score"]
    return ballot_row
