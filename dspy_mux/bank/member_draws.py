"""What the recorded draws of each member came to: how many abstained, of what, and their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from ..sampling.causes import NO_CAUSE
from .sample_bank import SampleBank
from .storage.schema import draws


@dataclass(frozen=True)
class MemberDraws:
    """The draws of one member on the questions of a collection.

    Attributes:
        draws: those recorded, by this collection or before.
        abstained: those of them without an answer, failed ones included.
        scored: those of them with a score; abstentions have none.
        score: the mean of these scores; None without one.
        causes: of the abstentions, with their counts, the most frequent first.
    """

    member: str
    draws: int
    abstained: int
    scored: int
    score: float | None
    causes: dict[str, int] = field(default_factory=dict)


def member_draws(
    bank: SampleBank, programs: Sequence[tuple[int, str, int]], questions: Sequence[int]
) -> tuple[MemberDraws, ...]:
    """Return what a bank has of each program on these questions, in the order given.

    Args:
        programs: (id, member, draws per question) of each.
    """
    wanted = set(questions)
    found = []
    with bank.database.reading() as connection:
        for program, member, k in programs:
            query = (
                sa.select(
                    draws.c.question,
                    sa.case((draws.c.answer.is_(None), draws.c.cause), else_=None).label("cause"),
                    draws.c.answer.is_(None).label("abstained"),
                    sa.func.count().label("draws"),
                    sa.func.count(draws.c.score).label("scored"),
                    sa.func.sum(draws.c.score).label("total"),
                )
                .where((draws.c.program == program) & (draws.c.draw < k))
                .group_by(sa.text("1"), sa.text("2"), sa.text("3"))
            )
            rows = [row for row in connection.execute(query) if row.question in wanted]
            causes: Counter[str] = Counter()
            for row in rows:
                if row.abstained:
                    causes[row.cause or NO_CAUSE] += row.draws
            scored = sum(row.scored for row in rows)
            total = sum(row.total or 0.0 for row in rows)
            found.append(
                MemberDraws(
                    member=member,
                    draws=sum(row.draws for row in rows),
                    abstained=causes.total(),
                    scored=scored,
                    score=total / scored if scored else None,
                    causes=dict(causes.most_common()),
                )
            )
    return tuple(found)
