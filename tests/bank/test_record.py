"""Reading recorded draws: what counts as what, and which line is at fault."""

from __future__ import annotations

import gzip
import json
import pathlib

import numpy as np
import pytest

from dspy_mux import SampleBank
from dspy_mux.bank.files import json_lines
from dspy_mux.bank.import_export import import_file
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.bank.record import MISSING
from dspy_mux.errors import ConfigurationError, DataError
from dspy_mux.replay.replay import replay
from dspy_mux.voting.tally import ABSTAINED

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"


def row(question="q", model="a", answer="1", **more):
    return {"question_id": question, "model": model, "answer": answer, "correct": True, **more}


def without(told, *keys):
    return {key: value for key, value in told.items() if key not in keys}


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows, name="bank.jsonl"):
        text = "".join(
            (told if isinstance(told, str) else json.dumps(told)) + "\n" for told in rows
        )
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write_rows


# --- rows ----------------------------------------------------------------------------------------


def test_draws_stand_by_question_member_and_draw_in_the_order_first_met(write):
    record = read_jsonl(
        write(
            row("q2", "b", "x", draw=1),
            row("q2", "b", "y", draw=0),
            row("q1", "a", "z", draw=0),
            row("q1", "b", "z", draw=1),
        )
    )
    assert (record.members, record.questions) == (("b", "a"), ("q2", "q1"))
    assert record.votes.tolist() == [[[1, 0], [MISSING, MISSING]], [[0, MISSING], [0, MISSING]]]


def test_a_row_without_a_draw_is_the_member_s_next_one(write):
    record = read_jsonl(
        write(
            row(answer="x"),
            row(model="b"),
            row(answer="y"),
            row(answer="x", draw=5),
            row(answer="z"),
        )
    )
    assert record.votes[0, 0].tolist() == [0, 2, 0, 3]


def test_the_key_member_says_what_model_says(write):
    record = read_jsonl(write({"question_id": 7, "member": "a", "answer": "x", "score": 1}))
    assert (record.members, record.questions) == (("a",), ("7",))


@pytest.mark.parametrize("answer", ["", None, "  \n"])
def test_an_empty_answer_is_an_abstention_whatever_its_score(write, answer):
    record = read_jsonl(write(row(answer=answer), row(answer="x")))
    assert record.votes.tolist() == [[[ABSTAINED, 0]]]
    assert record.scores.tolist() == [[[0.0, 1.0]]]


def test_answers_are_the_same_where_their_text_is(write):
    answers = ["1", " 1 ", 1, "01", True, "true", [1, 2], {"b": 1, "a": 2}, {"a": 2, "b": 1}]
    record = read_jsonl(write(*[row(answer=answer) for answer in answers]))
    assert record.votes[0, 0].tolist() == [0, 0, 0, 1, 2, 2, 3, 4, 4]


def test_answers_are_the_same_where_their_class_is(write):
    record = read_jsonl(
        write(
            row(answer="one", answer_class=7),
            row(answer="1", answer_class=7),
            row(answer="1", answer_class=8),
            row(answer="7"),
            row(answer="", answer_class=7),
            row(answer="8", answer_class=None),
        )
    )
    assert record.votes[0, 0].tolist() == [0, 0, 1, 2, ABSTAINED, 3]


def test_the_same_answer_to_another_question_is_another_matter(write):
    record = read_jsonl(write(row("q1", answer="x"), row("q2", answer="y"), row("q2", answer="x")))
    assert record.votes.tolist() == [[[0, MISSING]], [[0, 1]]]


def test_correct_goes_before_score_and_either_will_do(write):
    record = read_jsonl(
        write(
            row(correct=True, score=0.25),
            without(row(score=0.25), "correct"),
            row(correct=0),
            row(correct=False),
            without(row(score=2), "correct"),
        )
    )
    assert record.scores[0, 0].tolist() == [1.0, 0.25, 0.0, 0.0, 2.0]


def test_a_draw_never_scored_is_read_and_has_no_score(write):
    record = read_jsonl(write(row(), without(row(), "correct"), row(correct=None)))
    assert np.isnan(record.scores[0, 0]).tolist() == [False, True, True]


def test_equal_answers_may_be_graded_differently(write):
    record = read_jsonl(write(row(), row(correct=False)))
    assert (record.votes.tolist(), record.scores.tolist()) == ([[[0, 0]]], [[[1.0, 0.0]]])


def test_what_is_told_of_a_question_is_a_field_and_what_is_told_of_a_draw_is_none(write):
    record = read_jsonl(
        write(
            row(
                "q1",
                task="sums",
                level=3,
                text="so 1",
                seconds=2.0,
                cost=0.1,
                cause=None,
                options=["x"],
            ),
            row("q1", task="ignored: the first row tells"),
            row("q2", split=None),
        )
    )
    assert {name: record.fields[name] for name in ("task", "level", "split")} == {
        "task": ("sums", None),
        "level": ("3", None),
        "split": (None, None),
    }
    assert not {"text", "seconds", "cost", "cause", "answer", "model", "correct", "options"} & set(
        record.fields
    )
    assert record.field("task") == ["sums", ""]
    with pytest.raises(ConfigurationError, match="has no field 'topic'; its questions have .*task"):
        record.field("topic")


def test_what_draws_took_is_read_and_what_is_unknown_is_none(write):
    took = {"prompt_tokens": 20, "completion_tokens": 3, "cost": 0.5}
    record = read_jsonl(
        write(
            row("q1", calls=2, **took),
            row("q1", calls=None, **{**took, "completion_tokens": None}),
            row("q2", calls=3, cost=None),
        )
    )
    assert np.array_equal(record.calls[:, 0], [[2, np.nan], [3, np.nan]], equal_nan=True)
    assert np.array_equal(record.tokens[:, 0], [[23, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(record.cost[:, 0], [[0.5, 0.5], [np.nan, np.nan]], equal_nan=True)
    untold = read_jsonl(write(row("q1"), row("q2", cost=None)))
    assert (untold.calls, untold.tokens, untold.cost) == (None, None, None)


def test_the_same_rows_take_the_same_in_a_file_and_in_a_bank(write, tmp_path):
    took = {"prompt_tokens": 20, "completion_tokens": 3}
    path = write(
        *[
            row(f"q{n}", m, "x", draw=d, calls=1 + d, cost=0.1 * n, **took)
            for n in range(6)
            for m in "ab"
            for d in range(2)
        ]
    )
    bank = SampleBank(tmp_path / "bank.sqlite")
    import_file(bank, path)
    for name in ("calls", "tokens", "cost"):
        assert np.array_equal(getattr(read_jsonl(path), name), getattr(bank.record(), name))
    told = [
        replay(source.of(None, None)[0], "pooled").as_dict()
        for source in (read_jsonl(path), bank.record())
    ]
    assert told[0] == told[1]
    assert told[0]["calls_per_question"] == 6


# --- files ---------------------------------------------------------------------------------------


def test_a_gzipped_file_reads_as_the_plain_one(write):
    rows = [row(f"q{at % 5}", "ab"[at % 2], str(at % 3), task=str(at % 5)) for at in range(20)]
    plain, packed = read_jsonl(write(*rows)), read_jsonl(write(*rows, name="bank.jsonl.gz"))
    assert (plain.members, plain.questions, plain.fields) == (
        packed.members,
        packed.questions,
        packed.fields,
    )
    assert (plain.votes == packed.votes).all()
    assert (plain.scores == packed.scores).all()


def test_blank_lines_are_skipped_and_counted(write):
    path = write(row(), "", "  ", row())
    assert [number for number, _ in json_lines(path)] == [1, 4]
    assert read_jsonl(str(path)).votes.tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "is not JSON: "),
        ("[" * 100_000, "is not JSON: "),
        ("[1, 2]", "is not a JSON object"),
        (without(row(), "question_id"), "needs a question_id"),
        (row(None), "needs a question_id"),
        (row(True), "needs a question_id"),
        (without(row(), "model"), "needs a model"),
        (row(model=["a"]), "needs a model"),
        (without(row(), "answer"), "has no answer"),
        (row(draw=-1), "has the draw -1, which must be a whole number from 0"),
        (row(draw=1.5), "has the draw 1.5"),
        (row(draw=True), "has the draw True"),
        (row(draw=10**9), "has the draw 1000000000"),
        (row(correct="yes"), "has the score 'yes', which must be a number or true or false"),
        (row("q3", draw=0), "repeats draw 0 of 'a' for question 'q3'"),
    ],
)
def test_the_line_at_fault_is_named(write, line, said):
    path = write(*[row(f"q{at}") for at in range(16)], line, row("later"))
    with pytest.raises(DataError) as error:
        read_jsonl(path)
    assert str(error.value).startswith("Line 17 of ")
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="There is no bank '.*nowhere.jsonl'"):
        read_jsonl(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("name", ["bank.jsonl", "bank.jsonl.gz"])
def test_a_file_without_draws_is_refused(write, name):
    with pytest.raises(DataError, match="holds no draws"):
        read_jsonl(write(name=name))


def test_a_folder_is_no_bank(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_jsonl(tmp_path)


def test_text_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(row()).encode() + b'\n{"answer": "\xe9"}\n')
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_jsonl(path)


def no_gzip(packed):
    return b"plain text"


def cut_off(packed):
    return packed[: len(packed) // 2]


def wrong_sum(packed):
    return packed[:-8] + b"\0" * 8


def damaged(packed):
    return packed[:12] + bytes([packed[12] ^ 0xFF]) + packed[13:]


@pytest.mark.parametrize("harm", [no_gzip, cut_off, wrong_sum, damaged])
def test_a_damaged_gzip_file_is_refused_in_one_sentence(write, harm):
    path = write(
        *[row(f"q{at}", answer=str(at * 7919 % 1000)) for at in range(300)], name="bank.jsonl.gz"
    )
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DataError, match="cannot be read"):
        read_jsonl(path)


def test_one_of_several_datasets_has_to_be_chosen(write):
    path = write(
        row("q1", dataset="sums"),
        row("q1", dataset="words", answer="x"),
        row("q2", dataset="words"),
    )
    with pytest.raises(ConfigurationError, match="several datasets: choose one of sums, words"):
        read_jsonl(path)
    assert read_jsonl(path, dataset="words").questions == ("q1", "q2")
    assert read_jsonl(path, dataset="sums").questions == ("q1",)
    with pytest.raises(ConfigurationError, match="has no dataset 'songs'; it has sums, words"):
        read_jsonl(path, dataset="songs")


# --- parts of a record ---------------------------------------------------------------------------


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
