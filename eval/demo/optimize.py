"""`python -m eval optimize`: MuxOptimizer on the tiny pool, scored on an unseen test split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import dspy
from rich.console import Console
from rich.table import Table

from dspy_mux import MuxOptimizer, SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.bank.score import recorded
from dspy_mux.local import local_member
from dspy_mux.optimize.drawing import greedy
from dspy_mux.optimize.tuned import Setting
from dspy_mux.replay.decisions import picks_of
from dspy_mux.replay.intervals import accuracy, paired_difference
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
    table = Table(title=f"Everyday questions, untouched test split, n = {len(test)}")
    for column in ("mux", "members", "k", "rule", "cross-fitted %", "test %", "95 % interval"):
        table.add_column(column)
    for name, (setting, scores) in rows.items():
        estimate = accuracy(list(scores))
        shown = [
            name,
            ", ".join(setting.members),
            str(setting.k),
            setting.rule,
            f"{100 * setting.value:.1f}",
        ]
        table.add_row(
            *shown,
            estimate.percent(),
            estimate.interval(),
            style="bold" if name == "compiled" else None,
        )
    out_console = Console()
    out_console.print(table)
    for name in ("paper's defaults", "best member alone"):
        gap = paired_difference(ours, list(rows[name][1]))
        out_console.print(
            f"compiled − {name}: {100 * gap.mean:+.1f} points "
            f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f}, paired, n = {gap.n})"
        )
    out_console.print(f"{len(tuned.trials)} trials; {spent} calls for the test; saved in {out}.")


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
