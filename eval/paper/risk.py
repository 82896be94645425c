"""`python -m eval risk`: coverage at a stated risk, and calls of a large model, on public banks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.bank.record import Record
from dspy_mux.cli.output import check_place, percent, print_json, write_page
from dspy_mux.replay.contexts import Contexts
from dspy_mux.replay.resample import redrawn
from dspy_mux.replay.risk import Needed, Risk, risk
from dspy_mux.replay.risk_repeats import Work
from dspy_mux.replay.splits import holdout
from dspy_mux.replay.threshold import ASSUMPTION, Goal, choose_threshold

from ..tables.text import Shown, show
from .picture import Picture
from .pools import POOLS, Pool

#: Pool → the model of its bank that stands for the large one.
LARGE = {
    "GSM8K, 4 weak members": "gpt4",
    "reasoning-gym, 3 close members": "qwen/qwq-32b",
}
#: The pool, and the rules, that the picture shows.
PICTURED, _LINES = "GSM8K, 4 weak members", ("calibrated", "pooled", "consistency")
RULES = ("self_consistency", "consistency", "pooled", "calibrated")
#: Stands for the calibrated rule that weighs by the pool's context.
BY_CONTEXT = "calibrated, by {}"
#: Parts of the large model's accuracy that are to be reached.
PARTS = (0.95, 0.99)
#: Banks drawn from the questions that fit nothing, for each split.
_BANKS = 25


@dataclass(frozen=True)
class RiskTable:
    """What `python -m eval risk` is asked for.

    Attributes:
        data: the folder of the public banks.
        risks: that are promised at most, at `confidence`.
        repeats: number of random splits.
        svg: where the picture of `PICTURED` is written; None for none.
    """

    data: Path
    risks: Sequence[float]
    confidence: float
    k: int
    repeats: int
    seed: int
    as_json: bool
    as_markdown: bool
    svg: Path | None = None


@dataclass(frozen=True)
class _Cell:
    """A rule at a stated risk.

    Attributes:
        kept: share of simulated banks whose threshold keeps the promise on their population.
    """

    found: Risk
    kept: float


def run(options: RiskTable) -> None:
    """Print each rule's coverage at each risk, and the calls of the large model it needs."""
    if options.svg is not None:
        check_place(options.svg)
    asked = [
        (pool, rule, context)
        for pool in POOLS
        if pool.name in LARGE
        for rule, context in [*((rule, None) for rule in RULES), *_by_context(pool)]
    ]
    measured: dict[str, _Rows] = {}
    for pool, rule, context in track(asked, description="replaying", console=Console(stderr=True)):
        name = rule if context is None else BY_CONTEXT.format(context)
        rows = measured.setdefault(pool.name, {})
        rows[name] = _measured(pool, rule, context, options)
    if options.svg is not None:
        write_page(options.svg, _picture(measured[PICTURED]).svg())
    if options.as_json:
        print_json({"pools": [_as_dict(pool, rows, options) for pool, rows in measured.items()]})
        return
    tables = [
        table
        for pool, rows in measured.items()
        for table in (_coverages(pool, rows, options), _calls(pool, rows))
    ]
    show(tables, _notes(options), as_markdown=options.as_markdown)


def _picture(rows: _Rows) -> Picture:
    found = {rule: rows[rule][0].found for rule in _LINES}
    first = found[_LINES[0]]
    assert first.escalation is not None
    curves = [
        (rule, each.escalation.curve) for rule, each in found.items() if each.escalation is not None
    ]
    return Picture(
        PICTURED,
        curves,
        first.escalation.large,
        first.escalation.accuracy_large,
        first.questions,
    )


def _by_context(pool: Pool) -> list[tuple[str, str | None]]:
    """Return the calibrated rule with the context of the pool's twin, if it has one."""
    return [
        ("calibrated", twin.context)
        for twin in POOLS
        if twin.context is not None
        and (twin.file, twin.dataset, twin.members) == (pool.file, pool.dataset, pool.members)
    ]


def _measured(pool: Pool, rule: str, context: str | None, options: RiskTable) -> list[_Cell]:
    record = read_jsonl(options.data / pool.file, dataset=pool.dataset)
    large = LARGE[pool.name]
    cells = []
    for max_risk in options.risks:
        found = risk(
            record,
            rule,
            max_risk=max_risk,
            confidence=options.confidence,
            members=pool.members,
            escalate=large,
            repeats=options.repeats,
            k=options.k,
            context=context,
            seed=options.seed,
        )
        goal = Goal(max_risk, options.confidence)
        part = record.of(pool.members, options.k)[0]
        work = Work(rule, goal, Contexts.of(part, context), 1.0)
        kept = _kept(part, work, options)
        cells.append(_Cell(found, kept))
    return cells


def _kept(record: Record, work: Work, options: RiskTable) -> float:
    """Return in which share of simulated banks the promise holds, known without an error.

    The questions that did not fit the rule are taken for the population: banks of half as many are
    drawn from them, with replacement, and the risk at the threshold is counted on all of them.
    """
    random = np.random.default_rng(options.seed)
    goal, held = work.goal, []
    for split in holdout(len(record.questions), repeats=options.repeats, seed=options.seed):
        judged, _ = work.judged(redrawn(record, options.k, random), split.train)
        fitted, population = judged.rows(split.train), judged.rows(split.test)
        for _ in range(_BANKS):
            bank = random.integers(0, len(population), len(population) // 2)
            threshold = choose_threshold(goal, fitted, population.rows(bank)).threshold
            if threshold is None:
                held.append(True)
                continue
            answered, wrong = population.at_least(np.array([threshold]))
            held.append(bool(wrong[0] <= goal.max_risk * answered[0]))
    return float(np.mean(held))


#: Rule → its cells, one a risk.
_Rows = dict[str, list[_Cell]]


def _coverages(pool: str, rows: _Rows, options: RiskTable) -> Shown:
    first = rows[RULES[0]][0].found
    goals = [f"≤ {100 * risk:g} %" for risk in options.risks]
    return Shown(
        f"{pool}: answered %, at a risk promised with {100 * options.confidence:g} % confidence "
        f"(wrong %; promised in % of the splits; kept %), n = {first.questions}, k = {first.k}",
        ("rule", *goals, "calibration error", "Brier", "AURC"),
        [
            [
                rule,
                *map(_coverage, cells),
                *(f"{figure:.3f}" for figure in _confidence(cells[0].found)),
            ]
            for rule, cells in rows.items()
        ],
    )


def _confidence(found: Risk) -> tuple[float, float, float]:
    return found.ece, found.brier, found.aurc


def _coverage(cell: _Cell) -> str:
    found = cell.found
    wrong = "–" if math.isnan(found.risk) else percent(found.risk)
    return (
        f"{percent(found.coverage)} ({wrong}; {100 * found.promised_share:.0f}; "
        f"{percent(cell.kept)})"
    )


def _calls(pool: str, rows: _Rows) -> Shown:
    shown = []
    for rule, cells in rows.items():
        escalation = cells[0].found.escalation
        assert escalation is not None
        best = max(escalation.curve, key=lambda point: point.accuracy)
        needs = [escalation.needed(part) for part in PARTS]
        shown.append(
            [
                rule,
                percent(escalation.curve[0].accuracy),
                *(cell for need in needs for cell in (_share(need), percent(need.random))),
                f"{percent(best.accuracy)} at {percent(best.share)}",
            ]
        )
    large = rows[RULES[0]][0].found.escalation
    assert large is not None
    return Shown(
        f"{pool}: share of the questions, %, that {large.large} "
        f"({percent(large.accuracy_large)} % right alone) has to answer",
        (
            "rule",
            "pool alone %",
            *(
                head
                for part in PARTS
                for head in (f"for {100 * part:g} % of it (95 % interval)", "at random")
            ),
            "highest accuracy %",
        ),
        shown,
    )


def _share(need: Needed) -> str:
    if math.isnan(need.share):
        return "never"
    return f"{percent(need.share)} ({percent(need.low)} – {percent(min(need.high, 1.0))})"


def _notes(options: RiskTable) -> list[str]:
    return [
        f"{options.repeats} random splits (seed {options.seed}): half of the questions fit, a "
        "quarter chooses the threshold, and answered and wrong are counted on the last quarter, "
        "which chose nothing; wrong over all splits, and a split without a threshold answers "
        f"nothing. What is promised holds {ASSUMPTION}.",
        f"Kept: with the half that fits nothing as the population, {_BANKS} banks of half its size "
        "are drawn from it for each split, and the risk at each one's threshold is counted on all "
        f"of it: at least {100 * options.confidence:g} % is promised.",
        "Escalated are the questions whose answer has the least confidence, those without an "
        "answer first; shares are read off the mean curve of the test quarters. A call of the "
        "large model counts as right as often as its recorded draws are. A published router needed "
        "26 % for 95 %.",
    ]


def _as_dict(pool: str, rows: _Rows, options: RiskTable) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    for rule, cells in rows.items():
        escalation = cells[0].found.escalation
        assert escalation is not None
        rules[rule] = {
            "risks": {
                f"{risk:g}": {**cell.found.as_dict(), "kept_of_population": cell.kept}
                for risk, cell in zip(options.risks, cells, strict=True)
            },
            "needed": {f"{part:g}": vars(escalation.needed(part)) for part in PARTS},
        }
    first = rows[RULES[0]][0].found
    return {"pool": pool, "large": LARGE[pool], "questions": first.questions, "rules": rules}
