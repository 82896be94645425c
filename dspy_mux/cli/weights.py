"""`dspy-mux models | pull`: list the small models that run in this process, and fetch them."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AcceptLicense


def models() -> None:
    """List the small models that run in this process."""
    from rich.console import Console
    from rich.table import Table

    from ..local import CATALOG, path

    table = Table()
    for column in ("name", "model", "licence", "MB", "on this machine"):
        table.add_column(
            column,
            justify="right" if column == "MB" else "left",
            no_wrap=column == "name",
            overflow="fold",
        )
    for weights in CATALOG.values():
        table.add_row(
            weights.name,
            weights.title,
            weights.licence,
            f"{weights.size / 1e6:.0f}",
            "yes" if path(weights.name) else "no",
        )
    Console().print(table)


def pull(
    names: Annotated[list[str], typer.Argument(help="Names from `dspy-mux models`.")],
    accept_license: AcceptLicense = False,
) -> None:
    """Fetch weights into the user's cache, verified by checksum."""
    from ..local import CATALOG, fetch
    from ..local.catalog import find

    for name in names:
        find(name)  # a misspelt name fails before the first download
    for name in names:
        print(f"{CATALOG[name].name}: {fetch(name, accept_license=accept_license)}")
