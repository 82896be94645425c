"""The process that compares mathematics: a script that `math_equal.py` starts by its path.

It never imports dspy_mux or DSPy. It speaks lines of JSON: first `"ready"`, then for each
`[expression, expression]` an object: whether they are the `same`, the `seconds` it computed, and
its `faults`: events that were refused and errors of ours, of which there should be none.
math-verify reads the LaTeX with an ANTLR grammar; its path for plain expressions, which evaluates
Python, is never used. sympy turns even a numeral into Python source and evaluates it;
`math_steps.py` replaces each such step.

As a second line of defence, an audit hook refuses to compile source, to start or signal processes,
to open sockets, to use ctypes, and to write, create, change or remove files. It is not a sandbox:
it sees what Python does, not what native code does, and lets files be read. The process inherits
the environment variables that Python needs, and no keys.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

_REFUSED = (
    "os.", "subprocess.", "pty.", "signal.", "socket.", "ctypes.", "mmap.", "fcntl.", "resource.",
    "shutil.", "tempfile.", "sqlite3.", "_winapi.",
)  # fmt: skip
_ADMITTED = ("os.listdir", "os.scandir")  # late imports need these
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Events refused since the last reply, which a library may take for an answer.
_refused: list[str] = []


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
        _refused.append(event)
        raise RuntimeError(f"{event} is refused while expressions are compared")


def contain_from_now_on() -> None:
    """Set the hook, which cannot be removed."""
    sys.dont_write_bytecode = True  # a late import would otherwise write a file, which is refused
    sys.addaudithook(contain)


def comparison() -> tuple[Callable[[str, str], bool], list[str]]:
    """Import math-verify; return a symmetric comparison of LaTeX, and the list of its faults."""
    # A package of the modules beside this script, without what dspy_mux itself imports.
    package = ModuleType("dspy_mux_answers")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[package.__name__] = package
    importlib.import_module("dspy_mux_answers.math_steps").replace_compiled_steps()
    compare = importlib.import_module("dspy_mux_answers.math_compare")
    compare.replace_steps()
    return compare.same, compare.faults


def limit_time(seconds: float) -> None:
    """End the process once it has computed for so long; 0 takes the limit away.

    Time of the processor, so that a busy machine proves nothing. Windows has no such limit.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main(memory: int, seconds: float, lifetime: float) -> None:
    """Serve until standard input closes.

    Args:
        memory: address space in bytes.
        seconds: time of the processor after which one comparison ends the process.
        lifetime: seconds after which one comparison ends the process, if no parent is left to.
    """
    # The parent handles Ctrl-C and closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(memory)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # the limit of time is ours
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = open(os.devnull, "w")  # noqa: SIM115
    sys.stdout = sys.stderr = nowhere
    same, faults = comparison()
    same("x+1", "1+x")  # imports what sympy loads late
    contain_from_now_on()
    replies.write('"ready"\n')
    replies.flush()
    for line in sys.stdin:
        a, b = json.loads(line)
        faulthandler.dump_traceback_later(lifetime, exit=True, file=nowhere)
        limit_time(seconds)
        began = time.process_time()
        try:
            verdict = same(a, b)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            NotImplementedError,
            RuntimeError,
            TypeError,
            ValueError,
        ):
            verdict = False  # an expression that cannot be compared equals only its own text
        limit_time(0)
        faulthandler.cancel_dump_traceback_later()
        reply = {
            "same": verdict,
            "seconds": time.process_time() - began,
            "faults": [*_refused, *faults],
        }
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
        _refused.clear()
        faults.clear()


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    # The modules beside this script are not top-level ones.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
