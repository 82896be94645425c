"""Tell a mistake in the user's own program from what a model, its server or a deadline did.

Errors of the LM layer, of parsing and of time cost a draw. Any other exception is a bug of the
program, would be one in every draw, and is raised.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Container, Iterator

from dspy.utils.exceptions import DSPyError, LMError, LMServerError, LMTransportError

from ..errors import ConfigurationError, MissingExtra
from ..voting.verdict import AllMembersFailed, NotTrusted

#: DSPy's code that raises where a model's reply is of no use.
_READERS = ("dspy.predict.", "dspy.adapters.", "dspy.clients.")
#: A mux inside a program that has no answer, or keeps it back.
_NO_ANSWER = (AllMembersFailed, NotTrusted)
#: Where a reply is read, or its answer is taken.
_EXTRACT = ("dspy_mux.adapters.", "dspy_mux.bank.")
#: Raised under a handler of something else, these are the handler's own bugs.
_BUGS = (NameError, AttributeError, TypeError, ImportError, SyntaxError)
_TIME = (TimeoutError, asyncio.TimeoutError)

#: What a gateway or a server that is out of service answers.
_OUT_OF_SERVICE = (502, 503, 504)


def is_mistake(error: Exception, of_the_lm: Container[int]) -> bool:
    """Return whether an error of a draw is a mistake in the program or in the set-up.

    Args:
        of_the_lm: the `id` of each error that a call of the draw's LM raised.
    """
    if isinstance(error, (ConfigurationError, MissingExtra)):
        return True
    for cause in _causes(error):
        if id(cause) in of_the_lm or isinstance(cause, (DSPyError, *_NO_ANSWER, *_TIME)):
            return False
    return isinstance(error, NameError) or not _is_from_a_reader(error)


def is_unreachable(error: BaseException) -> bool:
    """Return whether an error, or one that it was made of, is of a connection."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, (LMTransportError, ConnectionError)):
            return True
        if type(cause).__name__ in ("APIConnectionError", "ConnectError"):  # of other clients
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def is_down(error: BaseException, of_the_lm: Container[int]) -> bool:
    """Return whether a draw failed as its server is out of reach, or says that it is.

    Other server errors may be of one prompt, such as a 500 for one that is too long.

    Args:
        of_the_lm: as in `is_mistake`: a program may ask other servers, too.
    """
    for cause in _causes(error):
        if id(cause) in of_the_lm or isinstance(cause, LMError):
            says_so = isinstance(cause, LMServerError) and cause.status in _OUT_OF_SERVICE
            return says_so or is_unreachable(cause)
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made of: a program may turn an LM's error into its own."""
    seen: set[int] = set()
    next_: BaseException | None = error
    while next_ is not None and id(next_) not in seen:
        seen.add(id(next_))
        yield next_
        hides = next_.__suppress_context__ or isinstance(next_, _BUGS)
        next_ = next_.__cause__ or (None if hides else next_.__context__)


def _is_from_a_reader(error: BaseException) -> bool:
    """Return whether an error comes from DSPy's modules, or from reading an answer."""
    modules = [
        str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    if any(module.startswith(_EXTRACT) for module in modules):
        return True
    raised_in = modules[-1] if modules else ""
    # `Predict` itself raises where it is called wrongly.
    return raised_in.startswith(_READERS) and raised_in != "dspy.predict.predict"
