"""Imports: the record of a file is the bank's, and a bad file changes nothing."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux import DataError, SampleBank
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.jsonl import read_jsonl

from ..support.records import renamed, same, some_rows
from ..support.rows import a_row, jsonl


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_an_imported_file_gives_the_record_that_the_file_gives(bank, tmp_path, name):
    path = jsonl(tmp_path / name, some_rows())
    assert import_file(bank, path).added == 24
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
    import_file(
        bank,
        jsonl(
            tmp_path / "two.jsonl",
            [a_row(answer="y", correct=False), a_row(draw=1, answer="y", correct=False)],
        ),
    )
    assert [(row["answer"], row["score"]) for row in bank.rows()] == [("x", 1.0), ("y", 0.0)]


def test_answers_of_two_files_are_compared_with_each_other(bank, tmp_path):
    one = [a_row(model="a", draw=d, answer="x") for d in (0, 1)]
    two = [
        a_row(model="b", draw=d, answer=answer, correct=answer == "x")
        for d, answer in enumerate("yx")
    ]
    import_file(bank, jsonl(tmp_path / "one.jsonl", one))
    import_file(bank, jsonl(tmp_path / "two.jsonl", two))
    assert same(bank.record(), read_jsonl(jsonl(tmp_path / "both.jsonl", one + two)))


def test_an_answer_class_of_the_file_says_what_is_equal(bank, tmp_path):
    rows = [
        a_row(draw=d, answer=a, answer_class=c)
        for d, (a, c) in enumerate([("1/2", 7), ("0.5", 7), ("3", 8)])
    ]
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
    path = jsonl(
        tmp_path / "rows.jsonl",
        [a_row(draw=draw, answer=answer) for draw, answer in enumerate(answers)],
    )
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


@pytest.mark.parametrize(
    ("told", "score"),
    [
        ({"correct": True}, 1.0),
        ({"score": 0.5}, 0.5),
        ({"correct": False, "score": 0.5}, 0.0),  # the verdict, and how near it was
        ({"correct": 2, "score": 1.0}, 1.0),  # the number of the right option, and the score
        ({"correct": None, "score": 0.5}, 0.5),
    ],
)
def test_a_score_is_read_where_a_row_has_it(bank, tmp_path, told, score):
    row = {key: value for key, value in a_row(**told).items() if key != "correct" or key in told}
    path = jsonl(tmp_path / "rows.jsonl", [row])
    import_file(bank, path)
    assert bank.record().scores.tolist() == read_jsonl(path).scores.tolist() == [[[score]]]


def test_the_text_of_a_response_is_kept(bank, tmp_path):
    import_file(
        bank,
        jsonl(
            tmp_path / "rows.jsonl",
            [a_row(text="I think x."), a_row(draw=1, outputs={"a": [1]}), a_row(draw=2)],
        ),
    )
    assert [row["outputs"] for row in bank.rows()] == [{"text": "I think x."}, {"a": [1]}, None]


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
    "fields of a question that are text": a_row("q9", question_fields="task"),
    "a name of half a character": (
        '{"question_id": "\\ud800", "model": "a", "draw": 0, "answer": "x"}'
    ),
    "a draw that is there twice": a_row("q0", "a", 0, "z"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_row_that_is_not_understood_names_its_line_and_nothing_is_written(bank, tmp_path, what):
    rows = some_rows()
    path = jsonl(tmp_path / "rows.jsonl", [*rows[:16], BROKEN[what], *rows[16:]])
    with pytest.raises(DataError, match=r"Line 17 of .*rows\.jsonl") as caught:
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
    with pytest.raises(DataError, match=r"^Line 4 of"):
        import_file(
            bank, jsonl(tmp_path / "rows.jsonl", [a_row(draw=0), "", a_row(draw=1), a_row(draw=-1)])
        )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.jsonl", None, "There is no"),
        ("none.parquet", None, "There is no"),
        ("none.json", None, "There is no"),
        ("rows.jsonl", b"", "holds no draws"),
        ("rows.jsonl", b"\xff\xfe\x00", "not UTF-8 text"),
        ("rows.jsonl.gz", b"not gzip", "cannot be read"),
        (
            "rows.jsonl.gz",
            gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-20],
            "cannot be read|Line 1 ",
        ),
        ("rows.parquet", b"not parquet", "is not a Parquet file"),
        ("rows.json", b"[]", "holds no draws"),
        ("rows.json", b'{"model": "a"}', "is in no format that is known"),
        ("rows.json", b'{"model": "a", "responses": 3}', "is in no format that is known"),
        ("rows.json", b'{"model": "a", "responses": []}', "holds no draws"),
        ("rows.json", b"{", "is not JSON"),
        ("rows.json", b"\xff", "is not UTF-8 text"),
        ("rows.csv", b"", "names no columns"),
        ("log.eval", b"not a zip", "is not a zip archive"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_and_nothing_is_written(
    bank, tmp_path, name, content, told
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        import_file(bank, tmp_path / name)
    assert name in str(caught.value)
    assert not bank.exists()


def test_a_file_of_any_ending_is_read_by_its_content(bank, tmp_path):
    rows = jsonl(tmp_path / "rows.jsonl", some_rows())
    (tmp_path / "rows.txt").write_bytes(rows.read_bytes())
    import_file(bank, tmp_path / "rows.txt")
    assert same(bank.record(), read_jsonl(rows))
