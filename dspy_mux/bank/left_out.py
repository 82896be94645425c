"""Say why questions are left out of what is computed from a record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .record import Record, draws_needed

#: Members that a sentence names.
_NAMED = 3


def why_left_out(
    record: Record, members: Sequence[str] | None, k: int | None, at_most: int | None = None
) -> str | None:
    """Return a sentence: which draws are missing, and what to do; None if no question is left out.

    Args:
        members, k, at_most: as in `Record.of`.
    """
    where = record.positions(members)
    drawn = record.drawn()[:, where]
    if not drawn.size:
        return None
    wanted = draws_needed(drawn, k, at_most)
    short = drawn < wanted
    count, every = int(short.any(axis=1).sum()), len(record.questions)
    if not count:
        return None
    lacking = [
        int(at) for at in np.argsort(-short.sum(axis=0), kind="stable") if short[:, at].any()
    ]
    named = [
        f"{record.members[where[at]]!r} for {int(short[:, at].sum())}" for at in lacking[:_NAMED]
    ]
    more = len(lacking) - len(named)
    whose = ", ".join(named) + (f" and {more} other{'s' * (more > 1)}" if more else "")
    row = int(np.flatnonzero(short[:, lacking[0]])[0])
    made = int(drawn[row, lacking[0]])
    remedy = ", or ask for a smaller --k" if wanted > 1 else ""
    return (
        f"{count:,} of {every:,} questions {'is' if count == 1 else 'are'} left out, for lack of "
        f"{wanted} draw{'s' * (wanted != 1)} of each member: draws are missing of {whose} "
        f"(such as {record.questions[row]!r}, which has {made}). Add them (the same `dspy-mux "
        f"collect` again makes what is missing){remedy}."
    )
