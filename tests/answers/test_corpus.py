"""The corpus: no wrong value at all, and nearly every right one."""

from __future__ import annotations

import pytest

from tests.answers.corpus import Case, cases

CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.where)
def test_no_wrong_value(case: Case) -> None:
    assert case.outcome() != "wrong", case


def test_recall() -> None:
    missed = [case for case in CASES if not case.abstains and case.outcome() != "right"]
    answered = sum(not case.abstains for case in CASES)
    assert len(missed) <= 0.03 * answered, missed


def test_size_and_sources() -> None:
    assert len(CASES) >= 600
    assert len({case.source.partition("#")[0] for case in CASES if "/" in case.source}) >= 40
