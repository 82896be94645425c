"""`dspy-mux tune`: choose members, k, λ and rule by an Optuna study over recorded draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..layout import Cell, Table
from ..text import signed
from . import completion
from .mux_file import MuxFileOptions
from .options import (
    AcceptLicense,
    AsJson,
    AtTemperature,
    BankOptions,
    BankPath,
    Context,
    Dataset,
    MaxDraws,
    Members,
    Program,
    Seed,
    SplitField,
    SplitOptions,
    Test,
    Threshold,
    Train,
    finite,
    say_context,
)
from .output import percent, print_json, say, table, tables
from .questions import AnswerType
from .step import step

if TYPE_CHECKING:
    from ..mux.points import OperatingPoints
    from ..optimize.tuned import Setting, Tuned


@dataclass(frozen=True)
class TuneOptions:
    """What `dspy-mux tune` is asked for."""

    source: BankOptions
    split: SplitOptions
    trials: int
    storage: str | None
    study_name: str
    max_members: int
    k_max: int | None
    minimize: str | None
    budget: float | None
    threshold: float | None
    context: str | None
    aim: AimOptions
    file: MuxFileOptions
    as_json: bool


@dataclass(frozen=True)
class AimOptions:
    """What an operating point shall keep to, and the member that stands for a large model."""

    max_risk: float | None
    confidence: float
    max_escalated: float | None
    max_cost: float | None
    escalate: str | None

    @property
    def bounds_any(self) -> bool:
        """Whether a threshold is chosen."""
        bounds = self.max_risk, self.max_escalated, self.max_cost, self.escalate
        return any(bound is not None for bound in bounds)


def tune(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: BankPath,
    trials: Annotated[
        int,
        typer.Option(min=1, help="Trials that the study shall have, of all processes together."),
    ] = 100,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where the study is stored: a database such as sqlite:///study.db, or a journal "
            "file such as study.log."
        ),
    ] = None,
    study_name: Annotated[
        str,
        typer.Option(
            help="The study's name there. Processes that name the same one share its trials; an "
            "existing study is resumed."
        ),
    ] = "dspy-mux",
    max_members: Annotated[int, typer.Option(min=1, help="Most members of a mux.")] = 3,
    k_max: MaxDraws = None,
    minimize: Annotated[
        str | None, typer.Option(help="Second objective: calls_per_question or cost_per_question.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(callback=finite, help="The most of it that a mux may spend.")
    ] = None,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    seed: Seed = 0,
    threshold: Threshold = None,
    context: Context = None,
    max_risk: Annotated[
        float | None,
        typer.Option(
            help="Also choose a threshold: at most this share wrong among the answers it trusts. "
            "The test questions, or a random half, choose nothing else."
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="Probability that the promise of --max-risk is kept.")
    ] = 0.9,
    escalate: Annotated[
        str | None,
        typer.Option(
            help="A recorded member that stands for a large model; it is not in the pool."
        ),
    ] = None,
    max_escalated: Annotated[
        float | None, typer.Option(help="Most questions that go to it, as a share.")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost-per-question",
            "--max-cost",
            help="Most US dollars a question, the large model's calls among them.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Save the chosen mux in this file (JSON), for ask and serve.",
            autocompletion=completion.mux_files,
        ),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(
            help="With --out: the pool file (TOML) that the draws were collected with.",
            autocompletion=completion.pool_files,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="With --out: the task that was collected. Default: the pool file's program."
        ),
    ] = None,
    answer_type: AnswerType = None,
    accept_license: AcceptLicense = False,
    as_json: AsJson = False,
) -> None:
    """Choose members, k, λ and rule by an Optuna study over recorded draws.

    Without --temperature, draws of temperature 0 are tried beside the others, where both are there.
    With --max-risk, --max-escalated, --max-cost or --escalate, also show the operating points: what
    each threshold gives and costs. With --out, save the mux; it is opened with the same pool file.
    """
    _run(
        TuneOptions(
            BankOptions(bank, dataset, program, members, temperature),
            SplitOptions(split_field, train, test, seed),
            trials=trials,
            storage=storage,
            study_name=study_name,
            max_members=max_members,
            k_max=k_max,
            minimize=minimize,
            budget=budget,
            threshold=threshold,
            context=context,
            aim=AimOptions(max_risk, confidence, max_escalated, max_cost, escalate),
            file=MuxFileOptions(out, pool, task, answer_type, accept_license),
            as_json=as_json,
        )
    )


def _run(options: TuneOptions) -> None:
    from ..optimize.drawing import as_live
    from ..optimize.plan import shared
    from ..optimize.tune import tune as run

    source, aim = options.source, options.aim
    record, greedy, left_out = source.without(aim.escalate).with_greedy(options.k_max)
    large = None
    if aim.escalate is not None:
        large = source.one(aim.escalate)
        record, greedy, alone = shared(record, greedy, large)
        left_out += alone
    say_context(options.context, record)
    student = None
    if options.file.out is not None:
        student = options.file.student(
            source,
            record.members,
            greedy=greedy is not None,
            large=aim.escalate,
            aimed=aim.bounds_any,
        )
        record, greedy = as_live(record, student), greedy and as_live(greedy, student)
    with step("tuning", unit="trials", total=options.trials) as progress:
        try:
            tuned = run(
                record,
                greedy=greedy,
                splits=options.split.recorded(record),
                max_members=options.max_members,
                k_max=options.k_max,
                n_trials=options.trials,
                seed=options.split.seed,
                context=options.context,
                threshold=options.threshold,
                minimize=options.minimize,
                budget=options.budget,
                storage=options.storage,
                study_name=options.study_name,
                left_out=left_out,
                max_risk=aim.max_risk,
                confidence=aim.confidence,
                max_escalated=aim.max_escalated,
                max_cost_per_question=aim.max_cost,
                escalate=large,
                callbacks=[lambda *_: progress.advance()],
            )
        except KeyboardInterrupt:
            kept = "its trials are lost: --storage would keep them."
            if options.storage is not None:
                kept = "finished trials are kept, and the same command goes on."
            raise KeyboardInterrupt(kept) from None
    if options.as_json:
        print_json(_as_dict(tuned, left_out))
    else:
        _show(tuned, record.members)
    if student is not None:
        options.file.write(tuned, student)


def _as_dict(tuned: Tuned, left_out: int) -> dict[str, object]:
    best, (mean, low, high) = tuned.best, tuned.difference
    return {
        "best": {
            "members": list(best.members),
            "k": best.k,
            "penalty": best.penalty,
            "rule": best.rule,
            "temperature": best.temperature,
            "greedy": best.greedy,
            "evidence": best.evidence,
            "value": best.value,
            "baseline_value": tuned.baseline.value,
        },
        "difference": {"mean": mean, "ci95": [low, high]},
        "single": {"members": list(tuned.single.members), "value": tuned.single.value},
        "cross_fitted": tuned.cross_fitted,
        "chosen_on_these_questions": True,
        "members_chosen_on_these_questions": not tuned.searched,
        "note": tuned.note,
        "questions": tuned.questions,
        "left_out": left_out,
        "fewer": None if tuned.fewer is None else _setting(tuned.fewer),
        "front": [_setting(setting) for setting in tuned.front],
        "curve": None if tuned.curve is None else tuned.curve.as_dict(),
        "trials": tuned.trials,
        **({} if tuned.points is None else {"operating": _operating(tuned.points)}),
    }


def _operating(points: OperatingPoints) -> dict[str, object]:
    from ..optimize.points_text import points_note

    return {**points.as_dict(), "note": points_note(points)}


def _setting(setting: Setting) -> dict[str, object]:
    return {
        "members": list(setting.members),
        "k": setting.k,
        "rule": setting.rule,
        "greedy": setting.greedy,
        "evidence": setting.evidence,
        "value": setting.value,
        "cost": setting.cost,
    }


def _show(tuned: Tuned, members: Sequence[str]) -> None:
    from ..optimize.points_text import points_note, points_table
    from ..optimize.report import CURVE_COLUMNS, FEWER, curve_cells

    settings = {
        "best member alone": tuned.single,
        "paper's defaults": tuned.baseline,
        "best": tuned.best,
    }
    if tuned.fewer is not None:
        settings[FEWER] = tuned.fewer
    shown = Table(
        f"{len(tuned.trials)} trials, n = {tuned.questions} questions, {tuned.scored_on}",
        ["setting", "members", "rule", "k", "λ", "accuracy %"],
        [_row(name, setting) for name, setting in settings.items()],
        words=3,
    )
    tables(shown, members=members)
    mean, low, high = (signed(100 * value) for value in tuned.difference)
    say(f"Best − paper's defaults: {mean} points (95 % interval {low} to {high}, paired).")
    say(tuned.note)
    if tuned.curve is not None:
        table("Accuracy against calls", CURVE_COLUMNS, curve_cells(tuned.curve))
        say(tuned.curve.note)
    if tuned.points is not None:
        if tuned.points:
            table("Operating points of the best setting", *points_table(tuned.points))
        say(points_note(tuned.points))


def _row(name: str, setting: Setting) -> list[Cell]:
    return [
        name,
        tuple(setting.members),
        setting.plan.label,
        setting.plan.draws,
        "" if setting.penalty is None else f"{setting.penalty:g}",
        percent(setting.value),
    ]
