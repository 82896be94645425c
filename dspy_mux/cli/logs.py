"""Keep the logs of libraries from repeating what a verb shows by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

#: Logger → what DSPy warns of by it that is of no use beside what the verbs say: that it has the
#: prices it came with, where it is offline, and that a response was cut off.
_UNSAID = {
    "dspy.clients.model_metadata": "Model metadata refresh failed",
    "dspy.clients.lm": "LM response was truncated",
}


@contextmanager
def without_notices() -> Iterator[None]:
    """Keep these warnings of DSPy's from the terminal while the block lasts."""
    added = [
        (logging.getLogger(name), partial(_is_to_be_said, unsaid))
        for name, unsaid in _UNSAID.items()
    ]
    for logger, one in added:
        logger.addFilter(one)
    try:
        yield
    finally:
        for logger, one in added:
            logger.removeFilter(one)


def _is_to_be_said(unsaid: str, record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(unsaid)


@contextmanager
def errors_only(*names: str) -> Iterator[None]:
    """Have loggers of these names log errors alone while the block lasts."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
