"""`dspy-mux replay`: score a rule on recorded draws, without a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..layout import Table
from .counts import counted, say_few, say_untested
from .options import (
    AsJson,
    AtTemperature,
    BankOptions,
    BankPath,
    Context,
    Dataset,
    Draws,
    Holdout,
    Members,
    Program,
    Repeats,
    RuleName,
    Seed,
    SplitField,
    SplitOptions,
    Test,
    Threshold,
    Train,
)
from .output import percent, percent_range, points, print_json, say, tables
from .step import step

if TYPE_CHECKING:
    from ..replay.replay import Result

_DIFFERENCE = "− consistency, points (95 %)"
_COLUMNS = (
    "rule",
    "accuracy %",
    "interval, 95 %",
    _DIFFERENCE,
    "calls",
    "frugal calls",
)

_RELIABILITY = (
    "rule",
    "confidence",
    "answers",
    "calibration error % (95 %)",
    "Brier score (95 %)",
    "AURC % (95 %)",
)


#: The page that says when a fitted rule is used.
_WHY = (
    "https://dspy-mux.github.io/dspy-mux/decisions/#when-calibrated-leaves-it-to-a-simple-rule "
    "says more"
)


@dataclass(frozen=True)
class ReplayOptions:
    """What `dspy-mux replay` is asked for."""

    source: BankOptions
    split: SplitOptions
    k: int | None
    rule: str
    holdout: float
    repeats: int
    threshold: float | None
    context: str | None
    as_json: bool


def replay(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: BankPath,
    members: Members = None,
    k: Draws = None,
    rule: RuleName = "consistency",
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    holdout: Holdout = 0.5,
    repeats: Repeats = 20,
    seed: Seed = 0,
    threshold: Threshold = None,
    context: Context = None,
    as_json: AsJson = False,
) -> None:
    """Score a rule over these members on recorded draws, without a call."""
    _run(
        ReplayOptions(
            BankOptions(bank, dataset, program, members, temperature),
            SplitOptions(split_field, train, test, seed),
            k=k,
            rule=rule,
            holdout=holdout,
            repeats=repeats,
            threshold=threshold,
            context=context,
            as_json=as_json,
        )
    )


def _run(options: ReplayOptions) -> None:
    from ..progress import counted
    from ..replay.decisions import rules_for
    from ..replay.replay import replay as run

    record, left_out = options.source.record(options.k)
    splits = options.split.recorded_or_random(record, options.holdout, options.repeats)
    rules = rules_for(record) if options.rule == "all" else (options.rule,)
    with step("replaying"):
        results = {
            rule: run(
                record,
                rule,
                splits=splits,
                k=options.k,
                left_out=left_out,
                context=options.context,
                threshold=options.threshold,
                seed=options.split.seed,
                reliability=True,
            )
            for rule in (counted(rules, "rules") if len(rules) > 1 else rules)
        }
    if options.as_json:
        shown = {rule: result.as_dict() for rule, result in results.items()}
        print_json({"rules": shown} if options.rule == "all" else shown[options.rule])
    else:
        part = options.split.test if options.split.field else None
        _show(results, len(record.questions), part)


def _show(results: dict[str, Result], usable: int, part: str | None) -> None:
    """Print the tables, and what the rules were decided by.

    Args:
        usable: questions with all draws.
        part: the recorded part that is reported; None for random splits.
    """
    first = next(iter(results.values()))
    splits = "split" if first.repeats == 1 else "splits or choices of draws"
    members = first.members
    columns = _COLUMNS if len(results) > 1 else tuple(c for c in _COLUMNS if c != _DIFFERENCE)
    tables(
        Table(
            f"k={first.k}, {counted(first.questions, usable + first.left_out)}, "
            f"{first.repeats} {splits}",
            columns,
            [_row(rule, result, results) for rule, result in results.items()],
        ),
        Table(
            "Whose answer was chosen, % of the questions",
            ("rule", *((name,) for name in members)),
            [
                [rule, *(f"{100 * result.wins[name]:.0f}" for name in members)]
                for rule, result in results.items()
            ],
        ),
        _reliability(results),
        members=members,
    )
    say(f"Some member right: {percent(first.union_accuracy)} %.")
    say_few(first.questions)
    say_untested(first.questions, usable, part, repeats=True)
    for result in results.values():
        if result.context is not None:
            say(f"{result.rule} weighed by the questions' field {result.context!r}.")
        if result.decided_by is not None and set(result.decided_by) != {result.rule}:
            say(_left_to_others(result, result.decided_by, splits))
        if result.evidence:
            count = round((result.evidence_share or 0.0) * result.repeats)
            say(f"{result.rule} read evidence in {count} of {result.repeats} {splits}.")


def _left_to_others(result: Result, decided_by: Mapping[str, float], splits: str) -> str:
    """Return in which of the splits a fitted rule was not used, and which rules chose instead."""
    counts = {name: round(share * result.repeats) for name, share in decided_by.items()}
    own = counts.pop(result.rule, 0)
    others = ", ".join(f"{name} in {count}" for name, count in counts.items())
    return (
        f"{result.rule} left it to a simple rule in {result.repeats - own} of {result.repeats} "
        f"{splits}: {others}. There the training questions did not show that its own fit chooses "
        f"better; {_WHY}."
    )


def _row(rule: str, result: Result, results: dict[str, Result]) -> list[str]:
    alone = len(results) == 1
    difference = "" if alone or rule == "consistency" else _difference(result, results)
    return [
        rule,
        percent(result.accuracy),
        percent_range(*result.ci95),
        *([] if alone else [difference]),
        f"{result.calls_per_question:.1f}",
        f"{result.frugal_calls_per_question:.1f}",
    ]


def _reliability(results: dict[str, Result]) -> Table:
    """Return the table of the confidences; what is the same of all rules is said in its title."""
    rows = [_reliability_row(rule, result) for rule, result in results.items()]
    same = [at for at in (1, 2) if len({row[at] for row in rows}) == 1]
    said = "".join(f", {_RELIABILITY[at]} {rows[0][at]}" for at in same)
    shown = [at for at in range(len(_RELIABILITY)) if at not in same]
    return Table(
        f"How far the confidences can be trusted (nothing was fitted on these questions){said}",
        [_RELIABILITY[at] for at in shown],
        [[row[at] for at in shown] for row in rows],
        words=2 if 1 in shown else 1,
    )


def _reliability_row(rule: str, result: Result) -> list[str]:
    found = result.reliability
    assert found is not None  # it was asked for
    low, high = found.brier.low, found.brier.high
    return [
        rule,
        "calibrated" if found.calibrated else "raw",
        str(found.brier.n),
        f"{percent(found.ece.mean)} ({percent_range(found.ece.low, found.ece.high)})",
        f"{found.brier.mean:.3f} ({low:.3f} – {high:.3f})",
        f"{percent(found.aurc.mean)} ({percent_range(found.aurc.low, found.aurc.high)})",
    ]


def _difference(result: Result, results: dict[str, Result]) -> str:
    """Return the difference to `consistency` in points, with its 95 % interval."""
    from ..replay.replay import compare

    difference = compare(result, results["consistency"])
    return points(difference.mean, difference.low, difference.high)
