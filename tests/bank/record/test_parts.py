"""Parts of a record: of some members, questions and draws."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from dspy_mux.bank.files import json_lines
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.bank.record import MISSING
from dspy_mux.errors import ConfigurationError, DataError
from dspy_mux.voting.tally import ABSTAINED

from .rows import row, without

DATA = pathlib.Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def uneven(write):
    """Member a has three draws of each question, its second of q3 lost; b has 3, 2 and 0."""
    rows = [
        row(question, "a", str(draw), draw=draw)
        for question in ("q1", "q2", "q3")
        for draw in range(3)
    ]
    rows += [row("q1", "b", "1", draw=draw) for draw in range(3)] + [
        row("q2", "b", "", draw=draw) for draw in range(2)
    ]
    rows = [
        told
        for told in rows
        if (told["question_id"], told["model"], told["draw"]) != ("q3", "a", 1)
    ]
    return read_jsonl(write(*[{**told, "task": told["question_id"].upper()} for told in rows]))


def test_all_draws_count_also_those_behind_a_lost_one(uneven):
    assert uneven.drawn().tolist() == [[3, 3], [3, 2], [2, 0]]
    assert uneven.votes[2, 0].tolist() == [0, 1, MISSING]


def test_the_numbers_of_draws_may_have_gaps(write):
    full = [row(f"q{at}", "a", str(draw), draw=draw) for at in range(4) for draw in range(5)]
    gaps = [told for told in full if (told["question_id"] != "q2" or told["draw"] not in (0, 2))]
    record = read_jsonl(write(*gaps))
    assert record.drawn().tolist() == [[5], [5], [3], [5]]
    part, left_out = record.of(None, 3)
    assert (part.votes.shape, left_out) == ((4, 1, 3), 0)
    with pytest.raises(ConfigurationError, match="at most 5 draws of 'a' for a question"):
        record.of(None, 6)
    # The same draws, numbered anew.
    for told in gaps:
        if told["question_id"] == "q2":
            told["draw"] = {1: 0, 3: 1, 4: 2}[told["draw"]]
    assert read_jsonl(write(*gaps, name="anew.jsonl")).votes.tolist() == record.votes.tolist()


def test_a_high_number_of_a_draw_costs_no_memory(write):
    rows = [row(f"q{at}", "a", "x", draw=9_999) for at in range(100)]
    assert read_jsonl(write(*rows)).votes.shape == (100, 1, 1)


def test_draws_that_are_too_uneven_for_arrays_are_refused(write):
    rows = [row(f"q{at}", "a", "x") for at in range(9_000)]
    rows += [row("q0", "a", "x", draw=draw) for draw in range(1, 9_000)]
    with pytest.raises(DataError, match="has 9000 draws of a member for one question and few"):
        read_jsonl(write(*rows))


@pytest.mark.parametrize(
    ("members", "k", "questions"),
    [
        (None, 1, "q1 q2"),
        (None, 2, "q1 q2"),
        (None, 3, "q1"),
        (None, None, "q1"),
        (["a"], 2, "q1 q2 q3"),
        (["a"], 1, "q1 q2 q3"),
        (["a"], 3, "q1 q2"),
    ],
)
def test_the_questions_that_each_member_answered_k_times_stay(uneven, members, k, questions):
    part, left_out = uneven.of(members, k)
    assert " ".join(part.questions) == questions
    assert left_out == 3 - len(part.questions)
    assert part.fields["task"] == tuple(question.upper() for question in part.questions)
    assert part.votes.shape[2] >= (k or 3)
    assert (part.votes != MISSING).all()
    assert (
        part.votes.shape
        == part.scores.shape
        == (len(part.questions), len(part.members), part.votes.shape[2])
    )


def test_members_stand_in_the_order_asked_for(uneven):
    part, _ = uneven.of(["b", "a"], 2)
    assert part.members == ("b", "a")
    assert part.votes.tolist() == [[[1, 1], [0, 1]], [[ABSTAINED, ABSTAINED], [0, 1]]]


def test_an_unknown_member_is_refused_and_the_known_ones_told(uneven):
    with pytest.raises(ConfigurationError, match="has no member 'z'; it has a, b"):
        uneven.of(["a", "z"], 1)


@pytest.mark.parametrize("members", [["a", "a"], []])
def test_members_are_named_once_and_at_least_one(uneven, members):
    with pytest.raises(ConfigurationError, match="each member once, and at least one"):
        uneven.of(members, 1)


@pytest.mark.parametrize(
    ("k", "said"),
    [(4, "at most 3 draws of .*fewer than k=4"), (0, "k must be 1 or more"), (-1, "k must be")],
)
def test_k_that_was_not_recorded_is_refused(uneven, k, said):
    with pytest.raises(ConfigurationError, match=said):
        uneven.of(None, k)


def test_members_that_share_no_question_are_refused(write):
    with pytest.raises(DataError, match="no question that all of a, b answered"):
        read_jsonl(write(row("q1", "a"), row("q2", "b"))).of(None, 1)


def test_draws_without_a_score_are_refused_where_they_would_count(write):
    record = read_jsonl(write(row(), without(row(), "correct"), row(model="b"), row(model="b")))
    with pytest.raises(DataError, match="has 1 draws without a score"):
        record.of(None, 2)
    assert record.of(["b"], 2)[1] == 0


def test_abstentions_need_no_score(write):
    record = read_jsonl(write(without(row(answer=""), "correct"), row()))
    assert record.of(None, 2)[0].scores.tolist() == [[[0.0, 1.0]]]


def test_the_first_draws_are_those_of_a_smaller_k(uneven):
    part = uneven.of(["a"], 3)[0].first(2)
    assert part.votes.tolist() == [[[0, 1]], [[0, 1]]]
    assert part.scores.shape == (2, 1, 2)


def test_rows_keep_what_belongs_to_them(uneven):
    part = uneven.rows(np.array([2, 0]))
    assert part.questions == ("q3", "q1")
    assert part.fields["task"] == ("Q3", "Q1")
    assert part.votes.tolist() == uneven.votes[[2, 0]].tolist()


@pytest.mark.parametrize(
    ("name", "shape"), [("tiny_slms_everyday", (240, 3, 6)), ("rgym_short_dev", (1350, 5, 3))]
)
def test_recorded_banks_are_read_whole(name, shape):
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("no recorded banks here")
    record = read_jsonl(path)
    assert record.votes.shape == shape
    assert int((record.votes != MISSING).sum()) == sum(1 for _ in json_lines(path))
