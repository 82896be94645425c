"""Give a forked child connections of its own to the members' servers.

A child inherits its parent's sockets. Two processes that send requests on one of them read each
other's answers: seen with DSPy's own client and with LiteLLM, after a mux was called once and
four children were forked.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import dspy

#: By id: an LM of the user's own may have no hash.
_lms: WeakValueDictionary[int, dspy.BaseLM] = WeakValueDictionary()
#: Asynchronous clients of the parent's event loops, kept from the garbage collector: to close one
#: would take the parent's sockets out of its loop.
_inherited: list[object] = []


def watch(lm: dspy.BaseLM) -> None:
    """Have a forked child let go of this LM's connections; its copies share them."""
    _lms[id(lm)] = lm


def _after_in_child() -> None:
    _free(dspy.cache)
    for lm in [*_lms.values(), dspy.settings.lm]:
        _free(lm)
        clients: dict[Any, Any] = getattr(lm, "_engine_store", {})
        _inherited.extend(client for (loop, *_), client in clients.items() if loop is not None)
        # The others close their ends of the sockets, which stay open in the parent.
        clients.clear()
    _drop_litellms_clients()


def _drop_litellms_clients() -> None:
    module = sys.modules.get("litellm")
    if module is None:
        return
    # DSPy may have left a module there that loads when an attribute of it is read.
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")
    cache = names.get("in_memory_llm_clients_cache")
    if cache is not None:
        _inherited.append(dict(cache.cache_dict))
        cache.cache_dict.clear()
        cache.ttl_dict.clear()
    for name in ("module_level_client", "module_level_aclient"):
        _inherited.append(names.pop(name, None))  # LiteLLM makes them anew on use


def _free(owner: object) -> None:
    """Free the locks that a thread of the parent may hold; here it will never release them."""
    for name in ("_lock", "_engine_lock"):
        with suppress(AttributeError):
            getattr(owner, name)._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
