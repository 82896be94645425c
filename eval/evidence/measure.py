"""Every rule on a source's draws, fitted on few to many labels: accuracy, and what its confidence
is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dspy_mux.bank.record import Record
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.decisions import picks_on, rules_for
from dspy_mux.replay.intervals import (
    Estimate,
    difference_interval,
    mean_interval,
    standard_error,
)
from dspy_mux.replay.resample import redrawn
from dspy_mux.replay.splits import Split, by_field
from dspy_mux.replay.sureness import calibration_error
from dspy_mux.voting.tally import Floats, Ints

from .figures import roc_area
from .sources import Source

#: Rules by their names in the tables: the rule that is replayed, and whether it sees evidence.
RULES: Mapping[str, tuple[str, bool]] = {
    "best member": ("self_consistency", False),
    "pooled": ("pooled", False),
    "consistency": ("consistency", False),
    "probability": ("probability", True),
    "calibrated on votes": ("calibrated", False),
    "calibrated with evidence": ("calibrated", True),
}
#: Fewer test questions than this say nothing.
LEAST_TESTED = 40


@dataclass(frozen=True)
class Options:
    """How a source is measured.

    Attributes:
        labels: questions that the rules are fitted on.
        k: draws per member, of the sampled ones.
        repeats: random splits for each number of labels.
        split_field: the questions' field that holds their split, where the recorded split is
            measured in place of random ones.
        train, test: its values.
    """

    labels: Sequence[int] = (30, 60, 120, 256)
    k: Sequence[int] = (1, 3, 8)
    repeats: int = 20
    seed: int = 0
    split_field: str | None = None
    train: str = "validation"
    test: str = "test"

    def __post_init__(self) -> None:
        if min(self.labels) < 2 or min(self.k) < 1:
            raise ConfigurationError("Labels must be 2 or more, and k 1 or more.")


@dataclass(frozen=True)
class Cell:
    """A rule at one setting: its figures over the test parts of all splits.

    Attributes:
        temperature: "greedy" or "sampled".
        calls: draws per question, of all members that the rule asks.
        calibration_error: mean over the splits.
        per_question: mean score of each tested question; the accuracy is their mean.
    """

    rule: str
    temperature: str
    k: int
    labels: int
    calls: int
    accuracy: Estimate
    calibration_error: float
    roc_area: Estimate
    tested: Ints
    per_question: Floats

    @property
    def setting(self) -> str:
        return f"greedy, k={self.k}" if self.temperature == "greedy" else f"k={self.k}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "temperature": self.temperature,
            "k": self.k,
            "labels": self.labels,
            "calls_per_question": self.calls,
            "accuracy": vars(self.accuracy),
            "calibration_error": self.calibration_error,
            "roc_area": {name: getattr(self.roc_area, name) for name in ("mean", "low", "high")},
        }


def settings(source: Source, options: Options) -> list[tuple[str, int]]:
    """Return the temperatures and k that are measured: those that were recorded."""
    recorded = source.sampled.votes.shape[2]
    counts = sorted({min(k, recorded) for k in options.k})
    return [*([("greedy", 1)] if source.greedy else []), *(("sampled", k) for k in counts)]


def measure(source: Source, options: Options) -> Iterator[list[Cell]]:
    """Yield the cells of each number of labels."""
    for splits in splits_of(source, options):
        yield [
            cell
            for temperature, k in settings(source, options)
            for cell in _cells(source.settings[temperature], temperature, k, splits)
        ]


def splits_of(source: Source, options: Options) -> list[list[Split]]:
    """Return the recorded split, or random ones for each number of labels.

    A number that leaves too few questions to test is left out.
    """
    if options.split_field is not None:
        return [by_field(source.sampled, options.split_field, options.train, options.test)]
    count = len(source.sampled.questions)
    return [
        _few_labels(count, labels, options)
        for labels in options.labels
        if count - labels >= LEAST_TESTED
    ]


def _few_labels(questions: int, labels: int, options: Options) -> list[Split]:
    random = np.random.default_rng(options.seed)
    shuffled = [random.permutation(questions) for _ in range(options.repeats)]
    return [Split(np.sort(order[:labels]), np.sort(order[labels:])) for order in shuffled]


def difference(one: Cell, other: Cell) -> Estimate:
    """Estimate the paired difference of two cells of the same splits."""
    gaps = one.per_question - other.per_question
    low, high = difference_interval(gaps)
    return Estimate(
        one.accuracy.mean - other.accuracy.mean, low, high, len(gaps), standard_error(gaps)
    )


@dataclass
class _Answers:
    """A rule's answers to the test questions of all splits so far."""

    question: list[Ints] = field(default_factory=list)
    confidence: list[Floats] = field(default_factory=list)
    score: list[Floats] = field(default_factory=list)

    def cell(self, rule: str, temperature: str, shape: tuple[int, int], labels: int) -> Cell:
        members, k = shape
        question, confidence = np.concatenate(self.question), np.concatenate(self.confidence)
        score = np.concatenate(self.score)
        tested = np.unique(question)
        times = np.bincount(question)[tested]
        per_question = np.bincount(question, weights=score)[tested] / times
        low, high = mean_interval(per_question)
        return Cell(
            rule=rule,
            temperature=temperature,
            k=k,
            labels=labels,
            calls=k if rule == "best member" else k * members,
            accuracy=Estimate(
                float(per_question.mean()),
                low,
                high,
                len(tested),
                standard_error(per_question),
            ),
            calibration_error=float(
                np.mean(
                    [
                        calibration_error(sure, right >= 1)
                        for sure, right in zip(self.confidence, self.score, strict=True)
                    ]
                )
            ),
            roc_area=roc_area(confidence, score >= 1, question),
            tested=tested,
            per_question=per_question,
        )


def _cells(record: Record, temperature: str, k: int, splits: Sequence[Split]) -> list[Cell]:
    known = rules_for(record)
    answers = {
        name: _Answers()
        for name, (rule, sees) in RULES.items()
        if rule in known and (record.evidence or not sees)
    }
    for at, split in enumerate(splits):
        drawn = redrawn(record, k, np.random.default_rng(at))  # the same draws for every rule
        blind = replace(drawn, evidence={})
        for name, kept in answers.items():
            rule, sees = RULES[name]
            picks = picks_on(drawn if sees else blind, rule, split)
            kept.question.append(split.test)
            kept.confidence.append(np.where(picks.member >= 0, picks.confidence, 0.0))
            kept.score.append(picks.scores(drawn.scores[split.test]))
    shape = (len(record.members), k)
    return [
        kept.cell(name, temperature, shape, len(splits[0].train)) for name, kept in answers.items()
    ]
