"""Draws in and out of a bank: what goes round comes back the same, and a file that is not understood changes nothing."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspy_mux import BankError, ConfigurationError, SampleBank
from dspy_mux.exchange import export_file, import_file
from dspy_mux.record import read_jsonl
from dspy_mux.tally import ABSTAINED

from .banks.filling import a_draw, a_program, fill, some_questions, write
from .rows import a_result_file, a_row, jsonl


def some_rows(questions=4, members="ab", k=3):
    """Member b agrees with a on even questions; its last draw abstains."""
    return [
        a_row(
            f"q{q}",
            m,
            d,
            "" if (m, d) == ("b", k - 1) else "x" if m == "a" or q % 2 == 0 else f"y{d}",
            m == "a" or q % 2 == 0,
            task="ab"[q % 2],
            split="test" if q % 2 else "train",
        )
        for q in range(questions)
        for m in members
        for d in range(k)
    ]


def renamed(votes):
    """Votes with each question's classes numbered as they are met: equal for records that agree on what is equal."""
    told = []
    for question in votes:
        names = {}
        told.append([vote if vote < 0 else names.setdefault(vote, len(names)) for vote in question.ravel().tolist()])
    return told


def same(one, other, *, fields=True):
    assert (one.members, one.questions) == (other.members, other.questions)
    assert one.votes.shape == other.votes.shape
    assert renamed(one.votes) == renamed(other.votes)
    np.testing.assert_array_equal(one.scores, other.scores)
    if fields:
        ours, theirs = (
            {name: values for name, values in each.fields.items() if name not in ("question_id", "dataset")}
            for each in (one, other)
        )
        assert ours == theirs
    return True


def spent(record):
    return [None if values is None else values.tolist() for values in (record.calls, record.tokens, record.cost)]


# --- JSONL


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_an_imported_file_gives_the_record_that_the_file_gives(bank, tmp_path, name):
    path = jsonl(tmp_path / name, some_rows())
    assert import_file(bank, path) == 24
    assert same(bank.record(), read_jsonl(path))
    assert bank.datasets() == {"default": 4}


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["q0", "q1", "q2"]),
        st.sampled_from("ab"),
        st.integers(0, 3),
        st.sampled_from(["x", "y", "z", "", None]),
        st.sampled_from([True, False, 0.5, None]),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda row: row[:3],
)


@given(ROWS)
@settings(max_examples=25)
def test_any_rows_survive_the_way_in_and_out(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("round")
    path = jsonl(folder / "rows.jsonl", [a_row(*row) for row in rows])
    bank = SampleBank(folder / "bank.sqlite")
    import_file(bank, path)
    record = read_jsonl(path)
    # A bank orders what it holds by when it was first met, as the file does.
    assert same(bank.record(), record)
    export_file(bank, folder / "out.jsonl")
    assert same(read_jsonl(folder / "out.jsonl"), record, fields=False)
    bank.close()


def test_importing_twice_adds_nothing(bank, tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", some_rows())
    import_file(bank, path)
    before = list(bank.rows())
    import_file(bank, path)
    assert list(bank.rows()) == before


def test_what_is_recorded_stays_when_a_file_says_otherwise(bank, tmp_path):
    import_file(bank, jsonl(tmp_path / "one.jsonl", [a_row(answer="x", correct=True)]))
    import_file(bank, jsonl(tmp_path / "two.jsonl", [a_row(answer="y", correct=False), a_row(draw=1, answer="y", correct=False)]))
    assert [(row["answer"], row["score"]) for row in bank.rows()] == [("x", 1.0), ("y", 0.0)]


def test_answers_of_two_files_are_compared_with_each_other(bank, tmp_path):
    one = [a_row(model="a", draw=d, answer="x") for d in (0, 1)]
    two = [a_row(model="b", draw=d, answer=answer, correct=answer == "x") for d, answer in enumerate("yx")]
    import_file(bank, jsonl(tmp_path / "one.jsonl", one))
    import_file(bank, jsonl(tmp_path / "two.jsonl", two))
    assert same(bank.record(), read_jsonl(jsonl(tmp_path / "both.jsonl", one + two)))


def test_an_answer_class_of_the_file_says_what_is_equal(bank, tmp_path):
    rows = [a_row(draw=d, answer=a, answer_class=c) for d, (a, c) in enumerate([("1/2", 7), ("0.5", 7), ("3", 8)])]
    import_file(bank, jsonl(tmp_path / "rows.jsonl", rows))
    assert renamed(bank.record().votes) == [[0, 0, 1]]


@pytest.mark.parametrize(
    "answers",
    [
        ["x", " x", "x\n"],
        ["x", "  "],
        [5, "5"],
        [["a", 1], ["a", 1], ["a", 2]],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
        [True, False, 0],
        ["ÿ", "y", "Y"],
    ],
)
def test_answers_are_compared_in_a_bank_as_in_a_file(bank, tmp_path, answers):
    path = jsonl(tmp_path / "rows.jsonl", [a_row(draw=draw, answer=answer) for draw, answer in enumerate(answers)])
    import_file(bank, path)
    assert same(bank.record(), read_jsonl(path))


@pytest.mark.parametrize("value", ["text", 3, 1.5, True, None, ""])
def test_a_field_reads_the_same_from_a_bank_and_from_a_file(bank, tmp_path, value):
    path = jsonl(tmp_path / "rows.jsonl", [a_row("q0", level=value), a_row("q1", level="other")])
    import_file(bank, path)
    assert bank.record().fields["level"] == read_jsonl(path).fields["level"]


def test_rows_without_a_draw_are_a_members_next_ones(bank, tmp_path):
    rows = [{key: value for key, value in row.items() if key != "draw"} for row in some_rows()]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    import_file(bank, path)
    assert same(bank.record(), read_jsonl(path))


def test_a_row_names_its_dataset_and_the_caller_that_of_the_others(bank, tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", [a_row("q0", dataset="gsm8k"), a_row("q0"), a_row("q1")])
    import_file(bank, path, dataset="mine")
    assert bank.datasets() == {"gsm8k": 1, "mine": 2}


def test_member_is_another_word_for_model(bank, tmp_path):
    row = a_row()
    row["member"] = row.pop("model")
    import_file(bank, jsonl(tmp_path / "rows.jsonl", [row]))
    assert bank.record().members == ("a",)


# --- what is not understood


BROKEN = {
    "no JSON": '{"question_id": "q',
    "no object": "[1, 2]",
    "no question": {"model": "a", "draw": 0, "answer": "x"},
    "no model": {"question_id": "q9", "draw": 0, "answer": "x"},
    "no answer": {"question_id": "q9", "model": "a", "draw": 0},
    "a negative draw": a_row(draw=-1),
    "a draw that is text": a_row("q9", draw="first"),
    "a draw that is true": a_row("q9", draw=True),
    "a draw beyond reason": a_row("q9", draw=10**30),
    "a score that is text": a_row("q9", correct="yes"),
    "calls that are text": a_row("q9", calls="many"),
    "seconds that are an object": a_row("q9", seconds={}),
    "a name of half a character": '{"question_id": "\\ud800", "model": "a", "draw": 0, "answer": "x"}',
    "a draw that is there twice": a_row("q0", "a", 0, "z"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_row_that_is_not_understood_names_its_line_and_nothing_is_written(bank, tmp_path, what):
    rows = some_rows()
    path = jsonl(tmp_path / "rows.jsonl", [*rows[:16], BROKEN[what], *rows[16:]])
    with pytest.raises(ConfigurationError, match=r"Line 17 of .*rows\.jsonl") as caught:
        import_file(bank, path)
    assert "\n" not in str(caught.value)
    assert not bank.exists()


def test_half_a_character_in_an_answer_or_a_field_is_kept(bank, tmp_path):
    # Models emit them, JSON holds them, and UTF-8 has no form for them.
    path = jsonl(tmp_path / "rows.jsonl", [a_row("q9", answer="x\ud800", task="\ud800")])
    import_file(bank, path)
    export_file(bank, tmp_path / "out.jsonl")
    assert same(read_jsonl(tmp_path / "out.jsonl"), read_jsonl(path))


def test_lines_are_counted_as_an_editor_counts_them(bank, tmp_path):
    with pytest.raises(ConfigurationError, match=r"^Line 4 of"):
        import_file(bank, jsonl(tmp_path / "rows.jsonl", [a_row(draw=0), "", a_row(draw=1), a_row(draw=-1)]))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.jsonl", None, "There is no"),
        ("none.parquet", None, "There is no"),
        ("none.json", None, "There is no"),
        ("rows.csv", b"a,b\n", "is no bank file: import .jsonl"),
        ("rows.jsonl", b"", "holds no draws"),
        ("rows.jsonl", b"\xff\xfe\x00", "no UTF-8 text"),
        ("rows.jsonl.gz", b"not gzip", "cannot be read"),
        ("rows.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-20], "cannot be read|Line 1 "),
        ("rows.parquet", b"not parquet", "is no Parquet file"),
        ("rows.json", b"[]", "is no result file of the reference implementation"),
        ("rows.json", b'{"model": "a"}', "is no result file"),
        ("rows.json", b'{"model": "a", "responses": 3}', "is no result file"),
        ("rows.json", b'{"model": "a", "responses": []}', "holds no draws"),
        ("rows.json", b"{", "is no result file"),
        ("rows.json", b"\xff", "is no result file"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_and_nothing_is_written(bank, tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=told) as caught:
        import_file(bank, tmp_path / name)
    assert name in str(caught.value)
    assert not bank.exists()


# --- export


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_exported_bank_imports_into_an_equal_one(bank, tmp_path, name):
    fill(bank, members="abc", count=5, k=3)
    assert export_file(bank, tmp_path / name) == 45
    other = SampleBank(tmp_path / "other.sqlite")
    assert import_file(other, tmp_path / name) == 45
    assert list(other.rows()) == list(bank.rows())
    one, two = bank.record(), other.record()
    assert same(one, two)
    assert (one.keys, spent(one)) == (two.keys, spent(two))
    other.close()


def test_an_exported_bank_with_two_programs_and_two_datasets_keeps_them_apart(bank, tmp_path):
    for dataset in "de":
        for key in ("1" * 64, "2" * 64):
            write(bank, a_draw(some_questions(bank, dataset=dataset)[0], a_program(bank, "a", key), 0))
    export_file(bank, tmp_path / "out.jsonl")
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / "out.jsonl")
    assert [(row["dataset"], row["program"], row["draws"]) for row in other.info()] == [
        (dataset, key * 64, 1) for dataset in "de" for key in "12"
    ]
    other.close()


def test_one_dataset_can_be_exported_alone(bank, tmp_path):
    for dataset in "de":
        write(bank, a_draw(some_questions(bank, dataset=dataset)[0], a_program(bank), 0))
    assert export_file(bank, tmp_path / "out.jsonl", dataset="e") == 1
    assert json.loads((tmp_path / "out.jsonl").read_text())["dataset"] == "e"


def test_exporting_and_reading_the_file_gives_the_banks_record(bank, tmp_path):
    fill(bank)
    export_file(bank, tmp_path / "out.jsonl")
    assert same(read_jsonl(tmp_path / "out.jsonl"), bank.record())


def test_answers_of_several_types_survive_jsonl(bank, tmp_path):
    question, made_by = some_questions(bank)[0], a_program(bank)
    answers = ["text", 5, 1.5, True, ["a", None], {"b": 1}, "ünï\u2028\x00\ud83d"]
    write(bank, *(a_draw(question, made_by, draw, answer, draw) for draw, answer in enumerate(answers)))
    export_file(bank, tmp_path / "out.jsonl")
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / "out.jsonl")
    assert [row["answer"] for row in other.rows()] == answers
    other.close()


def test_answers_of_several_types_are_text_in_parquet_and_stay_as_different_as_they_were(bank, tmp_path):
    question, made_by = some_questions(bank)[0], a_program(bank)
    write(bank, *(a_draw(question, made_by, draw, answer, at) for draw, (answer, at) in enumerate([("5", 0), (5, 1), ([5], 2)])))
    export_file(bank, tmp_path / "out.parquet")
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / "out.parquet")
    assert renamed(other.record().votes) == [[0, 1, 2]]
    other.close()


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_export_refuses_a_file_that_is_there(bank, tmp_path, name):
    fill(bank)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already: name a new file"):
        export_file(bank, tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["out.csv", "out", "out.json", "out.jsonl.gz"])
def test_export_refuses_an_unknown_ending(bank, tmp_path, name):
    fill(bank)
    with pytest.raises(ConfigurationError, match=r"must end in \.jsonl or \.parquet"):
        export_file(bank, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_export_that_fails_leaves_nothing_behind(tmp_path, name):
    with pytest.raises(BankError, match="There is no bank"):
        export_file(SampleBank(tmp_path / "none.sqlite"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_export_into_no_folder_is_refused(bank, tmp_path, name):
    fill(bank)
    with pytest.raises((ConfigurationError, BankError)):
        export_file(bank, tmp_path / "no folder" / name)


# --- result files of the reference implementation


@pytest.mark.parametrize("text", ["problem", "question", "prompt"])
def test_a_result_file_is_one_model_with_its_samples_as_draws(bank, tmp_path, text):
    path = a_result_file(tmp_path / "org_small.json", "org/small", {"2+2?": ["4", None, "5"], "1+3?": ["4", "4", ""]}, text)
    assert import_file(bank, path, dataset="sums") == 6
    record = bank.record(dataset="sums")
    assert record.members == ("org/small",)
    assert record.votes.tolist() == [[[0, ABSTAINED, 1]], [[0, 0, ABSTAINED]]]
    assert record.scores.tolist() == [[[1, 0, 0]], [[1, 1, 0]]]
    assert record.fields["question"] == ("2+2?", "1+3?")
    assert record.fields["gold"] == ("4", "4")
    assert record.tokens.tolist() == [[[23.0] * 3]] * 2


def test_two_models_are_joined_on_the_text_of_the_question(bank, tmp_path):
    import_file(bank, a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", "4"]}))
    import_file(bank, a_result_file(tmp_path / "b.json", "org/b", {"1+3?": ["6", "4"], "2+2?": ["5", "5"]}))
    record = bank.record()
    assert record.members == ("org/a", "org/b")
    assert record.fields["question"] == ("2+2?", "1+3?")
    assert renamed(record.votes) == [[0, 1, 1, 1], [0, 0, 1, 0]]
    assert record.scores.tolist() == [[[1, 0], [0, 0]], [[1, 1], [0, 1]]]


def test_a_result_file_imported_twice_adds_nothing(bank, tmp_path):
    path = a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"]})
    import_file(bank, path)
    before = list(bank.rows())
    import_file(bank, path)
    assert list(bank.rows()) == before


def test_an_imported_result_file_can_be_exported_and_read(bank, tmp_path):
    import_file(bank, a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", None]}))
    export_file(bank, tmp_path / "out.jsonl")
    assert same(read_jsonl(tmp_path / "out.jsonl"), bank.record())


@pytest.mark.parametrize(
    "response",
    [{"answer": "4", "samples": []}, {"problem": "2+2?"}, {"problem": "2+2?", "samples": [3]}, 3, {"problem": "", "samples": []}],
)
def test_a_response_without_its_question_or_samples_is_told_by_its_number(bank, tmp_path, response):
    path = a_result_file(tmp_path / "a.json", "org/a", {"1+3?": ["4"]})
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "responses": [*told["responses"], response]}))
    with pytest.raises(ConfigurationError, match="Response 2 of"):
        import_file(bank, path)
    assert not bank.exists()
