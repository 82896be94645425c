"""Ray, imported where it is used: it is an extra, and takes seconds to import."""

from __future__ import annotations

from types import ModuleType

from ..errors import MissingExtra


def ray_module() -> ModuleType:
    """Return the module `ray`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(
            "A cluster needs Ray, which is not installed: pip install 'dspy-mux[ray]'."
        ) from error
    module: ModuleType = ray
    return module
