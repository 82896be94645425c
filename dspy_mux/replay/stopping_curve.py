"""Accuracy against calls of the early-stopping rule, from recorded draws: one point per bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..bank.record import Record
from ..voting.calibration import Training
from ..voting.early_stopping import at_bound, fit_orders
from ..voting.tally import Floats
from .contexts import Contexts, with_contexts
from .intervals import bootstrap, bootstrap_difference
from .replay import calls_of
from .resample import redrawn
from .splits import Split, holdout

BOUNDS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)


@dataclass(frozen=True)
class StoppingPoint:
    """The early-stopping rule at one bound, over the test parts; accuracies are fractions.

    Attributes:
        low, high: 95 % interval of the accuracy over questions.
        loss: accuracy of all draws minus this one, on the same questions and draws.
        loss_low, loss_high: its 95 % interval.
        calls_per_question: LM calls, as recorded; a draw whose calls are unknown counts as one.
        saved: share of the calls of all draws that are not made.
    """

    bound: float
    accuracy: float
    low: float
    high: float
    loss: float
    loss_low: float
    loss_high: float
    calls_per_question: float
    saved: float
    questions: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def stopping_curve(
    record: Record,
    *,
    k: int | None = None,
    bounds: Sequence[float] = BOUNDS,
    splits: Sequence[Split] | None = None,
    context: str | None = None,
    threshold: float = 1.0,
    seed: int = 0,
) -> list[StoppingPoint]:
    """Fit the rule on each split's training part and score it on the test part, at each bound.

    Args:
        record: the draws, already cut to the members (`Record.of`).
        k: draws per member; with more recorded, each split takes a random k of them.
        bounds: on the chance that a further draw changes the answer; 0, which makes all draws, is
            always added.
        splits: None for 10 random halves.
        context: a field of the questions that the rule may use, or "auto", as for `replay`.
        threshold: the score from which an answer counts as correct.
        seed: of the choice of draws.

    Raises:
        ConfigurationError: a bound outside 0 to 1, or k above what is recorded.
    """
    wanted = sorted({0.0, *bounds})
    k = record.votes.shape[2] if k is None else k
    questions = len(record.questions)
    splits = list(splits) if splits is not None else holdout(questions, repeats=10, seed=seed)
    scored = np.zeros((len(wanted), questions))
    times, calls = np.zeros(questions), np.zeros(len(wanted))
    contexts = Contexts.of(record, context)
    random = np.random.default_rng(seed)
    for split in splits:
        drawn = redrawn(record, k, random)
        training = Training(
            drawn.tally().rows(split.train),
            drawn.scores[split.train],
            record.members,
            threshold=threshold,
            seed=seed,
        )
        training = with_contexts(training, contexts, split.train)
        asked = None if contexts is None else contexts.at(split.test)
        scores, made = _tested(training, drawn.rows(split.test), asked, wanted)
        times[split.test] += 1
        scored[:, split.test] += scores
        calls += made / len(splits)
    tested = np.flatnonzero(times)
    means = scored[:, tested] / times[tested]
    return [
        _point(bound, means[at], means[0], float(calls[at]), float(calls[0]), seed)
        for at, bound in enumerate(wanted)
    ]


def _tested(
    training: Training, test: Record, contexts: Sequence[str] | None, bounds: Sequence[float]
) -> tuple[Floats, Floats]:
    """Return each bound's scores [B, Q] and mean calls [B] on a test part."""
    fits, tally = fit_orders(training), test.tally()
    scores, calls = [], []
    for bound in bounds:
        picks, made = at_bound(fits, bound, training).pick(tally, contexts)
        scores.append(picks.scores(test.scores))
        calls.append(calls_of(made, test.calls))
    return np.array(scores), np.array(calls)


def _point(
    bound: float, scores: Floats, full: Floats, calls: float, all_calls: float, seed: int
) -> StoppingPoint:
    low, high = bootstrap(scores, seed=seed)
    # All draws lose nothing against themselves, whatever the questions.
    loss_low, loss_high = bootstrap_difference(full - scores, seed=seed) if bound else (0.0, 0.0)
    return StoppingPoint(
        bound=bound,
        accuracy=float(scores.mean()),
        low=low,
        high=high,
        loss=float((full - scores).mean()),
        loss_low=loss_low,
        loss_high=loss_high,
        calls_per_question=calls,
        saved=1 - calls / all_calls,
        questions=len(scores),
    )
