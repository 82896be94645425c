"""A real small model in this process is checked."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import check_pool
from dspy_mux.local import local_member

pytestmark = pytest.mark.live


def test_embedded_models_are_checked_one_after_the_other():
    # A grammar keeps so small a model from going on and on.
    pool = [
        local_member("smollm2-135m", name=name, grammar=f'root ::= "{answer}"')
        for name, answer in (("first", "Paris"), ("second", "Lyon"))
    ]
    checked: list[str] = []
    found = check_pool(
        pool,
        dspy.Predict("question -> answer"),
        on_checked=lambda check: checked.append(check.name),
    )
    assert checked == [check.name for check in found] == ["first", "second"]
    assert [check.answer for check in found] == ["Paris", "Lyon"]
    for check in found:
        assert (check.suits, check.logprobs, check.several) == ("few_shot", True, True)
        assert check.tokens_per_second > 0
        assert check.spent.calls == 1
