"""Decide recorded questions by a rule: fitted on a training part, if it needs that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..voting.ballot import reads_evidence
from ..voting.calibration import Training, fit
from ..voting.frugal import frugal_draws
from ..voting.probability import Probability
from ..voting.probability_fit import fit_probability
from ..voting.rules import RULES, SelfConsistencyRule, VotingRule, deciding_rule
from ..voting.tally import Floats, Ints, Picks, Tally
from .contexts import Contexts, with_contexts
from .grading import graded
from .splits import Split

RULE_NAMES = ("self_consistency", "pooled", "consistency", "probability", "calibrated")


@dataclass(frozen=True)
class Decisions:
    """What a rule decided on a test part.

    Attributes:
        full, frugal: draws [Q, M] under either schedule.
        evidence: whether the rule, as fitted, reads the draws' evidence.
        learns: whether the rule is one that calibrates its own confidence, given enough labels.
        calibrated: whether it did, so that the picks' confidences are chances of being right.
        decided_by: the rule that decided, which may stand in for the named one.
    """

    picks: Picks
    full: Ints
    frugal: Ints
    evidence: bool
    learns: bool = False
    calibrated: bool = False
    decided_by: str = ""


def rules_for(record: Record) -> tuple[str, ...]:
    """Return the rules that can be replayed: `probability` where draws have log-probabilities."""
    return tuple(name for name in RULE_NAMES if name != "probability" or has_logprobs(record))


def check_rule(rule: str, members: Sequence[str]) -> None:
    """Raise ConfigurationError unless `rule` is a name that `replay` takes."""
    name, _, member = rule.partition(":")
    if name not in RULE_NAMES or (member and name != "self_consistency"):
        raise ConfigurationError(
            f"There is no rule {rule!r} to replay: choose one of {', '.join(RULE_NAMES)}."
        )
    if member and member not in members:
        raise ConfigurationError(f"The rule {rule!r} names no member of {', '.join(members)}.")


def check_evidence(rule: str, record: Record) -> None:
    """Raise ConfigurationError if `rule` needs evidence that no draw has."""
    if rule == "probability" and not has_logprobs(record):
        raise ConfigurationError(
            f"The rule 'probability' needs the log-probabilities of answers, and {record.source} "
            "has none of these draws: collect with logprobs, or import them as answer_logprob or "
            "token_logprobs."
        )


def picks_on(
    record: Record,
    rule: str,
    split: Split,
    *,
    context: str | None = None,
    threshold: float | None = None,
) -> Picks:
    """Decide the test part of a split by all draws, with the rule fitted on its training part.

    Raises:
        ConfigurationError: an unknown rule or field, or the draws lack what the rule reads.
    """
    check_rule(rule, record.members)
    check_evidence(rule, record)
    record, correct = graded(record, threshold)
    tally = record.tally()
    contexts = Contexts.of(record, context)
    training = Training(
        tally.rows(split.train), record.scores[split.train], record.members, threshold=correct
    )
    training = with_contexts(training, contexts, split.train)
    asked = None if contexts is None else contexts.at(split.test)
    return decide(rule, training, tally.rows(split.test), asked).picks


def decide(
    rule: str, training: Training, test: Tally, contexts: Sequence[str] | None = None
) -> Decisions:
    """Decide the test part by what the training part shows.

    Args:
        contexts: categories or texts of the test part's questions, for the calibrated rule.
    """
    full = np.broadcast_to(test.k, test.shape[:2])
    if rule == "calibrated":
        fitted = fit(training)
        picks = fitted.pick(test, contexts)
        # Where a simple rule decides instead, drawing stops where that rule stops. Draws that
        # `calibrated` saves near the end are not counted as saved.
        frugal = full
        if fitted.instead is not None:
            voting = deciding_rule(fitted.instead)
            order = voting.order_of(training.members, list(fitted.accuracies))
            frugal = frugal_draws(voting, test, order)
        return Decisions(
            picks,
            full,
            frugal,
            reads_evidence(fitted),
            True,
            fitted.calibrates,
            fitted.decided_by,
        )
    voting = fit_probability(training) if rule == "probability" else voting_rule(rule)
    order = voting.order_of(training.members, list(measured(training)))
    frugal = frugal_draws(voting, test, order)
    if isinstance(voting, SelfConsistencyRule):
        full = frugal
    learns = isinstance(voting, Probability)
    return Decisions(
        voting.pick(test, order),
        full,
        frugal,
        reads_evidence(voting),
        learns,
        isinstance(voting, Probability) and voting.calibrates,
        voting.name,
    )


def pooled_shares(
    parts: Sequence[tuple[Mapping[str, float] | None, int]],
) -> dict[str, float] | None:
    """Return the mean of shares by name, largest first, each part weighed by its count.

    None where no part has any.
    """
    known = [(shares, count) for shares, count in parts if shares is not None]
    if not known:
        return None
    totals: dict[str, float] = {}
    for shares, count in known:
        for name, share in shares.items():
            totals[name] = totals.get(name, 0.0) + share * count
    whole = sum(count for _, count in known)
    ranked = sorted(totals.items(), key=lambda item: -item[1])
    return {name: total / whole for name, total in ranked}


def measured(training: Training) -> Floats:
    """Return each member's mean score of its plurality answers [M]; 0 without questions."""
    if not len(training.scores):
        return np.zeros(len(training.members))
    accuracies: Floats = training.tally.plurality_scores(training.scores).mean(axis=0)
    return accuracies


def picks_of(
    rule: str, votes: Tally, accuracies: Sequence[float | None] | Floats, members: Sequence[str]
) -> Picks:
    """Decide by a rule that needs no fitting."""
    voting = voting_rule(rule)
    return voting.pick(votes, voting.order_of(members, list(accuracies)))


def voting_rule(rule: str) -> VotingRule | Probability:
    """Return the rule for a name that `check_rule` admits; it needs no fitting."""
    name, _, member = rule.partition(":")
    return SelfConsistencyRule(member) if member else RULES[name]()


def has_logprobs(record: Record) -> bool:
    """Return whether a draw has a log-probability."""
    return not record.evidence.keys().isdisjoint(("answer_logprob", "text_logprob"))
