"""Give a forked child connections, locks and threads of its own in DSPy and LiteLLM.

A child inherits its parent's sockets. Two processes that send requests on one of them read each
other's answers: seen with DSPy's own client and with LiteLLM, after a mux was called once and
four children were forked. It inherits locks that threads of its parent hold, which nobody releases
here, and pools whose threads it does not have: it would wait for them for ever. Locks of imports
cannot be freed: a fork waits until the imports are done.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import dspy

#: By id: an LM of the user's own may have no hash.
_lms: WeakValueDictionary[int, dspy.BaseLM] = WeakValueDictionary()
#: Asynchronous clients of the parent's event loops, kept from the garbage collector: to close one
#: would take the parent's sockets out of its loop.
_inherited: list[object] = []
#: The packages whose locks and pools are made anew.
_SHARED = ("dspy", "litellm")
#: Times that a fork looks whether another import has begun meanwhile.
_LOOKS = 10
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Semaphore)


def watch(lm: dspy.BaseLM) -> None:
    """Have a forked child let go of this LM's connections; its copies share them."""
    _lms[id(lm)] = lm


def _before() -> None:
    """Wait for imports that other threads are in, as one of LiteLLM's is after its first call."""
    for _ in range(_LOOKS):
        names = list(_importing())
        for name in names:
            with suppress(Exception):  # whoever imports it is told
                importlib.import_module(name)
        if not names:
            return


def _importing() -> Iterator[str]:
    """Yield the modules of DSPy and LiteLLM that are being imported."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _SHARED and module is not None:
            names: dict[str, object] = object.__getattribute__(module, "__dict__")
            if getattr(names.get("__spec__"), "_initializing", False):
                yield name


def _after_in_child() -> None:
    for value in list(_module_values()):
        if issubclass(type(value), _LOCKS):  # `isinstance` would load what stands for a module
            _renew_lock(value)
        elif issubclass(type(value), ThreadPoolExecutor):
            _renew_pool(value)
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


def _module_values() -> Iterator[object]:
    """Yield what the modules of DSPy and LiteLLM hold, without loading any."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _SHARED and module is not None:
            names: dict[str, object] = object.__getattribute__(module, "__dict__")
            yield from list(names.values())


def _free(owner: object) -> None:
    for name in ("_lock", "_engine_lock"):
        _renew_lock(getattr(owner, name, None))


def _renew_lock(lock: Any) -> None:
    """Free a lock that a thread of the parent may hold, as Python's own modules do after a fork."""
    if isinstance(lock, threading.Semaphore):
        lock = lock._cond  # type: ignore[attr-defined]
    with suppress(AttributeError):
        lock._at_fork_reinit()


def _renew_pool(pool: Any) -> None:
    """Give a pool a queue without the parent's jobs; its own lets nobody wait where one did."""
    ThreadPoolExecutor.__init__(
        pool,
        max_workers=pool._max_workers,
        thread_name_prefix=pool._thread_name_prefix,
        initializer=pool._initializer,
        initargs=pool._initargs,
    )
    for value in vars(pool).values():
        if isinstance(value, _LOCKS):
            _renew_lock(value)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_after_in_child)
