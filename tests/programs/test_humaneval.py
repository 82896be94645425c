"""HumanEval, graded in real sandboxes.

Without bubblewrap these tests fail: `apt install bubblewrap`.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dspy
import pytest

from dspy_mux import PlainAdapter, SLMMux
from dspy_mux.errors import DataError
from programs.code import sandbox
from programs.code.behaviour import BehaviourKind, CodeKind
from programs.code.completion import complete
from programs.humaneval import demos, metric, program, task
from tests.support.scripted import marked, scripted_lm

RELEASE = Path(__file__).parents[3] / "shared/data/humaneval.jsonl.gz"
needs_release = pytest.mark.skipif(
    not RELEASE.is_file(), reason="the release is not beside the checkout"
)

#: Two problems of our own, in the release's columns.
EVENS = {
    "task_id": "Ours/0",
    "prompt": "from typing import List\n\n\ndef evens(values: List[int]) -> List[int]:\n"
    '    """ Return the even values, in order.\n'
    '    >>> evens([1, 2, 3, 4])\n    [2, 4]\n    """\n',
    "entry_point": "evens",
    "canonical_solution": "    return [value for value in values if value % 2 == 0]\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([]) == []\n"
    "    assert candidate([4, 1, 2]) == [4, 2]\n    assert candidate([-2, -1]) == [-2]\n",
}
SHOUT = {
    "task_id": "Ours/1",
    "prompt": "def unused(x):\n    return x\n\ndef shout(text, times):\n"
    '    """Return the text in capitals with "!".\n'
    '    For text = "no", times = 2 the result is "NO!!"\n    """\n',
    "entry_point": "shout",
    "canonical_solution": "    return text.upper() + times * '!'\n",
    "test": "def check(candidate):\n    assert candidate('a', 0) == 'A', 'none'\n"
    "    assert shout('b', times=unused(2)) == 'B!!'\n",
}
ROWS = [EVENS, SHOUT, *({**EVENS, "task_id": f"Ours/{number}"} for number in range(2, 5))]


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> None:
    reason = sandbox.unavailable()
    assert reason is None, f"these tests need the sandbox: {reason}"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> list[dspy.Example]:
    file = tmp_path_factory.mktemp("rows") / "ours.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return sorted(task(file).examples(), key=lambda example: example.question_id)


@pytest.fixture(scope="module")
def release() -> list[dspy.Example]:
    return task(RELEASE).examples()


def says(answer: object) -> dspy.Prediction:
    return dspy.Prediction(answer=answer)


def graded(pairs: Sequence[tuple[dspy.Example, object]]) -> list[bool]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda pair: metric(pair[0], says(pair[1])), pairs))


# --------------------------------------------------------------------------------------------------
# Grading


def test_only_golds_pass_however_they_are_written(
    ours: list[dspy.Example],
) -> None:
    for example, row in zip(ours, ROWS, strict=True):
        body = row["canonical_solution"]
        for written in (
            example.answer,
            row["prompt"] + body,
            body,
            body.strip(),
            f"Here you are:\n```python\n{example.answer}```\nIt's done.",
        ):
            assert metric(example, says(written))
    wrong: list[object] = [
        "    pass",
        "return None",
        "I don't know.",
        "",
        None,
        4,
        "import sys\nsys.exit(0)",
        "while True:\n    pass\n    break",
    ]
    assert graded([(example, answer) for example in ours[:2] for answer in wrong]) == [False] * 16
    first, second = ours[:2]
    assert (
        graded(
            [
                (first, second.answer),
                (second, first.answer),
                (first, f"{second.answer}\nevens = shout"),
            ]
        )
        == [False] * 3
    )


@needs_release
def test_all_golds_of_the_release_pass(release: list[dspy.Example]) -> None:
    assert len(release) == 164
    rows = map(json.loads, gzip.decompress(RELEASE.read_bytes()).splitlines())
    golds = {
        row["task_id"].replace("/", "-").lower(): row["prompt"] + row["canonical_solution"]
        for row in rows
    }
    right = graded([(example, golds[example.question_id]) for example in release])
    failed = [
        example.question_id for example, passed in zip(release, right, strict=True) if not passed
    ]
    assert failed == []


@needs_release
def test_wrong_functions_of_the_release_fail(
    release: list[dspy.Example],
) -> None:
    following = [*release[1:], release[0]]
    # The other function under the name that is asked for: wrong for what it does, not for what it
    # is called.
    renamed = [
        (
            example,
            f"{other.answer}\n\ndef {example.entry_point}(*args):\n"
            f"    return {other.entry_point}(*args)\n",
        )
        for example, other in zip(release, following, strict=True)
    ]
    assert graded(renamed) == [False] * 164
    assert graded([(example, "    pass") for example in release[::4]]) == [False] * 41


def test_the_demos_are_right_and_in_no_test_set() -> None:
    for demo, asked in zip(
        demos(),
        ("longest_run([4, 4, 1, 1, 1, 4])", "initials('ada king lovelace', '.')"),
        strict=True,
    ):
        source = complete(demo.prompt, demo.answer)
        name, _, args = asked.partition("(")
        (outcome,) = sandbox.outputs(
            f"{source}\ndef asked():\n    return {name}({args}", "asked", [()]
        )
        assert str(outcome.value) in demo.prompt
    if RELEASE.is_file():
        text = gzip.decompress(RELEASE.read_bytes()).decode()
        assert "longest_run" not in text
        assert "initials" not in text


# --------------------------------------------------------------------------------------------------
# Behaviour

KIND = BehaviourKind()


def key(row: dict[str, str], answer: str) -> object:
    source = complete(row["prompt"], answer)
    return KIND.key(source)


def test_code_with_equal_behaviour_is_one_answer() -> None:
    comprehension = key(EVENS, EVENS["canonical_solution"])
    loop = key(
        EVENS,
        "def evens(xs):\n    found = []\n    for x in xs:\n        if not x & 1:\n"
        "            found.append(x)\n    return found\n",
    )
    assert comprehension == loop
    assert comprehension is not None
    assert key(EVENS, "return [v for v in values if v % 2]") != comprehension
    assert (
        key(EVENS, "return [float(v) for v in values if v % 2 == 0]") == comprehension
    )  # 2.0 == 2 passes the same tests
    assert key(EVENS, "return tuple(v for v in values if v % 2 == 0)") != comprehension
    assert (
        key(EVENS, "return sorted(v for v in values if v % 2 == 0)") != comprehension
    )  # seen on a made input only


def test_empty_code_is_compared_by_its_source() -> None:
    broken = key(EVENS, "return undefined")
    assert broken is not None
    assert key(EVENS, "# a comment\n    return  undefined") == broken
    assert key(EVENS, "return other") != broken
    assert key(EVENS, "while True: pass") != broken
    assert KIND.key("no code at all") is None
    assert KIND.key("") is KIND.key(None) is KIND.key(4) is None


def test_code_without_a_prompt_is_compared_by_its_source() -> None:
    assert (
        KIND.key("def f(x):\n    '''Say.'''\n    return x # it")
        == KIND.key("def f(x):  return x")
        is not None
    )
    assert KIND.key("    return 1") == CodeKind().key("    return (1)") is not None


def test_only_different_values_are_distinguished() -> None:
    prompt = 'def f(x: int):\n    """Do it."""\n'

    def of(expression: str) -> object:
        return KIND.key(complete(prompt, f"return {expression}"))

    same = [
        ("0.1 + 0.2", "0.3"),
        ("{1, 2}", "{2, 1}"),
        ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
        ("True", "1"),
        ("2.0", "2"),
        ("map(abs, [x])", "iter([x])"),
    ]
    different = [
        ("1", "'1'"),
        ("[1]", "(1,)"),
        ("['a, b']", "['a', 'b']"),
        ("None", "'None'"),
        ("{1}", "[1]"),
        ("0", "None"),
        ("1", "10**30"),
        ("b''", "''"),
    ]
    assert [of(a) == of(b) for a, b in same] == [True] * len(same)
    assert [of(a) == of(b) for a, b in different] == [False] * len(different)


def test_without_a_sandbox_nothing_is_graded_or_run(
    tmp_path: Path,
) -> None:
    code = """
import dspy
from programs.code.behaviour import BehaviourKind
from programs.humaneval import metric, task
prompt = 'def f(x: int):\\n    "Do it."\\n'
kind = BehaviourKind()
one, other = prompt + 'def f(x):\\n    return x # one\\n', prompt + 'def f(x):\\n    return   x\\n'
print(kind.key(one) == kind.key(other) is not None)
example = dspy.Example(prompt=prompt, entry_point='f', test='def check(f): pass')
for refused in (task, lambda: metric(example, dspy.Prediction(answer=one))):
    try:
        print(refused())
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    same, *refused = done.stdout.splitlines()
    assert same == "True"
    assert len(refused) == 2
    assert all(
        line.startswith("SandboxUnavailable") and "install bubblewrap" in line for line in refused
    )


@needs_release
def test_nearly_every_release_prompt_gives_usable_inputs(
    release: list[dspy.Example],
) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        keys = list(pool.map(lambda example: KIND.key(example.answer), release[::4]))
    assert sum(isinstance(each, tuple) and each[0] == "behaviour" for each in keys) >= 37


# --------------------------------------------------------------------------------------------------
# The program, asked


RIGHT = (
    "Sure:\n```python\ndef evens(values):\n    return [v for v in values if v % 2 == 0]\n"
    "```\nThat's it."
)
RIGHT_TOO = "def evens(values):\n    return list(filter(lambda v: not v % 2, values))"
WRONG = "def evens(values):\n    return values[::2]"


@pytest.mark.parametrize("shape", [lambda text: marked(answer=text), str], ids=["markers", "plain"])
def test_a_mux_votes_on_what_code_does(
    ours: list[dspy.Example], shape: Callable[[str], str]
) -> None:
    written = [RIGHT, WRONG, RIGHT_TOO]
    one = scripted_lm("one", lambda prompt, draw: shape(written[draw]))
    other = scripted_lm(
        "other",
        lambda prompt, draw: shape(["I don't know.", WRONG + " # or so", "return values"][draw]),
    )
    adapter = PlainAdapter() if shape is str else None
    mux = SLMMux(program(), lms=[one, other], k=3, equivalence=KIND, adapter=adapter)
    example = ours[0]
    prediction = mux(**example.inputs())
    assert prediction.verdict.confidence == pytest.approx(2 / 3)
    assert prediction.answer.startswith(example.prompt.rstrip())
    assert metric(example, prediction)
    assert [ballot.votes for ballot in prediction.verdict.ballots] == [[0, 1, 0], [None, 1, 2]]


async def test_the_program_answers_on_asyncio_too(ours: list[dspy.Example]) -> None:
    with dspy.context(
        lm=scripted_lm(
            "one", lambda prompt, draw: marked(answer="return [v for v in values if v % 2 == 0]")
        ),
        adapter=dspy.ChatAdapter(),
    ):
        prediction = await program().acall(prompt=ours[0].prompt)
    assert metric(ours[0], prediction)


# --------------------------------------------------------------------------------------------------
# Rows


def test_examples_have_their_columns(ours: list[dspy.Example]) -> None:
    example = ours[1]
    assert dict(example.inputs()) == {"prompt": SHOUT["prompt"]}
    assert (example.entry_point, example.test, example.question_id) == (
        "shout",
        SHOUT["test"],
        "ours-1",
    )
    assert example.answer.startswith(SHOUT["prompt"].rstrip())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"prompt": "def evens(values):\n    return values\n"},
            "Line 1 of .*'prompt', which must be Python with an unfinished function 'evens'",
        ),
        ({"entry_point": "odds"}, "unfinished function 'odds'"),
        (
            {"canonical_solution": "no code here"},
            "'canonical_solution', which must be the function or its body",
        ),
        ({"test": ""}, "'test'"),
    ],
)
def test_a_row_that_is_no_problem_is_refused(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(
            json.dumps({**row, **(change if at == 0 else {})}) + "\n" for at, row in enumerate(ROWS)
        )
    )
    with pytest.raises(DataError, match=message):
        task(file).examples()
