"""The task file that `dspy-mux init` writes: it is a task, and reads the file as the file is."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Literal, get_args

import dspy
import pytest

from dspy_mux.bank.task import load_task
from dspy_mux.cli.start.questions import read_questions
from dspy_mux.cli.start.task_text import task_text
from dspy_mux.errors import DataError


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Write a file of questions and a task file for it, and load the task."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(content, encoding="utf-8", name="questions.csv"):
        questions = None
        if content is not None:
            Path(name).write_text(content, encoding=encoding)
            questions = read_questions(Path(name))
        path = Path("made_task.py")
        text = task_text("made_task", path, Path("pool.toml"), questions)
        assert max(map(len, text.splitlines())) <= 100
        path.write_text(text, "utf-8")
        sys.modules.pop("made_task", None)
        importlib.invalidate_caches()
        sys.path_importer_cache.clear()
        return load_task("made_task")

    yield made
    sys.modules.pop("made_task", None)


def answer_type(task):
    return task.program().predictors()[0].signature.output_fields["answer"].annotation


def test_without_a_file_it_has_questions_of_its_own(task):
    made = task(None)
    train, test = made.examples("train"), made.examples("test")
    assert [len(train), len(test), len(made.examples())] == [2, 2, 4]
    assert made.metric(train[0], dspy.Prediction(answer=" TRIPOLI"))
    assert not made.metric(train[0], dspy.Prediction(answer="Tunis"))
    shown = [demo.answer for demo in made.program().demos]
    assert shown == ["Paris", "cold", "children"]
    assert not {*shown} & {example.answer for example in made.examples()}
    assert answer_type(made) is str


def test_free_text(task):
    made = task('question,answer\n"What, if anything?",Nothing\nWho?,Nobody\nWhy?,So\n')
    assert [e.question for e in made.examples("train")] == ["What, if anything?", "Why?"]
    assert answer_type(made) is str
    assert "TODO: float" in Path("made_task.py").read_text()


def test_the_first_of_many_questions_show_how_to_answer(task):
    made = task("question,answer\n" + "".join(f"q{n},some words {n}\n" for n in range(25)))
    assert [demo.question for demo in made.program().demos] == ["q0", "q1"]
    assert [example.question for example in made.examples()] == [f"q{n}" for n in range(2, 25)]


def test_numbers(task):
    made = task("question,answer\nHalf of 3?,1.5\n6 × 7?,42\n")
    assert answer_type(made) is float
    half, product = made.examples()
    assert made.metric(product, dspy.Prediction(answer=42.0))
    assert not made.metric(half, dspy.Prediction(answer=2.0))


@pytest.mark.parametrize("number", ["007", "1,000", "$3", "nan", "1e3", "٣"])
def test_what_is_no_plain_number_stays_text(task, number):
    assert answer_type(task(f'question,answer\nHow many?,"{number}"\n')) is str


def test_labels(task):
    labels = ("billing", "delivery", '"it says ""no"""')
    made = task("question,answer\n" + "".join(f"q{n},{labels[n % 3]}\n" for n in range(12)))
    assert answer_type(made) == Literal["billing", "delivery", 'it says "no"']
    assert made.metric(made.examples()[2], dspy.Prediction(answer='it says "no"'))


def test_many_labels_keep_to_the_line(task):
    rows = "".join(f"q{n},department number {n % 12}\n" for n in range(48))
    made = task("question,answer\n" + rows)
    assert len(get_args(answer_type(made))) == 12


def test_labels_that_differ_by_case_alone_are_text(task):
    assert answer_type(task("question,answer\n" + "a?,Yes\nb?,yes\n" * 8)) is str


def test_other_columns_and_names(task):
    made = task("Frage;Prompt;Label;category;class;base;self;answer it\n1;Wer?;Ich;x;y;z;v;w\n")
    (example,) = made.examples()
    assert (example.question, example.answer, example.category) == ("Wer?", "Ich", "x")
    assert dict(example.inputs()) == {"question": "Wer?"}
    assert "class" not in example


def test_splits_of_the_file(task):
    made = task("question,answer,split\na?,b,dev\nc?,d,dev\ne?,f,held-out\n")
    assert made.splits == ("dev", "held-out")
    assert [len(made.examples(split)) for split in (*made.splits, None)] == [2, 1, 3]


def test_what_spreadsheets_write(task):
    content = "question\tanswer \tsplit \r\n Wer? \t Ich \tx\r\nleer\t\tx\r\n\t\t\r\n"
    made = task(content, encoding="utf-8-sig")
    (example,) = made.examples()
    assert (example.question, example.answer) == ("Wer?", "Ich")
    assert read_questions(Path("questions.csv")).left_out == (2,)


def test_a_file_in_another_folder(task):
    Path("data").mkdir()
    assert len(task("question,answer\na?,b\n", name="data/my questions.csv").examples()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "names no columns in its first line"),
        (b"a,b\n1,2\n", "has no columns 'question' and 'answer'; its columns are 'a', 'b'. Rename"),
        (b"qestion,answer\n1,2\n", "no column 'question'; its columns are 'qestion', 'answer'"),
        (b"question,reply\n1,2\n", "Rename the one of the right answers 'answer'"),
        (b"question,answer\n", "has no row with a question and an answer"),
        (b"question,answer\na?,b,c\n", "Row 1 of "),
        (b"question,answer\n\xe9?,b\n", "is not UTF-8 text"),
        (b'question,answer\n"a?,b\n', "has 1 columns, and the first line names 2"),
    ],
)
def test_files_that_are_none(tmp_path, content, said):
    path = tmp_path / "q.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_questions(path)
    with pytest.raises(DataError, match="cannot be read|is a folder"):
        read_questions(tmp_path)
