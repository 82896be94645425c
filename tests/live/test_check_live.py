"""A real small model in this process is checked."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import check_pool
from dspy_mux.local import local_member

pytestmark = pytest.mark.live


def test_an_embedded_model_is_checked():
    small = local_member("smollm2-135m", max_tokens=32)
    (embedded,) = check_pool([small], dspy.Predict("question -> answer"))
    assert embedded.problem is None
    assert (embedded.suits, embedded.logprobs, embedded.several) == ("few_shot", True, True)
    assert embedded.tokens_per_second > 0
    assert embedded.spent.calls == 1
