"""Replay against a second computation in plain dicts and loops, on a small bank and on recorded ones."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import pathlib
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.bank.record import MISSING, Record, read_jsonl
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.intervals import bootstrap, wilson
from dspy_mux.replay.replay import SPLIT_RESAMPLES, check_rule, compare, pooled_results, replay
from dspy_mux.replay.resample import draw_choices
from dspy_mux.replay.splits import Split, by_field, folds, holdout

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"
FIXED = ["self_consistency", "pooled", "consistency"]
RULES = [*FIXED, "calibrated"]


# --- the second computation ----------------------------------------------------------------------


def rows_of(path):
    with (gzip.open if path.name.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def draws_of(rows, k):
    """question → member → its first k (answer, score), of the questions that every member answered k times."""
    bank, members = {}, list(dict.fromkeys(row["model"] for row in rows))
    for row in rows:
        score = row["correct"] if "correct" in row else row["score"]
        bank.setdefault(row["question_id"], {}).setdefault(row["model"], {})[row["draw"]] = (
            row["answer"] or None,
            float(score),
        )
    whole = {
        question: {member: [draws[member][at] for at in range(k)] for member in members}
        for question, draws in bank.items()
        if all(member in draws and set(range(k)) <= set(draws[member]) for member in members)
    }
    return members, whole, len(bank) - len(whole)


def plurality(draws):
    """(draws that gave it, score of its first draw) of the most frequent answer, the one drawn first among equals."""
    counts = Counter(answer for answer, _ in draws if answer is not None)
    for answer, score in draws:
        if answer is not None and counts[answer] == max(counts.values()):
            return counts[answer], score
    return 0, 0.0


def accuracies_of(members, bank, train):
    return {
        m: Fraction(sum(Fraction(plurality(bank[q][m])[1]) for q in train), len(train))
        for m in members
    }


def score_of(rule, members, draws, accuracy):
    if rule == "pooled":
        return plurality([draw for member in members for draw in draws[member]])[1]
    best_first = sorted(members, key=lambda member: (-accuracy[member], members.index(member)))
    if rule == "self_consistency":
        return plurality(draws[best_first[0]])[1]
    winner = max(best_first, key=lambda member: plurality(draws[member])[0])
    return plurality(draws[winner])[1]


def assert_replay_equals_loops(record, rows, split, k, left_out):
    members, bank, expected_left_out = draws_of(rows, k)
    questions = list(bank)
    assert (list(record.members), list(record.questions), left_out) == (
        members,
        questions,
        expected_left_out,
    )
    accuracy = accuracies_of(members, bank, [questions[at] for at in split.train])
    tested = [questions[at] for at in sorted(split.test)]
    for rule in FIXED:
        result = replay(record, rule, splits=[split], k=k, left_out=left_out)
        expected = [score_of(rule, members, bank[question], accuracy) for question in tested]
        assert result.per_question.tolist() == expected
        assert [questions[at] for at in result.tested] == tested
        assert result.accuracy == pytest.approx(sum(expected) / len(expected))
        right = [
            max(plurality(bank[question][member])[1] for member in members) >= 1
            for question in tested
        ]
        assert result.union_accuracy == pytest.approx(sum(right) / len(right))
        assert (result.questions, result.left_out, result.repeats) == (
            len(tested),
            expected_left_out,
            1,
        )


# --- a bank written here, and the recorded ones --------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """12 questions, 3 members, 3 draws, graded in quarters; c never answered the last two questions."""
    random = np.random.default_rng(5)
    rows = [
        {
            "question_id": f"q{question}",
            "model": member,
            "draw": draw,
            "answer": str(answer) if answer else "",
            "score": float(random.choice([0.0, 0.25, 1.0])) if answer else 0.0,
            "split": "train" if question % 2 else "test",
        }
        for question in range(12)
        for member in "abc"
        for draw, answer in enumerate(random.integers(0, 4, 3).tolist())
        if (question, member) not in {(10, "c"), (11, "c")}
    ]
    path = tmp_path / "small.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def record(small):
    return read_jsonl(small).of(None, 3)[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_small_bank_scores_what_loops_find(small, seed):
    record, left_out = read_jsonl(small).of(None, 3)
    split = holdout(len(record.questions), repeats=1, seed=seed)[0]
    assert_replay_equals_loops(record, rows_of(small), split, 3, left_out)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_everyday_bank_scores_what_loops_find(k):
    path = DATA / "tiny_slms_everyday.jsonl.gz"
    if not path.exists():
        pytest.skip("no recorded banks here")
    record, left_out = read_jsonl(path).of(None, k)
    record = record.first(k)
    assert len(record.members) == 3
    assert_replay_equals_loops(
        record, rows_of(path), by_field(record, "split", "val", "test")[0], k, left_out
    )


def test_the_reasoning_gym_bank_scores_what_loops_find():
    path = DATA / "rgym_short_dev.jsonl.gz"
    if not path.exists():
        pytest.skip("no recorded banks here")
    record, left_out = read_jsonl(path).of(None, 3)
    assert left_out > 0
    split = holdout(len(record.questions), repeats=1, seed=1)[0]
    assert_replay_equals_loops(record, rows_of(path), split, 3, left_out)


def test_questions_that_a_member_lacks_are_left_out_and_counted(small):
    record, left_out = read_jsonl(small).of(None, 3)
    assert left_out == 2
    assert record.questions == tuple(f"q{at}" for at in range(10))
    assert replay(record, "pooled", left_out=left_out).left_out == 2
    assert read_jsonl(small).of(["a", "b"], 3)[1] == 0


# --- what the figures mean -----------------------------------------------------------------------


def made(votes, scores, **fields):
    votes = np.asarray(votes)
    names = tuple("abcdefgh"[: votes.shape[1]])
    return Record(
        names, tuple(f"q{at}" for at in range(len(votes))), votes, np.asarray(scores, float), fields
    )


def random_record(questions=60, members=3, draws=3, seed=0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, questions)
    rates = np.linspace(0.7, 0.3, members)[None, :, None]
    knows = random.random((questions, members, draws)) < rates
    votes = np.where(knows, truth[:, None, None], random.integers(-1, 4, knows.shape))
    return made(votes, votes == truth[:, None, None])


def test_a_hand_worked_bank():
    # Trained on question 0 a is the better one; on question 1 all are unanimous, on question 2 b is surer.
    votes = [[[0, 0], [1, 1]], [[0, 0], [1, 1]], [[0, 1], [2, 2]]]
    scores = [[[1, 1], [0, 0]], [[1, 1], [0, 0]], [[0, 0], [1, 1]]]
    record, split = made(votes, scores), [Split(np.array([0]), np.array([1, 2]))]
    told = {rule: replay(record, rule, splits=split) for rule in FIXED}
    assert told["consistency"].per_question.tolist() == [1.0, 1.0]
    assert told["self_consistency"].per_question.tolist() == [1.0, 0.0]
    assert told["pooled"].per_question.tolist() == [1.0, 1.0]
    assert told["consistency"].wins == {"a": 0.5, "b": 0.5}
    assert told["self_consistency"].wins == {"a": 1.0, "b": 0.0}
    assert [told[rule].calls_per_question for rule in FIXED] == [2.0, 4.0, 4.0]
    # Consistency stops after a's two on question 1; pooled needs all four there, and on question 2 too.
    assert [told[rule].frugal_calls_per_question for rule in FIXED] == [2.0, 4.0, 3.0]
    assert told["consistency"].union_accuracy == 1.0
    assert told["self_consistency"].stderr == pytest.approx(math.sqrt(0.5) / math.sqrt(2))


def test_self_consistency_of_a_named_member_needs_no_accuracies():
    record = random_record()
    result = replay(record, "self_consistency:b", splits=folds(60))
    assert result.wins["a"] == result.wins["c"] == 0.0
    assert result.calls_per_question == 3


def test_the_threshold_moves_union_and_not_accuracy():
    record = made(np.zeros((4, 1, 1), int), np.full((4, 1, 1), 0.5))
    low, high = (replay(record, "consistency", threshold=at) for at in (0.5, 1.0))
    assert (low.union_accuracy, high.union_accuracy) == (1.0, 0.0)
    assert low.accuracy == high.accuracy == 0.5


@pytest.mark.parametrize("rule", RULES)
def test_wins_sum_to_the_share_of_questions_with_any_answer(rule):
    record = random_record()
    assert sum(replay(record, rule, splits=folds(60, count=2)).wins.values()) == pytest.approx(1.0)
    votes = record.votes.copy()
    votes[:15] = -1
    silent = made(votes, np.where(votes < 0, 0.0, record.scores))
    wins = replay(silent, rule, splits=folds(60, count=2)).wins
    if rule == "self_consistency":
        assert sum(wins.values()) <= 0.75
    else:
        assert sum(wins.values()) == pytest.approx(0.75)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30)
def test_consistency_never_scores_above_union_nor_calls_more_when_frugal(seed, members, draws):
    record = random_record(20, members, draws, seed)
    for rule in FIXED:
        result = replay(record, rule, splits=folds(20, seed=seed), seed=seed)
        assert rule == "pooled" or result.accuracy <= result.union_accuracy + 1e-12
        assert result.frugal_calls_per_question <= result.calls_per_question


def test_calls_tokens_and_cost_are_those_of_the_draws_spent():
    # a is unanimous, so frugal consistency never asks b, which is the dearer one.
    votes = np.zeros((4, 2, 2), int)
    each = np.broadcast_to(np.array([[[1.0, 2.0], [10.0, 20.0]]]), votes.shape)
    plain = made(votes, np.ones(votes.shape))
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


def test_what_is_unknown_of_a_draw_is_no_zero():
    # a tells calls and cost of all its draws, b of none, c of all but one.
    votes = np.zeros((4, 3, 2), int)
    spent = np.full(votes.shape, 2.0)
    spent[:, 1] = np.nan
    spent[0, 2, 1] = np.nan
    record = dataclasses.replace(
        made(votes, np.ones(votes.shape)), calls=spent, tokens=spent, cost=spent
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
def test_what_is_picked_on_test_depends_on_the_labels_of_train_alone(rule):
    record, split = random_record(120), holdout(120, repeats=1)[0]

    def tested_with(labels):
        scores = record.scores.copy()
        scores[split.test] = labels
        return replay(made(record.votes, scores), rule, splits=[split])

    # A score that names its member and draw tells what was picked.
    named = np.broadcast_to(np.arange(9.0).reshape(3, 3), (len(split.test), 3, 3))
    picked = tested_with(named).per_question.astype(int)
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


def test_calibrated_learns_from_train_whom_to_believe():
    # Two members agree on what is wrong, unanimously; the third is right. Only labels tell.
    votes = np.broadcast_to(np.array([[0, 0], [0, 0], [1, 1]]), (60, 3, 2))
    record = made(votes, votes == 1)
    assert replay(record, "pooled", splits=folds(60, count=2)).accuracy == 0.0
    assert replay(record, "calibrated", splits=folds(60, count=2)).accuracy == 1.0


def test_calibrated_uses_a_field_of_the_questions_where_one_is_named():
    # a knows x, b knows y: without the category it is a coin's throw.
    topics = tuple("xy"[at % 2] for at in range(200))
    votes = np.broadcast_to(np.array([[0, 0], [1, 1]]), (200, 2, 2))
    right = np.array([[topic == "x", topic == "y"] for topic in topics])
    record = made(votes, np.broadcast_to(right[:, :, None], votes.shape), topic=topics)
    assert replay(record, "calibrated", splits=folds(200, count=2)).accuracy < 0.7
    assert replay(record, "calibrated", splits=folds(200, count=2), context="topic").accuracy == 1.0
    with pytest.raises(ConfigurationError, match="no field 'subject'"):
        replay(record, "calibrated", context="subject")


# --- choices of draws ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "message"),
    [(0, "k must be 1 or more, not 0"), (4, "holds 3 draws a member, fewer than k=4")],
)
def test_k_that_was_not_recorded_is_refused(record, k, message):
    with pytest.raises(ConfigurationError, match=message):
        replay(record, "consistency", k=k)


def test_fewer_draws_than_recorded_are_chosen_by_the_seed_alone():
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


def test_chosen_draws_are_distinct_recorded_ones_in_the_order_drawn():
    votes = np.zeros((50, 2, 5), int)
    votes[:, 1, 3:] = MISSING
    chosen = draw_choices(made(votes, np.zeros(votes.shape)), 3, np.random.default_rng(0))
    assert chosen.shape == (50, 2, 3)
    assert (np.diff(chosen, axis=2) > 0).all()
    assert (chosen[:, 1] == [0, 1, 2]).all()
    assert set(chosen[:, 0].ravel().tolist()) == {0, 1, 2, 3, 4}


# --- comparing -----------------------------------------------------------------------------------


def test_a_difference_is_paired():
    record = random_record()
    one, other = (replay(record, rule, splits=folds(60)) for rule in ("consistency", "pooled"))
    difference = compare(one, other)
    assert difference.mean == pytest.approx(float(np.mean(one.per_question - other.per_question)))
    assert difference.n == 60
    assert difference.low <= difference.mean <= difference.high
    nothing = compare(one, one)
    # No question of 60 differs: of all questions few can.
    assert (nothing.mean, nothing.stderr) == (0.0, 0.0)
    assert (nothing.low, nothing.high) == pytest.approx((-0.0602, 0.0602), abs=1e-4)


def test_results_on_different_questions_are_not_compared():
    record = random_record()
    one, other = (
        replay(record, "pooled", splits=holdout(60, repeats=1, seed=seed)) for seed in (0, 1)
    )
    with pytest.raises(ConfigurationError, match="only be compared on the same questions"):
        compare(one, other)


def test_results_of_each_fold_alone_pool_to_those_of_all_folds():
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


def test_the_interval_holds_the_mean_and_narrows_with_questions():
    values = np.tile([0.0, 1.0], 50)
    low, high = bootstrap(values)
    assert low < 0.5 < high
    wide_low, wide_high = bootstrap(values[:10])
    assert high - low < wide_high - wide_low
    assert bootstrap(values) == bootstrap(values)
    assert all(math.isnan(end) for end in bootstrap(np.zeros(0)))


@pytest.mark.parametrize("n", [1, 2, 20, 500])
def test_where_all_questions_are_alike_the_interval_is_wilsons(n):
    for share in (0.0, 1.0):
        assert bootstrap(np.full(n, share)) == pytest.approx(wilson(share, n))
    low, high = bootstrap(np.full(n, 0.25))
    assert 0 < low < 0.25 < high < 1
    low, high = bootstrap(np.full(n, 0.0), least=-1.0)
    assert high == -low == pytest.approx(wilson(0.0, n)[1])
    assert bootstrap(np.full(n, 3.0))[1] == 3.0  # a metric may give more than 1


def test_twenty_of_twenty_right_are_not_told_as_certain():
    record = made(np.zeros((20, 2, 3), int), np.ones((20, 2, 3)))
    result = replay(record, "consistency", splits=folds(20, count=2))
    assert (result.accuracy, result.ci95) == (1.0, pytest.approx((0.8389, 1.0), abs=1e-4))


@pytest.mark.parametrize(
    "rule", ["majority", "pooled:a", "consistency:a", "self_consistency:z", ""]
)
def test_an_unknown_rule_is_refused(record, rule):
    with pytest.raises(ConfigurationError, match="There is no rule|names no member"):
        replay(record, rule)


def test_rules_that_can_be_replayed_pass():
    for rule in (*RULES, "self_consistency:a"):
        check_rule(rule, ["a", "b"])


def test_a_result_is_plain_values_for_json(record):
    told = json.loads(json.dumps(replay(record, "calibrated").as_dict()))
    assert told["rule"] == "calibrated"
    assert told["members"] == ["a", "b", "c"]
    assert "per_question" not in told
