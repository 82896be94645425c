"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspy_mux.errors import ConfigurationError

AcceptLicense = Annotated[
    bool, typer.Option(help="Accept the licences of the models, Gemma's terms too.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
PublicBanks = Annotated[
    Path, typer.Option(help="The folder of the public banks (eval/paper/pools.py).")
]
RuleDraws = Annotated[int, typer.Option("--k", min=1, help="Draws per member.")]
Halves = Annotated[int, typer.Option(min=1, help="Number of random half splits.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of the splits.")]
MaxRisk = Annotated[
    float,
    typer.Option(help="Share of the pool's own answers that may be wrong; others are escalated."),
]
Sureness = Annotated[float, typer.Option(help="Probability that this promise is kept.")]
EverydayLimit = Annotated[
    int, typer.Option(min=2, help="Test questions, balanced over the six categories.")
]
Banks = Annotated[
    list[str] | None,
    typer.Argument(metavar="BANK...", help="Banks, as dspy-mux replay takes them."),
]
PoolsOf = Annotated[
    Path | None, typer.Option(help="Also the known pools of the public banks in this folder.")
]
Datasets = Annotated[
    list[str] | None, typer.Option(help="Datasets of the banks; repeatable. Default: all.")
]
Halvings = Annotated[
    int, typer.Option(min=1, help="Number of random halvings; each half is scored once.")
]
Penalty = Annotated[
    float, typer.Option("--penalty", "--lam", min=0, help="λ, the weight of contradiction.")
]


def parse_counts(text: str, option: str) -> tuple[int, ...]:
    """Parse comma-separated numbers of questions or draws."""
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise ConfigurationError(
            f"{option} must be whole numbers like 30,60, not {text!r}."
        ) from error
