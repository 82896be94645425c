"""Decide recorded questions draw by draw, as a live mux would: what it draws, and its answer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError, DataError
from ..mux.saved import Schedule
from ..mux.saved_file import read_saved
from ..mux.saved_rule import is_own, load_rule, load_scale
from ..mux.slm_mux import SLMMux
from ..mux.trust import draws_wanted
from ..voting.ballot import Ballot, Frugal, Rule, draws_text, reads_evidence, rule_for
from ..voting.calibrated import Calibrated
from ..voting.confidence import RuleScale, decide
from ..voting.early_stopping import EarlyStopping
from ..voting.evidence import Evidence, any_of
from ..voting.rules import Consistency


@dataclass(frozen=True)
class Poll:
    """One question: the votes of the draws that were made, and what was decided.

    Attributes:
        votes: one tuple a member, in pool order; None is an abstention.
        group: the class of the pool's answer; None where it gave none.
        confidence: 0 without an answer.
        member: position of the member that the answer is credited to; None without one, or where it
            is not known.
    """

    votes: tuple[tuple[int | None, ...], ...]
    group: int | None
    confidence: float
    member: int | None = None


@dataclass(frozen=True)
class Policy:
    """How a pool draws and decides.

    Attributes:
        members, k, accuracies: of each member, in pool order.
        threshold: from which an answer is trusted; None for none, or where it is unknown.
        scale: of the rule's confidence, where that was fitted on labels.
    """

    rule: Rule
    members: tuple[str, ...]
    k: tuple[int, ...]
    accuracies: tuple[float | None, ...]
    schedule: Schedule = "full"
    threshold: float | None = None
    scale: RuleScale | None = None

    @classmethod
    def of(cls, mux: SLMMux | str | os.PathLike[str]) -> Policy:
        """Return the policy of a mux, or of a saved one.

        Raises:
            ConfigurationError: the saved rule is the user's own.
            DataError: the file is missing, damaged or not a saved mux.
        """
        if isinstance(mux, SLMMux):
            names, settings = tuple(mux.pool.names), mux.pool.settings
            return cls(
                mux.rule,
                names,
                tuple(member.k or 1 for member in mux.members),
                tuple(mux.accuracies.get(name) for name in names),
                settings.schedule,
                settings.threshold,
                mux.pool.scale,
            )
        saved = read_saved(Path(mux))
        if is_own(saved.rule):
            raise ConfigurationError(
                f"The rule of the saved mux {str(mux)!r} is not built in: build the mux in Python, "
                "and pass it, drift(record, log, mux=mux)."
            )
        return cls(
            load_rule(saved.rule, Consistency()),
            tuple(member.name for member in saved.members),
            tuple(member.k for member in saved.members),
            tuple(saved.accuracies.get(member.name) for member in saved.members),
            saved.schedule,
            saved.threshold,
            None if saved.scale is None else load_scale(saved.scale),
        )

    def ballots(
        self,
        votes: Sequence[Sequence[int | None]],
        evidence: Sequence[Sequence[Evidence | None]] = (),
    ) -> list[Ballot]:
        """Return the ballots of a question, of members in pool order."""
        return [
            Ballot(
                name,
                tuple(votes[at]),
                self.accuracies[at],
                self.k[at],
                any_of(evidence[at]) if evidence else (),
            )
            for at, name in enumerate(self.members)
        ]

    def decide(self, record: Record) -> tuple[list[Poll], int]:
        """Decide each recorded question, and return how many have too few draws for that.

        Each member's first k draws are taken, and of them those that the schedule makes.

        Raises:
            ConfigurationError: the record lacks a member, draws, evidence or the field that the
                rule reads; or the schedule is "hedged".
            DataError: no question has enough draws of all members.
        """
        if self.schedule == "hedged":
            raise ConfigurationError(
                "Under schedule='hedged', which draws are made depends on which come first, and a "
                "bank does not say that: use schedule='full' or 'frugal' where drift is watched."
            )
        where = _positions(record, self.members, self.k)
        rows = np.flatnonzero((record.drawn()[:, where] >= np.array(self.k)).all(axis=1))
        if not len(rows):
            raise DataError(
                f"{record.source} has no question with "
                f"{draws_text(zip(self.members, self.k, strict=True))} draws."
            )
        _check_reads(self.rule, record)
        if not reads_evidence(self.rule):
            record = replace(record, evidence={})
        return [self._poll(record, int(row), where) for row in rows], len(record.votes) - len(rows)

    def _poll(self, record: Record, row: int, where: Sequence[int]) -> Poll:
        votes = [
            [None if vote < 0 else int(vote) for vote in record.votes[row, at, :k]]
            for at, k in zip(where, self.k, strict=True)
        ]
        evidence = [
            [_evidence(record.evidence, row, at, draw) for draw in range(k)]
            for at, k in zip(where, self.k, strict=True)
        ]
        inputs = {name: values[row] for name, values in record.fields.items()}
        made = self._made(rule_for(self.rule, inputs), self.ballots(votes, evidence))
        choice = decide(self.rule, self.scale, made, inputs)
        return Poll(
            tuple(ballot.votes for ballot in made),
            None if choice is None else choice.answer,
            0.0 if choice is None else choice.confidence,
            None if choice is None else choice.ballot,
        )

    def _made(self, rule: Rule, every: Sequence[Ballot]) -> list[Ballot]:
        """Return the ballots of the draws that the schedule makes."""
        if self.schedule == "full":
            return list(every)
        if not isinstance(rule, Frugal):
            raise ConfigurationError(
                f"The rule {rule.name!r} has no method wants(ballots), which schedule='frugal' "
                "needs."
            )
        drawn = [0] * len(every)
        while True:
            made = [_first(ballot, count) for ballot, count in zip(every, drawn, strict=True)]
            wanted = draws_wanted(rule, made, self.threshold)
            if not wanted:
                return made
            for at, count in wanted:
                drawn[at] += count


def _first(ballot: Ballot, count: int) -> Ballot:
    """Return a ballot as it is after its first draws."""
    return replace(ballot, votes=ballot.votes[:count], evidence=ballot.evidence[:count])


def _evidence(figures: Mapping[str, np.ndarray], row: int, at: int, draw: int) -> Evidence | None:
    known = {
        name: float(values[row, at, draw])
        for name, values in figures.items()
        if not np.isnan(values[row, at, draw])
    }
    return Evidence(**known) if known else None  # type: ignore[arg-type]


def _positions(record: Record, members: Sequence[str], k: Sequence[int]) -> list[int]:
    """Return where the members are in a record that has enough draws of each."""
    if not set(members) <= set(record.members):
        raise ConfigurationError(
            f"The verdicts are of the members {', '.join(members)}, and {record.source} has "
            f"{', '.join(record.members)}: compare them with a bank of the same members."
        )
    where = [record.members.index(name) for name in members]
    most = record.drawn()[:, where].max(axis=0, initial=0)
    for name, draws, recorded in zip(members, k, most, strict=True):
        if recorded < draws:
            raise ConfigurationError(
                f"The verdicts are of k={draws} draws of {name!r}, and {record.source} has at most "
                f"{recorded} for a question: collect more, or use a mux of a smaller k."
            )
    return where


def _check_reads(rule: Rule, record: Record) -> None:
    """Raise ConfigurationError where the record lacks what the rule reads beside votes."""
    if reads_evidence(rule) and not record.evidence:
        raise ConfigurationError(
            f"The rule {rule.name!r} reads log-probabilities, and {record.source} has none: "
            "collect with logprobs."
        )
    for context in contexts_of(rule):
        record.field(context)


def contexts_of(rule: Rule) -> set[str]:
    """Return the inputs that a fitted rule weighs by."""
    parts = [stage.rule for stage in rule.stages] if isinstance(rule, EarlyStopping) else [rule]
    fitted = (part for part in parts if isinstance(part, Calibrated))
    return {part.context for part in fitted if part.context is not None}
