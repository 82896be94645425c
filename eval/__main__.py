"""The command line of the evaluation: `python -m eval budget | compare | demo | groupthink | optimize | report | rules | …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspy_mux.cli.main import one_line_errors
from dspy_mux.cli.options import (
    AsJson,
    Members,
    Program,
    Seed,
    SplitField,
    Test,
    Threshold,
    Train,
    parse_numbers,
    parse_sizes,
)

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
    limit: Annotated[
        int, typer.Option(min=2, help="Test questions, balanced over the six categories.")
    ] = 180,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
    ] = False,
    accept_license: Annotated[
        bool, typer.Option(help="Accept the licences of the models, Gemma's terms too.")
    ] = False,
) -> None:
    """Three tiny real models on everyday questions: each alone, and together."""
    from .demo.demo import run

    run(k=k, temperature=temperature, limit=limit, as_json=as_json, accept_license=accept_license)


@app.command()
def optimize(
    k: Annotated[int, typer.Option(min=2, help="Draws per member and question, at most.")] = 4,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study.")] = 60,
    limit: Annotated[
        int, typer.Option(min=2, help="Test questions, balanced over the six categories.")
    ] = 180,
    out: Annotated[
        Path, typer.Option(help="Where the bank, the study and the compiled mux are kept.")
    ] = Path("runs/optimize"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
    ] = False,
    accept_license: Annotated[
        bool, typer.Option(help="Accept the licences of the models, Gemma's terms too.")
    ] = False,
) -> None:
    """MuxOptimizer on three tiny real models: choose members, draws and rule, then score them on an untouched test split."""
    from .demo.optimize import run

    run(k=k, trials=trials, limit=limit, out=out, as_json=as_json, accept_license=accept_license)


@app.command()
def rules(
    data: Annotated[Path, typer.Option(help="The folder of the public banks (eval/pools.py).")],
    k: Annotated[int, typer.Option(min=1, help="Draws per member.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Random half splits.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
    ] = False,
) -> None:
    """Every rule on public banks of real recorded outputs, without a call."""
    from .paper.rules import run

    run(data=data, k=k, repeats=repeats, seed=seed, as_json=as_json)


@app.command()
def budget(
    data: Annotated[Path, typer.Option(help="The folder of the public banks (eval/pools.py).")],
    bounds: Annotated[
        str, typer.Option(help="On the chance that a draw to come changes the answer, by comma.")
    ] = "0.05,0.1,0.15",
    k: Annotated[int, typer.Option(min=1, help="Draws per member.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Random half splits.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """What frugal schedules and early stopping save on public banks of real recorded outputs, without a call."""
    from .paper.budget import run

    wanted = parse_numbers(bounds, "--bounds")
    run(
        data=data,
        bounds=wanted,
        k=k,
        repeats=repeats,
        seed=seed,
        as_json=as_json,
        markdown=markdown,
    )


@app.command()
def compare(
    task: Annotated[
        list[str],
        typer.Option(
            help="everyday, gsm8k, math500, gpqa, humaneval or reasoning_gym:NAME; repeatable."
        ),
    ],
    file: Annotated[
        list[str] | None,
        typer.Option(help="A local file of the task's questions; NAME=PATH for several tasks."),
    ] = None,
    pool: Annotated[
        Path | None, typer.Option(help="A pool file; three tiny models in this process by default.")
    ] = None,
    members: Annotated[
        str | None, typer.Option(help="Some of the pool's members, by comma.")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="all, or ids by comma, such as slm_mux,self_consistency,llm_debate.")
    ] = "all",
    k: Annotated[
        int | None,
        typer.Option("--k", min=1, help="Draws per member; the pool file's by default, else 3."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0, help="Of the draws; the pool file's by default, 0.5 for the tiny models."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="The questions that are reported.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many of them, from the front; all by default.")
    ] = None,
    validation_limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Questions that measure members and fit rules; as many as --limit by default.",
        ),
    ] = None,
    bank: Annotated[
        str | None, typer.Option(help="Where draws are kept; in the run folder by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder, gone on with where it is there; runs/TASK by default."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    num_threads: Annotated[int, typer.Option(min=1, help="Calls in flight at once.")] = 16,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed with an error.")
    ] = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="A tiny model's longest reply; 16 for everyday, else 256."),
    ] = None,
    moa_layers: Annotated[
        int, typer.Option(min=1, help="Mixture-of-Agents: layers, the aggregator's included.")
    ] = 3,
    debate_agents: Annotated[
        int | None, typer.Option(min=1, help="LLM-Debate: agents; 3, or one a member if more.")
    ] = None,
    debate_rounds: Annotated[int, typer.Option(min=1, help="LLM-Debate: rounds.")] = 2,
    mav_n: Annotated[int, typer.Option(min=1, help="Multi-Agent Verification: candidates.")] = 16,
    mav_aspects: Annotated[
        str | None,
        typer.Option(help="Multi-Agent Verification: aspects by comma; all nine by default."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
    ] = False,
    accept_license: Annotated[
        bool, typer.Option(help="Accept the licences of the models, Gemma's terms too.")
    ] = False,
) -> None:
    """Every method on the same questions: accuracy with interval, calls, tokens, cost, time, and the difference to SLM-MUX."""
    from dspy_mux import ConfigurationError

    from .compare import command, pools
    from .compare.methods import Options

    if pool is not None and max_tokens is not None:
        raise ConfigurationError(
            "--max-tokens is for the tiny models: a pool file gives each member its own max_tokens."
        )
    names = command.listed(members)
    drawn_from = (
        pools.embedded(names, max_tokens=max_tokens, accept_license=accept_license)
        if pool is None
        else pools.of_file(pool, names, accept_license=accept_license)
    )
    options = Options(
        methods=command.listed(methods) or (),
        k=drawn_from.k if k is None else k,
        temperature=drawn_from.temperature if temperature is None else temperature,
        split=split,
        limit=limit,
        validation_limit=limit if validation_limit is None else validation_limit,
        seed=seed,
        num_threads=num_threads,
        timeout=drawn_from.timeout,
        retry_failed=retry_failed,
        moa_layers=moa_layers,
        debate_agents=debate_agents,
        debate_rounds=debate_rounds,
        mav_n=mav_n,
        mav_aspects=command.listed(mav_aspects),
    )
    command.run(
        command.tasks_of(task, file or []), drawn_from, options, out=out, bank=bank, as_json=as_json
    )


@app.command()
def search(
    banks: Annotated[
        list[str] | None,
        typer.Argument(metavar="BANK...", help="Banks, as dspy-mux replay takes them."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Also the known pools of the public banks in this folder.")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Of the banks; repeatable; every dataset by default.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Sizes of the subsets: 2, 2-5, or 2,4.")] = "2-5",
    k: Annotated[int, typer.Option("--k", min=1, help="Draws per member.")] = 3,
    penalty: Annotated[
        float, typer.Option("--penalty", "--lam", min=0, help="λ, the weight of the contradiction.")
    ] = 1.0,
    members: Members = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    repeats: Annotated[
        int,
        typer.Option(min=1, help="How often the questions are halved; each half is scored once."),
    ] = 10,
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """The paper's model selection table from recorded draws: best single member, subset by O(S), gain."""
    from .paper.search import run
    from .paper.sources import Asked

    asked = Asked(
        banks or (),
        data,
        dataset or (),
        members,
        program,
        split_field,
        train,
        test,
        repeats,
        seed,
        threshold,
    )
    run(asked, sizes=parse_sizes(sizes), k=k, penalty=penalty, as_json=as_json, as_markdown=markdown)


@app.command()
def scale(
    banks: Annotated[
        list[str] | None,
        typer.Argument(metavar="BANK...", help="Banks, as dspy-mux replay takes them."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Also the known pools of the public banks in this folder.")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Of the banks; repeatable; every dataset by default.")
    ] = None,
    k: Annotated[
        int, typer.Option("--k", min=1, help="Draws per member while members are added.")
    ] = 3,
    k_max: Annotated[
        int | None, typer.Option(min=1, help="Draws per member, at most; all recorded by default.")
    ] = None,
    max_members: Annotated[
        int, typer.Option(min=1, help="Members, at most, while members are added.")
    ] = 5,
    size: Annotated[int, typer.Option(min=1, help="Members while draws are added.")] = 2,
    penalty: Annotated[
        float, typer.Option("--penalty", "--lam", min=0, help="λ, the weight of the contradiction.")
    ] = 1.0,
    members: Members = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    repeats: Annotated[
        int,
        typer.Option(min=1, help="How often the questions are halved; each half is scored once."),
    ] = 10,
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    html: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file (needs plotly).")
    ] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Both scaling figures of the paper from recorded draws, and SLM-MUX beside Agent Forest."""
    from .paper.scale import run
    from .paper.sources import Asked

    asked = Asked(
        banks or (),
        data,
        dataset or (),
        members,
        program,
        split_field,
        train,
        test,
        repeats,
        seed,
        threshold,
    )
    run(
        asked,
        k=k,
        k_max=k_max,
        max_members=max_members,
        size=size,
        penalty=penalty,
        html=html,
        as_json=as_json,
        as_markdown=markdown,
    )


@app.command()
def groupthink(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of `compare`.")],
    task: Annotated[str | None, typer.Option(help="Of this task alone.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Of this method alone, such as llm_debate.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Also ask this LM: a model string, or a member of --pool.")
    ] = None,
    pool: Annotated[Path | None, typer.Option(help="The pool file that has the judge.")] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    accept_license: Annotated[
        bool, typer.Option(help="Accept the licence of the judge's model.")
    ] = False,
) -> None:
    """What discussions did to answers: given up, followed, flipped, and the share of the failures that are groupthink."""
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
        Path, typer.Option(help="The HTML file to write; one that is there is replaced.")
    ] = Path("report.html"),
) -> None:
    """A run as one self-contained HTML page: the table, charts, and every question with every draw."""
    from .report import write

    write(run, out)
    typer.echo(f"Wrote {out}.", err=True)


if __name__ == "__main__":
    with one_line_errors():
        app(prog_name="python -m eval")
