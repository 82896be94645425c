"""The figures that old and new code compute from the old files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dspy

from dspy_mux import SLMMux

from . import world

Command = Callable[..., Any]

#: Verbs of the command line with their options.
VERBS: dict[str, tuple[object, ...]] = {
    "replay": ("replay", "--rule", "all", "--repeats", 4),
    "replay of two draws": ("replay", "--rule", "all", "--k", 2, "--repeats", 3, "--seed", 1),
    "replay by kind": ("replay", "--rule", "calibrated", "--context", "kind", "--repeats", 3),
    "replay of the split": ("replay", "--rule", "all", "--split-field", "split"),
    "search": ("search", "--sizes", "1-3", "--top", 7),
    "search by accuracy": ("search", "--sizes", "2-3", "--by", "accuracy", "--k", 2),
    "scale": ("scale", "--k-max", 3),
    "budget": ("budget",),
}
RUN_OPTIONS: dict[str, Any] = {
    "methods": ("all",),
    "k": 3,
    "mav_n": 2,
    "mav_aspects": ("logic", "facts"),
    "num_threads": 4,
}


def tune(command: Command, database: object, trials: int = 8) -> Any:
    """A study in a database, until it has so many trials."""
    where = ("--storage", f"sqlite:///{database}")
    return command("tune", "bank.sqlite", "--trials", trials, *where, "--json")


def verb(command: Command, name: str, bank: object) -> Any:
    """What a verb computes from a bank."""
    word, *options = VERBS[name]
    return figures_of(command(word, bank, *options, "--json"))


def choices(folder: Path, members: Mapping[str, Any]) -> dict[str, Any]:
    """What each saved mux decides, question by question."""
    return {path.stem: _choices(path, members) for path in sorted(folder.glob("mux-*.json"))}


def _choices(path: Path, members: Mapping[str, Any]) -> list[Any]:
    saved = json.loads(path.read_text())["pool"]["members"]
    mux = SLMMux(
        dspy.Predict(world.SIGNATURE), {each["name"]: members[each["name"]] for each in saved}
    )
    mux.load(path)
    return [_verdict(mux, each) for each in world.examples()]


def baselines(folder: Path, members: dict[str, Any]) -> dict[str, Any]:
    """What each saved baseline decides, loaded into one with other settings."""
    decided = {}
    for name, (method, needed, _) in world.BASELINES.items():
        made = method(dspy.Predict(world.SIGNATURE), members, **needed)
        made.load(folder / f"baseline-{name}.json")
        decided[name] = [_verdict(made, each) for each in world.examples()[:6]]
    return decided


def _verdict(method: dspy.Module, example: dspy.Example) -> list[Any]:
    verdict = method(**example.inputs()).verdict
    calls = verdict.calls + verdict.cached_calls
    return [verdict.answer, verdict.member, verdict.confidence, verdict.tie_break, calls]


def fingerprints(fingerprint_member: Callable[[SLMMux, int], tuple[str, Any]]) -> dict[str, str]:
    """What a bank knows the draws of each program by."""
    lm = world.lm_of_a_server()
    return {
        name: fingerprint_member(SLMMux(program, [lm], **settings), 0)[0]
        for name, (program, settings) in world.programs().items()
    }


def pool(mux: SLMMux) -> dict[str, Any]:
    """What a pool file says of its mux."""
    return dict(mux.dump_state()["pool"])


#: Made in another way since, or not shown then.
_INTERVALS = {"ci95", "low", "high", "loss_low", "loss_high"}
_SINCE = {"stopped", "changed", "changed_low", "changed_high", "note", "decided_by", "reliability"}


def figures_of(printed: Any) -> Any:
    """What was printed, without wall times, intervals, and figures that were not shown then."""
    return _without(printed, {"seconds", *_INTERVALS, *_SINCE})


def table(printed: Any) -> Any:
    """A run's table without what changed on purpose: how a paired difference's interval is made."""
    return _without(printed, {"seconds", "difference_low", "difference_high", "notes"})


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _without(inner, names) for name, inner in value.items() if name not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value
