"""A task's contract: what its module may be, and what is said where it is something else."""

from __future__ import annotations

import itertools
import sys
import textwrap

import dspy
import pytest

from dspy_mux import ConfigurationError
from dspy_mux.bank.task import load_task

_numbers = itertools.count()

#: As docs/task.md says it.
PLAIN = """
    import dspy

    ROWS = {"train": range(3), "test": range(3, 10)}

    def program():
        return "question -> answer: float"

    def examples(split=None):
        rows = [n for each in ROWS.values() for n in each] if split is None else ROWS[split]
        return [dspy.Example(question=f"{n}?", answer=n).with_inputs("question") for n in rows]

    def metric(example, prediction, trace=None):
        return example.answer == prediction.answer
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text, more=""):
        name = f"task_{next(_numbers)}"
        source = textwrap.dedent(text) + "\n" + textwrap.dedent(more)
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def test_a_task_as_the_readme_says(task):
    loaded = load_task(task(PLAIN))
    assert loaded.program() == "question -> answer: float"
    assert [len(loaded.examples(split)) for split in (None, "train", "test")] == [10, 3, 7]
    assert [e.answer for e in loaded.examples("test", limit=2)] == [3, 4]
    assert len(loaded.examples(limit=100)) == 10
    assert loaded.metric(loaded.examples()[0], dspy.Prediction(answer=0))


@pytest.mark.parametrize(
    ("head", "given"),
    [
        ("split=None", {"split": "test"}),
        ("split=None, limit=None", {"split": "test", "limit": 2}),
        ("split=None, *, seed=0, limit=None", {"split": "test", "limit": 2}),
        ("part, limit=9", {"part": "test", "limit": 2}),
        ("part, /", {"part": "test"}),
        ("**options", {"options": {"split": "test", "limit": 2}}),
    ],
)
def test_examples_take_what_they_take(task, head, given):
    more = f"""
    def examples({head}):
        seen.update({", ".join(f"{name}={name}" for name in given)})
        return [dspy.Example(question=str(n)).with_inputs("question") for n in range(5)]

    seen = {{}}
    """
    name = task(PLAIN, more)
    assert len(load_task(name).examples("test", limit=2)) == 2
    assert __import__(name).seen == given


def test_examples_may_have_no_splits(task):
    more = """
    def examples():
        return (dspy.Example(question=str(n)).with_inputs("question") for n in range(5))
    """
    loaded = load_task(task(PLAIN, more))
    assert (len(loaded.examples()), len(loaded.examples(limit=3))) == (5, 3)
    with pytest.raises(ConfigurationError, match="takes no split, so --split test cannot be"):
        loaded.examples("test")


def test_an_unknown_split_is_named(task):
    with pytest.raises(ConfigurationError, match=r"task_\d+' has no split 'dev'\.$"):
        load_task(task(PLAIN)).examples("dev")
    declared = load_task(task(PLAIN, 'splits = ["train", "test"]'))
    with pytest.raises(ConfigurationError, match=r"has no split 'dev': it has train, test\."):
        declared.examples("dev")
    assert declared.examples("train")


def test_a_generators_split_is_looked_up_too(task):
    more = """
    def examples(split="train"):
        for n in ROWS[split]:
            yield dspy.Example(question=f"{n}?", answer=n).with_inputs("question")
    """
    loaded = load_task(task(PLAIN, more))
    assert loaded.examples("train") == load_task(task(PLAIN)).examples("train")
    with pytest.raises(ConfigurationError, match=r"has no split 'dev'\.$"):
        loaded.examples("dev")


def test_another_key_error_is_the_tasks_own(task):
    more = """
    def examples(split=None):
        return {}["rows"]
    """
    with pytest.raises(KeyError, match="rows"):
        load_task(task(PLAIN, more)).examples("train")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("metric = 3", "metric of the task '.*' must be a function, not an int"),
        ("def metric(prediction): ...", r"must take \(example, prediction, trace=None\), as in"),
        ("def program(model): ...", r"program\(\) of the task '.*' must need no argument"),
        ("splits = [1, 2]", r"splits of the task '.*' must be a list of names, not \[1, 2\]"),
        ("del metric, examples", "is not a task: it lacks examples, metric"),
    ],
)
def test_a_wrong_part_is_named_when_the_task_is_loaded(task, more, says):
    with pytest.raises(ConfigurationError, match=says):
        load_task(task(PLAIN, more))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return None", r"examples\(\) .* must return a list of dspy.Example, not None"),
        ("return 'ab'", "must return a list of dspy.Example, not a str"),
        ("return [{'question': '?'}]", "Example 1 .* must be a dspy.Example, not a dict: write"),
        ("return []", "has no examples in the split 'train'"),
    ],
)
def test_wrong_examples_are_named(task, body, says):
    name = task(PLAIN, f"def examples(split=None):\n    {body}")
    with pytest.raises(ConfigurationError, match=says):
        load_task(name).examples("train")


def test_examples_of_all_splits_must_be_there(task):
    more = """
    def examples(split=None):
        return ROWS[split]
    """
    with pytest.raises(ConfigurationError, match=r"examples\(None\) .* name one with --split"):
        load_task(task(PLAIN, more)).examples()


@pytest.mark.parametrize("made", ["None", "dspy.Predict", "7"])
def test_a_program_is_a_signature_or_a_module(task, made):
    name = task(PLAIN, f"def program():\n    return {made}")
    with pytest.raises(ConfigurationError, match="must return a signature or a dspy.Module, not"):
        load_task(name).program()


@pytest.mark.parametrize("made", ["dspy.Predict('q -> a')", "dspy.Signature('q -> a')", "'q -> a'"])
def test_programs_that_are(task, made):
    load_task(task(PLAIN, f"def program():\n    return {made}")).program()


def test_what_the_module_raises_is_its_own(task):
    with pytest.raises(ZeroDivisionError):
        load_task(task("1 / 0"))
    with pytest.raises(ConfigurationError, match="There is no task module 'no_such_task'"):
        load_task("no_such_task")
    with pytest.raises(ConfigurationError, match="is not a module name"):
        load_task("../task.py")


def test_a_file_is_told_the_name_of_its_module(task, tmp_path):
    name = task(PLAIN)
    for path in (f"{name}.py", f"./{name}.py", tmp_path / f"{name}.py"):
        with pytest.raises(ConfigurationError, match=f"module name: write {name}, without .py.$"):
            load_task(str(path))
    assert name not in sys.modules  # nothing was run
    for path in ("tasks/tickets.py", "tasks/tickets", "tasks.tickets.py"):
        with pytest.raises(ConfigurationError, match="is not a module name: write tasks.tickets"):
            load_task(path)
