"""Fit a setting on labelled draws: its members' accuracies, its rule, what its confidence means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..bank.record import Record
from ..mux.saved import Schedule
from ..replay.contexts import Contexts, with_contexts
from ..replay.held_out import fit_rule_scale
from ..replay.live import Policy
from ..replay.splits import Split
from ..voting.ballot import Rule
from ..voting.calibration import Training, fit
from ..voting.early_stopping import fit_early_stopping
from ..voting.probability_fit import fit_probability
from ..voting.rules import rule_of
from ..voting.tally import Tally
from .options import ChoiceOptions
from .plan import CALIBRATED, PROBABILITY, Recorded
from .tuned import Setting

#: Rules that are fitted on labels, and calibrate their own confidence.
LEARNING = (CALIBRATED, PROBABILITY)


def fit_setting(
    best: Setting,
    part: Record,
    options: ChoiceOptions,
    *,
    bound: float | None = None,
    schedule: Schedule = "full",
) -> Policy:
    """Fit a setting on `part`, which holds the draws of its members alone, as many as it makes."""
    tally = part.tally()
    scale = None
    if best.rule not in LEARNING:
        scale = fit_rule_scale(best.rule, _training(part, tally, options))
    return Policy(
        fitted_rule(best, part, tally, options, bound),
        part.members,
        (best.k,) * len(part.members),
        _floats(tally.plurality_scores(part.scores).mean(axis=0)),
        schedule,
        scale=scale,
    )


def fit_best(
    best: Setting,
    draws: Recorded,
    splits: Sequence[Split] | None,
    options: ChoiceOptions,
    *,
    bound: float | None = None,
    schedule: Schedule = "full",
) -> Policy:
    """Fit a study's setting on the questions that chose it.

    Args:
        splits: those of the study. Of a single one, the training part chose; else all questions.
    """
    draws, correct = draws.graded(options.threshold)
    part = draws.of(best.plan)
    if splits is not None and len(splits) == 1:
        part = part.rows(splits[0].train)
    return fit_setting(
        best,
        part.of(best.members, None)[0],
        replace(options, threshold=correct),
        bound=bound,
        schedule=schedule,
    )


def fitted_rule(
    best: Setting, part: Record, tally: Tally, options: ChoiceOptions, bound: float | None
) -> Rule:
    """Return the rule of a setting, fitted on `part` if it is one that learns."""
    if best.rule not in LEARNING:
        return rule_of(best.rule)
    contexts = Contexts.of(part, options.context)
    training = with_contexts(_training(part, tally, options), contexts, range(len(part.questions)))
    if best.rule == PROBABILITY:
        return fit_probability(training)
    return fit_early_stopping(training, bound) if bound else fit(training)


def _training(part: Record, tally: Tally, options: ChoiceOptions) -> Training:
    return Training(tally, part.scores, part.members, threshold=options.correct)


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
