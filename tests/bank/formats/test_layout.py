"""Files of no known format: where their columns are, as the user says, and how that is saved."""

from __future__ import annotations

import json
import re

import pytest

from dspy_mux import ConfigurationError, DataError
from dspy_mux.bank.formats.column_map import ColumnMap
from dspy_mux.bank.formats.layout import Layout, load_layout, parse_columns, save_layout
from dspy_mux.bank.import_export import import_file

from ...support.rows import jsonl

RUN = {
    "run": {"model": "small"},
    "items": [
        {"q": "9 + 9?", "gold": "18", "samples": [{"text": "18", "ok": True}, {"text": "19"}]},
        {"q": "20 - 5?", "gold": "15", "samples": [{"text": "15", "ok": False}]},
    ],
}
COLUMNS = parse_columns("question=q,answer=text,model=run.model,correct=ok,gold=gold")


def test_each_element_of_a_list_within_lists_is_a_draw(bank, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(RUN))
    import_file(bank, path, layout=Layout(columns=COLUMNS, each="items.samples"))
    rows = list(bank.rows())
    assert [(row["question"], row["answer"], row["score"]) for row in rows] == [
        ("9 + 9?", "18", 1.0),
        ("9 + 9?", "19", None),
        ("20 - 5?", "15", 0.0),
    ]
    assert {row["model"] for row in rows} == {"small"}


def test_without_a_map_the_columns_are_those_of_all_levels(bank, tmp_path):
    row = {"question_id": "q0", "model": "a", "samples": [{"answer": "x"}, {"answer": "y"}]}
    import_file(bank, jsonl(tmp_path / "rows.jsonl", [row]), layout=Layout(each="samples"))
    assert [one["answer"] for one in bank.rows()] == ["x", "y"]


def test_a_path_goes_through_places_and_names_with_dots():
    layout = Layout(columns={"answer": 'choices.0."text.raw"', "model": "m"}, each=None)
    row = {"choices": [{"text.raw": "x"}], "m": "a"}
    assert list(ColumnMap(layout).draws(row)) == [{"answer": "x", "model": "a"}]


@pytest.mark.parametrize(
    "text", ["answer", "answer=", "=text", "answer=a..b", 'answer="a', "answer=a.", "a=b,a=c"]
)
def test_a_map_that_is_none_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_columns(text)


@pytest.mark.parametrize(
    ("each", "told"),
    [
        ("samples", r"Row 1 of .* has no list samples for --each; it has run, items"),
        ("run", r"Row 1 of .* has a dict at run, which must be a list"),
    ],
)
def test_a_list_that_is_not_there_is_named(bank, tmp_path, each, told):
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    with pytest.raises(DataError, match=told):
        import_file(bank, tmp_path / "run.json", layout=Layout(columns=COLUMNS, each=each))
    assert not bank.exists()


def test_a_column_that_is_nowhere_is_named_with_its_row(bank, tmp_path):
    rows = [{"id": "q0", "said": "x"}, {"id": "q1"}]
    layout = Layout(columns={"question_id": "id", "answer": "said"}, model="a")
    with pytest.raises(DataError, match=r"Line 2 of .* has no answer"):
        import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), layout=layout)
    assert not bank.exists()


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("question=q,model=who", "--map says where no answer is: add answer=PATH, or text=PATH"),
        ("question=q,answer=sayd", "Line 1 of"),
        (
            "question=q,text=sayd,answer=said",
            "nothing at sayd in any row, for text in --map; it has q",
        ),
        ("question=q,answer=said,gold=rihgt", "nothing at rihgt in any row, for gold"),
    ],
)
def test_a_map_that_leads_nowhere_imports_nothing(bank, tmp_path, columns, told):
    rows = [{"q": f"{n}?", "said": "4", "right": "4", "who": "a"} for n in range(3)]
    layout = Layout(columns=parse_columns(columns), model="a")
    with pytest.raises((ConfigurationError, DataError), match=re.escape(told)):
        import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), layout=layout)
    with pytest.raises(DataError, match="collect or import draws first"):
        list(bank.rows())


def test_a_saved_layout_is_read_back(tmp_path):
    layout = Layout(
        columns={"answer": 'resp."a.b"', "größe": "x\x7f"}, each="samples", model='"a"\\b'
    )
    save_layout(tmp_path / "map.toml", layout, {"type": "float", "program": None})
    assert load_layout(tmp_path / "map.toml") == (layout, {"type": "float"})
    with pytest.raises(ConfigurationError, match="is there already"):
        save_layout(tmp_path / "map.toml", layout, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "There is no file"),
        ("= 3", "is not a layout in TOML"),
        ("each = 3", "each in the layout .* must be text"),
        ("columns = 3", "columns in the layout .* must be text"),
        ("[columns]\nanswer = ['a']", "answer in the layout .* must be text"),
        ("[columns]\nanswer = 'a..b'", "is not a path"),
    ],
)
def test_a_file_that_is_no_layout_is_refused(tmp_path, text, told):
    path = tmp_path / "map.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        load_layout(path)


def test_questions_are_joined_by_their_id(bank, tmp_path):
    rows = [{"question_id": 1, "answer": "x"}, {"question_id": 2, "answer": "y"}]
    questions = tmp_path / "questions.csv"
    questions.write_text("question_id,question,answer,level\n1,One?,x,easy\n2,Two?,z,hard\n")
    layout = Layout(model="a", questions=str(questions))
    path = jsonl(tmp_path / "rows.jsonl", rows)
    import_file(bank, path, layout=layout)
    assert bank.record().fields["level"] == ("easy", "hard")
    assert [row["question_fields"] for row in bank.rows()] == [{"answer": "x"}, {"answer": "z"}]
    questions.write_text("question_id,question\n1,One?\n")
    with pytest.raises(DataError, match=r"Line 2 of .* question '2', which .*questions\.csv has"):
        import_file(bank, path, layout=layout, dataset="other")
    questions.write_text("question_id,question\n1,One?\n1,Two?\n")
    with pytest.raises(DataError, match="has the question_id '1' again"):
        import_file(bank, path, layout=layout, dataset="other")
