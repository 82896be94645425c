"""Load the client of a member's LM before the clock of its draws starts."""

from __future__ import annotations

import importlib
from contextlib import suppress
from weakref import WeakValueDictionary

import dspy
from dspy.clients.backend_selection import select_backend
from dspy.clients.model_metadata import source_info
from dspy.lm15 import LM15Error

from .ollama import is_native, is_ollama

#: By id: an LM of the user's own may have no hash.
_loaded: WeakValueDictionary[int, dspy.BaseLM] = WeakValueDictionary()


def load_client(lm: dspy.BaseLM) -> None:
    """Load what DSPy loads in an LM's first call: prices, from the network, and LiteLLM.

    This takes seconds, which no draw should be charged for.
    """
    if is_loaded(lm):
        return
    source_info()
    # The first call raises what is wrong with the LM.
    with suppress(LM15Error, TypeError, ValueError, ImportError):
        native = select_backend(lm).native
        if not native or (is_ollama(lm) and not is_native(lm, "any", None, {})):
            # DSPy leaves a module there that loads when an attribute of it is read.
            _ = importlib.import_module("litellm").completion
    _loaded[id(lm)] = lm


def is_loaded(lm: dspy.BaseLM) -> bool:
    """Return whether `load_client` has nothing to do; an engine of the user's loads by itself."""
    return id(lm) in _loaded or not isinstance(getattr(lm, "engine", None), str)
