"""Calibration error, Brier score and AURC of held-out confidences, with their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.held_out import HeldOut, fit_rule_scale, held_out
from dspy_mux.replay.ranking import Ranking
from dspy_mux.replay.reliability import Reliability
from dspy_mux.replay.replay import pooled_results, replay
from dspy_mux.replay.splits import folds, holdout
from dspy_mux.voting.calibration import Training

from ..support.votes import random_record

RULES = ("self_consistency", "pooled", "consistency", "calibrated")


def of(confidence, right, questions=None, answered=None):
    count = len(confidence)
    return Reliability.of(
        HeldOut(
            np.arange(count) if questions is None else np.asarray(questions),
            np.asarray(confidence, float),
            np.asarray(right, float),
            np.ones(count, bool) if answered is None else np.asarray(answered),
            True,
        )
    )


# --- the figures ---------------------------------------------------------------------------------


def test_figures_worked_out_by_hand():
    found = of([0.85, 0.85, 0.45, 0.45], [1, 1, 1, 0])
    assert found.ece.mean == pytest.approx((2 * 0.15 + 2 * 0.05) / 4)
    assert found.brier.mean == pytest.approx((2 * 0.15**2 + 0.55**2 + 0.45**2) / 4)
    # Equal confidences come in random order: half a wrong answer among the first three.
    assert found.aurc.mean == pytest.approx((0 + 0 + 0.5 / 3 + 1 / 4) / 4)
    assert (found.answers, found.brier.n) == (4, 4)


def test_questions_without_an_answer_count_in_none_of_them():
    with_none = of([0.85, 0.45, 0.0], [1, 0, 0], answered=[True, True, False])
    assert with_none.as_dict() == of([0.85, 0.45], [1, 0]).as_dict()


def test_no_interval_leaves_the_range_of_its_figure():
    """Few answers, nearly all right or nearly all wrong: the normal ends would lie outside."""
    rare = np.r_[np.ones(19), 0]
    for right, confidence in ((rare, 0.99), (1 - rare, 0.99), (1 - rare, 0.01)):
        found = of(np.full(20, confidence), right)
        for figure in (found.ece, found.brier, found.aurc):
            assert 0 <= figure.low <= figure.mean <= figure.high <= 1


def test_a_question_of_several_repeats_is_one_case():
    """Twenty repeats of the same answers are no more sure than one."""
    confidence = np.tile([0.9, 0.8, 0.6, 0.3] * 10, 20)
    right = np.tile([1, 1, 0, 0] * 5 + [0, 0, 1, 0] * 5, 20)
    once, often = of(confidence[:40], right[:40]), of(confidence, right, np.tile(np.arange(40), 20))
    for name in ("ece", "brier", "aurc"):
        one, many = getattr(once, name), getattr(often, name)
        assert many.n == one.n == 40
        assert many.mean == pytest.approx(one.mean, abs=0.01)
        assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.15)


def test_the_calibration_error_is_told_from_chance():
    """Of 200 answers with 0.9, 60 % are right: chance would show 0.06 at most."""
    found = of([0.9] * 200, [1] * 120 + [0] * 80).ece
    assert found.mean == pytest.approx(0.3)
    assert 0.2 < found.low < 0.25
    assert found.high == pytest.approx(found.mean + 1.96 * found.stderr, abs=1e-4)
    assert of([0.9] * 200, [1] * 176 + [0] * 24).ece.low == 0


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_answer_has_no_figures(count):
    found = of([0.5] * count, [1] * count)
    assert np.isnan([found.ece.mean, found.brier.low, found.aurc.high]).all()
    assert found.answers == count


# --- the intervals -------------------------------------------------------------------------------

CHANCES = {
    "calibrated": lambda confidence: confidence,
    "too sure": lambda confidence: 0.3 + 0.5 * confidence,
    "a little too sure": lambda confidence: confidence - 0.05,
}


def confidences(random, count, levels):
    return random.choice([0.3, 0.6, 0.9], count) if levels else random.beta(3, 1.2, count)


def truth(chance, levels):
    """The figures of endless questions."""
    confidence = confidences(np.random.default_rng(9), 200_000, levels)
    right = np.clip(chance(confidence), 0, 1)
    bins = np.minimum((confidence * 10).astype(int), 9)
    counts = np.arange(1.0, len(right) + 1)
    return (
        np.abs(np.bincount(bins, right - confidence, 10)).sum() / len(right),
        (right * (1 - confidence) ** 2 + (1 - right) * confidence**2).mean(),
        (Ranking.of(-confidence).sums(1 - right, counts) / counts).mean(),
    )


@pytest.mark.parametrize("levels", [False, True], ids=["any confidence", "three levels"])
@pytest.mark.parametrize("case", CHANCES)
def test_the_intervals_hold_the_truth(case, levels):
    """In 120 simulated data sets of 150 questions; 0.89 is 3 standard errors below 0.95.

    With 400 of them 93 to 96 % (Brier score, AURC); with 300 of them, of 100 and of 300 questions,
    94 to 99 % (calibration error).
    """
    chance, true = CHANCES[case], truth(CHANCES[case], levels)
    random, held = np.random.default_rng(4), np.zeros(3)
    for _ in range(120):
        confidence = confidences(random, 150, levels)
        found = of(confidence, random.random(150) < chance(confidence))
        for at, figure in enumerate((found.ece, found.brier, found.aurc)):
            held[at] += figure.low <= true[at] <= figure.high
    print(case, levels, "coverage of ECE, Brier, AURC:", held / 120)
    assert (held / 120 >= 0.89).all()


# --- held out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_calibrated_on_the_training_parts(rule):
    record = random_record(400)
    held = held_out(record, rule, folds(400))
    assert sorted(held.question.tolist()) == list(range(400))
    assert held.calibrated
    assert Reliability.of(held).ece.mean < 0.06
    assert ((held.right == 0) | held.answered).all()


def test_labels_of_the_test_part_change_no_confidence():
    record = random_record(120)
    split = holdout(120, repeats=1)
    before = held_out(record, "pooled", split)
    record.scores[split[0].test] = 0.0
    after = held_out(record, "pooled", split)
    assert np.array_equal(before.confidence, after.confidence)
    assert not after.right.any()


@pytest.mark.parametrize("rule", RULES)
def test_too_few_labels_calibrate_nothing(rule):
    held = held_out(random_record(40), rule, holdout(40, fraction=0.8, repeats=1))
    assert not held.calibrated
    if rule == "pooled":
        assert set(np.rint(held.confidence * 9)) <= set(range(10))  # shares of nine draws


def test_a_pooled_scale_knows_spared_draws_and_consistency_needs_none():
    record = random_record(400)
    training = Training(record.tally(), record.scores, record.members)
    pooled, sure = fit_rule_scale("pooled", training), fit_rule_scale("consistency", training)
    assert pooled.stopped is not None
    assert not pooled.stays
    assert sure.stays


# --- in a replay ---------------------------------------------------------------------------------


def test_a_replay_measures_them_on_request():
    record = random_record(80)
    assert replay(record, "pooled").reliability is None
    assert "reliability" not in replay(record, "pooled").as_dict()
    result = replay(record, "pooled", splits=holdout(80, repeats=3), reliability=True)
    shown = result.as_dict()["reliability"]
    assert shown["calibrated"]
    assert shown["ece_ci95"][0] <= shown["ece"] <= shown["ece_ci95"][1]
    assert pooled_results([result, result]).reliability is None


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigurationError, match="no rule"):
        held_out(random_record(20), "oracle", folds(20))
