"""What cross-validation decides: with evidence or without, the learned rule or a simple one."""

from __future__ import annotations

import numpy as np
import pytest

from dspy_mux.voting.calibrated import simple_picks
from dspy_mux.voting.calibration import FEW_QUESTIONS, LEAST_QUESTIONS, Training, fit
from dspy_mux.voting.gate import Trial, choose_arm, clear_gain, simple_instead
from dspy_mux.voting.tally import Tally

from ..support.votes import drawn

MEMBERS = ("a", "b", "c")


def right_on(share, questions=100, repeats=2):
    """Right on the first of the questions, in each repeat."""
    return np.broadcast_to(np.arange(questions) < share * questions, (repeats, questions)) * 1.0


def trial(share, questions=100):
    right = right_on(share, questions)
    return Trial(right, np.zeros(right.shape))


def test_a_gain_counts_what_is_above_chance():
    assert clear_gain(right_on(0.9), right_on(0.5)) == pytest.approx(0.4 - 2 * 0.049, abs=1e-3)
    assert clear_gain(right_on(0.51), right_on(0.5)) < 0
    assert clear_gain(right_on(0.5), right_on(0.5)) == 0


def test_repeats_of_a_question_are_no_further_questions():
    assert clear_gain(right_on(0.6, repeats=9), right_on(0.5, repeats=9)) == pytest.approx(
        clear_gain(right_on(0.6, repeats=1), right_on(0.5, repeats=1))
    )


def test_evidence_stays_until_votes_alone_are_clearly_better():
    assert choose_arm({False: trial(0.52), True: trial(0.5)})
    assert not choose_arm({False: trial(0.7), True: trial(0.5)})
    assert not choose_arm({False: trial(0.2)})


def test_a_simple_rule_chooses_where_it_is_clearly_better():
    simple = {"pooled": right_on(0.7), "consistency": right_on(0.8)}
    assert simple_instead(trial(0.5), simple) == "consistency"
    assert simple_instead(trial(0.79), simple) is None


def test_a_simple_rule_that_is_right_on_the_same_questions_saves_calls():
    assert simple_instead(trial(0.5), {"pooled": right_on(0.5)}) == "pooled"
    assert simple_instead(trial(0.5, 30), {"pooled": right_on(0.5, 30)}) == "pooled"
    assert simple_instead(trial(0.5, 29), {"pooled": right_on(0.5, 29)}) is None


def test_chance_seldom_sends_an_equal_rule_back():
    """Of two rules that are right as often, the simple one is preferred in some 2 % of cases."""
    random = np.random.default_rng(0)
    sent_back = [
        clear_gain(*(random.random((2, 1, 60)) < 0.6).astype(float)) > 0 for _ in range(2000)
    ]
    assert 0.01 < np.mean(sent_back) < 0.045


@pytest.mark.parametrize(
    ("k", "evidence", "rule"),
    [
        (1, {}, "pooled"),
        (3, {}, "consistency"),
        (3, {"answer_logprob": -1.0}, "probability"),
        (1, {"answer_logprob": -1.0}, "probability"),
        (1, {"answer_logprob": -1.0, "text_logprob": -40.0}, "pooled"),
    ],
)
def test_almost_without_labels_a_simple_rule_chooses(k, evidence, rule):
    votes, scores = drawn(LEAST_QUESTIONS - 1, k=k)
    figures = {name: np.full(votes.shape, value) for name, value in evidence.items()}
    found = fit(Training(Tally(votes, None, figures), scores, MEMBERS))
    assert (found.instead, found.reads_evidence) == (rule, rule == "probability")


@pytest.mark.parametrize("seed", range(3))
def test_with_few_labels_no_noise_is_learned(seed):
    """Three alike members: what 12 labels show of them is chance, and pooling is right."""
    votes, scores = drawn(12, rates=(0.5, 0.5, 0.5), seed=seed)
    fresh, right = drawn(400, rates=(0.5, 0.5, 0.5), seed=50 + seed)
    found = fit(Training(Tally(votes), scores, MEMBERS))
    pooled = simple_picks(Tally(fresh), found.accuracies)["pooled"]
    gain = found.pick(Tally(fresh)).scores(right) - pooled.scores(right)
    assert gain.mean() > -0.02


def test_few_labels_shrink_more():
    votes, scores = drawn(FEW_QUESTIONS + 1)
    many = fit(Training(Tally(votes), scores, MEMBERS)).weights
    few = fit(Training(Tally(votes[:-1]), scores[:-1], MEMBERS)).weights
    assert np.abs(few[:9]).max() < np.abs(many[:9]).max()
