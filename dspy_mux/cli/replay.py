"""`dspy-mux replay`: score a rule on recorded draws, without a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from .output import percent, percent_range, print_json, say, table
from .step import step

if TYPE_CHECKING:
    from ..replay.replay import Result

_COLUMNS = (
    "rule",
    "accuracy %",
    "95 % interval",
    "− consistency",
    "calls",
    "frugal calls",
    "whose answer",
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
        _show(results, left_out)


def _show(results: dict[str, Result], left_out: int) -> None:
    first = next(iter(results.values()))
    splits = "split" if first.repeats == 1 else "splits or choices of draws"
    table(
        f"{', '.join(first.members)}; k={first.k}, n = {first.questions}, "
        f"{first.repeats} {splits}, {left_out} questions left out",
        _COLUMNS,
        [_row(rule, result, results) for rule, result in results.items()],
    )
    table(
        "How far the confidences can be trusted (nothing was fitted on these questions)",
        ("rule", "confidence", "answers", "calibration error %", "Brier score", "AURC %"),
        [_reliability_row(rule, result) for rule, result in results.items()],
    )
    print(f"Some member right: {percent(first.union_accuracy)} %.")
    for result in results.values():
        if result.context is not None:
            say(f"{result.rule} weighed by the questions' field {result.context!r}.")
        if result.decided_by is not None and set(result.decided_by) != {result.rule}:
            shares = ", ".join(
                f"{name} in {round(share * result.repeats)}"
                for name, share in result.decided_by.items()
            )
            print(f"{result.rule} was decided by {shares} of {result.repeats} {splits}.")
        if result.evidence:
            count = round((result.evidence_share or 0.0) * result.repeats)
            print(f"{result.rule} read evidence in {count} of {result.repeats} {splits}.")


def _row(rule: str, result: Result, results: dict[str, Result]) -> list[str]:
    wins = [f"{member} {100 * share:.0f} %" for member, share in result.wins.items() if share]
    return [
        rule,
        percent(result.accuracy),
        percent_range(*result.ci95),
        "" if rule == "consistency" or len(results) == 1 else _difference(result, results),
        f"{result.calls_per_question:.1f}",
        f"{result.frugal_calls_per_question:.1f}",
        ", ".join(wins),
    ]


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
    low, high = difference.low, difference.high
    return f"{100 * difference.mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
