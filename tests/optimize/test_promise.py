"""The promise of a compiled threshold, simulated: the study's choices on labels do not break it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dspy_mux import ConfigurationError, Record, tune
from dspy_mux.replay.splits import Split

BANKS, LABELS, MEMBERS, DRAWS = 100, 60, 8, 2
MAX_RISK, CONFIDENCE = 0.25, 0.8


def a_bank(right, seed):
    """Members whose every answer is right with this chance, on its own, however sure they are.

    So the true risk of any members, rule, k and threshold is 1 − right, and what does better on
    some labels was lucky.
    """
    random = np.random.default_rng(seed)
    count = 2 * LABELS
    other = random.random((count, MEMBERS, DRAWS)) < 0.3
    votes = np.arange(MEMBERS)[None, :, None] + MEMBERS * other  # no two members ever agree
    correct = random.random((count, 2 * MEMBERS)) < right
    scores = np.take_along_axis(correct, votes.reshape(count, -1), 1).reshape(votes.shape)
    names = tuple(f"q{at}" for at in range(count))
    return Record(tuple("abcdefgh"), names, votes, scores.astype(float), {})


def promised_share(right, split, banks):
    """In which share of banks a threshold is promised, at a risk of `MAX_RISK`."""
    found = [
        tune(
            a_bank(right, seed),
            splits=[split],
            max_members=1,
            rules=("consistency", "pooled"),
            n_trials=3,
            seed=seed,
            max_risk=MAX_RISK,
            confidence=CONFIDENCE,
        )
        for seed in range(banks)
    ]
    return sum(bool(each.points) for each in found) / banks


CHOICE, OTHERS = np.arange(LABELS), np.arange(LABELS, 2 * LABELS)
APART, SAME = Split(CHOICE, OTHERS), Split(CHOICE, CHOICE)
#: A risk barely above what is promised, so that whatever is promised is broken.
BARELY = 1 - MAX_RISK - 0.001


def error(banks):
    """The Monte Carlo error of the share of broken promises that is allowed."""
    return math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / banks)


def test_the_promise_is_broken_in_at_most_its_share_of_banks():
    broken = promised_share(BARELY, APART, BANKS)
    print(
        f"broken in {broken:.3f} of {BANKS} banks (allowed {1 - CONFIDENCE:.2f}, Monte Carlo error "
        f"{error(BANKS):.3f}), though the study chose members, rule and k on labels"
    )
    assert broken <= 1 - CONFIDENCE + 2.6 * error(BANKS)
    assert promised_share(0.95, APART, 5) >= 0.6  # it is worth something


def test_on_the_labels_that_chose_the_setting_it_would_be_broken(monkeypatch):
    with pytest.raises(ConfigurationError, match="60 positions of the split are in both"):
        promised_share(BARELY, SAME, 1)
    monkeypatch.setattr("dspy_mux.optimize.tune.check_apart", lambda split: None)
    banks = BANKS // 4
    broken = promised_share(BARELY, SAME, banks)
    print(f"on the labels that chose the setting: broken in {broken:.3f} of {banks} banks")
    assert broken > 1 - CONFIDENCE + 2.6 * error(banks)
