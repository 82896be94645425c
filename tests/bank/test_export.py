"""Exports: a round trip changes nothing, and a failed export leaves nothing behind."""

from __future__ import annotations

import json

import pytest

from dspy_mux import BankError, ConfigurationError, SampleBank
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.jsonl import read_jsonl

from ..support.fill import a_draw, a_program, fill, some_questions, write
from ..support.records import renamed, same, spent


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_exported_bank_imports_into_an_equal_one(bank, tmp_path, name):
    fill(bank, members="abc", count=5, k=3)
    assert export_file(bank, tmp_path / name) == 45
    other = SampleBank(tmp_path / "other.sqlite")
    assert import_file(other, tmp_path / name).added == 45
    assert list(other.rows()) == list(bank.rows())
    one, two = bank.record(), other.record()
    assert same(one, two)
    assert (one.keys, spent(one)) == (two.keys, spent(two))
    other.close()


#: Names that a draw's row has a use of its own for.
CLASHING = {
    "answer": "gold",
    "correct": 2,
    "score": 9.5,
    "seconds": 1,
    "prompt": "p",
    "text": "t",
    "model": "m",
    "member": "n",
}
CLASHING |= {
    "dataset": "theirs",
    "question_id": "own",
    "cause": "c",
    "question_fields": "f",
    "outputs": "o",
    "draw": 7,
}


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_field_of_a_question_is_never_taken_for_the_draws(bank, tmp_path, name):
    question = bank.add_questions("d", [("key", "q", {**CLASHING, "task": "a"})])[0]
    write(
        bank,
        a_draw(question, a_program(bank), 0),
        a_draw(question, a_program(bank, "b"), 0, "y", 1, 0.0),
    )
    export_file(bank, tmp_path / name)
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / name)
    assert list(other.rows()) == list(bank.rows())
    read = [bank.record(), other.record()] + (
        [read_jsonl(tmp_path / name)] if name.endswith("jsonl") else []
    )
    for record in read:
        assert record.scores.tolist() == [[[1.0], [0.0]]]
        assert (
            record.fields
            == read[0].fields
            == {key: (str(value),) for key, value in {**CLASHING, "task": "a"}.items()}
        )
    other.close()


def test_a_field_of_a_name_of_its_own_stays_beside_the_draw(bank, tmp_path):
    fill(bank, members="a", count=1, k=1)
    export_file(bank, tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert (row["task"], row["n"], "question_fields" in row) == ("a", 0, False)


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_unscored_draw_comes_back_unscored_with_its_outputs(bank, tmp_path, name):
    question = bank.add_questions("d", [("key", "q", {"correct": 1})])[0]
    outputs = {"reasoning": "because \ud83d", "answer": "x", "parts": [1, None]}
    write(
        bank,
        *(
            a_draw(question, a_program(bank), at, score=None, outputs=json.dumps(outputs))
            for at in (0, 1)
        ),
    )
    export_file(bank, tmp_path / name)
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / name)
    assert [(row["score"], row["outputs"]) for row in other.rows()] == [(None, outputs)] * 2
    other.close()


def test_an_exported_bank_with_two_programs_and_two_datasets_keeps_them_apart(bank, tmp_path):
    for dataset in "de":
        for key in ("1" * 64, "2" * 64):
            write(
                bank, a_draw(some_questions(bank, dataset=dataset)[0], a_program(bank, "a", key), 0)
            )
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
    write(
        bank,
        *(a_draw(question, made_by, draw, answer, draw) for draw, answer in enumerate(answers)),
    )
    export_file(bank, tmp_path / "out.jsonl")
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / "out.jsonl")
    assert [row["answer"] for row in other.rows()] == answers
    other.close()


def test_answers_of_several_types_are_text_in_parquet_and_stay_as_different_as_they_were(
    bank, tmp_path
):
    question, made_by = some_questions(bank)[0], a_program(bank)
    write(
        bank,
        *(
            a_draw(question, made_by, draw, answer, at)
            for draw, (answer, at) in enumerate([("5", 0), (5, 1), ([5], 2)])
        ),
    )
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
