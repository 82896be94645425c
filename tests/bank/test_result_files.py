"""Result files of the paper's reference implementation: one model each, its samples as draws."""

from __future__ import annotations

import json

import pytest

from dspy_mux import DataError
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.voting.tally import ABSTAINED

from ..support.records import renamed, same
from ..support.rows import a_result_file


@pytest.mark.parametrize("text", ["problem", "question", "prompt"])
def test_a_result_file_is_one_model_with_its_samples_as_draws(bank, tmp_path, text):
    path = a_result_file(
        tmp_path / "org_small.json",
        "org/small",
        {"2+2?": ["4", None, "5"], "1+3?": ["4", "4", ""]},
        text,
    )
    assert import_file(bank, path, dataset="sums").added == 6
    record = bank.record(dataset="sums")
    assert record.members == ("org/small",)
    assert record.votes.tolist() == [[[0, ABSTAINED, 1]], [[0, 0, ABSTAINED]]]
    assert record.scores.tolist() == [[[1, 0, 0]], [[1, 1, 0]]]
    assert record.fields["question"] == ("2+2?", "1+3?")
    assert record.fields["gold"] == ("4", "4")
    assert record.tokens.tolist() == [[[23.0] * 3]] * 2


def test_two_models_are_joined_on_the_text_of_the_question(bank, tmp_path):
    import_file(
        bank, a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", "4"]})
    )
    import_file(
        bank, a_result_file(tmp_path / "b.json", "org/b", {"1+3?": ["6", "4"], "2+2?": ["5", "5"]})
    )
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
    import_file(
        bank, a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", None]})
    )
    export_file(bank, tmp_path / "out.jsonl")
    assert same(read_jsonl(tmp_path / "out.jsonl"), bank.record())


@pytest.mark.parametrize(
    "response",
    [
        {"answer": "4", "samples": []},
        {"problem": "2+2?"},
        {"problem": "2+2?", "samples": [3]},
        3,
        {"problem": "", "samples": []},
    ],
)
def test_a_response_without_its_question_or_samples_is_told_by_its_number(bank, tmp_path, response):
    path = a_result_file(tmp_path / "a.json", "org/a", {"1+3?": ["4"]})
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "responses": [*told["responses"], response]}))
    with pytest.raises(DataError, match="Response 2 of"):
        import_file(bank, path)
    assert not bank.exists()
