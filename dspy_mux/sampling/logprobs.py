"""Ask servers for log-probabilities, and remember which of them refuse.

A refusal costs one more call: the call is made again without the question, and this process does
not ask that server for that model again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import dspy
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMError,
    LMInvalidRequestError,
    LMServerError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
    is_retryable_lm_error,
)

from .auto import Auto
from .usage import Server, server_of

logger = logging.getLogger("dspy_mux")

#: Whether to ask for log-probabilities; "auto" where something reads them.
AskLogprobs: TypeAlias = Auto

_SETTING = "logprobs"
#: The alternatives of each token, which no server gives without the tokens' own.
_ALTERNATIVES = "top_logprobs"
#: The servers that refused.
_refused: set[Server] = set()
#: Those that failed when they were asked, and not without, but did not say why.
_suspected: set[Server] = set()
#: Those that have answered when they were asked.
_takes: set[Server] = set()
#: (address, model, error) of what servers answer without the question too.
_same_without: set[tuple[str, str, str]] = set()
#: Errors of a request that would be the same without the question.
_OF_ANOTHER_KIND = (ContextWindowExceededError, LMUnsupportedModelError)
#: Status codes of a server that cannot do what it is asked, rather than at the moment.
_CANNOT = (None, 500, 501)


def can_be_asked(lm: dspy.BaseLM) -> bool:
    """Return whether to ask an LM: not where its own settings say so, or its server has refused."""
    if _SETTING in lm.kwargs or getattr(lm, "model_type", "chat") != "chat":
        return False
    # A class that overrides `forward` may take no further settings.
    return hasattr(lm, "_engine_spec") and server_of(lm) not in _refused


def ask(lm: dspy.BaseLM) -> None:
    """Have the calls of a draw's own LM ask for log-probabilities."""
    lm.kwargs[_SETTING] = True
    lm._draw_asks = True


def stop_asking(lm: dspy.BaseLM) -> dict[str, Any]:
    """Undo `ask`; return the LM's settings that no server takes without it, which go too."""
    lm._draw_asks = False
    lm.kwargs.pop(_SETTING, None)
    return {name: lm.kwargs.pop(name) for name in (_ALTERNATIVES,) if name in lm.kwargs}


def asks(lm: dspy.BaseLM, settings: Mapping[str, Any]) -> bool:
    """Return whether `ask` has a call ask: not where the program's own settings do.

    Args:
        settings: the call's own, or its history entry's.
    """
    return getattr(lm, "_draw_asks", False) and _SETTING not in settings


def ask_or_not(lm: dspy.BaseLM) -> None:
    """Have the calls of a draw's own LM ask, where its server has not refused."""
    if can_be_asked(lm):
        ask(lm)
    elif _SETTING not in lm.kwargs and server_of(lm) in _refused:
        stop_asking(lm)


class Asked:
    """One call of a draw's LM, which may be refused because it asks for log-probabilities.

    Args:
        settings: the call's own.
    """

    def __init__(self, lm: dspy.BaseLM, settings: Mapping[str, Any]):
        self._lm = lm
        self._refusal: Exception | None = None
        self._alternatives: dict[str, Any] = {}
        self._asks = asks(lm, settings)

    def takes_back(self, error: Exception) -> bool:
        """Stop asking after an error that may be a refusal; return whether to call again."""
        if not self._asks or not may_be_a_refusal(self._lm, error):
            return False
        self._refusal, self._asks = error, False
        self._alternatives = stop_asking(self._lm)
        return True

    def answered(self) -> None:
        """Note that the call succeeded."""
        if self._refusal is not None:
            remember_refusal(self._lm, self._refusal)
        elif self._asks:
            _takes.add(server_of(self._lm))

    def failure(self, error: Exception) -> Exception:
        """Return what the call failed of: no refusal, where it fails without the question too."""
        if self._refusal is None:
            return error
        _same_without.add(_of(self._lm, self._refusal))
        if not may_be_a_refusal(self._lm, error):
            return error
        _same_without.add(_of(self._lm, error))
        ask(self._lm)
        self._lm.kwargs.update(self._alternatives)
        return self._refusal


def may_be_a_refusal(lm: dspy.BaseLM, error: Exception) -> bool:
    """Return whether a call may have failed because it asked for log-probabilities.

    Whether it did is known once it succeeds without.
    """
    if isinstance(error, _OF_ANOTHER_KIND) or not isinstance(error, LMError):
        return False
    if is_retryable_lm_error(error):
        cannot = isinstance(error, LMServerError) and error.status in _CANNOT
        return cannot and _names_them(error)
    if _names_them(error):
        return True
    # Many servers do not say which parameter they refuse.
    # DSPy's own client cannot read a log-probability that is null.
    kinds = (LMInvalidRequestError, LMUnexpectedError, LMUnsupportedFeatureError)
    unsaid = isinstance(error, kinds) and error.status in (None, 400, 422)
    return unsaid and not (server_of(lm) in _takes and _of(lm, error) in _same_without)


def remember_refusal(lm: dspy.BaseLM, error: Exception) -> None:
    """Ask this server for this model no more, and log it once.

    One that does not say what it refuses may have failed of something else: it is asked once more,
    and for ever where it has answered.
    """
    key = server_of(lm)
    if key in _refused or (not _names_them(error) and key not in _suspected - _takes):
        _suspected.add(key)
        return
    _refused.add(key)
    logger.warning(
        "%s gives no log-probabilities, and is not asked for them any more: its draws have votes "
        "alone (%s).",
        lm.model,
        type(error).__name__,
    )


def _names_them(error: Exception) -> bool:
    return "logprob" in str(error).lower()


def _of(lm: dspy.BaseLM, error: Exception) -> tuple[str, str, str]:
    """Return what an error is known by: the number of a request in its text tells nothing."""
    text = re.sub(r"[^ ]*[0-9][^ ]*", "#", str(error))
    return (*server_of(lm), f"{type(error).__name__}: {text}")
