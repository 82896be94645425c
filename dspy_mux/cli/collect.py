"""`dspy-mux collect`: draw every member k times on a task's examples, into a bank."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MuxError
from ..layout import Cell
from . import completion
from .options import (
    AcceptLicense,
    AsJson,
    Timeout,
    finite,
)
from .output import number, options_alone, percent, print_json, say, table
from .questions import AnswerType, QuestionOptions
from .ray_options import Ray, RayAddress, RayWorkers, ray_cluster

if TYPE_CHECKING:
    from ..bank.collect import Collected
    from ..bank.member_draws import MemberDraws
    from ..cluster import RayCluster


#: Draws from which it is said that a member abstains in most of them.
_ENOUGH = 10


@dataclass(frozen=True)
class CollectOptions:
    """What `dspy-mux collect` is asked for."""

    source: QuestionOptions
    pool: Path
    bank: str
    k: int | None
    split: str | None
    limit: int | None
    num_threads: int
    processes: int
    cluster: RayCluster | None
    timeout: float | None
    max_calls: int | None
    max_cost: float | None
    retry_failed: bool
    accept_license: bool
    as_json: bool


def collect(  # noqa: PLR0913  Typer reads the options from the parameters
    pool: Annotated[
        Path, typer.Option(help="Pool file (TOML).", autocompletion=completion.pool_files)
    ],
    bank: Annotated[
        str, typer.Option(help="Where draws are recorded.", autocompletion=completion.banks)
    ],
    task: Annotated[
        str | None,
        typer.Argument(
            help="A module with program(), examples(split) and metric, such as programs.everyday; "
            "or pass --file."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="In place of a task: questions and right answers (CSV, JSON, JSON lines or "
            "Parquet). Columns are named as the inputs of the pool file's program.",
            autocompletion=completion.question_files,
        ),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            help="With --file: the column of the right answers. Default: the program's answer "
            "field, such as answer."
        ),
    ] = None,
    answer_type: AnswerType = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="Draws per member. Default: the pool file's.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="One of the task's splits, or of the file's column split. Default: all.",
            autocompletion=completion.splits,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most examples.")] = None,
    num_threads: Annotated[int, typer.Option(min=1, help="Draws in flight at once.")] = 16,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that share the draws in flight, where one core is the limit; each "
            "should have a member's k draws of them, which share a request.",
        ),
    ] = 1,
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    ray_address: RayAddress = None,
    timeout: Timeout = None,
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="Stop before more LM calls than this.")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="Stop before more US dollars than this."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Redraw draws that failed with an error.")
    ] = False,
    accept_license: AcceptLicense = False,
    as_json: AsJson = False,
) -> None:
    """Draw every member k times on a task's examples, or on a file's; resume a collection."""
    _run(
        CollectOptions(
            source=QuestionOptions(task, file, answer, answer_type),
            pool=pool,
            bank=bank,
            k=k,
            split=split,
            limit=limit,
            num_threads=num_threads,
            processes=processes,
            cluster=ray_cluster(ray, ray_address, ray_workers),
            timeout=timeout,
            max_calls=max_calls,
            max_cost=max_cost,
            retry_failed=retry_failed,
            accept_license=accept_license,
            as_json=as_json,
        )
    )


def _run(options: CollectOptions) -> None:
    import dspy
    from rich.console import Console

    from ..bank.children import check_processes
    from ..bank.collect import collect as run
    from ..bank.sample_bank import SampleBank
    from ..mux.options import SharedOptions
    from ..mux.pool_file import PoolFile

    if dspy.cache.enable_disk_cache:
        # Each draw is made once: what the memory cache keeps too would only grow.
        dspy.cache.enable_memory_cache = False
    timeout: SharedOptions = {} if options.timeout is None else {"timeout": options.timeout}
    pool = PoolFile.load(options.pool)
    task = options.source.task_over(pool, options.pool)
    # Before weights are fetched.
    check_processes(options.processes, options.num_threads, pool.embedded)
    mux = pool.mux(task.program(), accept_license=options.accept_license, **timeout)
    bank = SampleBank(options.bank)
    done = run(
        mux,
        task.examples(options.split, options.limit),
        task.metric,
        bank,
        dataset=task.name.rpartition(".")[2],
        k=options.k,
        fields={} if options.split is None else {"split": options.split},
        num_threads=options.num_threads,
        processes=options.processes,
        cluster=options.cluster,
        max_calls=options.max_calls,
        max_cost=options.max_cost,
        retry_failed=options.retry_failed,
        console=Console(stderr=True),
    )
    if options.as_json:
        print_json(asdict(done))
    else:
        _show(done, bank.name, options.pool)
    if done.given_up:
        draws = {each.member: each.draws for each in done.members}
        raise MuxError(" ".join(one.sentence(draws[one.member]) for one in done.given_up))
    if done.failed and done.failed == done.drawn + done.already:
        raise MuxError(
            f"All {done.failed} draws failed, most often with {done.cause!r}: fix that, and make "
            "them again with --retry-failed."
        )


def _show(done: Collected, bank: str, pool: Path) -> None:
    from ..answers.reply import CUT_OFF
    from ..sampling.causes import advice

    rescored = f", {done.rescored} of them rescored" if done.rescored else ""
    cost = "" if done.cost is None else f", ${done.cost:.4f}"
    stopped = ""
    if done.stopped is not None:
        option = done.stopped.replace("_", "-")
        stopped = f"; stopped at --{option}, {done.missing} draws missing"
    elif others := done.missing - sum(one.missing for one in done.given_up):
        stopped = f"; {others} more are another collection's, which is at work"
    say(
        f"{done.drawn} draws recorded in {bank} ({done.already} were there{rescored}), "
        f"{done.abstained} abstained, {done.calls} calls{cost}, {done.seconds:.0f} s{stopped}."
    )
    if len(done.members) > 1 or any(each.abstained for each in done.members):
        _show_members(done.members)
    if done.errors is not None and done.failed < done.drawn + done.already:
        say(options_alone(done.errors))
    weak = _weak(done)
    for each in weak:
        say(_advice_to(each, pool))
    if not any(next(iter(each.causes)) == CUT_OFF for each in weak):
        for sentence in advice({CUT_OFF: done.cut_off}):
            say(sentence)


def _show_members(members: Sequence[MemberDraws]) -> None:
    """Print what each member's draws came to, those recorded before included."""
    scored = any(each.scored for each in members)
    rows: list[tuple[Cell, ...]] = []
    for each in members:
        share = f" ({percent(each.abstained / each.draws)} %)" if each.abstained else ""
        row: tuple[Cell, ...] = ((each.member,), f"{each.draws:,}", f"{each.abstained:,}{share}")
        if scored:
            score = "" if each.score is None else number(each.score, ".3f")
            row += (score, f"{each.scored:,}")
        rows.append(row)
    columns = ("member", "draws", "abstained", "mean score", "n scored")
    table("All recorded draws", columns if scored else columns[:3], rows)


def _weak(done: Collected) -> list[MemberDraws]:
    """Return the members that abstain in most of their draws, but for those whose servers fail."""
    given_up = {one.member for one in done.given_up}
    if done.failed == done.drawn + done.already:
        return []
    return [
        each
        for each in done.members
        if each.draws >= _ENOUGH and 2 * each.abstained > each.draws and each.member not in given_up
    ]


def _advice_to(weak: MemberDraws, pool: Path) -> str:
    """Return one sentence on a member that abstains in most of its draws."""
    from ..sampling.causes import REMEDIES

    cause = next(iter(weak.causes))
    remedy = REMEDIES.get(cause, f"ask `dspy-mux check {shlex.quote(str(pool))}` what it needs")
    return (
        f"{weak.member} abstained in {weak.abstained} of {weak.draws} draws, most often with "
        f"{cause!r}: {remedy}, or leave it out."
    )
