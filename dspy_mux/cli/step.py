"""Show how far a verb is, on stderr."""

from __future__ import annotations

from ..progress import Step


def step(what: str, *, unit: str = "", total: float | None = None) -> Step:
    """Return a step to do the verb's work in; print after its block.

    Args:
        what: the step in a word or two, such as "replaying".
        unit, total: of what the verb itself counts, as in `Step`.
    """
    from rich.console import Console

    return Step(what, console=Console(stderr=True), unit=unit, total=total)
