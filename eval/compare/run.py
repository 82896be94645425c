"""One comparison, from tasks and members to a finished run folder.

Methods that are functions of independent draws share one bank: each draw is made once, and a rule
decides. Discussion methods run live. Nothing is answered from DSPy's cache, so calls, tokens and
seconds are a method's real ones. What was drawn or answered once is in the run folder, and a rerun
resumes from there.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from dspy_mux import ConfigurationError, Member, SampleBank, __version__
from dspy_mux.adapters.formats import adapter_name
from programs.tasks import Task

from ..runs.folder import VERSION, Run
from ..runs.schema import VALIDATION
from .methods import PROBABILITY, Options, chosen
from .task import TaskComparison


def compare(
    tasks: Sequence[Task],
    members_of: Callable[[str], Sequence[Member]],
    options: Options,
    *,
    out: Path,
    bank: str | Path | None = None,
    command: str = "",
    console: Console | None = None,
    large_of: Callable[[str], Member] | None = None,
) -> Run:
    """Compare methods; return the finished run.

    Args:
        tasks: each is reported on its own.
        members_of: task name → its members. They are the same for every task, but may differ in how
            long their replies may be.
        out: the run folder; an existing run is resumed.
        bank: where draws are kept; None for the run's own bank.
        command: recorded in the manifest.
        console: where progress is shown; None for no progress.
        large_of: task name → the large model that doubtful answers are escalated to; None for
            none.

    Raises:
        ConfigurationError: options, tasks or members that do not fit each other, or the folder's
            run.
        MetricFailed, BankError, MuxError: as `collect` raises them; draws and answers are kept.
    """
    if options.split == VALIDATION:
        raise ConfigurationError(
            "The validation split measures the members and fits the rules: report another one."
        )
    console = console or Console(quiet=True)
    large = None if large_of is None or not tasks else large_of(tasks[0].name)
    options = replace(options, large=None if large is None else large.label)
    comparisons = [
        TaskComparison(
            task, members_of(task.name), options, None if large_of is None else large_of(task.name)
        )
        for task in tasks
    ]
    if len({each.task.name for each in comparisons}) < len(comparisons) or not comparisons:
        raise ConfigurationError("Name each task once, and at least one.")
    methods, notes = chosen(comparisons[0].names, options)
    for each in comparisons:
        each.check(methods)
        notes += each.notes
    manifest = {
        "version": VERSION,
        "command": command,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": _versions(),
        "seed": options.seed,
        "split": options.split,
        "limit": options.limit,
        "validation_limit": options.validation_limit,
        "k": options.k,
        "temperature": options.temperature,
        "pool": [_member_entry(member) for member in comparisons[0].mux.members],
        **({} if large is None else {"large": _member_entry(large)}),
        "tasks": [each.manifest() for each in comparisons],
        "methods": [method.as_dict() for method in methods],
        "num_threads": options.num_threads,
        "notes": notes,
    }
    with Run.start(out, manifest) as run:
        shared = SampleBank(bank if bank is not None else run.bank)
        try:
            for each in comparisons:
                each.compare(methods, run, shared, console)
            _leave_out_undecided(run)
        finally:
            shared.close()
    return run


def _leave_out_undecided(run: Run) -> None:
    """Leave methods out that had no log-probabilities to decide by, on any task."""
    declared = run.manifest["methods"]
    decided = {name for task in run.manifest["tasks"] for name in task["settings"]}
    kept = [
        method
        for method in declared
        if PROBABILITY not in method["id"].split(":") or method["id"] in decided
    ]
    if len(kept) < len(declared):
        run.manifest["methods"] = kept
        run.save()


def _member_entry(member: Member) -> dict[str, Any]:
    """Return a member as the manifest holds it."""
    return {
        "name": member.label,
        "model": member.lm.model,
        "adapter": adapter_name(member.adapter) if member.adapter is not None else None,
        "temperature": member.temperature,
        "max_tokens": member.lm.kwargs.get("max_tokens"),
    }


def _versions() -> dict[str, str]:
    return {
        "dspy_mux": __version__,
        "dspy": version("dspy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
