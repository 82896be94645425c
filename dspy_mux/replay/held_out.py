"""Confidences of a rule on questions that neither it nor its scale was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bank.record import Record
from ..voting.calibration import Training
from ..voting.confidence import LEAST_ANSWERS, RuleScale, fit_scale, of_draws_made
from ..voting.probability_sums import first_draws
from ..voting.tally import Floats, Ints, Tally
from .contexts import Contexts, with_contexts
from .decisions import Decisions, check_evidence, check_rule, decide
from .grading import graded
from .splits import Split, folds

_FOLDS = 5
#: Simple rules whose confidence counts draws that the frugal schedule spares.
SPARED = ("pooled",)


@dataclass(frozen=True)
class HeldOut:
    """What a rule said of questions it had not seen, and whether it was right; all of shape [N].

    Attributes:
        question: positions in the record; one that several splits test has several entries.
        confidence: the chance that the answer is right where `calibrated`, else the raw
            confidence; 0 without an answer.
        right: 1 where the winning draw reaches the threshold; 0 for a wrong answer, and for none.
        answered: whether there is an answer.
        calibrated: whether the confidences were calibrated, on every split.
    """

    question: Ints
    confidence: Floats
    right: Floats
    answered: NDArray[np.bool_]
    calibrated: bool

    @classmethod
    def of(
        cls, rule: str, training: Training, made: Decisions, questions: Ints, scores: Floats
    ) -> HeldOut:
        """Return what was decided of a test part.

        Args:
            questions: [N], their positions in the record.
            scores: of their draws [N, M, K].
        """
        confidence, calibrated = confidences(rule, training, made)
        answered = made.picks.member >= 0
        right = (made.picks.scores(scores) >= training.threshold) & answered
        return cls(questions, confidence, right.astype(float), answered, calibrated)

    @classmethod
    def joined(cls, parts: Sequence[HeldOut]) -> HeldOut:
        """Return several parts, one or more, as one."""
        return cls(
            np.concatenate([part.question for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.right for part in parts]),
            np.concatenate([part.answered for part in parts]),
            all(part.calibrated for part in parts),
        )


def held_out(
    record: Record,
    rule: str,
    splits: Sequence[Split],
    *,
    context: str | None = None,
    threshold: float | None = None,
) -> HeldOut:
    """Decide each split's test part by all draws, with all that is fitted on its training part.

    With `folds` for splits, every question of the record is decided once, out of fold.

    Raises:
        ConfigurationError: an unknown rule or field, or the draws lack what the rule reads.
    """
    record, correct = graded(record, threshold)
    check_rule(rule, record.members)
    check_evidence(rule, record)
    tally, contexts = record.tally(), Contexts.of(record, context)
    parts = []
    for split in splits:
        training = Training(
            tally.rows(split.train), record.scores[split.train], record.members, threshold=correct
        )
        training = with_contexts(training, contexts, split.train)
        asked = None if contexts is None else contexts.at(split.test)
        made = decide(rule, training, tally.rows(split.test), asked)
        parts.append(HeldOut.of(rule, training, made, split.test, record.scores[split.test]))
    return HeldOut.joined(parts)


def confidences(rule: str, training: Training, made: Decisions) -> tuple[Floats, bool]:
    """Return the confidences of decisions, and whether they are calibrated.

    A rule that is fitted on labels calibrates its own; the others' are brought to a scale that is
    fitted on `training`, out of fold.
    """
    raw = made.picks.confidence
    if made.calibrated:
        return raw, True
    fitted = None if made.learns else fit_rule_scale(rule, training)
    if fitted is None:
        return raw, False
    return np.where(made.picks.member >= 0, fitted.every.of(raw), 0.0), True


def fit_rule_scale(rule: str, training: Training) -> RuleScale | None:
    """Fit the scale of a rule that does not calibrate its own confidence; None with few labels.

    The members' accuracies, by which it prefers among equals, are those of the other folds. Spared
    draws are those of the frugal schedule, played out on the recorded ones.
    """
    count = len(training.scores)
    if count < LEAST_ANSWERS:
        return None
    raw, right, answered = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    early, made = np.zeros(count), np.ones(count)
    for fold in folds(count, count=_FOLDS, seed=training.seed):
        part, test = _rows(training, fold.train), training.tally.rows(fold.test)
        decided = decide(rule, part, test)
        picks, total = decided.picks, int(test.k.sum())
        raw[fold.test], answered[fold.test] = picks.confidence, picks.member >= 0
        right[fold.test] = picks.scores(training.correct[fold.test])
        if rule in SPARED:
            shorter = decide(rule, part, first_draws(test, decided.frugal)).picks
            early[fold.test] = shorter.confidence
            made[fold.test] = decided.frugal.sum(axis=1) / total
    every = fit_scale(raw[answered], right[answered])
    stopped = answered & (made < 1)
    return (
        None
        if every is None
        else RuleScale(
            rule.partition(":")[0],
            tuple(training.members),
            tuple(int(k) for k in training.tally.k),
            every,
            fit_scale(of_draws_made(early, made)[stopped], right[stopped]),
            stays=rule not in SPARED,
        )
    )


def _rows(training: Training, at: Ints) -> Training:
    tally: Tally = training.tally.rows(at)
    return Training(tally, training.scores[at], training.members, threshold=training.threshold)
