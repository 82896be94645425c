"""From a model's text to code, on problems of our own; nothing is run here."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import example, given, strategies as st

from programs.code.completion import code_in, complete, parsed, unfinished
from programs.code.inputs import inputs

PROMPT = '''from typing import List


def helper(x: int) -> int:
    return x + 1


def total(values: List[int], start: int = 0) -> int:
    """Return the sum of the values.
    >>> total([1, 2, 3])
    6
    """
'''
BODY = (
    "    result = start\n    for value in values:\n        if value:\n"
    "            result += value\n\n    return result\n"
)
WHOLE = f"def total(values, start=0):\n{BODY}"


def last(source: str | None) -> str:
    """The last function of a source, without its docstring and its signature."""
    assert source is not None
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    assert functions[-1].name == "total"
    return "\n".join(
        ast.unparse(node) for node in functions[-1].body if not isinstance(node, ast.Expr)
    )


WRITTEN = {
    "body": BODY,
    "body, stripped by the adapter": BODY.strip(),
    "body, not indented": textwrap.dedent(BODY),
    "body, two spaces": BODY.replace("    ", "  "),
    "whole function": WHOLE,
    "whole function, indented": textwrap.indent(WHOLE, "  "),
    "prompt and body": PROMPT + BODY,
    "fenced": f"```python\n{WHOLE}```",
    "fenced, with text around": f"Sure! It doesn't take much:\n\n```python\n{WHOLE}```\n\n"
    f"This isn't hard, don't you think?",
    "fenced body": f"```\n{BODY}```",
    "fence left open": f"Here it is:\n```py\n{WHOLE}",
    "fence closed only": f"{WHOLE}```\nThat's all.",
    "example after the solution": f"```python\n{WHOLE}```\nUse it so:\n```python\n"
    f"print(total([1]))\n```",
    "first try, then a better one": f"```python\ndef total(values, start=0):\n    return 0\n```\n"
    f"No, wait:\n```python\n{WHOLE}```",
    "text around, no fence": f"Here's the function:\n\n{WHOLE}\nIt's done.",
    "text after a body": f"{BODY}\nThat's it.",
    "future import": f"from __future__ import annotations\n\n{WHOLE}",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_however_it_is_written_the_function_is_found(written: str) -> None:
    source = complete(PROMPT, WRITTEN[written])
    assert source is not None
    assert source.startswith(PROMPT.rstrip())
    assert last(source) == last(PROMPT + BODY)
    assert complete(PROMPT, source) == source
    compile(source, "test", "exec")


@pytest.mark.parametrize("written", WRITTEN)
def test_code_extracted_first_completes_the_same(written: str) -> None:
    code = code_in(WRITTEN[written])
    assert code is not None
    assert complete(PROMPT, code) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "I don't know.",
        "Paris",
        "42",
        "...",
        "'''text'''",
        "```python\n```",
        "def total(values):",
        "def total(",
    ],
)
def test_a_text_without_code_is_no_answer(text: str) -> None:
    assert complete(PROMPT, text) is None


BREAKING = ["x = " + "(" * 9_000, "-" * 19_000 + "1", "\0", "x = 1\n" * 10_000, "if x:\n" * 3_000]


@pytest.mark.parametrize("text", BREAKING)
def test_text_that_breaks_a_parser_is_no_answer(text: str) -> None:
    assert complete(PROMPT, text) is None
    assert code_in(text) is None


@given(st.text(max_size=200))
@example(
    "f" + ".b" * 9_000 + "()"
)  # too deep for the parsers of some Pythons, not for those of others
def test_any_text_is_read(text: str) -> None:
    source = complete(PROMPT, text)
    assert source is None or parsed(source) is not None
    code_in(text)


def test_the_imports_within_a_prompts_function_stay() -> None:
    prompt = 'def area(r):\n    import math\n    """Return the area."""\n'
    source = complete(prompt, "return math.pi * r * r")
    assert source is not None
    assert source.endswith("def area(r):\n    import math\n    return math.pi * r * r\n")


def test_a_prompt_without_an_unfinished_function_is_refused() -> None:
    with pytest.raises(ValueError, match="no unfinished function"):
        complete("def f(x):\n    return 1\n", "return 2")


# --------------------------------------------------------------------------------------------------
# Inputs


def told(prompt: str) -> list[tuple[object, ...]]:
    function = unfinished(parsed(prompt))
    assert function is not None
    return inputs(function)


def function(signature: str, doc: str) -> str:
    return f"def f({signature}):\n    {doc!r}\n"


@pytest.mark.parametrize(
    ("signature", "doc", "first"),
    [
        ("values, k", "\n>>> f([1, 2], 3)\n4\n", [([1, 2], 3)]),
        ("s", 'f("a (b)") == 1, and f("") == 0; not g(1), not f(x)', [("a (b)",), ("",)]),
        (
            "a, b=1",
            "f((1, 2))\nf(1, -2) -> 3\nf(1, 2, 3) is none, f() neither",
            [((1, 2),), (1, -2)],
        ),
        ("arr", "Input: [1, 2, 3]\nOutput: 2\n\nInput: []\nOutput: 0", [([1, 2, 3],), ([],)]),
        ("arr, k", "Input: arr = [1, 2], k = 3\nOutput: 4", [([1, 2], 3)]),
        ("s, c", 'For s = "ab, c", c = "b", the result is ...', [("ab, c", "b")]),
        ("n", "For n = 5 the output is 7. For N = 12, it is 9.", [(5,), (12,)]),
    ],
)
def test_the_examples_of_a_docstring_come_first(
    signature: str, doc: str, first: list[tuple[object, ...]]
) -> None:
    made = told(function(signature, doc))
    assert made[: len(first)] == first
    assert len(made) > len(first)
    assert made == told(function(signature, doc))
    for args in made:
        assert [type(arg) for arg in args] in [[type(arg) for arg in example] for example in first]


def test_without_examples_inputs_come_from_the_hints() -> None:
    made = told(
        function(
            "n: int, names: List[str], w: dict[str, float], p: Optional[Tuple[int, bool]]", "Do it."
        )
    )
    assert len(made) >= 10
    for n, names, w, p in made:
        assert isinstance(n, int)
        assert all(isinstance(name, str) for name in names)
        assert all(isinstance(value, float) for value in w.values())
        assert list(map(type, p)) == [int, bool]
    assert (
        told(function("n", "Do it."))
        == told(function("g: Callable", "Do it."))
        == told(function("", "Do it."))
        == []
    )
