"""What the figures of a replay mean, and what they must not depend on."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.bank.record import MISSING, Record
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.decisions import picks_on, rules_for
from dspy_mux.replay.replay import check_rule, compare, pooled_results, replay
from dspy_mux.replay.splits import Split, folds, holdout
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibration import Training
from dspy_mux.voting.evidence import Evidence
from dspy_mux.voting.probability_fit import fit_probability

from ..support.evidence_records import knowing_record
from ..support.votes import random_record, record_from

FIXED = ["self_consistency", "pooled", "consistency"]
RULES = [*FIXED, "calibrated"]


def test_a_hand_worked_bank():
    # By question 0, a is the better one; on question 1 all are unanimous, on question 2 b is surer.
    votes = [[[0, 0], [1, 1]], [[0, 0], [1, 1]], [[0, 1], [2, 2]]]
    scores = [[[1, 1], [0, 0]], [[1, 1], [0, 0]], [[0, 0], [1, 1]]]
    record, split = record_from(votes, scores), [Split(np.array([0]), np.array([1, 2]))]
    results = {rule: replay(record, rule, splits=split) for rule in FIXED}
    assert results["consistency"].per_question.tolist() == [1.0, 1.0]
    assert results["self_consistency"].per_question.tolist() == [1.0, 0.0]
    assert results["pooled"].per_question.tolist() == [1.0, 1.0]
    assert results["consistency"].wins == {"a": 0.5, "b": 0.5}
    assert results["self_consistency"].wins == {"a": 1.0, "b": 0.0}
    assert [results[rule].calls_per_question for rule in FIXED] == [2.0, 4.0, 4.0]
    # Consistency stops after a's two draws on question 1; pooled needs all four, on question 2 too.
    assert [results[rule].frugal_calls_per_question for rule in FIXED] == [2.0, 4.0, 3.0]
    assert results["consistency"].union_accuracy == 1.0
    assert results["self_consistency"].stderr == pytest.approx(math.sqrt(0.5) / math.sqrt(2))


def test_self_consistency_of_a_named_member_needs_no_accuracies():
    record = random_record()
    result = replay(record, "self_consistency:b", splits=folds(60))
    assert result.wins["a"] == result.wins["c"] == 0.0
    assert result.calls_per_question == 3


def test_the_threshold_moves_union_and_not_accuracy():
    record = record_from(np.zeros((4, 1, 1), int), np.full((4, 1, 1), 0.5))
    low, high = (replay(record, "consistency", threshold=at) for at in (0.5, 1.0))
    assert (low.union_accuracy, high.union_accuracy) == (1.0, 0.0)
    assert low.accuracy == high.accuracy == 0.5


@pytest.mark.parametrize("rule", RULES)
def test_wins_sum_to_the_share_of_answered_questions(rule):
    record = random_record()
    assert sum(replay(record, rule, splits=folds(60, count=2)).wins.values()) == pytest.approx(1.0)
    votes = record.votes.copy()
    votes[:15] = -1
    silent = record_from(votes, np.where(votes < 0, 0.0, record.scores))
    wins = replay(silent, rule, splits=folds(60, count=2)).wins
    if rule == "self_consistency":
        assert sum(wins.values()) <= 0.75
    else:
        assert sum(wins.values()) == pytest.approx(0.75)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30)
def test_union_bounds_consistency_and_frugal_never_calls_more(seed, members, draws):
    record = random_record(20, members, draws, seed)
    for rule in FIXED:
        result = replay(record, rule, splits=folds(20, seed=seed), seed=seed)
        assert rule == "pooled" or result.accuracy <= result.union_accuracy + 1e-12
        assert result.frugal_calls_per_question <= result.calls_per_question


def test_calls_tokens_and_cost_count_draws_spent():
    # a is unanimous, so frugal consistency never asks b, which is the dearer one.
    votes = np.zeros((4, 2, 2), int)
    each = np.broadcast_to(np.array([[[1.0, 2.0], [10.0, 20.0]]]), votes.shape)
    plain = record_from(votes, np.ones(votes.shape))
    record = Record(
        plain.members,
        plain.questions,
        plain.votes,
        plain.scores,
        {},
        calls=each,
        tokens=each * 10,
        cost=each / 10,
    )
    result = replay(record, "consistency", splits=folds(4, count=2))
    assert (result.calls_per_question, result.frugal_calls_per_question) == (33.0, 3.0)
    assert (result.tokens_per_question, result.cost_per_question) == (330.0, pytest.approx(3.3))
    unknown = replay(plain, "consistency", splits=folds(4, count=2))
    assert (unknown.tokens_per_question, unknown.cost_per_question) == (None, None)


def test_self_consistency_spends_its_members_draws_alone():
    votes = np.zeros((4, 2, 2), int)
    each = np.broadcast_to(np.array([[[1.0, 2.0], [10.0, 20.0]]]), votes.shape)
    record = dataclasses.replace(record_from(votes, votes + 1), calls=each, tokens=each, cost=each)
    result = replay(record, "self_consistency:a", splits=folds(4, count=2))
    assert (result.calls_per_question, result.tokens_per_question, result.cost_per_question) == (
        3.0,
        3.0,
        3.0,
    )


def test_an_unknown_cost_is_not_zero():
    # Calls and cost are known of all draws of a, none of b, and all but one of c.
    votes = np.zeros((4, 3, 2), int)
    spent = np.full(votes.shape, 2.0)
    spent[:, 1] = np.nan
    spent[0, 2, 1] = np.nan
    record = dataclasses.replace(
        record_from(votes, np.ones(votes.shape)), calls=spent, tokens=spent, cost=spent
    )
    alone = {
        name: replay(record, f"self_consistency:{name}", splits=folds(4, count=2)) for name in "abc"
    }
    assert [alone[name].cost_per_question for name in "abc"] == [4.0, None, None]
    assert [alone[name].tokens_per_question for name in "abc"] == [4.0, None, None]
    assert [alone[name].calls_per_question for name in "abc"] == [
        4.0,
        2.0,
        pytest.approx((3 * 4 + 3) / 4),
    ]
    assert replay(record, "pooled", splits=folds(4, count=2)).cost_per_question is None
    parts = [replay(record, "self_consistency:c", splits=[part]) for part in folds(4, count=4)]
    assert sorted(part.cost_per_question is None for part in parts) == [False, False, False, True]
    assert pooled_results(parts).cost_per_question is None


# --- the test part decides nothing ---------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_picks_depend_on_training_labels_alone(rule):
    record, split = random_record(120), holdout(120, repeats=1)[0]

    def tested_with(labels):
        scores = record.scores.copy()
        scores[split.test] = labels
        return replay(record_from(record.votes, scores), rule, splits=[split])

    # A score that names its member and draw shows what was picked.
    named = np.broadcast_to(np.arange(9.0).reshape(3, 3) / 8, (len(split.test), 3, 3))
    picked = np.rint(8 * tested_with(named).per_question).astype(int)
    real = record.scores[split.test]
    assert (
        tested_with(real).per_question.tolist()
        == real.reshape(-1, 9)[np.arange(len(picked)), picked].tolist()
    )
    shuffled = np.random.default_rng(0).permutation(real)
    assert (
        tested_with(shuffled).per_question.tolist()
        == shuffled.reshape(-1, 9)[np.arange(len(picked)), picked].tolist()
    )


def test_calibrated_learns_whom_to_believe():
    # Two members agree on a wrong answer, unanimously; the third is right. Only labels show it.
    votes = np.broadcast_to(np.array([[0, 0], [0, 0], [1, 1]]), (60, 3, 2))
    record = record_from(votes, votes == 1)
    assert replay(record, "pooled", splits=folds(60, count=2)).accuracy == 0.0
    assert replay(record, "calibrated", splits=folds(60, count=2)).accuracy == 1.0


def test_the_threshold_says_what_calibrated_learns():
    votes = np.broadcast_to(np.array([[0, 0], [0, 0], [1, 1]]), (60, 3, 2))
    record, parts = record_from(votes, (votes == 1) / 2), folds(60, count=2)
    assert replay(record, "calibrated", splits=parts, threshold=0.5).accuracy == 0.5


def test_calibrated_stops_where_its_simple_rule_does():
    # All members are always right: a simple rule decides, which asks one of them alone.
    votes = np.zeros((60, 3, 2), int)
    result = replay(record_from(votes, votes + 1), "calibrated", splits=folds(60, count=2))
    assert (result.calls_per_question, result.frugal_calls_per_question) == (6.0, 2.0)


def test_calibrated_uses_a_named_field_of_the_questions():
    # a knows x, b knows y: without the category it is a coin's throw.
    topics = tuple("xy"[at % 2] for at in range(200))
    votes = np.broadcast_to(np.array([[0, 0], [1, 1]]), (200, 2, 2))
    right = np.array([[topic == "x", topic == "y"] for topic in topics])
    record = record_from(votes, np.broadcast_to(right[:, :, None], votes.shape), topic=topics)
    assert replay(record, "calibrated", splits=folds(200, count=2)).accuracy < 0.7
    assert replay(record, "calibrated", splits=folds(200, count=2), context="topic").accuracy == 1.0
    with pytest.raises(ConfigurationError, match="no field 'subject'"):
        replay(record, "calibrated", context="subject")


def test_calibrated_uses_the_text_of_the_questions():
    topics = ["fish" if at % 2 else "birds" for at in range(200)]
    texts = tuple(f"Which {topic} live in place{at}?" for at, topic in enumerate(topics))
    votes = np.broadcast_to(np.array([[0, 0], [1, 1]]), (200, 2, 2))
    right = np.array([[topic == "fish", topic == "birds"] for topic in topics])
    record = record_from(votes, np.broadcast_to(right[:, :, None], votes.shape), question=texts)
    split = folds(200, count=2)
    assert replay(record, "calibrated", splits=split, context="auto").accuracy == 1.0
    picks = picks_on(record, "calibrated", split[0], context="auto:question")
    assert picks.scores(record.scores[split[0].test]).mean() == 1.0
    with pytest.raises(ConfigurationError, match="there is none among"):
        replay(record_from(votes, votes), "calibrated", context="auto")


# --- comparing -----------------------------------------------------------------------------------


def test_a_difference_is_paired():
    record = random_record()
    one, other = (replay(record, rule, splits=folds(60)) for rule in ("consistency", "pooled"))
    difference = compare(one, other)
    assert difference.mean == pytest.approx(float(np.mean(one.per_question - other.per_question)))
    assert difference.n == 60
    assert difference.low <= difference.mean <= difference.high
    nothing = compare(one, one)
    # None of 60 questions differs, so few of all questions can.
    assert (nothing.mean, nothing.stderr) == (0.0, 0.0)
    assert (nothing.low, nothing.high) == pytest.approx((-0.0447, 0.0447), abs=1e-4)


def test_results_on_different_questions_are_not_compared():
    record = random_record()
    one, other = (
        replay(record, "pooled", splits=holdout(60, repeats=1, seed=seed)) for seed in (0, 1)
    )
    with pytest.raises(ConfigurationError, match="only be compared on the same questions"):
        compare(one, other)


def test_results_by_fold_pool_to_those_together():
    record, parts = random_record(), folds(60)
    alone = pooled_results([replay(record, "consistency", splits=[part]) for part in parts])
    together = replay(record, "consistency", splits=parts)
    assert alone.per_question.tolist() == together.per_question.tolist()
    assert alone.tested.tolist() == together.tested.tolist() == list(range(60))
    assert (alone.accuracy, alone.stderr) == (
        pytest.approx(together.accuracy),
        pytest.approx(together.stderr),
    )
    assert (alone.questions, alone.repeats) == (60, 5)
    assert alone.frugal_calls_per_question < alone.calls_per_question
    for figure in ("union_accuracy", "calls_per_question", "frugal_calls_per_question", "ci95"):
        assert getattr(alone, figure) == pytest.approx(getattr(together, figure))


# --- rules and results ---------------------------------------------------------------------------


def test_twenty_of_twenty_right_is_not_certain():
    record = record_from(np.zeros((20, 2, 3), int), np.ones((20, 2, 3)))
    result = replay(record, "consistency", splits=folds(20, count=2))
    assert (result.accuracy, result.ci95) == (1.0, pytest.approx((0.8389, 1.0), abs=1e-4))


@pytest.mark.parametrize(
    "rule", ["majority", "pooled:a", "consistency:a", "self_consistency:z", ""]
)
def test_an_unknown_rule_is_refused(rule):
    with pytest.raises(ConfigurationError, match="There is no rule|names no member"):
        replay(random_record(), rule)


def test_rules_that_can_be_replayed_pass():
    for rule in (*RULES, "self_consistency:a"):
        check_rule(rule, ["a", "b"])


def test_a_result_is_plain_values_for_json():
    plain = json.loads(json.dumps(replay(random_record(), "calibrated").as_dict()))
    assert plain["rule"] == "calibrated"
    assert plain["members"] == ["a", "b", "c"]
    assert "per_question" not in plain


# --- evidence ------------------------------------------------------------------------------------


def test_probability_is_replayed_as_it_is_fitted_and_as_it_decides_live():
    record = knowing_record(60, draws=2)
    split = Split(np.arange(40), np.arange(40, 60))
    by_order = [split]
    result = replay(record, "probability", splits=by_order)
    train = record.rows(split.train)
    rule = fit_probability(Training(train.tally(), train.scores, record.members))
    right = []
    for at in split.test:
        ballots = [
            Ballot(
                name,
                tuple(record.votes[at, member].tolist()),
                float(train.scores[:, member, 0].mean()),
                evidence=tuple(
                    Evidence(answer_logprob=float(value))
                    for value in record.evidence["answer_logprob"][at, member]
                ),
            )
            for member, name in enumerate(record.members)
        ]
        right.append(rule.choose(ballots).answer == 0)
    assert result.per_question.tolist() == right
    assert result.accuracy > replay(record, "pooled", splits=by_order).accuracy
    assert result.frugal_calls_per_question <= result.calls_per_question == 4


def test_probability_needs_log_probabilities():
    record = random_record()
    assert "probability" not in rules_for(record)
    assert "probability" in rules_for(knowing_record())
    with pytest.raises(ConfigurationError, match="needs the log-probabilities of answers"):
        replay(record, "probability")
    with pytest.raises(ConfigurationError, match="needs the log-probabilities of answers"):
        picks_on(record, "probability", Split(np.arange(30), np.arange(30, 60)))


def test_only_calibrated_says_whether_it_read_evidence():
    record = knowing_record(60)
    told = {rule: replay(record, rule).as_dict().get("evidence") for rule in rules_for(record)}
    assert told == {**dict.fromkeys(rules_for(record)), "calibrated": True}
    assert replay(random_record(), "calibrated").as_dict()["evidence"] is False


def test_evidence_says_in_which_share_of_the_splits_it_was_read():
    record = knowing_record(120)
    known = {name: values.copy() for name, values in record.evidence.items()}
    for values in known.values():
        values[60:] = np.nan
    record = dataclasses.replace(record, evidence=known)
    first, second = np.arange(60), np.arange(60, 120)
    splits = [Split(first, second), *[Split(second[:5], first)] * 3]
    told = replay(record, "calibrated", splits=splits)
    assert (told.evidence, told.evidence_share) == (True, 0.25)
    parts = [replay(record, "calibrated", splits=part) for part in (splits[:2], splits[2:])]
    assert [part.evidence_share for part in parts] == [0.5, 0.0]
    both = pooled_results(parts)
    assert (both.evidence, both.evidence_share) == (True, 0.25)
    plain = pooled_results([replay(record, "pooled", splits=splits)])
    assert (plain.evidence, plain.evidence_share) == (None, None)


def test_questions_that_lack_draws_are_left_out_and_counted():
    votes = np.zeros((6, 2, 3), int)
    votes[:2, 1, 2] = MISSING
    scores = np.r_[np.zeros(2), np.ones(4)][:, None, None] * np.ones((6, 2, 3))
    record = Record(("a", "b"), tuple("qrstuv"), votes, scores, {})
    result = replay(record, "pooled")
    assert (result.questions, result.left_out, result.accuracy) == (4, 2, 1.0)
    assert replay(record, "pooled", k=2).left_out == 0
    with pytest.raises(ConfigurationError, match="2 of 6 questions lack draws"):
        replay(record, "pooled", splits=holdout(6))
