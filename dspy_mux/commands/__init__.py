"""The command line's verbs over recorded draws."""

from __future__ import annotations

import typer

from .banking import bank_app, collect
from .deciding import replay, scale, search, tune
from .spending import budget


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (collect, replay, search, tune, scale, budget):
        app.command()(verb)
    app.add_typer(bank_app, name="bank")
