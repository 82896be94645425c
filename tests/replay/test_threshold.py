"""The threshold with a guarantee: simulated promises, and what the method must not do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from dspy_mux import ConfigurationError
from dspy_mux.replay.threshold import (
    MOST_THRESHOLDS,
    Goal,
    Judged,
    Step,
    choose_threshold,
    declared_thresholds,
    upper_bound,
)
from dspy_mux.voting.tally import Picks

DATA_SETS = 2000


class Population:
    """Levels of confidence, how many questions have each, and the share of wrong answers there."""

    def __init__(self, levels, shares, risks, *, silent=0.0):
        self.levels, self.risks, self.silent = np.asarray(levels), np.asarray(risks), silent
        self.shares = np.asarray(shares) / np.sum(shares)

    def drawn(self, count, random):
        at = random.choice(len(self.levels), count, p=self.shares)
        silent = random.random(count) < self.silent
        wrong = ~silent & (random.random(count) < self.risks[at])
        return Judged(np.where(silent, np.nan, self.levels[at]), wrong)

    def risk(self, threshold):
        above = self.levels >= threshold
        return np.average(self.risks[above], weights=self.shares[above])


LEVELS = np.linspace(0, 1, 400)
#: Confidence levels, and questions that fit and that choose the threshold, and the goal.
POPULATIONS = {
    "smooth": (Population(LEVELS, LEVELS, 0.5 * (1 - LEVELS) ** 1.5), 300, 300, Goal(0.1, 0.9)),
    "as risky everywhere as barely too much": (
        Population(LEVELS, np.ones(400), np.full(400, 0.1001)),
        *(200, 200, Goal(0.1, 0.9)),
    ),
    "three levels of votes": (
        Population([1 / 3, 2 / 3, 1], [1, 3, 6], [0.6, 0.4, 0.195], silent=0.1),
        *(150, 120, Goal(0.2, 0.9)),
    ),
    "one level": (Population([0.5], [1], [0.0502]), 100, 150, Goal(0.05, 0.9)),
    "few questions": (Population(LEVELS, LEVELS, 1 - LEVELS), 40, 25, Goal(0.2, 0.8)),
    "the surest are the worst": (
        Population(LEVELS, np.ones(400), 0.05 + 0.4 * LEVELS**8),
        *(200, 200, Goal(0.1, 0.9)),
    ),
    "sure ones are right, and then barely too many wrong": (
        Population([0.9, *np.linspace(0.5, 0.8, 60)], [30, *[1] * 60], [0.0, *[0.15] * 60]),
        *(200, 300, Goal(0.0999, 0.9)),
    ),
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_promise_is_broken_in_at_most_its_share_of_data_sets(name):
    population, fits, labels, goal = POPULATIONS[name]
    found = [
        choose_threshold(goal, *data_set(population, fits, labels, seed)).threshold
        for seed in range(DATA_SETS)
    ]
    made = [threshold for threshold in found if threshold is not None]
    broken = sum(population.risk(threshold) > goal.max_risk for threshold in made) / DATA_SETS
    allowed, error = allowance(goal)
    print(
        f"{name}: broken in {broken:.4f} of {DATA_SETS} data sets (allowed {allowed:.2f}, Monte "
        f"Carlo error {error:.4f}), promised in {len(made) / DATA_SETS:.3f}"
    )
    assert broken <= allowed + 2.6 * error


def test_without_a_sequence_the_promise_would_be_broken():
    # The simulation sees a method that takes the lowest threshold that passes, of all.
    population, fits, labels, goal = POPULATIONS["as risky everywhere as barely too much"]
    broken = 0
    for seed in range(DATA_SETS // 4):
        fitted, calibration = data_set(population, fits, labels, seed)
        counts = calibration.at_least(declared_thresholds(fitted))
        broken += (upper_bound(*reversed(counts), goal.confidence) <= goal.max_risk).any()
    allowed, error = allowance(goal)
    assert broken / (DATA_SETS // 4) > allowed + 10 * error


def data_set(population, fits, labels, seed):
    random = np.random.default_rng(seed)
    return population.drawn(fits, random), population.drawn(labels, random)


def allowance(goal):
    """How many promises may be broken, and the Monte Carlo error of their share."""
    allowed = 1 - goal.confidence
    return allowed, math.sqrt(allowed * (1 - allowed) / DATA_SETS)


def test_the_promise_is_worth_something():
    population, fits, labels, goal = POPULATIONS["smooth"]
    random = np.random.default_rng(0)
    found = [
        choose_threshold(goal, population.drawn(fits, random), population.drawn(labels, random))
        for _ in range(50)
    ]
    shares = [population.shares[population.levels >= each.threshold].sum() for each in found]
    best = max(
        population.shares[population.levels >= level].sum()
        for level in LEVELS
        if population.risk(level) <= goal.max_risk
    )
    assert np.mean(shares) > 0.85 * best


@pytest.mark.parametrize(("max_risk", "confidence", "least"), [(0.05, 0.9, 45), (0.2, 0.8, 8)])
def test_the_fewest_labels_are_those_that_are_all_right(max_risk, confidence, least):
    goal = Goal(max_risk, confidence)
    assert goal.least_labels == least
    assert (1 - max_risk) ** least <= 1 - confidence < (1 - max_risk) ** (least - 1)
    for count, promised in ((least, True), (least - 1, False)):
        right = Judged(np.full(count, 0.7), np.zeros(count, bool))
        assert (choose_threshold(goal, right, right).threshold is not None) == promised


def test_too_few_labels_are_said_and_no_threshold_is_made_up():
    few = Judged(np.linspace(0.5, 1, 30), np.zeros(30, bool))
    found = choose_threshold(Goal(0.05, 0.9), few, few)
    assert (found.threshold, found.risk_upper) == (None, None)
    assert found.reason == (
        "30 labelled questions choose the threshold: 5 % at 90 % confidence needs at least 45, "
        "with no wrong answer among them."
    )
    silent = Judged(np.r_[np.full(30, 0.8), np.full(70, np.nan)], np.zeros(100, bool))
    assert choose_threshold(Goal(0.05, 0.9), silent, silent).reason == (
        "30 of the 100 labelled questions that choose the threshold have an answer of confidence "
        "0.8 or more: 5 % at 90 % confidence needs at least 45, none of them wrong."
    )
    wrong = Judged(np.full(100, 0.8), np.arange(100) < 10)
    found = choose_threshold(Goal(0.05, 0.9), wrong, wrong)
    assert found.threshold is None
    assert found.reason == (
        "Of the 100 answers of confidence 0.8 or more 10 are wrong, so that up to 15.0 % may be: "
        "more than 5 % at 90 % confidence allows."
    )
    nobody = Judged(np.full(100, np.nan), np.zeros(100, bool))
    assert choose_threshold(Goal(0.05, 0.9), nobody, nobody).reason == (
        "No question of those that fit the rule has an answer: there is no threshold."
    )
    assert "0 of the 100" in str(choose_threshold(Goal(0.05, 0.9), silent, nobody).reason)


def test_the_bound_is_clopper_and_pearsons():
    for wrong, answered in ((0, 45), (3, 100), (70, 71), (5, 5)):
        tested = binomtest(wrong, answered, alternative="less")
        exact = tested.proportion_ci(0.9, method="exact").high
        bound = upper_bound(np.array([wrong]), np.array([answered]), 0.9)
        assert bound == pytest.approx(exact)
    assert upper_bound(np.array([0]), np.array([0]), 0.9) == 1


def test_the_promised_bound_is_lower_only_where_all_thresholds_passed():
    every = Judged(np.repeat([0.9, 0.5], 200), np.zeros(400, bool))
    found = choose_threshold(Goal(0.05, 0.9), every, every)
    assert found.threshold == 0.5
    assert found.risk_upper == pytest.approx(float(upper_bound(*np.array([[0], [400]]), 0.9)[0]))
    some = Judged(every.confidence, every.confidence < 0.6)
    found = choose_threshold(Goal(0.05, 0.9), some, some)
    assert (found.threshold, found.risk_upper) == (0.9, 0.05)
    assert found.labels == 400
    bounds = upper_bound(np.array([0, 200]), np.array([200, 400]), 0.9).tolist()
    assert found.steps == [Step(0.9, 200, 0, bounds[0]), Step(0.5, 400, 200, bounds[1])]
    assert found.passed == found.steps[:1]


def test_ties_move_together_and_rounding_does_not_part_them():
    third = Judged(np.r_[np.full(99, 1 / 3), [1 / 3 + 1e-16, 1.0]], np.zeros(101, bool))
    thresholds = declared_thresholds(third)
    assert thresholds.tolist() == [1.0, 0.333333]
    assert third.at_least(thresholds)[0].tolist() == [1, 101]


def test_thresholds_are_declared_without_labels_and_are_few():
    random = np.random.default_rng(0)
    confidence = random.random(1000)
    one = declared_thresholds(Judged(confidence, random.random(1000) < 0.5))
    other = declared_thresholds(Judged(confidence, np.zeros(1000, bool)))
    assert one.tolist() == other.tolist()
    assert len(one) == MOST_THRESHOLDS
    assert (np.diff(one) < 0).all()
    assert one[-1] == pytest.approx(confidence.min(), abs=1e-6)


def test_the_questions_that_choose_declare_nothing():
    random = np.random.default_rng(0)
    fitted, calibration = (Judged(random.random(200), np.zeros(200, bool)) for _ in range(2))
    found = choose_threshold(Goal(0.05, 0.9), fitted, calibration)
    declared = declared_thresholds(fitted).tolist()
    assert {step.threshold for step in found.steps} <= set(declared)
    assert found.threshold == declared[-1]


def test_no_answer_is_neither_answered_nor_right():
    picks = Picks(np.array([0, -1, 0]), np.zeros(3, int), np.array([0.9, 0.9, np.nan]))
    judged = Judged.of(picks, np.zeros((3, 1, 1)), threshold=0.0)
    assert judged.answered.tolist() == [True, False, False]
    assert judged.right.tolist() == [True, False, False]
    assert not judged.wrong.any()


@pytest.mark.parametrize("wrong", [{"max_risk": 0}, {"max_risk": 1.5}, {"confidence": math.nan}])
def test_goals_are_shares(wrong):
    with pytest.raises(ConfigurationError, match="must lie between 0 and 1"):
        Goal(**wrong)
