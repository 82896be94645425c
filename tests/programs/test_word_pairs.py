"""Word pairs: the tasks of a public folder, its repeated inputs, and demos apart from questions."""

from __future__ import annotations

import json

import dspy
import pytest

from dspy_mux import ConfigurationError, DataError
from programs import word_pairs
from programs.tasks import task


def pairs_folder(tmp_path, rows=40):
    """Write a folder as the release has it: an input that occurs twice, with another output."""
    for category in word_pairs.CATEGORIES:
        pairs = [{"input": f"{category} {n}", "output": f"word {n}"} for n in range(rows)]
        pairs.append({"input": f"{category} 0", "output": "Wörd zero"})
        (tmp_path / f"{category}.json").write_text(json.dumps(pairs))
    return tmp_path


def test_demos_are_no_question_and_tasks_take_turns(tmp_path):
    folder = pairs_folder(tmp_path)
    by_split = {
        split: word_pairs.examples(split, file=folder) for split in ("train", "validation", "test")
    }
    assert [len(part) for part in by_split.values()] == [40, 160, 120]
    ids = [example.question_id for part in by_split.values() for example in part]
    assert len(set(ids)) == len(ids) == len(word_pairs.examples(file=folder))
    assert [e.category for e in by_split["test"][:8]] == list(word_pairs.CATEGORIES)
    program = task("word_pairs", file=folder).program()
    shown = {demo.question for one in program.predictors() for demo in one.demos}
    assert shown == {example.question for example in by_split["train"]}


def test_every_answer_of_a_repeated_input_is_right(tmp_path):
    twice = [e for e in word_pairs.examples(file=pairs_folder(tmp_path)) if len(e.accepted) > 1]
    assert len(twice) == len(word_pairs.CATEGORIES)
    for answer in ("word 0", "the word 0.", "Word zero"):
        assert word_pairs.metric(twice[0], dspy.Prediction(answer=answer))
    for answer in ("word 1", "word 0 or word 1", "", None):
        assert not word_pairs.metric(twice[0], dspy.Prediction(answer=answer))


@pytest.mark.parametrize("file", [None, "missing"])
def test_a_missing_folder_is_named_with_its_source(file, tmp_path):
    with pytest.raises(ConfigurationError, match="reads a folder: name dataset_files/abstractive"):
        task("word_pairs", file=file and tmp_path / file)


def test_a_file_of_too_few_rows_is_named(tmp_path):
    with pytest.raises(DataError, match=r"english-french\.json has 5 questions: more than 5"):
        word_pairs.examples(file=pairs_folder(tmp_path, rows=5))
