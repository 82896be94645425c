"""Replay a rule on recorded draws, without an LM call: accuracy, calls and cost over splits.

Any rule over any members at any k up to what was recorded. Accuracy is the mean metric of the
winning draws, as `dspy.Evaluate` gives it for the live mux on the same draws. Members' accuracies
and the calibrated rule come from each split's training part, the figures from its test part. A
record takes about 10 bytes a draw, and 24 more where it has what draws cost; a JSONL file takes
some 360 a draw while it is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypedDict

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..progress import counted
from ..voting.calibration import Training
from ..voting.tally import Floats, Ints
from .contexts import Contexts, with_contexts
from .decisions import check_evidence, check_rule, decide, pooled_shares
from .grading import graded
from .held_out import HeldOut
from .intervals import Estimate, difference_interval, mean_interval, standard_error
from .reliability import Reliability
from .resample import check_record, check_recorded, complete, draw_choices, take_draws, taken
from .splits import Split, holdout

#: Random choices of k draws that a result is the mean of, on one split with more than k recorded.
SPLIT_RESAMPLES = 20


@dataclass(frozen=True)
class Result:
    """A rule's figures over test questions; accuracies are fractions.

    Attributes:
        questions: distinct questions tested.
        left_out: questions that not every member answered k times.
        accuracy: mean score of the winning draws, over questions and repeats.
        stderr: its standard error over questions.
        ci95: its 95 % interval over questions (`intervals.mean_interval`).
        union_accuracy: share of questions on which some member's plurality answer scores
            `threshold` or more; where scores are 0 or 1, `consistency` is never above it.
        calls_per_question, frugal_calls_per_question: LM calls under the full schedule, and under
            the lossless short one; a draw whose calls are unknown counts as one.
        tokens_per_question, cost_per_question: under the full schedule; None where they are
            unknown for any draw that counts.
        wins: member → share of the questions that its answer was chosen for.
        tested: positions of the tested questions in the record.
        per_question: mean score of each of them over its repeats.
        evidence: whether the calibrated rule read the draws' evidence, in any repeat; None for
            another rule.
        evidence_share: share of the repeats in which it did. Each has a training part of its own,
            and cross-validation there decides.
        context: the field of the questions by which it weighed; None where it had none.
        reliability: how far the confidences can be trusted; None unless it was asked for.
        decided_by: rule → share of the repeats in which it decided, for the calibrated rule: where
            cross-validation finds no gain, a simple one does. None for another rule.
    """

    rule: str
    k: int
    members: tuple[str, ...]
    questions: int
    left_out: int
    accuracy: float
    stderr: float
    ci95: tuple[float, float]
    union_accuracy: float
    calls_per_question: float
    frugal_calls_per_question: float
    wins: dict[str, float]
    tokens_per_question: float | None
    cost_per_question: float | None
    threshold: float
    repeats: int
    tested: Ints
    per_question: Floats
    evidence: bool | None = None
    evidence_share: float | None = None
    context: str | None = None
    reliability: Reliability | None = None
    decided_by: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the per-question arrays."""
        plain = asdict(self)
        del plain["tested"], plain["per_question"], plain["reliability"]
        if self.reliability is not None:
            plain["reliability"] = self.reliability.as_dict()
        for name in ("evidence", "evidence_share", "context", "decided_by"):
            if plain[name] is None:
                del plain[name]
        return {**plain, "members": list(self.members), "ci95": list(self.ci95)}


def replay(  # noqa: PLR0913  (public: all but the first two are options)
    record: Record,
    rule: str,
    *,
    splits: Sequence[Split] | None = None,
    k: int | None = None,
    left_out: int = 0,
    context: str | None = None,
    threshold: float | None = None,
    seed: int = 0,
    reliability: bool = False,
) -> Result:
    """Score `rule` over all members of `record`.

    Args:
        record: the draws, already cut to the members (`Record.of`), in pool order. Questions of
            which one lacks draws are left out.
        rule: "consistency", "pooled", "probability", "calibrated", "self_consistency" for the
            member most accurate on each training part, or "self_consistency:NAME".
        splits: from `dspy_mux.replay`, over the record's questions; None for 20 random halves.
        k: draws per member; with more recorded, each repeat takes a random k of them.
        left_out: questions already left out, for the result to show.
        context: a field of the questions, such as a category, that the calibrated rule may use;
            "auto" for their text ("auto:FIELD" where its field has another name than `question`).
        threshold: the score from which an answer counts as correct; None for 1, which refuses
            scores outside 0 to 1 (`grading.py`).
        seed: of the choice of draws.
        reliability: also measure the confidences, calibrated on each training part.

    Raises:
        ConfigurationError: not a record, an unknown rule or field, k above what is recorded, the
            rule `probability` for draws without log-probabilities, or scores outside 0 to 1
            without a threshold.

    >>> import numpy as np
    >>> from dspy_mux import Record, replay
    >>> votes = np.array([[[0, 0], [1, 2]], [[3, 1], [1, 1]]])  # question, member, draw
    >>> record = Record(("a", "b"), ("q1", "q2"), votes, (votes < 2).astype(float), {})
    >>> replay(record, "consistency").accuracy
    1.0
    """
    check_record(record)
    record, lacking = complete(record, splits, k=k)
    record, correct = graded(record, threshold)
    k = record.votes.shape[2] if k is None else k
    check_rule(rule, record.members)
    check_evidence(rule, record)
    contexts = Contexts.of(record, context) if rule == "calibrated" else None
    splits = list(splits) if splits is not None else holdout(len(record.questions), seed=seed)
    work = _Replay(record, rule, k, contexts, correct, seed, reliability)
    result = work.result(splits, left_out + lacking)
    return result if threshold is None else dataclasses.replace(result, threshold=threshold)


def compare(one: Result, other: Result) -> Estimate:
    """Estimate the paired difference `one` − `other`.

    Raises:
        ConfigurationError: the two were tested on different questions.
    """
    if not np.array_equal(one.tested, other.tested):
        raise ConfigurationError(
            "Two results can only be compared on the same questions: "
            "replay both with the same splits."
        )
    differences = one.per_question - other.per_question
    low, high = difference_interval(differences)
    return Estimate(
        one.accuracy - other.accuracy, low, high, len(differences), standard_error(differences)
    )


def pooled_results(results: Sequence[Result]) -> Result:
    """Pool results over several splits: a question's score is its mean over the splits testing it.

    Members, and what depends on them, are the last result's; every split may have had its own.
    """
    scores = _QuestionScores(max(int(result.tested.max()) for result in results) + 1)
    for result in results:
        scores.add(result.tested, result.per_question)
    tested, per_question = scores.means()
    costs = [
        np.nan if result.cost_per_question is None else result.cost_per_question
        for result in results
    ]
    shares = [result.evidence_share for result in results if result.evidence_share is not None]
    repeats, last = [result.repeats for result in results], results[-1]
    return dataclasses.replace(
        last,
        questions=len(tested),
        accuracy=_mean([result.accuracy for result in results]),
        stderr=standard_error(per_question),
        ci95=mean_interval(per_question),
        union_accuracy=_mean([result.union_accuracy for result in results]),
        calls_per_question=_mean([result.calls_per_question for result in results]),
        frugal_calls_per_question=_mean([result.frugal_calls_per_question for result in results]),
        cost_per_question=_known(_mean(costs)),
        repeats=sum(repeats),
        tested=tested,
        per_question=per_question,
        reliability=None,
        evidence=any(shares) if shares else None,
        decided_by=pooled_shares([(each.decided_by, each.repeats) for each in results]),
        evidence_share=float(np.average(shares, weights=repeats)) if shares else None,
    )


def calls_of(draws: Ints, each: Floats | None) -> float:
    """Return the mean LM calls per question of the first `draws` [Q, M] draws of each member.

    Args:
        each: calls of each draw [Q, M, K]; NaN, or None for all, counts as one.
    """
    if each is None:
        return float(draws.sum(axis=1).mean())
    return _spent(draws, np.where(np.isnan(each), 1.0, each))


def _spent(draws: Ints, each: Floats | None) -> float:
    """Return the mean per question of `each` over the first `draws` draws; NaN where any is NaN."""
    if each is None:
        return float("nan")
    return float(
        np.where(np.arange(each.shape[2]) < draws[..., None], each, 0.0).sum(axis=(1, 2)).mean()
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


class _QuestionScores:
    """Scores of questions, summed over the repeats that tested them."""

    def __init__(self, questions: int):
        self._total, self._times = np.zeros(questions), np.zeros(questions)

    def add(self, tested: Ints, scores: Floats) -> None:
        self._total[tested] += scores
        self._times[tested] += 1

    def means(self) -> tuple[Ints, Floats]:
        """Return the questions tested, and the mean score of each."""
        tested = np.flatnonzero(self._times)
        return tested, self._total[tested] / self._times[tested]


@dataclass(frozen=True)
class _Repeat:
    """One repeat: the scores of its test questions, and figures that are means over them."""

    scores: Floats
    wins: Floats
    union: float
    calls: float
    frugal: float
    tokens: float
    cost: float
    evidence: bool
    held: HeldOut | None
    decided_by: str


class _Learned(TypedDict, total=False):
    evidence: bool
    evidence_share: float
    context: str | None
    decided_by: dict[str, float] | None


@dataclass(frozen=True)
class _Replay:
    """A rule and the draws that it is replayed on.

    Attributes:
        contexts: what the calibrated rule knows of the questions.
    """

    record: Record
    rule: str
    k: int
    contexts: Contexts | None
    threshold: float
    seed: int
    reliability: bool

    @cached_property
    def prices(self) -> Floats | None:
        return self.record.prices()

    def result(self, splits: Sequence[Split], left_out: int) -> Result:
        members = self.record.members
        scores, repeats = _QuestionScores(len(self.record.questions)), []
        several = len(splits) if len(splits) > 1 else None
        for split, draws in counted(self._choices(splits), "repeats", several):
            repeats.append(self._repeat(split, draws))
            scores.add(split.test, repeats[-1].scores)
        tested, per_question = scores.means()
        wins = np.mean([each.wins for each in repeats], axis=0)
        return Result(
            rule=self.rule,
            k=self.k,
            members=members,
            questions=len(tested),
            left_out=left_out,
            accuracy=_mean([float(each.scores.mean()) for each in repeats]),
            stderr=standard_error(per_question),
            ci95=mean_interval(per_question),
            union_accuracy=_mean([each.union for each in repeats]),
            calls_per_question=_mean([each.calls for each in repeats]),
            frugal_calls_per_question=_mean([each.frugal for each in repeats]),
            wins={name: float(share) for name, share in zip(members, wins, strict=True)},
            tokens_per_question=_known(_mean([each.tokens for each in repeats])),
            cost_per_question=_known(_mean([each.cost for each in repeats])),
            threshold=self.threshold,
            repeats=len(repeats),
            tested=tested,
            per_question=per_question,
            reliability=self._reliability(repeats),
            **self._learned(repeats),
        )

    def _reliability(self, repeats: Sequence[_Repeat]) -> Reliability | None:
        held = [each.held for each in repeats if each.held is not None]
        return Reliability.of(HeldOut.joined(held), seed=self.seed) if held else None

    def _learned(self, repeats: Sequence[_Repeat]) -> _Learned:
        """Return what the calibrated rule read."""
        if self.rule != "calibrated":
            return {}
        read = [each.evidence for each in repeats]
        return {
            "evidence": any(read),
            "evidence_share": _mean(read),
            "context": None if self.contexts is None else self.contexts.field,
            "decided_by": pooled_shares([({each.decided_by: 1.0}, 1) for each in repeats]),
        }

    def _choices(self, splits: Sequence[Split]) -> Iterator[tuple[Split, Ints | None]]:
        """Yield each repeat's split and choice of draws; None for all of them."""
        check_recorded(self.record, self.k)
        if self.k == self.record.votes.shape[2]:
            yield from ((split, None) for split in splits)
            return
        random = np.random.default_rng(self.seed)
        for split in splits if len(splits) > 1 else list(splits) * SPLIT_RESAMPLES:
            yield split, draw_choices(self.record, self.k, random)

    def _repeat(self, split: Split, draws: Ints | None) -> _Repeat:
        record = self.record
        tally, scores = taken(record, draws), take_draws(record.scores, draws)
        test, scored = tally.rows(split.test), scores[split.test]
        training = Training(
            tally.rows(split.train),
            scores[split.train],
            record.members,
            threshold=self.threshold,
        )
        training = with_contexts(training, self.contexts, split.train)
        asked = None if self.contexts is None else self.contexts.at(split.test)
        made = decide(self.rule, training, test, asked)
        picked = made.picks.member[made.picks.member >= 0]
        right = test.plurality_correct(scored, self.threshold)

        def spent(values: Floats | None) -> Floats | None:
            return None if values is None else take_draws(values, draws)[split.test]

        calls = spent(record.calls)
        return _Repeat(
            scores=made.picks.scores(scored),
            wins=np.bincount(picked, minlength=len(record.members)) / len(split.test),
            union=float(right.any(axis=1).mean()),
            calls=calls_of(made.full, calls),
            frugal=calls_of(made.frugal, calls),
            tokens=_spent(made.full, spent(record.tokens)),
            cost=_spent(made.full, spent(self.prices)),
            evidence=made.evidence,
            held=HeldOut.of(self.rule, training, made, split.test, scored)
            if self.reliability
            else None,
            decided_by=made.decided_by,
        )
