"""The errors dspy-mux raises: one root, few leaves.

    MuxError
    ├── ConfigurationError     a mux, pool file, row or argument that cannot work; raised before any LM call where it shows by then
    │   └── PoolMismatch       a saved mux that belongs to another pool
    ├── BankError              a bank of recorded draws that cannot be read, written or understood
    ├── MetricFailed           the user's metric raised; the draws are kept without a score
    ├── AllMembersFailed       no member produced an answer; carries each member's causes
    └── LocalModelError        weights that cannot be found, fetched, verified or loaded

Every message is one sentence that names the thing at fault and says what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

    from .verdict import Turn


class MuxError(Exception):
    """Root of every error that dspy-mux raises on purpose."""


class ConfigurationError(MuxError, ValueError):
    """A mux, member, pool file, recorded row or argument that cannot work as given.

    Raised before any LM call, but for what only answers show: such as a rule of the user's own that chooses what no member drew.
    """


class PoolMismatch(ConfigurationError):
    """A saved mux was loaded into a mux with other members."""


class BankError(MuxError):
    """A bank of recorded draws cannot be read, written or understood."""


class MetricFailed(MuxError):
    """The user's metric raised on an example. Draws that were made are recorded, without a score."""


class LocalModelError(MuxError):
    """Weights of an embedded model cannot be found, fetched, verified or loaded."""


class AllMembersFailed(MuxError):
    """No member produced a usable answer.

    Attributes:
        causes: member name → its distinct abstention causes, most frequent first.
        turns: what was said in a discussion that came to no answer; empty where members do not see each other's text.
    """

    def __init__(self, causes: Mapping[str, Sequence[str]], turns: Sequence[Turn] = ()):
        self.causes = {name: list(member_causes) for name, member_causes in causes.items()}
        self.turns = list(turns)
        told = "; ".join(f"{name}: {', '.join(member_causes) or 'no draw'}" for name, member_causes in self.causes.items())
        super().__init__(f"No member of the mux gave a usable answer ({told}).")

    def __reduce__(self) -> tuple[type[AllMembersFailed], tuple[dict[str, list[str]], list[Turn]]]:
        return type(self), (self.causes, self.turns)


def first_mistake(error: ValidationError, known: Iterable[str] = ()) -> str:
    """The first mistake that pydantic found, as the end of a sentence that begins with the thing at fault.

    Args:
        known: names of settings, out of which one may have been meant.
    """
    mistakes = error.errors(include_url=False)
    # What is missing may be there under a name that is misspelt.
    misspelt = (each for each in mistakes if each["type"] == "extra_forbidden")
    first = next(misspelt, mistakes[0]) if mistakes[0]["type"] == "missing" else mistakes[0]
    where, name = "", ""
    for part in first["loc"]:
        name = str(part) if re.fullmatch(r"[\w/-]{1,40}", str(part)) else repr(str(part)[:40])  # a key may be any text
        where += f"[{part + 1}]" if isinstance(part, int) else f".{name}" if where else name
    what = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        meant = difflib.get_close_matches(name, known, n=1)
        return f"has an unknown setting {where}" + (f": did you mean {meant[0]}?" if meant else ".")
    return f"is wrong at {where or 'its top level'}: {what}."
