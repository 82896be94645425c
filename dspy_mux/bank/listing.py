"""What a bank holds: its programs with what they drew, and every draw as a row of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypedDict, cast

import sqlalchemy as sa

from ..answers.reply import CUT_OFF
from ..sampling.causes import NO_CAUSE, NO_FIELD, NO_PREDICTION, RESPONSE_CAUSES
from .rows import lay_out
from .selection import temperature_of
from .storage.faults import check_draw
from .storage.schema import EVIDENCE, EVIDENCE_SINCE, draws, programs, questions

#: Columns that banks of all versions have.
_OLDEST = [column for column in draws.c if column not in {draws.c.scored_by, *EVIDENCE}]
#: Draws that failed before a response came (`causes.is_error`).
FAILED = (
    draws.c.outputs.is_(None)
    & draws.c.answer.is_(None)
    & draws.c.cause.is_not(None)
    & draws.c.cause.not_in(RESPONSE_CAUSES)
    & ~draws.c.cause.startswith(NO_FIELD)
    & ~draws.c.cause.startswith(NO_PREDICTION)
)


class ProgramInfo(TypedDict):
    """What a bank holds of one program on one dataset.

    `errors` are the abstentions that a retry may repair: draws that failed before a response came.
    `cut_off` are those whose response ended at `max_tokens` before it had stated its answer.
    `causes` counts the abstentions by their causes, the most frequent first.
    `evidence` counts the draws with the log-probability of their answer or text. `temperature` is
    None where it is unknown. `latest` is when the last draw was recorded, in seconds since 1970.
    """

    dataset: str
    member: str
    program: str
    model: str | None
    questions: int
    draws: int
    abstentions: int
    errors: int
    cut_off: int
    causes: dict[str, int]
    calls: int | None
    tokens: int | None
    cost: float | None
    temperature: float | None
    evidence: int
    latest: float


def list_programs(connection: sa.Connection, version: int) -> list[ProgramInfo]:
    """Return one entry for each dataset and program.

    Args:
        version: the bank's; older banks have no evidence.
    """
    known = draws.c.answer_logprob.is_not(None) | draws.c.text_logprob.is_not(None)
    evidence = sa.case((known, 1), else_=0) if version >= EVIDENCE_SINCE else sa.literal(0)
    program = (programs.c.id, programs.c.member, programs.c.fingerprint, programs.c.description)
    causes = _causes(connection)
    query = (
        sa.select(
            programs.c.id,
            questions.c.dataset,
            programs.c.member,
            programs.c.fingerprint.label("program"),
            programs.c.description.label("model"),
            sa.func.count(sa.distinct(draws.c.question)).label("questions"),
            sa.func.count().label("draws"),
            sa.func.sum(sa.case((draws.c.answer.is_(None), 1), else_=0)).label("abstentions"),
            sa.func.sum(sa.case((FAILED, 1), else_=0)).label("errors"),
            sa.func.sum(sa.case((draws.c.cause == CUT_OFF, 1), else_=0)).label("cut_off"),
            sa.func.sum(draws.c.calls).label("calls"),
            sa.func.sum(draws.c.prompt_tokens + draws.c.completion_tokens).label("tokens"),
            sa.func.sum(draws.c.cost).label("cost"),
            sa.func.sum(evidence).label("evidence"),
            sa.func.max(draws.c.created).label("latest"),
        )
        .join_from(draws, questions)
        .join(programs)
        .group_by(questions.c.dataset, *program)
        .order_by(questions.c.dataset, programs.c.id)
    )
    found: list[dict[str, Any]] = [dict(row) for row in connection.execute(query).mappings()]
    for row in found:
        row["temperature"] = temperature_of(row["model"])
        row["model"] = json.loads(row["model"]).get("model")
        row["causes"] = causes.get((row["dataset"], row.pop("id")), {})
        row["latest"] = float(row["latest"])
    return cast("list[ProgramInfo]", found)


def _causes(connection: sa.Connection) -> dict[tuple[str, int], dict[str, int]]:
    """Return dataset and program's id → cause → abstentions, the most frequent cause first."""
    count = sa.func.count()
    query = (
        sa.select(questions.c.dataset, draws.c.program, draws.c.cause, count)
        .join_from(draws, questions)
        .where(draws.c.answer.is_(None))
        .group_by(questions.c.dataset, draws.c.program, draws.c.cause)
        .order_by(count.desc(), draws.c.cause)
    )
    found: dict[tuple[str, int], dict[str, int]] = {}
    for dataset, program, cause, number in connection.execute(query):
        known = found.setdefault((dataset, program), {})
        known[cause or NO_CAUSE] = known.get(cause or NO_CAUSE, 0) + number
    return found


def list_draws(
    connection: sa.Connection, dataset: str | None, version: int
) -> Iterator[dict[str, Any]]:
    """Yield every draw as a row of a JSONL bank, in the order recorded.

    Args:
        dataset: that of the draws; None for all.
        version: the bank's; older banks have no evidence.
    """
    evidence = EVIDENCE if version >= EVIDENCE_SINCE else ()
    query = (
        sa.select(
            *_OLDEST,
            *evidence,
            questions.c.dataset,
            questions.c.name,
            questions.c.fields,
            questions.c.fingerprint.label("key"),
            programs.c.member,
            programs.c.fingerprint.label("made_by"),
        )
        .join_from(draws, questions)
        .join(programs)
        .order_by(draws.c.id)
    )
    if dataset is not None:
        query = query.where(questions.c.dataset == dataset)
    for row in connection.execution_options(yield_per=5000).execute(query):
        check_draw(row)
        "".join((row.dataset, row.name, row.key, row.member, row.made_by))  # all are text
        own = {
            "dataset": row.dataset,
            "question_id": row.name,
            "question_fingerprint": row.key,
            "model": row.member,
            "program": row.made_by,
            "draw": row.draw,
            "answer": _exported(row.answer),
            "answer_class": row.answer_class,
            "score": row.score,
            "cause": row.cause,
            "outputs": None if row.outputs is None else json.loads(row.outputs),
            "calls": row.calls,
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "seconds": row.seconds,
            "cost": row.cost,
            "created": row.created,
        }
        # A key that is not there is unknown: rows without evidence stay as short as ever.
        for column in evidence:
            if (value := getattr(row, column.name)) is not None:
                own[column.name] = value
        yield lay_out(json.loads(row.fields), own)


def _exported(answer: str | None) -> Any:
    """Return a recorded answer as rows hold it: null and "" are abstentions there, None is not."""
    if answer is None:
        return ""
    value = json.loads(answer)
    return "None" if value is None else value
