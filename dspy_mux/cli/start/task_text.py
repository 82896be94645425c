"""Write a task file to fill in: program, examples and metric, with TODO at what to change."""

from __future__ import annotations

import keyword
import os
from pathlib import Path

from ...bank.labels import literal, quoted
from .questions import Questions

_HEAD = '''\
"""A task: what every model is asked, the questions, and when an answer is right.

    dspy-mux collect {module} --pool {pool} --k 9 --bank runs/{stem}.sqlite

What a task can be: https://dspy-mux.github.io/dspy-mux/task/
"""

{imports}
'''
#: Questions to begin with, where the user has no file of them.
_SAMPLES = """
# TODO: your own questions and their right answers: 60 tell a little, 240 tell rules apart.
# From a file: dspy-mux init --questions FILE.csv --force
QUESTIONS = [
    ("What is the capital of France?", "Paris"),
    ("What is the opposite of hot?", "cold"),
    ("What is the plural of child?", "children"),
    ("What is the capital of Libya?", "Tripoli"),
    ("What is the opposite of cheap?", "expensive"),
    ("What is the plural of mouse?", "mice"),
    ("What is the capital of Peru?", "Lima"),
]
"""
_SHOWN = """
# So many of the questions, the first, show the models how to answer, and are not asked. Small
# models follow examples far better than instructions.
SHOWN = {shown}
"""
_SAMPLE_ROWS = """\
    return [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in QUESTIONS]"""
_FILE_ROWS = """\
    with open(QUESTIONS, encoding="utf-8-sig", newline="") as file:
        return [
            dspy.Example(
{fields}
            ).with_inputs("question")
            for row in csv.DictReader(file{delimiter})
            if {both}
        ]"""
_BODY = '''

class Task(dspy.Signature):
    """{wanted}"""  # TODO: say what is wanted, in full

    question: str = dspy.InputField()
    answer: {kind} = dspy.OutputField(){note}


def rows():
    """Return all questions, with their right answers."""
{rows}


def program():
    """Return what every model is asked: a signature or a module."""
{program}


def examples(split=None):
    """Return the questions of a split, or all of them for None."""
    asked = rows(){rest}
    return {{{splits}}}[split]


def metric(example, prediction, trace=None):
    """Return whether the answer is right."""
    return {right}
'''
_TEXT_PROGRAM = """\
    ask = dspy.Predict(Task)  # dspy.ChainOfThought(Task) has a model reason before it answers
    ask.demos = rows()[:SHOWN]
    return ask"""
_LABELS_PROGRAM = """\
    return dspy.Predict(Task)  # dspy.ChainOfThought(Task) has a model reason before it answers"""
_NUMBERS_PROGRAM = """\
    return dspy.ChainOfThought(Task)  # dspy.Predict(Task) answers at once, without reasoning"""
#: Columns that an example cannot have beside its question and answer: dspy.Example takes a `base`.
_NOT_FIELDS = ("question", "answer", "base", "self")
#: Characters of a type in one line.
_LONGEST_LINE = 60


def task_text(module: str, path: Path, pool: Path, questions: Questions | None) -> str:
    """Return the text of a task file.

    Args:
        module: the name that `dspy-mux collect` takes.
        path: where it will be, for the way from there to the questions.
    """
    stem = module.rpartition(".")[2]
    imports = "\n".join(_imports(questions))
    head = _HEAD.format(module=module, pool=pool.as_posix(), stem=stem, imports=imports)
    source = _SAMPLES if questions is None else _source(questions, path)
    is_text = questions is None or not (questions.labels or questions.numbers)
    shown = _SHOWN.format(shown=3 if questions is None else questions.shown) if is_text else ""
    splits = questions.splits if questions is not None and questions.splits else ("train", "test")
    names = f"\nsplits = [{', '.join(map(quoted, splits))}]\n"
    body = _BODY.format(
        wanted="Answer with a name, a number or a few words."
        if is_text
        else "Answer the question.",
        kind="str" if questions is None else _kind(questions),
        note='  # TODO: float, bool or Literal["a", "b"] where they are such' if is_text else "",
        rows=_SAMPLE_ROWS if questions is None else _file_rows(questions),
        program=_TEXT_PROGRAM if is_text else _typed_program(questions),
        rest="[SHOWN:]" if is_text else "",
        splits=_splits(questions),
        right=_right(questions),
    )
    return head + source + shown + names + body


def _imports(questions: Questions | None) -> list[str]:
    if questions is None:
        return ["import dspy"]
    numbers = ["import math"] if questions.numbers else []
    labels = ["from typing import Literal"] if questions.labels else []
    return ["import csv", *numbers, "from pathlib import Path", *labels, "", "import dspy"]


def _source(questions: Questions, path: Path) -> str:
    way = Path(os.path.relpath(questions.path, path.parent)).as_posix()
    columns = f"{questions.question.strip()} and {questions.answer.strip()}"
    return f"\nQUESTIONS = Path(__file__).parent / {quoted(way)}  # its columns {columns}\n"


def _kind(questions: Questions) -> str:
    if not questions.labels:
        return "float" if questions.numbers else "str"
    line = literal(questions.labels)
    if len(line) <= _LONGEST_LINE:
        return line
    lines = "".join(f"\n        {quoted(each)}," for each in questions.labels)
    return f"Literal[{lines}\n    ]"


def _typed_program(questions: Questions | None) -> str:
    return _LABELS_PROGRAM if questions is not None and questions.labels else _NUMBERS_PROGRAM


def _splits(questions: Questions | None) -> str:
    parts = ['"train": asked[::2]', '"test": asked[1::2]', "None: asked"]
    if questions is not None and questions.splits:
        names = map(quoted, questions.splits)
        parts = [f"{name}: [row for row in asked if row.split == {name}]" for name in names]
        parts = ["", *parts, "None: asked"]
        return "\n        ".join(f"{part}," if part else "" for part in parts) + "\n    "
    return ", ".join(parts)


def _file_rows(questions: Questions) -> str:
    question, answer = quoted(questions.question), quoted(questions.answer)
    fields = [f"question=row[{question}].strip()", f"answer=row[{answer}].strip()"]
    others = [
        column
        for column in questions.columns
        if column not in {questions.question, questions.answer, *_NOT_FIELDS}
        and column.isidentifier()
        and not keyword.iskeyword(column)
    ]
    fields += [f"{name}=row[{quoted(name)}]" for name in others]
    both = f'all((row[name] or "").strip() for name in ({question}, {answer}))'
    delimiter = "" if questions.delimiter == "," else f", delimiter={quoted(questions.delimiter)}"
    lines = "\n".join(f"                {field}," for field in fields)
    return _FILE_ROWS.format(fields=lines, delimiter=delimiter, both=both)


def _right(questions: Questions | None) -> str:
    if questions is not None and questions.numbers:
        return "math.isclose(prediction.answer, float(example.answer), rel_tol=1e-6)"
    if questions is not None and questions.labels:
        return "prediction.answer == example.answer"
    return "prediction.answer.strip().casefold() == example.answer.strip().casefold()"
