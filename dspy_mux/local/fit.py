"""Say whether a model of the catalogue can run on this machine, before its weights are fetched."""

from __future__ import annotations

import importlib.util
import os
import sys

from .catalog import find

#: What a loaded model takes beside its weights, in bytes: the KV caches of eight draws of 4,096
#: tokens, 0.4 to 0.9 GB for the models of the catalogue.
_WORKING_BYTES = 10**9


def obstacle(name: str) -> str | None:
    """Return why a catalog model cannot run on this machine, or None if it can.

    Raises:
        LocalModelError: the name is not in the catalog.
    """
    entry = find(name)
    if "xllamacpp" not in sys.modules and importlib.util.find_spec("xllamacpp") is None:
        return "llama.cpp is not installed: pip install 'dspy-mux[local]'"
    needed, there = entry.size + _WORKING_BYTES, _memory()
    if there is not None and there < needed:
        return f"it takes about {needed / 1e9:.1f} GB of memory, of {there / 1e9:.1f} here"
    return None


def _memory() -> int | None:
    """Return the machine's memory in bytes; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
