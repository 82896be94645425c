"""`python -m eval search`: what choosing members by O(S) gains (SLM-MUX, "Gains from Model Selection Search"), from recorded draws.

All that is chosen (the subset, the best single member, the most accurate members, the accuracies that break ties) is chosen on each
split's training part; every figure is of its test part, averaged over the splits. All ways of choosing see the same draws.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from dspy_mux.bank.record import Record
from dspy_mux.cli.output import print_json
from dspy_mux.optimize.search import Outcomes, most_accurate, search
from dspy_mux.replay.intervals import Estimate
from dspy_mux.replay.replay import SPLIT_RESAMPLES, Result, compare, pooled_results, replay
from dspy_mux.replay.resample import redrawn
from dspy_mux.replay.splits import Split

from ..tables.text import Shown, percent, points, show
from .sources import Asked, Source, sources


@dataclass(frozen=True)
class Chosen:
    """What one way of choosing members came to.

    Attributes:
        members: the choice met most often; share: of the splits that chose it; distinct: how many different ones were chosen.
        accuracy: under the paper's rule on the test parts, whatever each split chose; ci95 over questions.
    """

    members: tuple[str, ...]
    share: float
    distinct: int
    accuracy: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Gained:
    """A paired difference in accuracy with its 95 % interval over questions."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, difference: Estimate) -> Gained:
        return cls(difference.mean, difference.low, difference.high)

    def told(self) -> str:
        return points(self.mean, self.low, self.high)


@dataclass(frozen=True)
class Line:
    """One task and size; accuracies are fractions of the test questions.

    Attributes:
        sizes: of the subsets among which O(S) chose.
        composed: the subset by O(S); strongest: as many of the most accurate members; single: the most accurate member,
            by the plurality of its k draws.
        one_draw: the single member's accuracy per draw, the paper's "best single".
        gain, gain_consistency, gain_strongest: composed minus one draw, minus the single member's plurality, minus the strongest.
        union_accuracy, contradiction, objective: of the composed subsets.
        repeats: splits, or choices of draws on one split, that the figures are means of.
    """

    task: str
    sizes: tuple[int, ...]
    composed: Chosen
    single: Chosen
    strongest: Chosen
    one_draw: float
    gain: Gained
    gain_consistency: Gained
    gain_strongest: Gained
    union_accuracy: float
    contradiction: float
    objective: float
    k: int
    questions: int
    left_out: int
    repeats: int

    def size(self) -> str:
        return str(self.sizes[0]) if len(self.sizes) == 1 else f"{self.sizes[0]}–{self.sizes[-1]}"


def run(
    asked: Asked, *, sizes: Sequence[int], k: int, penalty: float, as_json: bool, as_markdown: bool
) -> None:
    """Print the table of every source: one row a size, and one with the size chosen as well where several were asked for."""
    found = sources(asked, k)
    console = Console(stderr=True)
    lines = [
        line
        for source in track(found, description="searching", console=console)
        for line in lines_of(
            source, sizes, k=k, penalty=penalty, threshold=asked.threshold, seed=asked.seed
        )
    ]
    if as_json:
        print_json(
            {
                "k": k,
                "penalty": penalty,
                "protocol": asked.protocol(),
                "rows": [asdict(line) for line in lines],
            }
        )
        return
    show(_tables(lines, k, penalty), _notes(asked, lines), as_markdown=as_markdown)


def lines_of(
    source: Source,
    sizes: Sequence[int],
    *,
    k: int,
    penalty: float,
    threshold: float = 1.0,
    seed: int = 0,
) -> list[Line]:
    """The rows of one source; sizes that its pool cannot have are left out.

    Raises:
        ConfigurationError: no size is left, or k above what is recorded.
    """
    count = len(source.record.members)
    possible = [size for size in sorted(set(sizes)) if size <= count] or list(sizes)
    asked = [(size,) for size in possible] + ([tuple(possible)] if len(possible) > 1 else [])
    runs = _Runs(source.record, source.splits, k, threshold, seed)
    return [_line(source, runs, each, k, penalty) for each in asked]


class _Runs:
    """The splits, each with the draws that every way of choosing sees on it."""

    def __init__(
        self, record: Record, splits: Sequence[Split], k: int, threshold: float, seed: int
    ):
        random = np.random.default_rng(seed)
        repeated = list(splits) * (
            SPLIT_RESAMPLES if len(splits) == 1 and k < record.votes.shape[2] else 1
        )
        self.runs = [(redrawn(record, k, random), split) for split in repeated]
        self.threshold = threshold
        self._replayed: dict[tuple[int, tuple[str, ...]], Result] = {}

    def chosen(self, choose: Callable[[Record], tuple[str, ...]]) -> list[tuple[str, ...]]:
        """What `choose` makes of each split's training part."""
        return [choose(record.rows(split.train)) for record, split in self.runs]

    def results(self, choices: Sequence[tuple[str, ...]]) -> list[Result]:
        """Each split's choice under the paper's rule, on the test part."""
        for at, members in enumerate(choices):
            if (at, members) not in self._replayed:
                record, split = self.runs[at]
                part, _ = record.of(members, None)
                self._replayed[at, members] = replay(
                    part, "consistency", splits=[split], threshold=self.threshold
                )
        return [self._replayed[at, members] for at, members in enumerate(choices)]

    def one_draw(self, choices: Sequence[tuple[str, ...]]) -> list[Result]:
        """The mean over its draws of each split's chosen member."""
        results = []
        for (record, split), members, result in zip(
            self.runs, choices, self.results(choices), strict=True
        ):
            draws = record.scores[split.test, record.members.index(members[0])].mean(
                axis=1, dtype=np.float64
            )
            results.append(
                dataclasses.replace(
                    result, rule="one draw", accuracy=float(draws.mean()), per_question=draws
                )
            )
        return results

    def terms(self, choices: Sequence[tuple[str, ...]]) -> tuple[float, float]:
        """UnionAcc and Contradiction of the choices on the test parts, averaged."""
        told = []
        for (record, split), members in zip(self.runs, choices, strict=True):
            outcomes = Outcomes.from_record(
                record.of(members, None)[0].rows(split.test), threshold=self.threshold
            )
            told.append(outcomes.terms(range(len(members))))
        union, contradiction = np.mean(told, axis=0)
        return float(union), float(contradiction)


def _line(source: Source, runs: _Runs, sizes: tuple[int, ...], k: int, penalty: float) -> Line:
    composed = runs.chosen(
        lambda train: (
            search(train, sizes, penalty=penalty, top=1, threshold=runs.threshold)
            .results[0]
            .members
        )
    )
    as_many = iter(composed)
    strongest = runs.chosen(lambda train: most_accurate(train, len(next(as_many))))
    single = runs.chosen(lambda train: most_accurate(train, 1))
    ours = pooled_results(runs.results(composed))
    one_draw = pooled_results(runs.one_draw(single))
    union, contradiction = runs.terms(composed)
    return Line(
        task=source.name,
        sizes=sizes,
        composed=_chosen(composed, ours),
        single=_chosen(single, alone := pooled_results(runs.results(single))),
        strongest=_chosen(strongest, strong := pooled_results(runs.results(strongest))),
        one_draw=one_draw.accuracy,
        gain=Gained.of(compare(ours, one_draw)),
        gain_consistency=Gained.of(compare(ours, alone)),
        # The same members on every split differ from themselves on no question, whatever the questions.
        gain_strongest=Gained(0.0, 0.0, 0.0)
        if strongest == composed
        else Gained.of(compare(ours, strong)),
        union_accuracy=union,
        contradiction=contradiction,
        objective=union - penalty * contradiction,
        k=k,
        questions=ours.questions,
        left_out=source.left_out,
        repeats=len(runs.runs),
    )


def _chosen(choices: Sequence[tuple[str, ...]], result: Result) -> Chosen:
    met = Counter(choices)
    members, times = met.most_common(1)[0]
    return Chosen(members, times / len(choices), len(met), result.accuracy, result.ci95)


def _tables(lines: Sequence[Line], k: int, penalty: float) -> list[Shown]:
    paper = Shown(
        f"Gains from model selection search: accuracy % of the test questions, k = {k}, λ = {penalty:g}",
        [
            "task",
            "size",
            "selected members",
            "chosen",
            "best single",
            "single",
            "composed",
            "gain (95 %)",
            "n",
        ],
        [
            [
                line.task,
                line.size(),
                _names(line.composed),
                f"{100 * line.composed.share:.0f} %",
                _names(line.single),
                percent(line.one_draw),
                percent(line.composed.accuracy),
                line.gain.told(),
                str(line.questions),
            ]
            for line in lines
        ],
        words=3,
    )
    beside = Shown(
        "The same beside stronger comparisons: the best single member with as many draws, and the most accurate members",
        [
            "task",
            "size",
            "most accurate members",
            "their accuracy",
            "composed − theirs (95 %)",
            "single, k draws",
            "composed − it (95 %)",
            "union",
            "contradiction",
            "objective",
        ],
        [
            [
                line.task,
                line.size(),
                _strongest(line),
                percent(line.strongest.accuracy),
                line.gain_strongest.told(),
                percent(line.single.accuracy),
                line.gain_consistency.told(),
                percent(line.union_accuracy),
                percent(line.contradiction),
                percent(line.objective),
            ]
            for line in lines
        ],
        words=3,
    )
    return [paper, beside]


def _strongest(line: Line) -> str:
    if line.strongest.members != line.composed.members:
        return _names(line.strongest)
    gain = line.gain_strongest
    return "the same" if gain.low == gain.mean == gain.high == 0 else "mostly the same"


def _names(chosen: Chosen) -> str:
    return " + ".join(chosen.members)


def _notes(asked: Asked, lines: Sequence[Line]) -> list[str]:
    left_out = {line.task: line.left_out for line in lines if line.left_out}
    notes = [
        f"Subset, single member and a_i are {asked.protocol()}; figures are means over the splits, intervals are over questions, "
        "paired. “Chosen” is the share of the splits that chose the members shown, by O(S); the others chose differently, and "
        "their choices are in the figures as well. “Single” is one draw of the member that is most accurate on the training part.",
    ]
    if left_out:
        notes.append(
            "Left out, for lack of draws: "
            + ", ".join(f"{count} of {task}" for task, count in left_out.items())
            + "."
        )
    return notes
