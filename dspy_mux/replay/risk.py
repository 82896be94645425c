"""How much a rule can answer at a stated risk, measured on recorded draws without an LM call.

In each repeat the questions are split in three. The first part fits the rule and its confidence,
the second chooses the threshold (`threshold.py`), and the third chose nothing: coverage, risk and
all other figures are its. One member of the record may stand for a large model that the questions
below the threshold are escalated to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..progress import counted
from ..voting.tally import Floats, Ints
from .contexts import Contexts
from .decisions import check_evidence, check_rule
from .escalation import Escalated, EscalationPoint, mean_curve, share_needed
from .grading import graded
from .ranking import interval, resampled
from .resample import check_record, redrawn
from .risk_curve import RiskPoint, risk_curve
from .risk_repeats import Cut, Repeat, Work
from .splits import Split, holdout
from .sureness import brier_score, calibration_error, risk_area
from .threshold import Certified, Goal


@dataclass(frozen=True)
class Needed:
    """The share of a large model's calls that reaches an accuracy; NaN where no share does.

    Attributes:
        low, high: 95 % bootstrap interval over questions; infinite where a resample never does.
        random: the share that random escalation needs.
    """

    accuracy: float
    share: float
    low: float
    high: float
    random: float


@dataclass(frozen=True)
class EscalationFigures:
    """The pool with a large model for the questions below the threshold; all are fractions.

    Attributes:
        large: the member of the record that stands for the large model; one call of it counts as
            right as often as its draws are.
        share: questions that go to it. Without a threshold all of them do.
        accuracy: of the pool's answers above the threshold, and the large model's to the rest.
        accuracy_large: of the large model alone, on the same questions.
        curve: the accuracy against the share escalated, at any threshold.
        answers: of each repeat's test part.
        tested: positions of each test part's questions.
    """

    large: str
    share: float
    accuracy: float
    accuracy_large: float
    curve: Sequence[EscalationPoint]
    answers: Sequence[Escalated] = field(default=(), repr=False)
    tested: Sequence[Ints] = field(default=(), repr=False)

    def needed(self, part: float) -> Needed:
        """Return the share of calls that reaches this part of the large model's accuracy."""
        wanted = part * self.accuracy_large
        times = resampled(1 + max(int(at.max()) for at in self.tested))
        drawn = [
            answers.accuracies(times[:, at])
            for answers, at in zip(self.answers, self.tested, strict=True)
        ]
        curves, large = (np.mean([each[at] for each in drawn], axis=0) for at in (0, 1))
        shares = [
            share_needed(curve, part * alone) for curve, alone in zip(curves, large, strict=True)
        ]
        return Needed(
            wanted,
            share_needed([point.accuracy for point in self.curve], wanted),
            *interval(np.nan_to_num(shares, nan=np.inf)),
            share_needed([point.random for point in self.curve], wanted),
        )


@dataclass(frozen=True)
class Risk:
    """A rule's coverage at a stated risk; figures are fractions.

    `threshold`, `risk_upper`, `promised` and `accuracies` are the first repeat's, so that the
    promise belongs to the very threshold that is named; a threshold is of the confidence that a
    live mux with this rule and these accuracies has in its verdicts. All other figures are over the
    repeats, from the questions of each that chose nothing.

    Attributes:
        certified: the first repeat's threshold, and how it was found.
        accuracies: member → accuracy, by which the rule chose among members that are equally sure.
            Without them a mux chooses others: the promise is not of its answers.
        coverage: mean share of the questions answered; 0 in a repeat without a threshold.
        risk: share of wrong ones among the answered; NaN where none was.
        kept_share: share of the repeats in which no more than the stated risk of the answers was
            wrong; a repeat without a threshold answers nothing. It counts a few test questions,
            and the promise is of all questions to come, so that chance may put it below the
            confidence.
        promised_share: share of the repeats that had a threshold.
        ece, brier: expected calibration error in ten bins and Brier score of all answers' chances
            of being right, as the questions that fit calibrate the rule's confidence.
        aurc: area under the risk–coverage curve, by the rule's own confidence.
        n_fit, n_calibration, n_test: questions in the three parts of the first repeat.
        marked: share of the first repeat's test questions that reach the threshold; None without.
        curve: the risk at each coverage, with a band.
        escalation: None without a large model.
    """

    rule: str
    members: tuple[str, ...]
    k: int
    questions: int
    left_out: int
    repeats: int
    certified: Certified
    accuracies: Mapping[str, float]
    coverage: float
    risk: float
    kept_share: float
    promised_share: float
    ece: float
    brier: float
    aurc: float
    n_fit: int
    n_calibration: int
    n_test: int
    marked: float | None
    curve: Sequence[RiskPoint] = field(repr=False)
    escalation: EscalationFigures | None = field(default=None, repr=False)

    @property
    def threshold(self) -> float | None:
        """Answers of this confidence or more keep the promise; None where none is made."""
        return self.certified.threshold

    @property
    def risk_upper(self) -> float | None:
        """The share of wrong answers that is promised at most; None without a threshold."""
        return self.certified.risk_upper

    @property
    def promised(self) -> bool:
        """Whether a promise is made."""
        return self.threshold is not None

    @property
    def promise(self) -> str:
        """What is promised and under which assumption, or why nothing is, as a sentence.

        It says how many of the repeats found a threshold, where not all or none of them did.
        """
        found = round(self.promised_share * self.repeats)
        if found in (0, self.repeats):
            return self.certified.promise
        if not self.promised:
            how_often = f"{found} of {self.repeats} repeats found a threshold"
            return self.certified.promise_found(how_often)
        only = " only" if 2 * found < self.repeats else ""
        return self.certified.promise_found(f"found in {found} of {self.repeats} repeats{only}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                *("threshold", "coverage", "risk", "risk_upper", "promised", "kept_share"),
                *("promised_share", "ece", "brier", "aurc"),
                *("n_fit", "n_calibration", "n_test", "promise", "accuracies"),
            )
        }
        if self.escalation is not None:
            plain["escalated_share"] = self.escalation.share
            plain["accuracy"] = self.escalation.accuracy
            plain["accuracy_large_alone"] = self.escalation.accuracy_large
            plain["curve"] = [point.as_dict() for point in self.escalation.curve]
        return plain


def risk(  # noqa: PLR0913  (public: independent keyword arguments)
    record: Record,
    rule: str,
    *,
    max_risk: float = 0.05,
    confidence: float = 0.9,
    members: Sequence[str] | None = None,
    escalate: str | None = None,
    splits: Sequence[Split] | None = None,
    repeats: int = 20,
    k: int | None = None,
    context: str | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> Risk:
    """Find the threshold that answers most at a stated risk, and measure it on other questions.

    At most `max_risk` of the answers of that confidence or more are wrong, with probability
    `confidence`, if the questions to come are exchangeable with the record's.

    Args:
        record: the draws, of the pool and of the large model.
        rule: as for `replay`.
        members: the pool; None for all but the large model.
        escalate: the member that stands for the large model; None for none.
        splits: a split's training part fits the rule; half of its test part, at random, chooses the
            threshold, and the other half is reported. None for random halves.
        repeats: number of random halves, and how often the test part of a single split is halved.
        k: draws per member of the pool; with more recorded, each repeat takes a random k of them.
        context: a field of the questions that the calibrated rule may use, as for `replay`.
        threshold: the score from which an answer counts as correct.
        seed: of the splits and the choice of draws.

    Raises:
        ConfigurationError: not a record, an unknown rule, member or field, a risk or confidence
            outside 0 to 1, k above what is recorded, or too few questions to split.
        DataError: no question has draws of the pool and of the large model, or draws lack a score.

    >>> import numpy as np
    >>> from dspy_mux import Record, risk
    >>> votes = np.array([[[0, 0], [0, 0]], [[0, 1], [1, 2]]] * 200)  # question, member, draw
    >>> scores = np.where(votes == 0, 1.0, 0.0) * np.array([1, 0] * 200)[:, None, None]
    >>> names = tuple(f"q{at}" for at in range(400))
    >>> found = risk(Record(("a", "b"), names, votes, scores, {}), "consistency")
    >>> found.threshold, round(found.coverage, 1), found.risk
    (1.0, 0.5, 0.0)
    """
    check_record(record)
    goal = Goal(max_risk, confidence)
    record, correct = graded(record, threshold)
    cut = Cut.of(record, members, escalate, k, correct)
    pool, count = cut.pool, len(cut.pool.questions)
    check_rule(rule, pool.members)
    check_evidence(rule, pool)
    if repeats < 1 or (splits is not None and not splits):
        raise ConfigurationError("At least one split and one repeat are needed to measure a risk.")
    random = np.random.default_rng(seed)
    draws = pool.votes.shape[2] if k is None else k
    contexts = Contexts.of(pool, context) if rule == "calibrated" else None
    work = Work(rule, goal, contexts, correct)
    wanted = (
        holdout(len(record.questions), repeats=repeats, seed=seed) if splits is None else splits
    )
    made = [
        work.repeat(redrawn(pool, draws, random), parts)
        for split in counted(list(wanted) * repeats if len(wanted) == 1 else wanted, "repeats")
        for parts in [cut.parts(split, random)]
    ]
    first, answered = made[0], [each.counted[0] for each in made]
    wrong, tested = [each.counted[1] for each in made], [each.tested for each in made]
    return Risk(
        rule=rule,
        members=pool.members,
        k=draws,
        questions=count,
        left_out=len(record.questions) - count,
        repeats=len(made),
        certified=replace(first.certified, of=count),
        accuracies=dict(zip(pool.members, first.accuracies.tolist(), strict=True)),
        coverage=_mean([n / len(each) for n, each in zip(answered, tested, strict=True)]),
        risk=sum(wrong) / sum(answered) if any(answered) else math.nan,
        kept_share=_mean([each.kept for each in made]),
        promised_share=_mean([each.certified.threshold is not None for each in made]),
        ece=_mean([each.figure(calibration_error, raw=False) for each in made]),
        brier=_mean([each.figure(brier_score, raw=False) for each in made]),
        aurc=_mean([each.figure(risk_area, raw=True) for each in made]),
        n_fit=len(first.parts.fit),
        n_calibration=len(first.parts.calibration),
        n_test=len(first.parts.test),
        marked=None if first.certified.threshold is None else answered[0] / len(first.tested),
        curve=risk_curve(tested, [each.parts.test for each in made]),
        escalation=None if cut.large is None else _escalation(str(escalate), cut.large, made),
    )


def _escalation(name: str, large: Floats, repeats: Sequence[Repeat]) -> EscalationFigures:
    tested = [Escalated(each.tested, large[each.parts.test]) for each in repeats]
    at = [
        answers.at(each.certified.threshold) for answers, each in zip(tested, repeats, strict=True)
    ]
    return EscalationFigures(
        large=name,
        share=_mean([share for share, _ in at]),
        accuracy=_mean([accuracy for _, accuracy in at]),
        accuracy_large=_mean([float(answers.large.mean()) for answers in tested]),
        curve=mean_curve([answers.curve() for answers in tested]),
        answers=tested,
        tested=[each.parts.test for each in repeats],
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
