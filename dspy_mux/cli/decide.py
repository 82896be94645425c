"""`dspy-mux replay | search | tune | scale`: what recorded draws decide, without a call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import ConfigurationError
from .options import (
    AsJson,
    BankPath,
    Context,
    Dataset,
    Draws,
    Holdout,
    Members,
    Program,
    Repeats,
    Seed,
    SplitField,
    Test,
    Threshold,
    Train,
    finite,
    numbers_of,
    record_of,
    sizes_of,
    splits_of,
)
from .output import check_page, print_json, say, table, write_page


def replay(
    bank: BankPath,
    members: Members = None,
    k: Draws = None,
    rule: Annotated[
        str,
        typer.Option(help="consistency, pooled, calibrated, self_consistency[:MEMBER], or all."),
    ] = "consistency",
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
    from ..replay.replay import RULE_NAMES, compare, replay as run

    record, left_out = record_of(bank, dataset, program, members, k)
    splits = splits_of(record, split_field, train, test, holdout, repeats, seed)
    rules = RULE_NAMES if rule == "all" else (rule,)
    results = {
        name: run(
            record,
            name,
            splits=splits,
            k=k,
            left_out=left_out,
            context=context,
            threshold=threshold,
            seed=seed,
        )
        for name in rules
    }
    told = {name: result.as_dict() for name, result in results.items()}
    if as_json:
        print_json({"rules": told} if rule == "all" else told[rule])
        return
    first = next(iter(results.values()))
    rows = []
    for name, result in results.items():
        wins = ", ".join(
            f"{member} {100 * share:.0f} %" for member, share in result.wins.items() if share
        )
        gap = (
            compare(result, results["consistency"])
            if len(results) > 1 and name != "consistency"
            else None
        )
        rows.append(
            [
                name,
                f"{100 * result.accuracy:.1f}",
                f"{100 * result.ci95[0]:.1f} – {100 * result.ci95[1]:.1f}",
                ""
                if gap is None
                else f"{100 * gap.mean:+.1f} ({100 * gap.ci95[0]:+.1f} to {100 * gap.ci95[1]:+.1f})",
                f"{result.calls_per_question:.1f}",
                f"{result.frugal_calls_per_question:.1f}",
                wins,
            ]
        )
    table(
        f"{', '.join(first.members)}; k={first.k}, n = {first.questions}, {first.repeats} "
        f"{'split' if first.repeats == 1 else 'splits or choices of draws'}, {left_out} questions left out",
        [
            "rule",
            "accuracy %",
            "95 % interval",
            "− consistency",
            "calls",
            "frugal calls",
            "whose answer",
        ],
        rows,
    )
    print(f"Some member right: {100 * first.union_accuracy:.1f} %.")


def search(
    bank: BankPath,
    sizes: Annotated[str, typer.Option(help="Sizes of the subsets: 3, 2-5, or 2,4.")] = "2-3",
    k: Draws = None,
    penalty: Annotated[
        float, typer.Option(callback=finite, help="λ, the weight of the contradiction.")
    ] = 1.0,
    top: Annotated[int, typer.Option(help="How many to show.")] = 10,
    by: Annotated[
        Literal["objective", "accuracy"],
        typer.Option(help="What ranks them: O(S), or consistency's accuracy."),
    ] = "objective",
    rule: Annotated[
        str | None, typer.Option(help="Also tell the accuracy of this rule (no calibrated).")
    ] = "consistency",
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    time_limit: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="Seconds, for pools too large to enumerate."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The subsets that complement each other best: union accuracy − λ · contradiction, exactly."""
    from ..optimize.search import search as run
    from ..replay.replay import check_rule

    record, left_out = record_of(bank, dataset, program, members, k)
    if rule is not None:
        check_rule(rule, record.members)
        if rule == "calibrated":
            raise ConfigurationError(
                "search tells the accuracy of rules that need no fitting; replay the subset for calibrated."
            )
    wanted = sizes_of(sizes)
    found = run(
        record,
        [size for size in wanted if size <= len(record.members)] or wanted,
        k=k,
        penalty=penalty,
        top=top,
        threshold=threshold,
        by=by,
        rule=rule,
        seed=seed,
        time_limit=time_limit,
    )
    if as_json:
        print_json(
            {
                "results": [each.as_dict() for each in found.results],
                "evaluated": found.evaluated,
                "exact": found.exact,
                "gap": found.gap,
                "seconds": found.seconds,
                "questions": len(record.questions),
                "left_out": left_out,
                "chosen_on_these_questions": True,
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
    table(
        f"n = {len(record.questions)} questions, λ = {penalty:g}, {found.evaluated:,} subsets in {found.seconds:.2f} s",
        [
            "members",
            "objective % ± 95 %",
            "union %",
            "contradiction %",
            "floor – ceiling",
            f"{rule or ''} %",
        ],
        rows,
    )
    print(
        "Proven best."
        if found.exact
        else f"Best found; another may be better by at most {100 * found.gap:.2f} points."
    )
    print(
        "All figures are of the questions that chose these subsets, which flatters them: `replay` them on a split set apart."
    )


def tune(
    bank: BankPath,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study.")] = 100,
    storage: Annotated[
        str | None, typer.Option(help="Where the study is kept, such as sqlite:///study.db.")
    ] = None,
    study_name: Annotated[
        str, typer.Option(help="Its name there; an existing study goes on.")
    ] = "dspy-mux",
    max_members: Annotated[int, typer.Option(min=1)] = 3,
    k_max: Annotated[int | None, typer.Option(min=1, help="Draws per member, at most.")] = None,
    minimize: Annotated[
        str | None, typer.Option(help="Second objective: calls_per_question or cost_per_question.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(callback=finite, help="The most of it that may be spent.")
    ] = None,
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
    from rich.console import Console
    from rich.progress import Progress

    from ..optimize.tune import tune as run
    from ..replay.splits import by_field

    record, left_out = record_of(bank, dataset, program, members, None)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("trials", total=trials)
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
            callbacks=[lambda *_: progress.advance(bar)],
        )
    best, mean = tuned.best, tuned.difference
    if as_json:
        print_json(
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
                "chosen_on_these_questions": True,
                "questions": tuned.questions,
                "left_out": left_out,
                "front": [
                    {
                        "members": list(s.members),
                        "k": s.k,
                        "rule": s.rule,
                        "value": s.value,
                        "cost": s.cost,
                    }
                    for s in tuned.front
                ],
                "trials": tuned.trials,
            }
        )
        return
    named = {"best member alone": tuned.single, "paper's defaults": tuned.baseline, "best": best}
    table(
        f"{len(tuned.trials)} trials, n = {tuned.questions}, "
        + ("cross-fitted" if tuned.cross_fitted else "of the validation split"),
        ["what", "members", "k", "λ", "rule", "accuracy %"],
        [
            [
                what,
                ", ".join(s.members),
                str(s.k),
                "" if s.penalty is None else f"{s.penalty:g}",
                s.rule,
                f"{100 * s.value:.1f}",
            ]
            for what, s in named.items()
        ],
    )
    print(
        f"Best − paper's defaults: {100 * mean[0]:+.1f} points "
        f"(95 % interval {100 * mean[1]:+.1f} to {100 * mean[2]:+.1f}, paired)."
    )
    print(tuned.note)


def scale(
    bank: BankPath,
    k: Annotated[
        int, typer.Option("--k", min=1, help="Draws per member while members are added.")
    ] = 3,
    k_max: Annotated[
        int | None, typer.Option(min=1, help="Draws per member, at most; all recorded by default.")
    ] = None,
    max_members: Annotated[int, typer.Option(min=1)] = 5,
    penalty: Annotated[
        float, typer.Option(callback=finite, help="λ of the search for each size.")
    ] = 1.0,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    html: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file (needs plotly).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy and cost against the number of members and the draws per member."""
    from ..optimize.scaling import scale as run
    from ..replay.splits import by_field

    check_page(html)
    record, left_out = record_of(bank, dataset, program, members, None)
    splits = None if split_field is None else by_field(record, split_field, train, test)
    told = run(
        record,
        k=k,
        k_max=k_max,
        max_members=max_members,
        penalty=penalty,
        splits=splits,
        threshold=threshold,
        seed=seed,
    )
    if html is not None:
        from ..optimize.figures import page, scaling_figures

        write_page(html, page("dspy-mux: scaling", [(record.source, scaling_figures(told))]))
        say(f"The figures are in {html}.", file=sys.stderr)
    if as_json:
        print_json({**told.as_dict(), "left_out": left_out})
        return
    for title, points in (
        (f"Members, at k={k}", told.by_members),
        ("Draws per member", told.by_draws),
    ):
        table(
            f"{title} (n = {points[0].questions})",
            [
                "members",
                "k",
                "rule",
                "accuracy %",
                "95 % interval",
                "union %",
                "contradiction %",
                "calls",
            ],
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


def budget(
    bank: BankPath,
    bounds: Annotated[
        str | None,
        typer.Option(help="Bounds on the chance that a draw to come changes the answer."),
    ] = None,
    k: Draws = None,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    context: Context = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the curve to this file (needs plotly).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy against calls of the calibrated rule when it stops early, without a call."""
    from ..replay.splits import by_field
    from ..replay.stopping_curve import BOUNDS, spending

    check_page(html)
    wanted = BOUNDS if bounds is None else numbers_of(bounds, "--bounds")
    record, left_out = record_of(bank, dataset, program, members, k)
    splits = None if split_field is None else by_field(record, split_field, train, test)
    points = spending(
        record, k=k, bounds=wanted, splits=splits, context=context, threshold=threshold, seed=seed
    )
    if html is not None:
        from ..optimize.figures import page, spending_figure

        write_page(html, page("dspy-mux: budget", [(record.source, [spending_figure(points)])]))
    if as_json:
        print_json({"points": [point.as_dict() for point in points], "left_out": left_out})
        return
    table(
        f"n = {points[0].questions} questions, {len(record.members)} members",
        ["bound", "accuracy %", "95 % interval", "loss to all draws, points", "calls", "saved %"],
        [
            [
                f"{p.bound:g}",
                f"{100 * p.accuracy:.1f}",
                f"{100 * p.low:.1f} – {100 * p.high:.1f}",
                f"{100 * p.loss:+.2f} ({100 * p.loss_low:+.2f} to {100 * p.loss_high:+.2f})",
                f"{p.calls_per_question:.2f}",
                f"{100 * p.saved:.1f}",
            ]
            for p in points
        ],
    )
