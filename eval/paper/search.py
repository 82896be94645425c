"""`python -m eval search`: the gain of choosing members by O(S) ("Model Selection Search").

Everything that is chosen (the subset, the best single member, the most accurate members, the
accuracies that break ties) is chosen on each split's training part. Every figure is of its test
part, averaged over the splits. All ways of choosing see the same draws.
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
from dspy_mux.cli.output import percent, print_json
from dspy_mux.layout import Cell
from dspy_mux.optimize.search import Outcomes, most_accurate, search
from dspy_mux.replay.grading import graded
from dspy_mux.replay.intervals import Estimate
from dspy_mux.replay.replay import SPLIT_RESAMPLES, Result, compare, pooled_results, replay
from dspy_mux.replay.resample import redrawn
from dspy_mux.replay.splits import Split

from ..tables.text import Shown, points, show
from .sources import Source, SourceOptions, sources


@dataclass(frozen=True)
class Chosen:
    """The members that one way of choosing found.

    Attributes:
        members: the most frequent choice over the splits.
        share: the share of the splits that chose it.
        distinct: the number of different choices.
        accuracy: under the paper's rule on the test parts, with each split's own choice.
        ci95: its interval over questions.
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

    def text(self) -> str:
        return points(self.mean, self.low, self.high)


@dataclass(frozen=True)
class SearchRow:
    """One task and size; accuracies are fractions of the test questions.

    Attributes:
        sizes: of the subsets that O(S) chose from.
        composed: the subset by O(S).
        single: the most accurate member, by the plurality of its k draws.
        strongest: as many of the most accurate members as `composed` has.
        one_draw: the single member's accuracy per draw, the paper's "best single".
        gain, gain_consistency, gain_strongest: composed minus one draw, minus the single member's
            plurality, minus the strongest.
        union_accuracy, contradiction, objective: of the composed subsets.
        repeats: number of splits, or of choices of draws on one split.
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
        """Return the size, or the range of sizes."""
        return str(self.sizes[0]) if len(self.sizes) == 1 else f"{self.sizes[0]}–{self.sizes[-1]}"


@dataclass(frozen=True)
class SearchTable:
    """What `python -m eval search` is asked for."""

    source: SourceOptions
    sizes: Sequence[int]
    k: int
    penalty: float
    as_json: bool
    as_markdown: bool


def run(options: SearchTable) -> None:
    """Print one row per source and size, and one in which the size is chosen as well."""
    found = sources(options.source, options.k)
    rows = [
        row
        for source in track(found, description="searching", console=Console(stderr=True))
        for row in search_rows(
            source,
            options.sizes,
            k=options.k,
            penalty=options.penalty,
            threshold=options.source.threshold,
            seed=options.source.seed,
        )
    ]
    if options.as_json:
        print_json(
            {
                "k": options.k,
                "penalty": options.penalty,
                "protocol": options.source.protocol(),
                "rows": [asdict(row) for row in rows],
            }
        )
        return
    tables = [_paper_table(rows, options), _stronger_table(rows)]
    show(tables, _notes(options.source, rows), as_markdown=options.as_markdown)


def search_rows(
    source: Source,
    sizes: Sequence[int],
    *,
    k: int,
    penalty: float,
    threshold: float | None = None,
    seed: int = 0,
) -> list[SearchRow]:
    """Return the rows of one source; sizes above its pool's are left out.

    Raises:
        ConfigurationError: no size is left, or k is above the recorded draws.
    """
    count = len(source.record.members)
    possible = [size for size in sorted(set(sizes)) if size <= count] or list(sizes)
    asked = [(size,) for size in possible] + ([tuple(possible)] if len(possible) > 1 else [])
    record, correct = graded(source.record, threshold)
    runs = _Runs(record, source.splits, k, correct, seed)
    return [_row(source, runs, each, k, penalty) for each in asked]


class _Runs:
    """The splits, each with the draws that every way of choosing sees."""

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
        """Return the choice on each split's training part."""
        return [choose(record.rows(split.train)) for record, split in self.runs]

    def results(self, choices: Sequence[tuple[str, ...]]) -> list[Result]:
        """Score each split's choice under the paper's rule, on the test part."""
        for at, members in enumerate(choices):
            if (at, members) not in self._replayed:
                record, split = self.runs[at]
                part, _ = record.of(members, None)
                self._replayed[at, members] = replay(
                    part, "consistency", splits=[split], threshold=self.threshold
                )
        return [self._replayed[at, members] for at, members in enumerate(choices)]

    def one_draw(self, choices: Sequence[tuple[str, ...]]) -> list[Result]:
        """Score single draws of each split's chosen member."""
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
        """Return UnionAcc and Contradiction of the choices on the test parts, averaged."""
        terms = []
        for (record, split), members in zip(self.runs, choices, strict=True):
            outcomes = Outcomes.from_record(
                record.of(members, None)[0].rows(split.test), threshold=self.threshold
            )
            terms.append(outcomes.terms(range(len(members))))
        union, contradiction = np.mean(terms, axis=0)
        return float(union), float(contradiction)


def _row(source: Source, runs: _Runs, sizes: tuple[int, ...], k: int, penalty: float) -> SearchRow:
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
    return SearchRow(
        task=source.name,
        sizes=sizes,
        composed=_chosen(composed, ours),
        single=_chosen(single, alone := pooled_results(runs.results(single))),
        strongest=_chosen(strongest, strong := pooled_results(runs.results(strongest))),
        one_draw=one_draw.accuracy,
        gain=Gained.of(compare(ours, one_draw)),
        gain_consistency=Gained.of(compare(ours, alone)),
        # The same members on every split never differ from themselves.
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


def _paper_table(rows: Sequence[SearchRow], options: SearchTable) -> Shown:
    """Return the paper's table."""
    return Shown(
        "Gains from model selection search: accuracy % of the test questions, "
        f"k = {options.k}, λ = {options.penalty:g}",
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
                row.task,
                row.size(),
                _names(row.composed),
                f"{100 * row.composed.share:.0f} %",
                _names(row.single),
                percent(row.one_draw),
                percent(row.composed.accuracy),
                row.gain.text(),
                str(row.questions),
            ]
            for row in rows
        ],
        words=3,
    )


def _stronger_table(rows: Sequence[SearchRow]) -> Shown:
    """Return the gains over stronger comparisons than the paper's."""
    return Shown(
        "The same beside stronger comparisons: the best single member with as many draws, and the "
        "most accurate members",
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
                row.task,
                row.size(),
                _strongest(row),
                percent(row.strongest.accuracy),
                row.gain_strongest.text(),
                percent(row.single.accuracy),
                row.gain_consistency.text(),
                percent(row.union_accuracy),
                percent(row.contradiction),
                percent(row.objective),
            ]
            for row in rows
        ],
        words=3,
    )


def _strongest(row: SearchRow) -> Cell:
    if row.strongest.members != row.composed.members:
        return _names(row.strongest)
    gain = row.gain_strongest
    return "the same" if gain.low == gain.mean == gain.high == 0 else "mostly the same"


def _names(chosen: Chosen) -> tuple[str, ...]:
    return tuple(chosen.members)


def _notes(options: SourceOptions, rows: Sequence[SearchRow]) -> list[str]:
    left_out = {row.task: row.left_out for row in rows if row.left_out}
    notes = [
        f"Subset, single member and a_i are {options.protocol()}; figures are means over the "
        "splits, intervals are over questions, paired. “Chosen” is the share of the splits that "
        "chose the members shown, by O(S); the others chose differently, and their choices are in "
        "the figures as well. “Single” is one draw of the member that is most accurate on the "
        "training part.",
    ]
    if left_out:
        notes.append(
            "Left out, for lack of draws: "
            + ", ".join(f"{count} of {task}" for task, count in left_out.items())
            + "."
        )
    return notes
