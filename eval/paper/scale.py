"""`python -m eval scale`: both scaling figures of the paper ("Test-time Scaling").

Accuracy against the number of members, with union and contradiction beside it (Figure 7); accuracy
against k, with Agent Forest beside SLM-MUX; and the closing table: two draws, and each method's
best number of draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from dspy_mux.cli.output import check_page, percent, print_json, write_page
from dspy_mux.optimize.figure_page import page
from dspy_mux.optimize.figures import scaling_figures
from dspy_mux.optimize.scaling import RULES, Point, Scaling, scale

from ..tables.text import Shown, points, show, signed
from .sources import Source, SourceOptions, sources


@dataclass(frozen=True)
class ScaleTables:
    """What `python -m eval scale` is asked for.

    Attributes:
        k: draws per member while members are added; size: members while draws are added.
        html: where the figures are written too.
    """

    source: SourceOptions
    k: int
    k_max: int | None
    max_members: int
    size: int
    penalty: float
    html: Path | None
    as_json: bool
    as_markdown: bool


def run(options: ScaleTables) -> None:
    """Print the tables of every source and the closing one; write the figures to `html`.

    Raises:
        ConfigurationError: splits or draws that the banks do not have, or no place for the page.
        BankError: a bank cannot be read.
    """
    check_page(options.html)
    found = sources(options.source, None)
    scaled = [
        (source, _scale(source, options))
        for source in track(found, description="scaling", console=Console(stderr=True))
    ]
    if options.html is not None:
        sections = [(_heading(source), scaling_figures(scaling)) for source, scaling in scaled]
        write_page(
            options.html, page("Scaling: accuracy against members and against draws", sections)
        )
    if options.as_json:
        rows = [
            {"task": source.name, "left_out": source.left_out, **scaling.as_dict()}
            for source, scaling in scaled
        ]
        protocol = options.source.protocol()
        print_json({"penalty": options.penalty, "protocol": protocol, "rows": rows})
        return
    shown = [table for source, scaling in scaled for table in _tables(source, scaling)]
    notes = _notes(options.source, scaled)
    show([*shown, _closing(scaled)], notes, as_markdown=options.as_markdown)


def _scale(source: Source, options: ScaleTables) -> Scaling:
    return scale(
        source.record,
        k=options.k,
        k_max=options.k_max,
        max_members=options.max_members,
        size=min(options.size, len(source.record.members)),
        penalty=options.penalty,
        splits=source.splits,
        threshold=options.source.threshold,
        seed=options.source.seed,
    )


def _tables(source: Source, scaling: Scaling) -> list[Shown]:
    n = scaling.by_members[0].questions
    size = scaling.by_draws[0].size
    return [
        Shown(
            f"{source.name}: accuracy % against the number of members, k = {scaling.k}, n = {n}",
            [
                "members",
                "best subset by O(S)",
                "SLM-MUX (95 %)",
                "Agent Forest (95 %)",
                "union",
                "contradiction",
                "calls",
            ],
            [
                [
                    str(mux.size),
                    tuple(mux.members),
                    _accuracy(mux),
                    _accuracy(forest),
                    percent(mux.union_accuracy),
                    percent(mux.contradiction),
                    f"{mux.calls_per_question:.0f}",
                ]
                for mux, forest in _pairs(scaling.by_members)
            ],
            words=2,
        ),
        Shown(
            f"{source.name}: accuracy % against draws per member, {size} members, n = {n}",
            [
                "k",
                "best subset by O(S)",
                "SLM-MUX (95 %)",
                "Agent Forest (95 %)",
                "gain",
                "union",
                "calls",
            ],
            [
                [
                    str(mux.k),
                    tuple(mux.members),
                    _accuracy(mux),
                    _accuracy(forest),
                    signed(mux.accuracy - forest.accuracy),
                    percent(mux.union_accuracy),
                    f"{mux.calls_per_question:.0f}",
                ]
                for mux, forest in _pairs(scaling.by_draws)
            ],
            words=2,
        ),
    ]


def _closing(scaled: Sequence[tuple[Source, Scaling]]) -> Shown:
    return Shown(
        "Test-time scaling vs Agent Forest: accuracy % of the test questions",
        ["dataset", "setting", "members", "k", "SLM-MUX", "Agent Forest", "gain (95 %)", "n"],
        [
            [
                source.name,
                gain.setting,
                str(gain.size),
                str(gain.mux_k)
                if gain.mux_k == gain.forest_k
                else f"{gain.mux_k} / {gain.forest_k}",
                percent(gain.mux),
                percent(gain.forest),
                points(gain.mean, gain.low, gain.high),
                str(gain.questions),
            ]
            for source, scaling in scaled
            for gain in scaling.gains
        ],
        words=2,
    )


def _pairs(curve: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Return each point of a curve under both rules."""
    mux, forest = ([point for point in curve if point.rule == rule] for rule in RULES)
    return list(zip(mux, forest, strict=True))


def _accuracy(point: Point) -> str:
    return f"{percent(point.accuracy)} ({percent(point.low)} – {percent(point.high)})"


def _heading(source: Source) -> str:
    draws = source.record.votes.shape[2]
    return (
        f"{source.name}: {len(source.record.questions)} questions, {draws} draws recorded a member"
    )


def _notes(options: SourceOptions, scaled: Sequence[tuple[Source, Scaling]]) -> list[str]:
    notes = [
        f"Subsets (by O(S)), members' accuracies and the best k are {options.protocol()}. All "
        "figures are means over the test parts; intervals are over questions, and paired where "
        "they are of a gain. The subset shown is the best on all questions; a split may have "
        "chosen another. “Best” takes for each method the k that scores best on the training part "
        "(the one most often taken is shown; two where the methods differ).",
        *(f"{source.name}: sweet spot {scaling.reason}" for source, scaling in scaled),
    ]
    left_out = [f"{source.left_out} of {source.name}" for source, _ in scaled if source.left_out]
    if left_out:
        notes.append(f"Left out, for lack of draws: {', '.join(left_out)}.")
    return notes
