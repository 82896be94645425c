"""`dspy-mux risk`: how much a rule can answer at a stated risk, and what a large model adds."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..layout import Table
from .counts import counted, say_left_out
from .options import (
    AsJson,
    AtTemperature,
    BankOptions,
    BankPath,
    Context,
    Dataset,
    Draws,
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
    say_context,
)
from .output import check_page, percent, percent_range, print_json, say, tables, write_page
from .step import step

if TYPE_CHECKING:
    from ..replay.risk import Risk

_COLUMNS = (
    "rule",
    "threshold",
    "answered %",
    "wrong %",
    "promised ≤ %",
    "found %",
    "kept %",
)
_CONFIDENCE_COLUMNS = ("rule", "ECE", "Brier", "AURC")
#: Rules that a mux is built with by name, and that choose by its members' accuracies.
_BY_ACCURACY = ("consistency", "self_consistency", "probability")
_LARGE_COLUMNS = ("escalated %", "accuracy %", "large alone %")


@dataclass(frozen=True)
class RiskOptions:
    """What `dspy-mux risk` is asked for."""

    source: BankOptions
    split: SplitOptions
    k: int | None
    rule: str
    max_risk: float
    confidence: float
    escalate: str | None
    holdout: float
    repeats: int
    threshold: float | None
    context: str | None
    html: Path | None
    as_json: bool


def risk(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: BankPath,
    members: Members = None,
    k: Draws = None,
    rule: RuleName = "consistency",
    max_risk: Annotated[
        float, typer.Option(help="Most wrong answers among the answered, as a share.")
    ] = 0.05,
    confidence: Annotated[float, typer.Option(help="Probability that the promise is kept.")] = 0.9,
    escalate: Annotated[
        str | None,
        typer.Option(
            help="A recorded member that stands for a large model; it is not in the pool."
        ),
    ] = None,
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    holdout: Annotated[
        float,
        typer.Option(
            help="Without a recorded split: the share of questions that fit nothing. Half of them "
            "choose the threshold, the other half are reported."
        ),
    ] = 0.5,
    repeats: Repeats = 20,
    seed: Seed = 0,
    threshold: Threshold = None,
    context: Context = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file (needs plotly).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the confidence from which on answers keep a promise of few wrong ones.

    The promise is: at most so many wrong among the answered, with this confidence, if tomorrow's
    questions are like these.
    """
    _run(
        RiskOptions(
            BankOptions(bank, dataset, program, members, temperature),
            SplitOptions(split_field, train, test, seed),
            k=k,
            rule=rule,
            max_risk=max_risk,
            confidence=confidence,
            escalate=escalate,
            holdout=holdout,
            repeats=repeats,
            threshold=threshold,
            context=context,
            html=html,
            as_json=as_json,
        )
    )


def _run(options: RiskOptions) -> None:
    from ..progress import counted
    from ..replay.decisions import rules_for
    from ..replay.risk import risk as run

    check_page(options.html)
    record, pool = options.source.whole(options.escalate)
    say_context(options.context, record)
    usable, _ = record.of(pool, options.k)  # raises what is wrong, of which no more is to be said
    say_left_out(record, pool, options.k)
    if options.escalate is not None:
        say_left_out(record, [options.escalate], 1)
    splits = options.split.recorded_or_random(record, options.holdout, options.repeats)
    rules: tuple[str, ...] = (options.rule,)
    if options.rule == "all":
        rules = rules_for(usable)
    with step("measuring the risk"):
        found = {
            rule: run(
                record,
                rule,
                max_risk=options.max_risk,
                confidence=options.confidence,
                members=pool,
                escalate=options.escalate,
                splits=splits,
                repeats=options.repeats,
                k=options.k,
                context=options.context,
                threshold=options.threshold,
                seed=options.split.seed,
            )
            for rule in (counted(rules, "rules") if len(rules) > 1 else rules)
        }
    if options.html is not None:
        from ..optimize.figure_page import page
        from ..optimize.risk_figures import risk_figures

        sections = [(rule, risk_figures(each)) for rule, each in found.items()]
        write_page(options.html, page("dspy-mux: risk", sections))
        say(f"The figures are in {options.html}.", file=sys.stderr)
    if options.as_json:
        print_json(_as_dict(found, options))
    else:
        _show(found, options)


def _as_dict(found: Mapping[str, Risk], options: RiskOptions) -> dict[str, object]:
    from ..replay.threshold import ASSUMPTION

    first = next(iter(found.values()))
    large = {} if options.escalate is None else {"escalate": options.escalate}
    return {
        "rules": {rule: each.as_dict() for rule, each in found.items()},
        "max_risk": options.max_risk,
        "confidence": options.confidence,
        "assumption": ASSUMPTION,
        "members": list(first.members),
        **large,
        "k": first.k,
        "questions": first.questions,
        "left_out": first.left_out,
        "repeats": first.repeats,
    }


def _show(found: Mapping[str, Risk], options: RiskOptions) -> None:
    first = next(iter(found.values()))
    questions = counted(first.questions, first.questions + first.left_out)
    large = () if options.escalate is None else _LARGE_COLUMNS
    tables(
        Table(
            f"k={first.k}, {questions}, {first.repeats} repeats; {', '.join(first.members)}",
            _COLUMNS,
            [_row(rule, each) for rule, each in found.items()],
        ),
        Table(
            "",
            (*_CONFIDENCE_COLUMNS, *large),
            [_confidence_row(rule, each) for rule, each in found.items()],
        ),
    )
    for rule, each in found.items():
        say(f"{rule}: {each.promise}{_with_accuracies(rule, each)}")
    if len(found) > 1:
        say(
            "Each promise is of its rule alone: one that is picked for its threshold or coverage "
            "here is broken more often than stated."
        )
    say(
        f"In each repeat {first.n_fit} questions fit, {first.n_calibration} others choose the "
        f"threshold, and {first.n_test} others, which chose nothing, are reported. The threshold "
        "and its promise are the first repeat's, the other figures are over all repeats. Found: "
        "the share of repeats with a threshold; where it is low, one was found by luck. Kept: the "
        "share of repeats in which no more was wrong than promised, counted on the few questions "
        "reported, so that chance may put it below the confidence. ECE: expected calibration "
        "error; AURC: area under the risk–coverage curve."
    )
    if options.escalate is not None:
        say(
            f"Escalated: questions without an answer of that confidence go to {options.escalate}, "
            "one call each."
        )
        for rule, each in found.items():
            say(f"{rule}: {_calls_needed(each)}")


def _with_accuracies(rule: str, found: Risk) -> str:
    if rule not in _BY_ACCURACY or not found.promised or len(found.accuracies) == 1:
        return ""
    known = ", ".join(f"{name!r}: {value:.4g}" for name, value in found.accuracies.items())
    return (
        f" It holds for a mux with accuracies={{{known}}}, which decide between members of equal "
        "confidence."
    )


def _calls_needed(found: Risk) -> str:
    escalation = found.escalation
    assert escalation is not None  # only then is it asked
    parts = []
    for part in (0.95, 0.99):
        needed = escalation.needed(part)
        if math.isnan(needed.share):
            parts.append(f"no share reaches {100 * part:g} %")
            continue
        parts.append(
            f"{percent(needed.share)} % ({percent_range(needed.low, min(needed.high, 1.0))}) of "
            f"the questions escalated reach {100 * part:g} %, {percent(needed.random)} % at random"
        )
    best = max(escalation.curve, key=lambda point: point.accuracy)
    return (
        f"of {escalation.large}'s accuracy, {'; '.join(parts)}. Highest: "
        f"{percent(best.accuracy)} %, at {percent(best.share)} %."
    )


def _row(rule: str, found: Risk) -> list[str]:
    from ..replay.threshold import rounded_up

    return [
        rule,
        "none" if found.threshold is None else f"{found.threshold:.6g}",
        percent(found.coverage),
        "–" if math.isnan(found.risk) else percent(found.risk),
        "–" if found.risk_upper is None else rounded_up(found.risk_upper),
        f"{100 * found.promised_share:.0f}",
        f"{100 * found.kept_share:.0f}",
    ]


def _confidence_row(rule: str, found: Risk) -> list[str]:
    cells = [
        rule,
        _plain(found.ece),
        _plain(found.brier),
        _plain(found.aurc),
    ]
    escalation = found.escalation
    if escalation is not None:
        figures = escalation.share, escalation.accuracy, escalation.accuracy_large
        cells += [percent(figure) for figure in figures]
    return cells


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
