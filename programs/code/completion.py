"""Complete a prompt's unfinished function with a model's text; the code is parsed, never run.

A prompt is Python that ends in a function with a docstring and no body. Models answer with the
whole function or its body, in markdown fences or not, with text around it, and adapters strip the
first line's indentation.
"""

from __future__ import annotations

import ast
import copy
import re
import textwrap
from collections.abc import Iterator

MAX_LENGTH = 20_000  # characters; longer text is not an answer
_MAX_CUTS = 60
_FENCED = re.compile(
    r"^[ \t]*(```|~~~)[\w+-]*[ \t]*\n(.*?)(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL
)
_BEGINS = re.compile(r"^(?:def|class|from|import|async def)\s|^@\w", re.MULTILINE)
_FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)


def complete(prompt: str, text: str) -> str | None:
    """Return the prompt followed by the whole function from a model's text; None without one.

    Code that is already complete is returned unchanged.

    Raises:
        ValueError: the prompt has no unfinished function.
    """
    function = unfinished(parsed(prompt))
    if function is None:
        raise ValueError("the prompt has no unfinished function")
    prompt = prompt.rstrip()
    head = _head(function)
    found = [code.strip("\n") for code in codes(text.removeprefix(prompt))]
    for code in found:
        whole = _longest(textwrap.dedent(code) if code[:1].isspace() else code)
        if whole is not None and _defines(whole, function.name):
            return f"{prompt}\n\n\n{_FUTURE.sub('', whole).strip()}\n"
    for code in found:
        for body in _indented(code):
            whole = _longest(body, head)
            if whole is not None and _acts(whole[len(head) :]):
                return f"{prompt}\n\n\n{whole.strip()}\n"
    return None


def code_in(text: str) -> str | None:
    """Return the code in a text, which may be a function's body alone; None without any."""
    for code in codes(text):
        for body in (textwrap.dedent(code), *_indented(code)):
            head = "def body():\n" if body[:1].isspace() else ""
            found = _longest(body, head)
            if found is not None and _acts(found[len(head) :]):
                return found[len(head) :]
    return None


def parsed(source: str) -> ast.Module | None:
    """Return the syntax tree of a source; None if it is not Python, too long or too deep."""
    if len(source) > 2 * MAX_LENGTH:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def unfinished(tree: ast.Module | None) -> ast.FunctionDef | None:
    """Return the first function of a module that has only a docstring."""
    functions = (node for node in (tree.body if tree else ()) if isinstance(node, ast.FunctionDef))
    return next((function for function in functions if _does_nothing(function)), None)


def docstring(function: ast.FunctionDef) -> str:
    """Return a function's docstring, even one that follows an import; "" without one."""
    texts = (
        node.value.value
        for node in function.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
    return next((text for text in texts if isinstance(text, str)), "")


def codes(text: str) -> Iterator[str]:
    """Yield what may be the code in a text, the most likely first.

    That is each fenced block, the last first; all of the text; and what follows a first line that
    looks like code.
    """
    if len(text) > MAX_LENGTH:
        return
    yield from (content for _, content in reversed(_FENCED.findall(text)))
    yield text
    if begins := _BEGINS.search(text):
        yield text[begins.start() :]
    if begins := re.search(r"^def\s", text, re.MULTILINE):
        yield text[begins.start() :]


def _does_nothing(function: ast.FunctionDef) -> bool:
    return all(
        isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)) or is_constant(node)
        for node in function.body
    )


def is_constant(node: ast.stmt) -> bool:
    """Return whether a statement is a constant on its own, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _acts(body: str) -> bool:
    """Return whether a body does more than name things, unlike a sentence of one word."""
    tree = parsed(f"while 1:\n{textwrap.indent(body, ' ')}")
    nodes = list(ast.walk(tree.body[0]))[1:] if tree else []
    acts = (ast.Call, ast.Yield, ast.YieldFrom, ast.stmt)
    return any(isinstance(node, acts) and not isinstance(node, ast.Expr) for node in nodes)


def _defines(source: str, name: str) -> bool:
    tree = parsed(source)
    return any(
        isinstance(node, ast.FunctionDef) and node.name == name and not _does_nothing(node)
        for node in (tree.body if tree else ())
    )


def _head(function: ast.FunctionDef) -> str:
    """Return the lines of a function before its body: the signature and the imports within it."""
    head = copy.copy(function)
    head.body = [
        node for node in function.body if isinstance(node, (ast.Import, ast.ImportFrom))
    ] + [ast.Pass()]
    return ast.unparse(head).removesuffix("    pass")


def _indented(code: str) -> Iterator[str]:
    """Yield a body's code with each indentation that may have been meant.

    It may be indented as it is, not indented, or have lost its first line's indentation.
    """
    code = code.strip("\n").rstrip()
    if code[:1].isspace():
        yield textwrap.indent(textwrap.dedent(code), "    ")
        yield code
    else:
        if (trimmed := _longest(code)) is not None:
            yield textwrap.indent(trimmed, "    ")
        yield f"    {code}"


def _longest(code: str, head: str = "") -> str | None:
    """Return the head and the longest start of the code that is Python.

    What is cut off begins with an unindented line, such as prose.
    """
    lines = code.splitlines(keepends=True)
    cuts = [at for at, line in enumerate(lines) if at and not line[:1].isspace()]
    for cut in [len(lines), *reversed(cuts[-_MAX_CUTS:])]:
        source = head + "".join(lines[:cut])
        if source[len(head) :].strip() and parsed(source) is not None:
            return source
    return None
