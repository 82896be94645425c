"""The command line of the evaluation: `python -m eval VERB`, one `app` of thin verbs.

Each verb gathers its options into one object and hands it to the room that does the work. Rooms are
imported when their verb runs. The verbs on recorded draws are in `recorded.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspy_mux.cli.main import one_line_errors
from dspy_mux.cli.options import AsJson
from dspy_mux.cli.ray_options import Ray, RayAddress, RayWorkers, ray_cluster

from .options import (
    AcceptLicense,
    EverydayLimit,
    Markdown,
    MaxRisk,
    SplitSeed,
    Sureness,
)
from .recorded import budget, evidence, fallbacks, risk, rules, scale, search

app = typer.Typer(
    help="Methods × tasks × pools, from real draws, with error bars.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show local variables, a database's password among them
)


@app.callback()
def _eval() -> None:
    """Methods × tasks × pools, from real draws, with error bars."""


@app.command()
def demo(
    k: Annotated[int, typer.Option(min=1, help="Draws per member and question.")] = 3,
    temperature: Annotated[
        float, typer.Option(min=0, help="Sampling temperature of the draws.")
    ] = 0.5,
    limit: EverydayLimit = 180,
    as_json: AsJson = False,
    accept_license: AcceptLicense = False,
) -> None:
    """Three tiny real models on everyday questions: each alone, and together."""
    from .demo.demo import run

    run(k=k, temperature=temperature, limit=limit, as_json=as_json, accept_license=accept_license)


@app.command()
def escalation(
    max_risk: MaxRisk = 0.15,
    confidence: Sureness = 0.9,
    limit: Annotated[
        int | None, typer.Option(min=2, help="Test questions. Default: all of them.")
    ] = None,
    seed: SplitSeed = 0,
    as_json: AsJson = False,
    markdown: Markdown = False,
    accept_license: AcceptLicense = False,
) -> None:
    """Two tiny real models that hand what they doubt to a larger one, beside all three together."""
    from dspy_mux.replay.threshold import Goal

    from .demo.escalation import EscalationDemo, run

    goal = Goal(max_risk, confidence)
    run(EscalationDemo(goal, limit, seed, as_json, markdown, accept_license))


@app.command()
def optimize(
    k: Annotated[int, typer.Option(min=2, help="Most draws per member and question.")] = 4,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study.")] = 60,
    limit: EverydayLimit = 180,
    out: Annotated[
        Path, typer.Option(help="Folder of the bank, the study and the compiled mux.")
    ] = Path("runs/optimize"),
    as_json: AsJson = False,
    accept_license: AcceptLicense = False,
) -> None:
    """Compile a mux of three tiny real models, then score it on an untouched test split."""
    from .demo.optimize import run

    run(k=k, trials=trials, limit=limit, out=out, as_json=as_json, accept_license=accept_license)


@app.command()
def compare(  # noqa: PLR0913  Typer reads the options from the parameters
    task: Annotated[
        list[str],
        typer.Option(
            help="everyday, gsm8k, math500, gpqa, humaneval, word_pairs or reasoning_gym:NAME; "
            "repeatable."
        ),
    ],
    file: Annotated[
        list[str] | None,
        typer.Option(help="A local file of the task's questions; NAME=PATH for several tasks."),
    ] = None,
    pool: Annotated[
        Path | None, typer.Option(help="Pool file. Default: three tiny models in this process.")
    ] = None,
    members: Annotated[
        str | None, typer.Option(help="Some of the pool's members, comma-separated.")
    ] = None,
    methods: Annotated[
        str,
        typer.Option(help="all, or comma-separated ids: slm_mux,self_consistency,llm_debate, …"),
    ] = "all",
    k: Annotated[
        int | None,
        typer.Option("--k", min=1, help="Draws per member. Default: the pool file's, or 3."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="Of the draws. Default: the pool file's, or 0.5."),
    ] = None,
    split: Annotated[str, typer.Option(help="The questions that are reported.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="The first of them. Default: all.")
    ] = None,
    validation_limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Questions that measure members and fit rules. Default: as --limit."
        ),
    ] = None,
    bank: Annotated[
        str | None, typer.Option(help="Where draws are kept. Default: in the run folder.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder; an existing run is resumed. Default: runs/TASK."),
    ] = None,
    seed: SplitSeed = 0,
    num_threads: Annotated[int, typer.Option(min=1, help="Calls in flight at once.")] = 16,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed with an error.")
    ] = False,
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    ray_address: RayAddress = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Of the tiny models' replies. Default: 16 for everyday, or 256."),
    ] = None,
    moa_layers: Annotated[
        int, typer.Option(min=1, help="Mixture-of-Agents: layers, the aggregator's included.")
    ] = 3,
    debate_agents: Annotated[
        int | None, typer.Option(min=1, help="LLM-Debate: agents. Default: 3, or one per member.")
    ] = None,
    debate_rounds: Annotated[int, typer.Option(min=1, help="LLM-Debate: rounds.")] = 2,
    mav_n: Annotated[int, typer.Option(min=1, help="Multi-Agent Verification: candidates.")] = 16,
    mav_aspects: Annotated[
        str | None,
        typer.Option(help="Multi-Agent Verification: comma-separated aspects. Default: all nine."),
    ] = None,
    escalate: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What doubtful answers are escalated to: a member of the pool file, a local model "
            "or .gguf file, or a model string such as openai/gpt-4o-mini.",
        ),
    ] = None,
    max_risk: MaxRisk = 0.1,
    confidence: Sureness = 0.9,
    as_json: AsJson = False,
    accept_license: AcceptLicense = False,
) -> None:
    """Compare every method on the same questions: accuracy, calls, tokens, cost and time."""
    from .compare.command import Command, names, run
    from .compare.methods import Options
    from .compare.pools import PoolOptions

    run(
        Command(
            tasks=task,
            files=file or [],
            pool=PoolOptions(pool, names(members), max_tokens, accept_license, escalate),
            k=k,
            temperature=temperature,
            options=Options(
                methods=names(methods) or (),
                split=split,
                limit=limit,
                validation_limit=limit if validation_limit is None else validation_limit,
                seed=seed,
                num_threads=num_threads,
                retry_failed=retry_failed,
                cluster=ray_cluster(ray, ray_address, ray_workers),
                moa_layers=moa_layers,
                debate_agents=debate_agents,
                debate_rounds=debate_rounds,
                mav_n=mav_n,
                mav_aspects=names(mav_aspects),
                max_risk=max_risk,
                confidence=confidence,
            ),
            out=out,
            bank=bank,
            as_json=as_json,
        )
    )


@app.command()
def groupthink(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of `compare`.")],
    task: Annotated[str | None, typer.Option(help="This task alone.")] = None,
    method: Annotated[
        str | None, typer.Option(help="This method alone, such as llm_debate.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Also ask this LM: a model string, or a member of --pool.")
    ] = None,
    pool: Annotated[Path | None, typer.Option(help="The pool file that has the judge.")] = None,
    as_json: AsJson = False,
    markdown: Markdown = False,
    accept_license: Annotated[
        bool, typer.Option(help="Accept the licence of the judge's model.")
    ] = False,
) -> None:
    """Measure what discussions did to answers, and the share of failures that is groupthink."""
    from dspy_mux import ConfigurationError

    from .groupthink.judge import load_judge
    from .groupthink.table import run

    if pool is not None and judge is None:
        raise ConfigurationError("--pool is where the judge is looked up: name it with --judge.")
    asked = None if judge is None else load_judge(judge, pool, accept_license=accept_license)
    run(run_folder, task=task, method=method, judge=asked, as_json=as_json, as_markdown=markdown)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The run folder that compare wrote.")],
    out: Annotated[
        Path, typer.Option(help="The HTML file to write; an existing one is replaced.")
    ] = Path("report.html"),
) -> None:
    """Write a run as one HTML page: the table, charts, and every question with every draw."""
    from .report import write

    write(run, out)
    typer.echo(f"Wrote {out}.", err=True)


for verb in (rules, budget, risk, fallbacks, evidence, search, scale):
    app.command()(verb)


if __name__ == "__main__":
    with one_line_errors():
        app(prog_name="python -m eval")
