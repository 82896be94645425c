"""Which of the recorded draws a replay uses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dspy_mux.bank.record import MISSING
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.replay import SPLIT_RESAMPLES, replay
from dspy_mux.replay.resample import OBJECTIVE_RESAMPLES, chosen_draws, draw_choices, redrawn
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


def test_a_redrawn_record_keeps_each_draws_figures():
    votes = np.arange(60).reshape(5, 2, 6)
    record = dataclasses.replace(
        record_from(votes, votes / 10), calls=votes + 1.0, tokens=votes + 2.0, cost=votes + 3.0
    )
    taken = redrawn(record, 2, np.random.default_rng(0))
    assert taken.votes.shape == (5, 2, 2)
    assert (taken.votes != votes[..., :2]).any()
    for figures, expected in (
        (taken.scores, taken.votes / 10),
        (taken.calls, taken.votes + 1.0),
        (taken.tokens, taken.votes + 2.0),
        (taken.cost, taken.votes + 3.0),
    ):
        assert figures.tolist() == expected.tolist()
    assert redrawn(record, 6, np.random.default_rng(0)) is record


def test_unbilled_abstentions_stay_free_when_redrawn():
    # Only the whole record shows that a's draws are priced: those chosen may all be failures.
    votes = np.array([[[0, -1, -1, -1]]])
    cost = np.array([[[1.0, np.nan, np.nan, np.nan]]])
    record = dataclasses.replace(record_from(votes, votes + 1), cost=cost)
    for seed in range(8):
        taken = redrawn(record, 1, np.random.default_rng(seed))
        assert taken.cost.tolist() == [[[1.0 if taken.votes[0, 0, 0] == 0 else 0.0]]]


def test_objectives_see_several_choices_by_seed():
    record = random_record(draws=6)
    one, again, other = (list(chosen_draws(record, 2, seed)) for seed in (1, 1, 2))
    assert len(one) == OBJECTIVE_RESAMPLES
    assert all(
        (a[0].votes == b[0].votes).all() and (a[1] == b[1]).all()
        for a, b in zip(one, again, strict=True)
    )
    assert any((a[0].votes != b[0].votes).any() for a, b in zip(one, other, strict=True))
    [(tally, scores)] = chosen_draws(record, 6, 1)
    assert (tally.votes is record.votes, scores is record.scores) == (True, True)
