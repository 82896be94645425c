"""Replay against a second computation in plain dicts and loops, on small and recorded banks."""

from __future__ import annotations

import gzip
import json
import pathlib
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import by_field, holdout

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"
FIXED = ["self_consistency", "pooled", "consistency"]


def rows_of(path):
    with (gzip.open if path.name.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def draws_of(rows, k):
    """question → member → its first k (answer, score), where every member has k."""
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
    """(count, score of its first draw) of the plurality answer; the first drawn among equals."""
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


# --- banks ---------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """12 questions, 3 members, 3 draws, graded in quarters; c lacks the last two questions."""
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


def test_questions_a_member_lacks_are_left_out(small):
    record, left_out = read_jsonl(small).of(None, 3)
    assert left_out == 2
    assert record.questions == tuple(f"q{at}" for at in range(10))
    assert replay(record, "pooled", left_out=left_out).left_out == 2
    assert read_jsonl(small).of(["a", "b"], 3)[1] == 0
