"""Ray, imported where it is used: it is an extra, and takes seconds to import."""

from __future__ import annotations

from types import ModuleType

from ..errors import extra_module


def ray_module() -> ModuleType:
    """Return the module `ray`.

    Raises:
        MissingExtra: it is not installed.
    """
    return extra_module("ray", "A cluster needs Ray", "ray")
