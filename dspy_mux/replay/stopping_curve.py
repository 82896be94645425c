"""What the budgeted rule's bound buys: accuracy against calls, from recorded draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..bank.record import Record
from ..voting.early_stopping import at_bound, fit_orders
from ..voting.tally import Floats, Tally
from .intervals import bootstrap
from .replay import calls_of
from .resample import redrawn
from .splits import Split, holdout

BOUNDS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)


@dataclass(frozen=True)
class Spending:
    """The budgeted rule at one bound, over the test parts; accuracies are fractions.

    Attributes:
        low, high: 95 % interval of the accuracy over questions.
        loss: accuracy of all draws minus this one, on the same questions and draws, with its 95 % interval.
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

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def spending(
    record: Record,
    *,
    k: int | None = None,
    bounds: Sequence[float] = BOUNDS,
    splits: Sequence[Split] | None = None,
    context: str | None = None,
    threshold: float = 1.0,
    seed: int = 0,
) -> list[Spending]:
    """One point a bound; the rule is fitted on each split's training part and scored on its test part.

    Args:
        record: the draws, already cut to the members (`Record.of`).
        k: draws per member; with more recorded, each split takes a random k of them.
        bounds: on the chance that a further draw changes the answer; 0 makes all draws, and is always told.

    Raises:
        ConfigurationError: a bound outside 0 to 1, or k above what is recorded.
    """
    wanted = sorted({0.0, *bounds})
    k = record.votes.shape[2] if k is None else k
    splits = (
        list(splits)
        if splits is not None
        else holdout(len(record.questions), repeats=10, seed=seed)
    )
    scored = np.zeros((len(wanted), len(record.questions)))
    times, spent = np.zeros(len(record.questions)), np.zeros(len(wanted))
    contexts = np.array(record.field(context)) if context is not None else None
    random = np.random.default_rng(seed)
    for split in splits:
        drawn = redrawn(record, k, random)
        votes, scores = drawn.votes, drawn.scores
        train, right = Tally(votes[split.train]), scores[split.train]
        known, asked = (
            None if contexts is None else contexts[part].tolist()
            for part in (split.train, split.test)
        )
        fits = fit_orders(
            train,
            right,
            members=record.members,
            contexts=known,
            context=context,
            threshold=threshold,
            seed=seed,
        )
        times[split.test] += 1
        for at, bound in enumerate(wanted):
            picks, made = at_bound(fits, bound, train, right, known).pick(
                Tally(votes[split.test]), asked
            )
            scored[at, split.test] += picks.scores(scores[split.test])
            spent[at] += calls_of(
                made, None if drawn.calls is None else drawn.calls[split.test]
            ) / len(splits)
    tested = np.flatnonzero(times)
    means = scored[:, tested] / times[tested]
    return [
        _point(bound, means[at], means[0], spent[at], spent[0], seed)
        for at, bound in enumerate(wanted)
    ]


def _point(
    bound: float, scores: Floats, full: Floats, calls: float, all_calls: float, seed: int
) -> Spending:
    low, high = bootstrap(scores, seed=seed)
    # All draws cost nothing against themselves, whatever the questions.
    loss_low, loss_high = bootstrap(full - scores, seed=seed, least=-1.0) if bound else (0.0, 0.0)
    return Spending(
        bound=bound,
        accuracy=float(scores.mean()),
        low=low,
        high=high,
        loss=float((full - scores).mean()),
        loss_low=loss_low,
        loss_high=loss_high,
        calls_per_question=float(calls),
        saved=float(1 - calls / all_calls),
        questions=len(scores),
    )
