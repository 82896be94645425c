"""Steps from one version of a bank's tables to the next, taken at the first write.

A step says its DDL in full, as the tables of `schema.py` go on changing. So far steps only add what no reader names, so an older
bank is read as it stands.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from .schema import VERSION, about


def _index_what_is_read_often(connection: sa.Connection) -> None:
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_numbers ON mux_draws "
            "(program, question, draw, answer_class, score, calls, prompt_tokens, completion_tokens, cost)"
        )
    )
    connection.execute(
        sa.text("CREATE INDEX mux_draws_unscored ON mux_draws (program, question) WHERE score IS NULL AND answer IS NOT NULL")
    )


def _tell_what_scored(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE mux_draws ADD COLUMN scored_by TEXT"))
    connection.execute(
        sa.text("CREATE INDEX mux_draws_scored ON mux_draws (program, question, scored_by) WHERE scored_by IS NOT NULL")
    )


#: Version → the step that leads on from it.
STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _index_what_is_read_often, 2: _tell_what_scored}


def upgrade(connection: sa.Connection, version: int) -> None:
    """Take the steps from `version` on, in the transaction of `connection`, which must hold the bank's write lock."""
    for at in range(version, VERSION):
        STEPS[at](connection)
        connection.execute(sa.update(about).where(about.c.key == "version").values(value=str(at + 1)))
