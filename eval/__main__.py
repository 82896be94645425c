"""The command line of the evaluation: `python -m eval demo | optimize | rules`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspy_mux.cli import one_line_errors

app = typer.Typer(help="Methods × tasks × pools, from real draws, with error bars.", no_args_is_help=True)


@app.callback()
def _eval() -> None:
    """Methods × tasks × pools, from real draws, with error bars."""


@app.command()
def demo(
    k: Annotated[int, typer.Option(min=1, help="Draws per member and question.")] = 3,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature of the draws.")] = 0.5,
    limit: Annotated[int, typer.Option(min=2, help="Test questions, balanced over the six categories.")] = 180,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")] = False,
    accept_license: Annotated[bool, typer.Option(help="Accept the licences of the models, Gemma's terms too.")] = False,
) -> None:
    """Three tiny real models on everyday questions: each alone, and together."""
    from .demo import run

    run(k=k, temperature=temperature, limit=limit, as_json=as_json, accept_license=accept_license)


@app.command()
def optimize(
    k: Annotated[int, typer.Option(min=2, help="Draws per member and question, at most.")] = 4,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study.")] = 60,
    limit: Annotated[int, typer.Option(min=2, help="Test questions, balanced over the six categories.")] = 180,
    out: Annotated[Path, typer.Option(help="Where the bank, the study and the compiled mux are kept.")] = Path("runs/optimize"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")] = False,
    accept_license: Annotated[bool, typer.Option(help="Accept the licences of the models, Gemma's terms too.")] = False,
) -> None:
    """MuxOptimizer on three tiny real models: choose members, draws and rule, then score them on an untouched test split."""
    from .optimize import run

    run(k=k, trials=trials, limit=limit, out=out, as_json=as_json, accept_license=accept_license)


@app.command()
def rules(
    data: Annotated[Path, typer.Option(help="The folder of the banks.")] = Path("../shared/data"),
    k: Annotated[int, typer.Option(min=1, help="Draws per member.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Random half splits.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")] = False,
) -> None:
    """Every rule on public banks of real recorded outputs, without a call."""
    from .rules import run

    run(data=data, k=k, repeats=repeats, seed=seed, as_json=as_json)


if __name__ == "__main__":
    with one_line_errors():
        app(prog_name="python -m eval")
