"""Say of how many questions figures are, and why not of all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .output import say

if TYPE_CHECKING:
    from ..bank.record import Record

#: Fewer questions than these tell no rules apart.
_FEW = 30
#: So many questions make the 95 % interval of an accuracy ±10 points: 1.96² · 0.25 / 0.1².
_TO_TEN_POINTS = 100


def counted(questions: int, every: int) -> str:
    """Return how many of the bank's questions the figures are of."""
    of = f" of {every:,}" if questions < every else ""
    return f"n = {questions:,}{of} questions"


def say_left_out(
    record: Record, members: Sequence[str] | None, k: int | None, at_most: int | None = None
) -> None:
    """Say on stderr which draws are missing, where questions are left out for them.

    Args:
        members, k, at_most: as in `Record.of`.
    """
    from ..bank.left_out import why_left_out

    if why := why_left_out(record, members, k, at_most):
        say(f"dspy-mux: {why}", file=sys.stderr)


def say_few(questions: int) -> None:
    """Say that rules cannot be told apart by so few questions, if they cannot."""
    if questions < _FEW:
        one = "1 question is" if questions == 1 else f"{questions} questions are"
        say(
            f"{one} too few to tell rules apart: an accuracy that is known to ±10 points takes "
            f"about {_TO_TEN_POINTS}."
        )


def say_untested(tested: int, usable: int, part: str | None, *, repeats: bool) -> None:
    """Say why some questions that have all draws are in no figure, if any are.

    Args:
        part: the recorded part that is reported; None for random splits.
        repeats: whether the verb has --repeats.
    """
    others = usable - tested
    if not others:
        return
    if part is not None:
        say(f"The other {others:,} of {usable:,} questions are not of the part {part!r}.")
        return
    remedy = "More --repeats report all." if repeats else "Another --seed splits otherwise."
    is_, it = ("is", "it") if others == 1 else ("are", "them")
    say(
        f"{others:,} of {usable:,} questions {is_} by chance on the fitted side of every random "
        f"split, so that no figure counts {it}. {remedy}"
    )
