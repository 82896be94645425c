"""Write a task file to fill in: program, examples and metric, with TODO at what to change."""

from __future__ import annotations

import keyword
import os
from pathlib import Path

from .questions import Questions

_HEAD = '''\
"""A task: what every model is asked, the questions, and when an answer is right.

    dspy-mux collect {module} --pool {pool} --k 9 --bank runs/{stem}.sqlite

What a task can be: https://dspy-mux.github.io/dspy-mux/task/
"""

{imports}
'''
_SIGNATURE = '''

class Task(dspy.Signature):
    """Answer the question."""  # TODO: say what is wanted, as you would to a colleague

    question: str = dspy.InputField()
    answer: {kind} = dspy.OutputField(){note}


def program():
    """Return what every model is asked: a signature or a module."""
    return dspy.ChainOfThought(Task)  # dspy.Predict(Task) answers at once, without reasoning


'''
_EXAMPLES = '''\
def examples(split=None):
    """Return the questions of a split, or all of them for None."""
{rows}
    return {{{splits}}}[split]


'''
_METRIC = '''\
def metric(example, prediction, trace=None):
    """Return whether the answer is right."""
    return {right}
'''
#: Columns that an example cannot have beside its question and answer: `base` is dspy.Example's own.
_NOT_FIELDS = ("question", "answer", "base")
#: Characters of labels in one line.
_LONGEST_LINE = 50
#: Questions to begin with, where the user has no file of them.
_SAMPLES = """
# TODO: your own questions and their right answers: 60 tell a little, 240 tell rules apart.
# From a file: dspy-mux init --questions FILE.csv --force
QUESTIONS = [
    ("What is the capital of Libya?", "Tripoli"),
    ("What is the opposite of cheap?", "expensive"),
    ("What is the plural of mouse?", "mice"),
    ("What is 6 times 7?", "42"),
]
"""
_SAMPLE_ROWS = """\
    rows = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in QUESTIONS]"""
_FILE_ROWS = """\
    with open(QUESTIONS, encoding="utf-8-sig", newline="") as file:
        rows = [
            dspy.Example(
{fields}
            ).with_inputs("question")
            for row in csv.DictReader(file{delimiter})
            if {both}
        ]"""


def task_text(module: str, path: Path, pool: Path, questions: Questions | None) -> str:
    """Return the text of a task file.

    Args:
        module: the name that `dspy-mux collect` takes.
        path: where it will be, for the way from there to the questions.
    """
    splits = questions.splits if questions is not None and questions.splits else ("train", "test")
    imports = ["import dspy"]
    if questions is not None:
        imports = ["import csv", "from pathlib import Path", *_typing(questions), "", *imports]
        if questions.numbers:
            imports.insert(1, "import math")
    head = _HEAD.format(
        module=module,
        pool=os.fspath(pool),
        stem=module.rpartition(".")[2],
        imports="\n".join(imports),
    )
    source = _SAMPLES if questions is None else _source(questions, path)
    names = f"\nsplits = [{', '.join(map(_text, splits))}]\n"
    body = _SIGNATURE.format(kind=_kind(questions), note=_note(questions))
    return head + source + names + body + _examples(questions, splits) + _metric(questions)


def _typing(questions: Questions) -> list[str]:
    return ["from typing import Literal"] if questions.labels else []


def _source(questions: Questions, path: Path) -> str:
    way = Path(os.path.relpath(questions.path, path.parent)).as_posix()
    columns = f"{questions.question} and {questions.answer}"
    place = "Path(__file__).parent / " + _text(way)
    return f"\nQUESTIONS = {place}  # its columns {columns}\n"


def _kind(questions: Questions | None) -> str:
    if questions is None:
        return "str"
    if questions.labels:
        labels = [_text(label) for label in questions.labels]
        line = ", ".join(labels)
        if len(line) > _LONGEST_LINE:
            line = "".join(f"\n        {label}," for label in labels) + "\n    "
        return f"Literal[{line}]"
    return "float" if questions.numbers else "str"


def _note(questions: Questions | None) -> str:
    if questions is not None and (questions.labels or questions.numbers):
        return ""
    return '  # TODO: float, bool or Literal["a", "b"] where they are such'


def _examples(questions: Questions | None, splits: tuple[str, ...]) -> str:
    rows = _SAMPLE_ROWS if questions is None else _file_rows(questions)
    if questions is not None and questions.splits:
        parts = [
            f"{_text(name)}: [row for row in rows if row.split == {_text(name)}]" for name in splits
        ]
    else:
        parts = ['"train": rows[::2]', '"test": rows[1::2]']
    return _EXAMPLES.format(rows=rows, splits=", ".join([*parts, "None: rows"]))


def _file_rows(questions: Questions) -> str:
    question, answer = _text(questions.question), _text(questions.answer)
    fields = [f"question=row[{question}].strip()", f"answer=row[{answer}].strip()"]
    others = [
        column
        for column in questions.columns
        if column not in {questions.question, questions.answer, *_NOT_FIELDS}
        and column.isidentifier()
        and not keyword.iskeyword(column)
    ]
    fields += [f"{name}=row[{_text(name)}]" for name in dict.fromkeys(others)]
    both = f'all((row[name] or "").strip() for name in ({question}, {answer}))'
    delimiter = "" if questions.delimiter == "," else f", delimiter={_text(questions.delimiter)}"
    lines = "\n".join(f"                {field}," for field in fields)
    return _FILE_ROWS.format(fields=lines, delimiter=delimiter, both=both)


def _metric(questions: Questions | None) -> str:
    if questions is not None and questions.numbers:
        right = "math.isclose(prediction.answer, float(example.answer), rel_tol=1e-6)"
    elif questions is not None and questions.labels:
        right = "prediction.answer == example.answer"
    else:
        right = "prediction.answer.strip().casefold() == example.answer.strip().casefold()"
    return _METRIC.format(right=right)


def _text(text: str) -> str:
    """Return a text as Python writes it, in double quotes where that needs no escapes."""
    written = repr(text)
    return f'"{written[1:-1]}"' if '"' not in written and "\\" not in written else written
