"""Which of the recorded draws a replay uses."""

from __future__ import annotations

import numpy as np
import pytest

from dspy_mux.bank.record import MISSING
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.replay import SPLIT_RESAMPLES, replay
from dspy_mux.replay.resample import draw_choices
from dspy_mux.replay.splits import holdout

from ..support.votes import random_record, record_from


@pytest.mark.parametrize(
    ("k", "message"),
    [(0, "k must be 1 or more, not 0"), (4, "holds 3 draws a member, fewer than k=4")],
)
def test_k_that_was_not_recorded_is_refused(k, message):
    with pytest.raises(ConfigurationError, match=message):
        replay(random_record(), "consistency", k=k)


def test_the_seed_alone_chooses_among_recorded_draws():
    record = random_record(draws=6)
    split = holdout(60, repeats=1)
    one, again, other = (
        replay(record, "consistency", splits=split, k=2, seed=seed) for seed in (1, 1, 2)
    )
    assert one.per_question.tolist() == again.per_question.tolist()
    assert one.as_dict() == again.as_dict()
    assert one.per_question.tolist() != other.per_question.tolist()
    assert one.repeats == SPLIT_RESAMPLES


def test_every_recorded_draw_used_needs_no_repeats():
    record = random_record()
    assert replay(record, "pooled", splits=holdout(60, repeats=1)).repeats == 1
    assert replay(record, "pooled").repeats == 20
    assert (
        replay(record, "pooled", seed=1).as_dict()
        == replay(record, "pooled", splits=holdout(60, seed=1), seed=1).as_dict()
    )


def test_chosen_draws_are_recorded_ones_in_order():
    votes = np.zeros((50, 2, 5), int)
    votes[:, 1, 3:] = MISSING
    chosen = draw_choices(record_from(votes, np.zeros(votes.shape)), 3, np.random.default_rng(0))
    assert chosen.shape == (50, 2, 3)
    assert (np.diff(chosen, axis=2) > 0).all()
    assert (chosen[:, 1] == [0, 1, 2]).all()
    assert set(chosen[:, 0].ravel().tolist()) == {0, 1, 2, 3, 4}
