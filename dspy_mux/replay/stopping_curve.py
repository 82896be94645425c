"""Accuracy against calls of the early-stopping rule, from recorded draws: one point per bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..bank.record import Record
from ..progress import counted
from ..voting.calibration import Training
from ..voting.early_stopping import at_bound, fit_orders
from ..voting.tally import Floats
from .contexts import Contexts, with_contexts
from .grading import graded
from .intervals import difference_interval, mean_interval, wilson
from .replay import calls_of
from .resample import redrawn
from .splits import Split, holdout

BOUNDS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)


@dataclass(frozen=True)
class StoppingPoint:
    """The early-stopping rule at one bound, over the test parts; accuracies are fractions.

    Attributes:
        bound: of the answers of questions that stop early, the share that may differ from those of
            all draws.
        stopped: share of the questions that stop early.
        changed: of their answers, the share that does differ; None where none stops.
        changed_low, changed_high: its 95 % interval, Wilson's over the questions that stop in some
            test part, which is too wide rather than too narrow.
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
    stopped: float
    changed: float | None
    changed_low: float | None
    changed_high: float | None

    def as_dict(self) -> dict[str, float | None]:
        return asdict(self)


def stopping_curve(
    record: Record,
    *,
    k: int | None = None,
    bounds: Sequence[float] = BOUNDS,
    splits: Sequence[Split] | None = None,
    context: str | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> list[StoppingPoint]:
    """Fit the rule on each split's training part and score it on the test part, at each bound.

    Args:
        record: the draws, already cut to the members (`Record.of`).
        k: draws per member; with more recorded, each split takes a random k of them.
        bounds: of the answers of questions that stop early, the share that may differ from those
            of all draws; 0, which makes all draws, is always added.
        splits: None for 10 random halves.
        context: a field of the questions that the rule may use, or "auto", as for `replay`.
        threshold: the score from which an answer counts as correct; None for 1, which refuses
            scores outside 0 to 1 (`grading.py`).
        seed: of the choice of draws.

    Raises:
        ConfigurationError: a bound outside 0 to 1, k above what is recorded, or scores outside 0
            to 1 without a threshold.
    """
    record, correct = graded(record, threshold)
    wanted = sorted({0.0, *bounds})
    k = record.votes.shape[2] if k is None else k
    questions = len(record.questions)
    splits = list(splits) if splits is not None else holdout(questions, repeats=10, seed=seed)
    scored, stopped, changed = (np.zeros((len(wanted), questions)) for _ in range(3))
    times, calls = np.zeros(questions), np.zeros(len(wanted))
    contexts = Contexts.of(record, context)
    random = np.random.default_rng(seed)
    for split in counted(splits, "splits"):
        drawn = redrawn(record, k, random)
        training = Training(
            drawn.tally().rows(split.train),
            drawn.scores[split.train],
            record.members,
            threshold=correct,
            seed=seed,
        )
        training = with_contexts(training, contexts, split.train)
        asked = None if contexts is None else contexts.at(split.test)
        found = _tested(training, drawn.rows(split.test), asked, wanted)
        times[split.test] += 1
        scored[:, split.test] += found.scores
        stopped[:, split.test] += found.stopped
        changed[:, split.test] += found.changed
        calls += found.calls / len(splits)
    tested = np.flatnonzero(times)
    means = scored[:, tested] / times[tested]
    return [
        _point(
            bound,
            means[at],
            means[0],
            (float(calls[at]), float(calls[0])),
            _Early(stopped[at], changed[at], times.sum()),
        )
        for at, bound in enumerate(wanted)
    ]


@dataclass(frozen=True)
class _Found:
    """At each bound, on a test part: scores, stopped early, changed [B, Q], and mean calls [B]."""

    scores: Floats
    stopped: Floats
    changed: Floats
    calls: Floats


@dataclass(frozen=True)
class _Early:
    """How often each question stopped early, and how often that changed its answer, both [Q].

    Attributes:
        times: tests of all questions.
    """

    stopped: Floats
    changed: Floats
    times: float

    def share(self) -> tuple[float | None, float | None, float | None]:
        """Return the share of early answers that changed, with its 95 % interval."""
        early = float(self.stopped.sum())
        if not early:
            return None, None, None
        share = float(self.changed.sum()) / early
        return share, *wilson(share, int((self.stopped > 0).sum()))


def _tested(
    training: Training, test: Record, contexts: Sequence[str] | None, bounds: Sequence[float]
) -> _Found:
    """Decide a test part at each bound, by the rule fitted on a training part."""
    fits, tally = fit_orders(training), test.tally()
    scores, stopped, changed, calls = [], [], [], []
    for bound in bounds:
        rule = at_bound(fits, bound)
        picks, made = rule.pick(tally, contexts)
        final, _ = replace(rule, bound=0.0).pick(tally, contexts)
        early = made.sum(axis=1) < len(rule.order)
        scores.append(picks.scores(test.scores))
        stopped.append(early)
        changed.append(early & (tally.answers(picks) != tally.answers(final)))
        calls.append(calls_of(made, test.calls))
    return _Found(np.array(scores), np.array(stopped), np.array(changed), np.array(calls))


def _point(
    bound: float, scores: Floats, full: Floats, calls: tuple[float, float], early: _Early
) -> StoppingPoint:
    low, high = mean_interval(scores)
    # All draws lose nothing against themselves, whatever the questions.
    loss_low, loss_high = difference_interval(full - scores) if bound else (0.0, 0.0)
    changed, changed_low, changed_high = early.share()
    return StoppingPoint(
        bound=bound,
        accuracy=float(scores.mean()),
        low=low,
        high=high,
        loss=float((full - scores).mean()),
        loss_low=loss_low,
        loss_high=loss_high,
        calls_per_question=calls[0],
        saved=1 - calls[0] / calls[1],
        questions=len(scores),
        stopped=float(early.stopped.sum()) / early.times,
        changed=changed,
        changed_low=changed_low,
        changed_high=changed_high,
    )
