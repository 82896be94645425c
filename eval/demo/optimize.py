"""`python -m eval optimize`: MuxOptimizer on the tiny pool, scored on an unseen test split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import dspy
from rich.console import Console

from dspy_mux import MuxOptimizer, SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.bank.score import recorded
from dspy_mux.cli.output import percent, say, tables
from dspy_mux.layout import Cell, Table
from dspy_mux.local import local_member
from dspy_mux.optimize.drawing import greedy
from dspy_mux.optimize.tuned import Setting
from dspy_mux.replay.decisions import picks_of
from dspy_mux.replay.intervals import accuracy, paired_difference
from dspy_mux.text import signed
from dspy_mux.voting.tally import Floats, Tally
from programs import everyday

from ..compare.draw import grouped_by
from ..compare.pools import MAX_TOKENS, MEMBERS


def run(*, k: int, trials: int, limit: int, out: Path, as_json: bool, accept_license: bool) -> None:
    """Compile on the validation split, and print the mux beside defaults and best member."""
    console = Console(stderr=True)
    pool = [
        local_member(name, max_tokens=MAX_TOKENS, accept_license=accept_license) for name in MEMBERS
    ]
    student = SLMMux(everyday.program(), pool, k=k, temperature=0.5)
    bank = SampleBank(out / "everyday.sqlite")
    optimizer = MuxOptimizer(
        metric=everyday.metric,
        bank=bank,
        n_trials=trials,
        context="category",
        storage=f"sqlite:///{out / 'study.sqlite'}",
        progress=True,
    )
    by_category = grouped_by(everyday.examples("validation"), "category")
    compiled = optimizer.compile(student, trainset=by_category)
    compiled.save(str(out / "mux.json"))
    test = grouped_by(everyday.examples("test", limit=limit), "category")
    collect(student, test, everyday.metric, bank, dataset="test", k=k, console=console)
    drawn_by = {False: student}
    if compiled.report.compiled.greedy:
        drawn_by[True] = greedy(student)
        collect(drawn_by[True], test, everyday.metric, bank, dataset="test", k=1, console=console)
    verdicts = [compiled(**example.inputs()) for example in test]
    ours = [
        float(everyday.metric(example, verdict))
        for example, verdict in zip(test, verdicts, strict=True)
    ]
    spent = sum(verdict.verdict.calls for verdict in verdicts)
    tuned = compiled.report.tuned
    rows: dict[str, tuple[Setting, Floats | list[float]]] = {
        "best member alone": (tuned.single, _scores(drawn_by, test, bank, tuned.single, {})),
        "paper's defaults": (
            tuned.baseline,
            _scores(
                drawn_by,
                test,
                bank,
                tuned.baseline,
                _measured(student, by_category, bank, tuned.baseline),
            ),
        ),
        "compiled": (tuned.best, ours),
    }
    figures = {
        "questions": len(test),
        "calls_for_the_test": spent,
        "settings": {
            name: {
                "members": list(s.members),
                "k": s.k,
                "rule": s.rule,
                "chosen_by": s.value,
                **vars(accuracy(list(scores))),
            }
            for name, (s, scores) in rows.items()
        },
        "compiled_minus_defaults": vars(paired_difference(ours, list(rows["paper's defaults"][1]))),
        "compiled_minus_best_member": vars(
            paired_difference(ours, list(rows["best member alone"][1]))
        ),
    }
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    shown = Table(
        f"Everyday questions, untouched test split, n = {len(test)}",
        ("mux", "members", "rule", "k", "cross-fitted %", "test % (95 %)"),
        [_line(name, *row) for name, row in rows.items()],
        words=3,
        strong=[at for at, name in enumerate(rows) if name == "compiled"],
    )
    tables(shown)
    for name in ("paper's defaults", "best member alone"):
        gap = paired_difference(ours, list(rows[name][1]))
        mean, low, high = (signed(100 * value) for value in (gap.mean, gap.low, gap.high))
        say(f"compiled − {name}: {mean} points ({low} to {high}, paired, n = {gap.n})")
    say(f"{len(tuned.trials)} trials; {spent} calls for the test; saved in {out}.")


def _line(name: str, setting: Setting, scores: Iterable[float]) -> list[Cell]:
    estimate = accuracy(list(scores))
    return [
        name,
        tuple(setting.members),
        setting.rule,
        str(setting.k),
        percent(setting.value),
        f"{estimate.percent()} ({estimate.interval()})",
    ]


def _measured(
    student: SLMMux, examples: list[dspy.Example], bank: SampleBank, setting: Setting
) -> dict[str, float]:
    """Return members' accuracies on the split that the mux was compiled on."""
    record = recorded(student, examples, everyday.metric, bank, dataset="mux_split", k=setting.k)
    part = record.of(setting.members, None)[0]
    means = Tally(part.votes).plurality_scores(part.scores).mean(axis=0)
    return dict(zip(part.members, means.tolist(), strict=True))


def _scores(
    drawn_by: Mapping[bool, SLMMux],
    test: list[dspy.Example],
    bank: SampleBank,
    setting: Setting,
    accuracies: dict[str, float],
) -> Floats:
    """Return a setting's scores on the recorded test draws."""
    mux = drawn_by[setting.greedy]
    record = recorded(mux, test, everyday.metric, bank, dataset="test", k=setting.k)
    part = record.of(setting.members, None)[0]
    known = [accuracies.get(name) for name in part.members]
    return picks_of(setting.rule, part.tally(), known, part.members).scores(part.scores)
