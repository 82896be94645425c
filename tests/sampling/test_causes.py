"""Causes of abstentions: which are errors, and what a user can do about them."""

from __future__ import annotations

import pytest

from dspy_mux.sampling.causes import CUT_OFF, ECHOED_KEY, ONLY_THINKING, REMEDIES, advice


def test_each_cause_with_a_remedy_has_one_sentence_with_its_count():
    assert advice({"empty answer": 4, CUT_OFF: 2, ONLY_THINKING: 1}) == [
        f"2 draws were {CUT_OFF}: raise the member's max_tokens or ask for shorter replies.",
        f"1 draw was {ONLY_THINKING}: raise the member's max_tokens or turn its thinking off.",
    ]
    assert advice({}) == []


@pytest.mark.parametrize("cause", [CUT_OFF, ONLY_THINKING, ECHOED_KEY])
def test_a_count_of_none_is_no_advice(cause):
    assert advice({cause: 0}) == []
    assert advice({cause: 1}) == [f"1 draw was {cause}: {REMEDIES[cause]}."]
