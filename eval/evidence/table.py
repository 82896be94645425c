"""`python -m eval evidence`: measure sources, and print tables or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import track

from dspy_mux.cli.output import print_json
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.intervals import Estimate

from ..tables.text import Shown, estimated, points, show
from .draw import DrawOptions, draw
from .measure import RULES, Cell, Options, difference, measure, splits_of
from .sources import Source, read_source

#: Pairs whose difference is shown: (rule, setting) − (rule, setting). None is the other's setting.
PAIRS = (
    (("probability", None), ("pooled", None)),
    (("probability", None), ("consistency", None)),
    (("calibrated with evidence", None), ("calibrated on votes", None)),
    (("calibrated with evidence", None), ("probability", None)),
    (("probability", "greedy, k=1"), ("consistency", "k=3")),
    (("probability", "greedy, k=1"), ("consistency", "k=8")),
)


@dataclass(frozen=True)
class EvidenceTables:
    """What `python -m eval evidence` is asked for.

    Attributes:
        draws: what is drawn into the one bank first; None for what it holds.
    """

    banks: Sequence[str]
    options: Options
    draws: DrawOptions | None
    as_json: bool
    as_markdown: bool


def run(asked: EvidenceTables) -> None:
    """Measure every bank and print the figures.

    Raises:
        ConfigurationError: draws for several banks, or a bank without what is measured.
        BankError, MuxError: a bank cannot be read or filled.
    """
    console = Console(stderr=True)
    if asked.draws is not None:
        if len(asked.banks) != 1:
            raise ConfigurationError("--task draws its questions into one bank: name one.")
        draw(asked.draws, asked.banks[0], console)
    sources = [read_source(bank) for bank in asked.banks]
    measured = []
    for source in sources:
        rounds = track(
            measure(source, asked.options),
            description=source.name,
            total=len(splits_of(source, asked.options)),
            console=console,
        )
        measured.append((source, [cell for cells in rounds for cell in cells]))
    if asked.as_json:
        print_json({"banks": [_as_dict(*each) for each in measured], **_asked(asked.options)})
        return
    tables = [table for each in measured for table in _tables(*each)]
    show(
        [table for table in tables if table.rows],
        _notes(asked.options),
        as_markdown=asked.as_markdown,
    )


def differences(cells: Sequence[Cell]) -> list[tuple[Cell, Cell, Estimate]]:
    """Return the pairs of `PAIRS` that were measured, with their paired differences."""
    by_place = {(cell.rule, cell.setting, cell.labels): cell for cell in cells}
    found = []
    for (rule, at), (other_rule, other_at) in PAIRS:
        for (name, setting, labels), cell in by_place.items():
            other = by_place.get((other_rule, other_at or setting, labels))
            if name == rule and at in (None, setting) and other is not None:
                found.append((cell, other, difference(cell, other)))
    return found


def _as_dict(source: Source, cells: Sequence[Cell]) -> dict[str, Any]:
    return {
        "bank": source.name,
        "members": list(source.sampled.members),
        "questions": len(source.sampled.questions),
        "left_out": source.left_out,
        "cells": [cell.as_dict() for cell in cells],
        "differences": [
            {
                "rule": one.rule,
                "setting": one.setting,
                "minus": other.rule,
                "minus_setting": other.setting,
                "labels": one.labels,
                **vars(gap),
            }
            for one, other, gap in differences(cells)
        ],
    }


def _asked(options: Options) -> dict[str, Any]:
    return {"repeats": options.repeats, "seed": options.seed}


def _tables(source: Source, cells: Sequence[Cell]) -> list[Shown]:
    labels = sorted({cell.labels for cell in cells})
    if not labels:
        return []
    head = f"{source.name}, {len(source.sampled.questions)} questions"
    return [
        _accuracies(head, cells, labels),
        _confidences(head, cells, labels[-1]),
        _differences(head, cells, labels),
    ]


def _accuracies(head: str, cells: Sequence[Cell], labels: Sequence[int]) -> Shown:
    rows: dict[tuple[str, str], dict[int, Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.setting, cell.rule), {})[cell.labels] = cell
    return Shown(
        f"{head}: accuracy % (95 % interval)",
        ("setting", "rule", "calls", *(f"{count} labels" for count in labels)),
        [
            [
                setting,
                rule,
                str(next(iter(found.values())).calls),
                *(estimated(found[count].accuracy) for count in labels),
            ]
            for (setting, rule), found in rows.items()
        ],
        words=2,
    )


def _confidences(head: str, cells: Sequence[Cell], labels: int) -> Shown:
    return Shown(
        f"{head}: the worth of confidences, {labels} labels",
        ("setting", "rule", "calibration error", "area under the ROC curve", "n"),
        [
            [
                cell.setting,
                cell.rule,
                _plain(cell.calibration_error),
                _area(cell.roc_area),
                str(cell.roc_area.n),
            ]
            for cell in cells
            if cell.labels == labels
        ],
        words=2,
    )


def _differences(head: str, cells: Sequence[Cell], labels: Sequence[int]) -> Shown:
    rows: dict[tuple[str, str], dict[int, Estimate]] = {}
    for one, other, gap in differences(cells):
        same = one.setting == other.setting
        names = (f"{one.rule} − {other.rule}", one.setting)
        if not same:
            names = (f"{one.rule} − {other.rule}", f"{one.setting} − {other.setting}")
        rows.setdefault(names, {})[one.labels] = gap
    return Shown(
        f"{head}: paired differences, points (95 % interval)",
        ("difference", "setting", *(f"{count} labels" for count in labels)),
        [
            [
                *names,
                *(points(found[c].mean, found[c].low, found[c].high) for c in labels),
            ]
            for names, found in rows.items()
        ],
        words=2,
    )


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _area(area: Estimate) -> str:
    if math.isnan(area.mean):
        return "–"
    return f"{area.mean:.3f} ({area.low:.3f} – {area.high:.3f})"


def _notes(options: Options) -> list[str]:
    how = (
        f"Rules are fitted where {options.split_field} is {options.train!r} and scored where it is "
        f"{options.test!r}"
        if options.split_field is not None
        else "Rules are fitted on the labels and scored on all other questions, "
        f"{options.repeats} random splits for each number of labels (seed {options.seed})"
    )
    return [
        f"{how}; intervals are over questions. A random k of the recorded draws counts "
        "in each split, the same for every rule.",
        f"Rules: {', '.join(RULES)}. The calibration error has ten bins and is above 0 by chance "
        "alone; the area under the ROC curve is the chance that a right answer is given with more "
        "confidence than a wrong one.",
    ]
