"""The command line's verbs over recorded draws: collect, replay, search, tune, scale, and bank info, import, export."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import ConfigurationError

if TYPE_CHECKING:
    from .record import Record
    from .splits import Split

BankPath = Annotated[str, typer.Argument(help="A bank: an SQLite file, a database URL, or a .jsonl or .jsonl.gz file.")]
Members = Annotated[str | None, typer.Option(help="Members, by comma, in pool order; all by default.")]
Draws = Annotated[int | None, typer.Option("--k", help="Draws per member; all recorded by default.")]
Dataset = Annotated[str | None, typer.Option(help="Which dataset of several in the bank.")]
Program = Annotated[str | None, typer.Option(help="Which recorded program: the start of its fingerprint, or 'latest'.")]
SplitField = Annotated[str | None, typer.Option(help="The field of the questions that holds their split.")]
Train = Annotated[str, typer.Option("--train", help="Its value for the questions that measure and fit.")]
Test = Annotated[str, typer.Option("--test", help="Its value for the questions that are reported.")]
Holdout = Annotated[float, typer.Option(help="Without a recorded split: the share of questions reported.")]
Repeats = Annotated[int, typer.Option(help="How many random splits.")]
Seed = Annotated[int, typer.Option(help="Of the splits and the choice of draws.")]
Threshold = Annotated[float, typer.Option(help="The score from which an answer counts as correct.")]
Context = Annotated[str | None, typer.Option(help="A field of the questions by which the calibrated rule may weigh.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]

bank_app = typer.Typer(help="What a bank holds; draws in and out of it.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (collect, replay, search, tune, scale):
        app.command()(verb)
    app.add_typer(bank_app, name="bank")


def collect(
    task: Annotated[str, typer.Argument(help="A module with program(), examples(split) and metric, such as programs.everyday.")],
    pool: Annotated[Path, typer.Option(help="Pool file (TOML).")],
    bank: Annotated[str, typer.Option(help="Where draws are recorded.")],
    k: Annotated[int | None, typer.Option(min=1, help="Draws per member; the pool file's by default.")] = None,
    split: Annotated[str | None, typer.Option(help="Which of the task's splits; all by default.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many examples.")] = None,
    num_threads: Annotated[int, typer.Option(min=1, help="Draws in flight at once.")] = 16,
    max_calls: Annotated[int | None, typer.Option(min=1, help="Stop before more LM calls than this.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop before more US dollars than this.")] = None,
    retry_failed: Annotated[bool, typer.Option(help="Draw again what failed with an error.")] = False,
    accept_license: Annotated[bool, typer.Option("--accept-license", help="Accept the models' licences.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw every member k times on a task's examples; goes on where an earlier collection stopped."""
    from dataclasses import asdict

    from rich.console import Console

    from .bank import SampleBank
    from .collect import collect as run
    from .poolfile import PoolFile

    module = _task(task)
    mux = PoolFile.load(pool).mux(module.program(), accept_license=accept_license)
    examples = module.examples(split) if limit is None else module.examples(split, limit=limit)
    fields = {} if split is None else {"split": split}
    console = Console(stderr=True)
    done = run(
        mux,
        examples,
        module.metric,
        SampleBank(bank),
        dataset=task.rpartition(".")[2],
        k=k,
        fields=fields,
        num_threads=num_threads,
        max_calls=max_calls,
        max_cost=max_cost,
        retry_failed=retry_failed,
        console=console,
    )
    if as_json:
        _print_json(asdict(done))
    else:
        cost = "" if done.cost is None else f", ${done.cost:.4f}"
        stopped = "" if done.stopped is None else f"; stopped at --{done.stopped.replace('_', '-')}, {done.missing} draws missing"
        print(
            f"{done.drawn} draws recorded in {bank} ({done.already} were there), {done.abstained} abstained, "
            f"{done.calls} calls{cost}, {done.seconds:.0f} s{stopped}."
        )


def replay(
    bank: BankPath,
    members: Members = None,
    k: Draws = None,
    rule: Annotated[str, typer.Option(help="consistency, pooled, calibrated, self_consistency[:MEMBER], or all.")] = "consistency",
    dataset: Dataset = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    holdout: Holdout = 0.5,
    repeats: Repeats = 20,
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    context: Context = None,
    as_json: AsJson = False,
) -> None:
    """What a rule over these members scores on recorded draws, without a call."""
    from .replay import RULE_NAMES, compare
    from .replay import replay as run

    record, left_out = _record(bank, dataset, program, members, k)
    splits = _splits(record, split_field, train, test, holdout, repeats, seed)
    rules = RULE_NAMES if rule == "all" else (rule,)
    results = {
        name: run(record, name, splits=splits, k=k, left_out=left_out, context=context, threshold=threshold, seed=seed)
        for name in rules
    }
    told = {name: result.as_dict() for name, result in results.items()}
    if as_json:
        _print_json({"rules": told} if rule == "all" else told[rule])
        return
    first = next(iter(results.values()))
    rows = []
    for name, result in results.items():
        wins = ", ".join(f"{member} {100 * share:.0f} %" for member, share in result.wins.items() if share)
        gap = compare(result, results["consistency"]) if len(results) > 1 and name != "consistency" else None
        rows.append(
            [
                name,
                f"{100 * result.accuracy:.1f}",
                f"{100 * result.ci95[0]:.1f} – {100 * result.ci95[1]:.1f}",
                "" if gap is None else f"{100 * gap.mean:+.1f} ± {100 * 1.96 * gap.stderr:.1f}",
                f"{result.calls_per_question:.1f}",
                f"{result.frugal_calls_per_question:.1f}",
                wins,
            ]
        )
    _table(
        f"{', '.join(first.members)}; k={first.k}, n = {first.questions}, {first.repeats} "
        f"{'split' if first.repeats == 1 else 'splits or choices of draws'}, {left_out} questions left out",
        ["rule", "accuracy %", "95 % interval", "− consistency", "calls", "frugal calls", "whose answer"],
        rows,
    )
    print(f"Some member right: {100 * first.union_accuracy:.1f} %.")


def search(
    bank: BankPath,
    sizes: Annotated[str, typer.Option(help="Sizes of the subsets: 3, 2-5, or 2,4.")] = "2-3",
    k: Draws = None,
    penalty: Annotated[float, typer.Option(help="λ, the weight of the contradiction.")] = 1.0,
    top: Annotated[int, typer.Option(help="How many to show.")] = 10,
    rule: Annotated[str | None, typer.Option(help="Also tell the accuracy of this rule (no calibrated).")] = "consistency",
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    time_limit: Annotated[float | None, typer.Option(help="Seconds, for pools too large to enumerate.")] = None,
    as_json: AsJson = False,
) -> None:
    """The subsets that complement each other best: union accuracy − λ · contradiction, exactly."""
    from .replay import check_rule
    from .search import search as run

    record, left_out = _record(bank, dataset, program, members, k)
    if rule is not None:
        check_rule(rule, record.members)
        if rule == "calibrated":
            raise ConfigurationError("search tells the accuracy of rules that need no fitting; replay the subset for calibrated.")
    wanted = _sizes(sizes)
    found = run(
        record,
        [size for size in wanted if size <= len(record.members)] or wanted,
        k=k,
        penalty=penalty,
        top=top,
        threshold=threshold,
        rule=rule,
        seed=seed,
        time_limit=time_limit,
    )
    if as_json:
        _print_json(
            {
                "results": [each.as_dict() for each in found.results],
                "evaluated": found.evaluated,
                "exact": found.exact,
                "gap": found.gap,
                "seconds": found.seconds,
                "questions": len(record.questions),
                "left_out": left_out,
            }
        )
        return
    rows = [
        [
            ", ".join(each.members),
            f"{100 * each.objective:.1f} ± {196 * each.stderr:.1f}",
            f"{100 * each.union_accuracy:.1f}",
            f"{100 * each.contradiction:.1f}",
            f"{100 * each.floor:.1f} – {100 * each.ceiling:.1f}",
            "" if each.accuracy is None else f"{100 * each.accuracy:.1f}",
        ]
        for each in found.results
    ]
    _table(
        f"n = {len(record.questions)} questions, λ = {penalty:g}, {found.evaluated:,} subsets in {found.seconds:.2f} s",
        ["members", "objective % ± 95 %", "union %", "contradiction %", "floor – ceiling", f"{rule or ''} %"],
        rows,
    )
    print("Proven best." if found.exact else f"Best found; another may be better by at most {100 * found.gap:.2f} points.")


def tune(
    bank: BankPath,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study.")] = 100,
    storage: Annotated[str | None, typer.Option(help="Where the study is kept, such as sqlite:///study.db.")] = None,
    study_name: Annotated[str, typer.Option(help="Its name there; an existing study goes on.")] = "dspy-mux",
    max_members: Annotated[int, typer.Option(min=1)] = 3,
    k_max: Annotated[int | None, typer.Option(min=1, help="Draws per member, at most.")] = None,
    minimize: Annotated[str | None, typer.Option(help="Second objective: calls_per_question or cost_per_question.")] = None,
    budget: Annotated[float | None, typer.Option(help="The most of it that may be spent.")] = None,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    context: Context = None,
    as_json: AsJson = False,
) -> None:
    """Choose members, k, λ and rule by an Optuna study over recorded draws."""
    from .splits import by_field
    from .tuning import tune as run

    record, left_out = _record(bank, dataset, program, members, None)
    tuned = run(
        record,
        splits=None if split_field is None else by_field(record, split_field, train, test),
        max_members=max_members,
        k_max=k_max,
        n_trials=trials,
        seed=seed,
        context=context,
        threshold=threshold,
        minimize=minimize,
        budget=budget,
        storage=storage,
        study_name=study_name,
        left_out=left_out,
    )
    best, mean = tuned.best, tuned.difference
    if as_json:
        _print_json(
            {
                "best": {
                    "members": list(best.members),
                    "k": best.k,
                    "penalty": best.penalty,
                    "rule": best.rule,
                    "value": best.value,
                    "baseline_value": tuned.baseline.value,
                },
                "difference": {"mean": mean[0], "ci95": [mean[1], mean[2]]},
                "single": {"members": list(tuned.single.members), "value": tuned.single.value},
                "cross_fitted": tuned.cross_fitted,
                "questions": tuned.questions,
                "left_out": left_out,
                "front": [
                    {"members": list(s.members), "k": s.k, "rule": s.rule, "value": s.value, "cost": s.cost} for s in tuned.front
                ],
                "trials": tuned.trials,
            }
        )
        return
    named = {"best member alone": tuned.single, "paper's defaults": tuned.baseline, "best": best}
    _table(
        f"{len(tuned.trials)} trials, n = {tuned.questions}, "
        + ("cross-fitted" if tuned.cross_fitted else "on the split that chose among the trials"),
        ["what", "members", "k", "λ", "rule", "accuracy %"],
        [
            [what, ", ".join(s.members), str(s.k), "" if s.penalty is None else f"{s.penalty:g}", s.rule, f"{100 * s.value:.1f}"]
            for what, s in named.items()
        ],
    )
    print(
        f"Best − paper's defaults: {100 * mean[0]:+.1f} points "
        f"(95 % interval {100 * mean[1]:+.1f} to {100 * mean[2]:+.1f}, paired)."
    )


def scale(
    bank: BankPath,
    k: Annotated[int, typer.Option("--k", min=1, help="Draws per member while members are added.")] = 3,
    k_max: Annotated[int | None, typer.Option(min=1, help="Draws per member, at most; all recorded by default.")] = None,
    max_members: Annotated[int, typer.Option(min=1)] = 5,
    penalty: Annotated[float, typer.Option(help="λ of the search for each size.")] = 1.0,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    html: Annotated[Path | None, typer.Option(help="Also write the figures to this file (needs plotly).")] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy and cost against the number of members and the draws per member."""
    from .scaling import scale as run
    from .splits import by_field

    record, left_out = _record(bank, dataset, program, members, None)
    splits = None if split_field is None else by_field(record, split_field, train, test)
    told = run(record, k=k, k_max=k_max, max_members=max_members, penalty=penalty, splits=splits, threshold=threshold, seed=seed)
    if html is not None:
        pages = [figure.to_html(full_html=False, include_plotlyjs=not index) for index, figure in enumerate(told.figures())]
        html.write_text("<!doctype html><meta charset='utf-8'><title>dspy-mux: scaling</title>" + "".join(pages), encoding="utf-8")
    if as_json:
        _print_json({**told.as_dict(), "left_out": left_out})
        return
    for title, points in ((f"Members, at k={k}", told.by_members), ("Draws per member", told.by_draws)):
        _table(
            f"{title} (n = {points[0].questions})",
            ["members", "k", "rule", "accuracy %", "95 % interval", "union %", "contradiction %", "calls"],
            [
                [
                    ", ".join(p.members),
                    str(p.k),
                    p.rule,
                    f"{100 * p.accuracy:.1f}",
                    f"{100 * p.low:.1f} – {100 * p.high:.1f}",
                    f"{100 * p.union_accuracy:.1f}",
                    f"{100 * p.contradiction:.1f}",
                    f"{p.calls_per_question:.1f}",
                ]
                for p in points
            ],
        )
    print(f"Sweet spot: {told.reason}")


@bank_app.command("info")
def bank_info(bank: BankPath, as_json: AsJson = False) -> None:
    """Datasets, members and programs, with their draws and what they took."""
    from .bank import SampleBank

    rows = SampleBank(bank).info()
    if as_json:
        _print_json({"draws": rows})
        return
    names = ["dataset", "member", "program", "model", "questions", "draws", "abstentions", "calls", "tokens", "cost"]
    _table(bank, names, [[_cell(name, row[name]) for name in names] for row in rows])


@bank_app.command("import")
def bank_import(
    bank: Annotated[str, typer.Argument(help="The bank to add to.")],
    files: Annotated[
        list[str], typer.Argument(help=".jsonl, .jsonl.gz, .parquet, or result files of the reference implementation.")
    ],
    dataset: Annotated[str | None, typer.Option(help="The dataset of rows that name none.")] = None,
) -> None:
    """Add draws from files; what is there already stays as it is."""
    from .bank import SampleBank
    from .exchange import import_file

    for file in files:
        print(f"{file}: {import_file(SampleBank(bank), file, dataset=dataset)} draws")


@bank_app.command("export")
def bank_export(
    bank: BankPath,
    file: Annotated[str, typer.Argument(help="A new .jsonl or .parquet file.")],
    dataset: Dataset = None,
) -> None:
    """Write a bank's draws, one a row."""
    from .bank import SampleBank
    from .exchange import export_file

    print(f"{file}: {export_file(SampleBank(bank), file, dataset=dataset)} draws")


def _record(bank: str, dataset: str | None, program: str | None, members: str | None, k: int | None) -> tuple[Record, int]:
    from .bank import SampleBank
    from .record import read_jsonl

    if bank.endswith((".jsonl", ".jsonl.gz")):
        record = read_jsonl(bank, dataset=dataset)
    else:
        record = SampleBank(bank).record(dataset=dataset, program=program)
    names = None if members is None else [name.strip() for name in members.split(",") if name.strip()]
    return record.of(names, k)


def _splits(record: Record, field: str | None, train: str, test: str, fraction: float, repeats: int, seed: int) -> Sequence[Split]:
    from .splits import by_field, holdout

    if field is not None:
        return by_field(record, field, train, test)
    return holdout(len(record.questions), fraction=fraction, repeats=repeats, seed=seed)


def _sizes(text: str) -> list[int]:
    try:
        sizes: set[int] = set()
        for part in text.split(","):
            first, _, last = part.partition("-")
            sizes.update(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise ConfigurationError(f"--sizes must be like 3, 2-5 or 2,4, not {text!r}.") from error
    return sorted(sizes)


def _task(name: str) -> Any:
    """The user's own module, named on the command line: run from the folder that holds it."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"There is no task module {name!r} to import from here ({error}).") from error
    lacking = [part for part in ("program", "examples", "metric") if not hasattr(module, part)]
    if lacking:
        raise ConfigurationError(f"The module {name!r} is no task: it lacks {', '.join(lacking)}.")
    return module


def _print_json(value: Any) -> None:
    print(json.dumps(_finite(value), ensure_ascii=False, default=float, allow_nan=False))


def _finite(value: Any) -> Any:
    """`value` with null for what is not a number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return str(value)[:12] if name == "program" else f"${value:.4f}" if name == "cost" else str(value)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title))
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width of its own
    console.print(table)
