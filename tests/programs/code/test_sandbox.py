"""Code in real sandboxes. Without bubblewrap these tests fail: `apt install bubblewrap`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from programs.code import sandbox, sandbox_worker
from programs.code.sandbox import Outcome
from tests.support.sandboxes import BUSY, RIGHT, SHORT, TESTS


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> None:
    reason = sandbox.unavailable()
    assert reason is None, f"these tests need the sandbox: {reason}"


# --------------------------------------------------------------------------------------------------
# What is right


def test_wrong_code_learns_why_it_fails() -> None:
    assert sandbox.failure(RIGHT, "f", TESTS, limits=SHORT) is None
    assert (
        sandbox.failure("def f(x):\n    return 'expected 4'", "f", TESTS, limits=SHORT)
        == "AssertionError"
    )
    assert (
        sandbox.failure("def f(x):\n    return y", "f", TESTS, limits=SHORT)
        == "NameError: raised by the candidate"
    )
    assert (
        sandbox.failure("def f(x:", "f", TESTS, limits=SHORT)
        == "the code does not run: SyntaxError"
    )
    assert (
        sandbox.failure("def g(x):\n    return 1", "f", TESTS, limits=SHORT)
        == "the code does not run: KeyError"
    )


def test_tests_may_use_the_context() -> None:
    context = "def twice(x):\n    return 2 * x\n\ndef f(x):\n    return 'not this one'\n"
    tests = (
        "def check(candidate):\n    assert candidate(twice(2)) == f(x=4) == 16\n"
        "    assert math.floor(2.5) == 2\nimport math\n"
    )
    assert (
        sandbox.failure("def f(x): return x * x", "f", tests, context=context, limits=SHORT) is None
    )


def test_a_test_can_expect_an_exception() -> None:
    tests = (
        "def check(candidate):\n    try:\n        candidate(1)\n    except ValueError:\n"
        "        return\n    assert False\n"
    )
    assert sandbox.failure("def f(x): raise ValueError('no')", "f", tests, limits=SHORT) is None
    assert sandbox.failure("def f(x): return 1", "f", tests, limits=SHORT) == "AssertionError"


def test_outputs_are_told_one_by_one() -> None:
    source = "def f(a, b):\n    return {'sum': a + b, 'pair': (a, b), 'set': {a, b}}"
    assert sandbox.outputs(source, "f", [(1, 2), (1, "x")], limits=SHORT) == [
        Outcome({"sum": 3, "pair": (1, 2), "set": {1, 2}}, None),
        Outcome(None, "TypeError"),
    ]
    assert sandbox.outputs(source, "f", [], limits=SHORT) == []


def test_a_call_that_hangs_leaves_the_outputs_before_it() -> None:
    source = "def f(x):\n    while x == 2:\n        pass\n    return x"
    told = sandbox.outputs(source, "f", [(1,), (2,), (3,)], limits=BUSY)
    assert told == [
        Outcome(1, None),
        Outcome(None, "it ran out of CPU time"),
        Outcome(None, "it ran out of CPU time"),
    ]


def test_random_and_hashes_are_the_same_in_every_run() -> None:
    source = (
        "import random\ndef f():\n    return random.random(), hash('a'), list({'x', 'y', "
        "'z', 'longer'})"
    )
    first, second = (sandbox.outputs(source, "f", [(), ()], limits=SHORT) for _ in range(2))
    assert first == second
    assert first[0] == first[1]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=4)
        | st.frozensets(st.integers() | st.text(), max_size=4)
        | st.sets(st.integers() | st.text(), max_size=4)
    ),
    max_leaves=20,
)


@given(plain)
def test_plain_data_comes_back_as_it_was(value: object) -> None:
    told = sandbox_worker.decode(json.loads(json.dumps(sandbox_worker.encode(value))))
    assert told == value
    assert type(told) is type(value)
