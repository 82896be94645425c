"""The process that compares mathematics: a script that `math_equal.py` starts by its path.

It never imports dspy_mux or DSPy. It speaks lines of JSON: first `"ready"`, then `true` or `false`
for each `[expression, expression]`. math-verify reads the LaTeX with an ANTLR grammar; its path for
plain expressions, which evaluates Python, is never used. sympy turns even a numeral into Python
source and evaluates it, so `read_numeral` replaces that step.

As a second line of defence, an audit hook refuses to compile source, to start or signal processes,
to open sockets, to use ctypes, and to write, create, change or remove files. It is not a sandbox:
it sees what Python does, not what native code does, and lets files be read. The process inherits
the environment variables that Python needs, and no keys.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_REFUSED = (
    "os.", "subprocess.", "pty.", "signal.", "socket.", "ctypes.", "mmap.", "fcntl.", "resource.",
    "shutil.", "tempfile.", "sqlite3.", "_winapi.",
)  # fmt: skip
_ADMITTED = ("os.listdir", "os.scandir")  # late imports need these
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def limit_memory(size: int) -> None:
    """Cap the address space at size bytes, on the systems that can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (ValueError, OSError):  # macOS, or a lower hard limit: the deadline still holds
        return


def contain(event: str, args: tuple[Any, ...]) -> None:
    """Refuse, as an audit hook, whatever comparing expressions never needs."""
    if event == "compile":
        # A module that is imported late is compiled from a file, not from a string.
        refused = args[0] is not None and not str(args[1]).endswith(".py")
    elif event == "open":
        _, mode, flags = args  # os.open has flags alone
        refused = bool(flags & _WRITING) or any(letter in (mode or "") for letter in "wax+")
    else:
        refused = event.startswith(_REFUSED) and event not in _ADMITTED
    if refused:
        raise RuntimeError(f"{event} is refused while expressions are compared")


def contain_from_now_on() -> None:
    """Set the hook, which cannot be removed."""
    sys.dont_write_bytecode = True  # a late import would otherwise write a file, which is refused
    sys.addaudithook(contain)


def read_numeral(text: str, *args: object, **options: object) -> Any:
    """Replace sympy's `parse_expr`: read numerals and nothing else."""
    from sympy import Float, Integer, SympifyError

    if not re.fullmatch(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?\s*", text):
        raise SympifyError(text)
    return Integer(text) if text.strip().lstrip("+-").isdigit() else Float(text)


def comparison() -> Callable[[str, str], bool]:
    """Import math-verify; return a symmetric comparison of LaTeX without delimiters."""
    from math_verify import LatexExtractionConfig, parse, verify
    from sympy.parsing import sympy_parser

    sympy_parser.parse_expr = read_numeral

    latex = [LatexExtractionConfig(boxed_match_priority=0)]

    @lru_cache(maxsize=256)  # one answer is compared with several
    def read(expression: str) -> list[Any]:
        boxed = f"\\boxed{{{expression}}}"
        return list(parse(boxed, latex, "no_fallback", "first_match", parsing_timeout=None))

    def same(a: str, b: str) -> bool:
        first, second = read(a), read(b)
        if not first or not second:
            return False
        forth = verify(first, second, timeout_seconds=None)
        # math-verify lets (1, 2) equal the set 2, 1 one way round: lists must be equal both ways.
        if forth == ("," in a and "," in b):
            return bool(verify(second, first, timeout_seconds=None))
        return bool(forth)

    return same


def main(memory: int, lifetime: float) -> None:
    """Serve until standard input closes.

    Args:
        memory: address space in bytes.
        lifetime: seconds after which one comparison ends the process, if no parent is left to.
    """
    # The parent handles Ctrl-C and closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(memory)
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = open(os.devnull, "w")  # noqa: SIM115
    sys.stdout = sys.stderr = nowhere
    same = comparison()
    same("x+1", "1+x")  # imports what sympy loads late
    contain_from_now_on()
    replies.write('"ready"\n')
    replies.flush()
    for line in sys.stdin:
        a, b = json.loads(line)
        faulthandler.dump_traceback_later(lifetime, exit=True, file=nowhere)
        try:
            verdict = same(a, b)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            RuntimeError,
            TypeError,
            ValueError,
        ):
            verdict = False  # an expression that cannot be compared equals only its own text
        faulthandler.cancel_dump_traceback_later()
        replies.write(json.dumps(verdict) + "\n")
        replies.flush()


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    # The modules beside this script are not top-level ones.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    main(int(sys.argv[1]), float(sys.argv[2]))
