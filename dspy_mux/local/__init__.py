"""Small models that run inside this process, on llama.cpp: no server, no key.

    from dspy_mux.local import local_lm, local_member

    lm = local_lm("smollm2-135m")  # a dspy.LM; the weights are fetched once and kept
    pool = [local_member("smollm2-135m"), local_member("path/to/any.gguf")]

Requires the `local` extra: pip install 'dspy-mux[local]'. Environment: DSPY_MUX_CACHE (where
weights are kept), DSPY_MUX_THREADS, DSPY_MUX_ACCEPT_LICENSE, DSPY_MUX_VERBOSE=1 (llama.cpp's log).
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy
from dspy import lm15

from ..errors import ConfigurationError, MissingExtra
from . import wire
from .catalog import CATALOG, Weights
from .engine import (
    DEFAULT_CONTEXT,
    DEFAULT_SLOTS,
    AsyncLlamaEngine,
    LlamaEngine,
    LocalModelCallError,
)
from .fit import obstacle
from .options import OPTIONS, EngineOptions
from .server import MISSING_LLAMA_CPP
from .weights import Cached, accepted, fetch, path, status

if TYPE_CHECKING:
    from ..sampling.members import Member

__all__ = [
    "CATALOG",
    "OPTIONS",
    "AsyncLlamaEngine",
    "Cached",
    "EngineOptions",
    "LlamaEngine",
    "LocalModelCallError",
    "Weights",
    "accepted",
    "fetch",
    "is_embedded",
    "local_lm",
    "local_member",
    "obstacle",
    "path",
    "status",
]


def local_lm(
    name_or_path: str | Path,
    *,
    threads: int | None = None,
    slots: int = DEFAULT_SLOTS,
    context: int = DEFAULT_CONTEXT,
    accept_license: bool = False,
    max_tokens: int = wire.DEFAULT_MAX_TOKENS,
    **lm_kwargs: Any,
) -> dspy.LM:
    """Return a dspy.LM on weights in this process.

    Weights of the catalog are fetched here, once per user. They are loaded at the first call and
    shared by all LMs with the same settings. The model string names the weights (`local/<name>`, or
    `local/<file>@<fingerprint>` for a path), so DSPy's cache never mixes two of them. Sampling
    settings that neither `lm_kwargs` nor the call name are llama.cpp's (temperature 0.8, top_k 40,
    top_p 0.95, min_p 0.05).

    Args:
        name_or_path: a name of the catalog (`CATALOG`) or the path of any .gguf file.
        threads: llama.cpp threads; None for DSPY_MUX_THREADS, else the cores that are free.
        slots: draws that run at once.
        context: tokens of the longest prompt and its answer; each slot holds memory for it.
        accept_license: accept the terms of weights that ask for it (Gemma's).
        max_tokens: bound on an answer's tokens.
        lm_kwargs: llama.cpp's own options (min_p, repeat_penalty, grammar, ignore_eos,
            chat_template_kwargs; see `EngineOptions`), which the model string names too, and other
            arguments of dspy.LM: temperature, stop, cache, …

    Raises:
        MissingExtra: llama.cpp is not installed.
        LocalModelError: an unknown name, a missing file, terms not accepted, or weights that cannot
            be fetched.
        ConfigurationError: threads, slots or context out of range, or an option that is unknown or
            has a wrong value.
    """
    # Checked before any weights are fetched.
    if "xllamacpp" not in sys.modules and importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtra(MISSING_LLAMA_CPP)
    options = {name: lm_kwargs.pop(name) for name in OPTIONS if name in lm_kwargs}
    engine = LlamaEngine(name_or_path, threads=threads, slots=slots, context=context, **options)
    async_engine = AsyncLlamaEngine.load_state(engine.dump_state())
    lm = dspy.LM(
        engine.model, engine=engine, async_engine=async_engine, max_tokens=max_tokens, **lm_kwargs
    )
    _check_settings(lm)
    if engine.in_catalog:
        fetch(engine.name, accept_license=accept_license)
    return lm


def is_embedded(lm: dspy.BaseLM) -> bool:
    """Return whether an LM runs on weights in the process that asks it."""
    return isinstance(getattr(lm, "engine", None), (LlamaEngine, AsyncLlamaEngine))


def _check_settings(lm: dspy.LM) -> None:
    """Refuse settings that DSPy would refuse at each call.

    Raises:
        ConfigurationError: there is one.
    """
    question = {"model": lm.model, "messages": [{"role": "user", "content": "?"}]}
    for name, value in lm.kwargs.items():
        if name in ("n", "num_generations", "rollout_id") or value is None:
            continue  # DSPy's own
        try:
            request = lm15.request_from_openai_chat({**question, name: value})
            wire.payload_of(request, chat=True)
        except lm15.UnsupportedFeatureError as error:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigurationError(
                f"A local model has no setting {name!r}: {hint}llama.cpp's own are "
                f"{', '.join(OPTIONS)}; dspy.LM's are max_tokens, top_p, top_k, stop and the like."
            ) from error
        except (TypeError, ValueError):
            continue  # a value of DSPy's, or one of several that belong together


def local_member(
    name_or_path: str | Path,
    *,
    name: str | None = None,
    k: int | None = None,
    temperature: float | None = None,
    adapter: dspy.Adapter | None = None,
    **local_lm_kwargs: Any,
) -> Member:
    """Return `local_lm` as a member of a mux, with an adapter that its model can follow.

    A chat model gets `FewShotAdapter`, a base model (no chat template) `CompletionAdapter`: models
    this small do not keep to field markers, and follow examples far better as one text than as
    turns. Arguments left None come from the mux.

    Args:
        name: the member's name; by default the catalog name or the file's stem.
        k, temperature, adapter: as for `Member`.
        local_lm_kwargs: as for `local_lm`.

    Raises:
        MissingExtra, LocalModelError, ConfigurationError: as for `local_lm`.
    """
    from ..adapters.formats import CompletionAdapter, FewShotAdapter
    from ..sampling.members import Member

    lm = local_lm(name_or_path, **local_lm_kwargs)
    if adapter is None:
        adapter = FewShotAdapter() if lm.engine.chat else CompletionAdapter()
    return Member(lm, name=name or lm.engine.name, adapter=adapter, k=k, temperature=temperature)
