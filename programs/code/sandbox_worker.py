"""What runs inside the sandbox: a script of its own, run by path, that imports nothing but the standard library.

Two processes. The child runs the candidate, code that nobody trusts: it gets source and calls over one pipe and answers over
another. The parent runs the tests: to them the candidate is a function that sends its arguments over and gives back what comes,
plain data. So the candidate never meets the tests: it cannot end them, patch what they use, or return an object that claims to
equal anything; it is forked before the parent reads them, and they are in none of its memory. It can start no process or thread.

`encode` and `decode` write plain data as JSON, inside and outside.
"""

from __future__ import annotations

import builtins
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

MAX_REPLY = 1_000_000  # bytes of one answer
MAX_OUTCOMES = 200_000  # bytes of all answers that are told outside
_MAX_ITEMS = 100_000  # of an iterator
_NOBODY = 65534
_NONE = (0, 0)

# ------------------------------------------------------------------------------------------------ plain data as JSON


def encode(value: Any) -> Any:
    """Plain data as what `json` can write; subclasses become what they derive from.

    Raises:
        TypeError: for anything else, such as a function.
        RecursionError: nested too deeply, or in itself.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else {"int": hex(value)}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": value.hex()}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    for name, kind in _CONTAINERS.items():
        if isinstance(value, kind):
            return {name: [encode(item) for item in value]}
    if isinstance(value, Iterator):
        items = [encode(item) for item, _ in zip(value, range(_MAX_ITEMS + 1), strict=False)]
        if len(items) <= _MAX_ITEMS:
            return {"iterator": items}
    raise TypeError(f"{type(value).__name__} is no plain data")


def decode(told: Any) -> Any:
    """The plain data that `encode` wrote.

    Raises:
        ValueError: told is not of its making.
        RecursionError: nested too deeply.
    """
    if not isinstance(told, dict):
        if isinstance(told, list):
            raise ValueError("a bare list")
        return told
    if len(told) != 1:
        raise ValueError("one name is expected")
    ((name, content),) = told.items()
    try:
        if name in _CONTAINERS:
            return _CONTAINERS[name](map(decode, content))
        return _DECODERS[name](content)
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"no {name}") from error


_CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda content: int(content, 16),
    "complex": lambda content: complex(*content),
    "bytes": bytes.fromhex,
    "dict": lambda content: {decode(key): decode(item) for key, item in content},
    "iterator": lambda content: iter([decode(item) for item in content]),
}

# ------------------------------------------------------------------------------------------------ the child: the candidate


def serve(requests: int, replies: int) -> None:
    """Run the source of the first request; then call its function, for each further one. Nothing here is trusted from then on."""

    def reply(told: dict[str, Any]) -> None:
        text = json.dumps(told).encode()
        os.write(
            replies,
            (text if len(text) < MAX_REPLY else b'{"error": "the answer is too long"}') + b"\n",
        )

    lines = os.fdopen(requests, "r", encoding="ascii")
    told = json.loads(lines.readline())
    namespace: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec(compile(told["source"], "candidate.py", "exec"), namespace)
        function = namespace[told["function"]]
    except BaseException as error:  # noqa: BLE001  (whatever it raises, sys.exit too, is its answer)
        return reply({"error": _named(error)})
    reply({})
    for line in lines:
        args, kwargs = decode(json.loads(line))
        random.seed(0)
        try:
            reply({"value": encode(function(*args, **kwargs))})
        except BaseException as error:  # noqa: BLE001  (whatever it raises, sys.exit too, is its answer)
            reply({"error": _named(error)})


def _named(error: BaseException) -> str:
    return type(error).__name__


# ------------------------------------------------------------------------------------------------ the parent: the tests


class Ended(BaseException):
    """The candidate's process gives no more answers. No test's `except Exception` swallows it."""


class Candidate:
    """The candidate as a function: called, it asks the child; what it returns is plain data, what it raises a builtin exception."""

    def __init__(self, child: int, requests: int, replies: int, deadline: float):
        self._child, self._requests, self._replies, self._deadline = (
            child,
            requests,
            replies,
            deadline,
        )
        self._pending = b""
        self._reaped = False

    def start(self, source: str, function: str) -> None:
        """Raises Ended where the source does not run, or lacks the function."""
        told = self._ask({"source": source, "function": function})
        if "error" in told:
            raise Ended(f"the code does not run: {told['error']}")

    def tell(self, args: Any) -> dict[str, Any]:
        """The answer to a call in JSON: {"value": …} or {"error": the exception's name}. Raises Ended."""
        return self._ask(encode((args, {})))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        told = self._ask(encode((args, kwargs)))
        if "error" not in told:
            try:
                return decode(told["value"])
            except (KeyError, ValueError, RecursionError) as error:
                raise Ended("its answer is no plain data") from error
        kind = getattr(builtins, str(told["error"]), None)
        is_exception = (
            isinstance(kind, type)
            and issubclass(kind, Exception)
            and not issubclass(kind, UnicodeError)
        )
        raise (kind if is_exception else RuntimeError)("raised by the candidate")  # type: ignore[misc]

    def end(self) -> None:
        if not self._reaped:
            os.kill(self._child, signal.SIGKILL)

    def _ask(self, question: Any) -> dict[str, Any]:
        text = json.dumps(question).encode() + b"\n"
        try:
            while text:
                self._wait(self._requests, select.POLLOUT)
                text = text[os.write(self._requests, text[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            self._raise_how_it_ended()
        while b"\n" not in self._pending:
            self._wait(self._replies, select.POLLIN)
            piece = os.read(self._replies, 1 << 16)
            self._pending += piece
            if not piece:
                self._raise_how_it_ended()
            if len(self._pending) > MAX_REPLY:
                raise Ended("the answer is too long")
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            told = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Ended("its answer is not understood") from error
        if not isinstance(told, dict):
            raise Ended("its answer is not understood")
        return told

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise Ended("it ran out of wall time")

    def _raise_how_it_ended(self) -> None:
        while time.monotonic() < self._deadline:  # it may have closed its pipe and go on
            ended, status = os.waitpid(self._child, os.WNOHANG)
            if ended:
                self._reaped = True
                code = os.waitstatus_to_exitcode(status)
                out_of_time = -code in (signal.SIGXCPU, signal.SIGKILL)
                raise Ended(
                    "it ran out of CPU time"
                    if out_of_time
                    else f"its process ended with exit status {code}"
                )
            time.sleep(0.01)
        raise Ended("it ran out of wall time")


def judge(told: dict[str, Any], candidate: Candidate) -> dict[str, Any]:
    """Run the tests of a request: {"failure": None} where they pass, else why not."""
    namespace: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(told["context"], "context.py", "exec"), namespace)
        namespace[told["function"]] = candidate
        exec(compile(told["tests"], "tests.py", "exec"), namespace)
        candidate.start(told["source"], told["function"])
        namespace["check"](candidate)
    except Ended as ended:
        return {"failure": str(ended)}
    except BaseException as error:  # noqa: BLE001  (a failed test is an exception, of whatever kind)
        return {"failure": f"{_named(error)}: {error}"[:500].removesuffix(": ")}
    return {"failure": None}


def answers(told: dict[str, Any], candidate: Candidate) -> dict[str, Any]:
    """Call the function on each of a request's arguments: {"outcomes": answers in JSON}; once it ends, the rest have its cause."""
    outcomes: list[dict[str, Any]] = []
    size = 0
    try:
        candidate.start(told["source"], told["function"])
        for args in decode(told["calls"]):
            outcome = candidate.tell(args)
            size += len(json.dumps(outcome))
            if size > MAX_OUTCOMES:
                raise Ended("the answer is too long")
            outcomes.append(outcome)
    except Ended as ended:
        outcomes += [{"error": str(ended)}] * (len(told["calls"]["list"]) - len(outcomes))
    return {"outcomes": outcomes}


# ------------------------------------------------------------------------------------------------ limits


def limit(cpu: int, memory: int) -> None:
    """Give up root, and set the limits of this process and its child; none of them can be raised again."""
    import resource  # Unix alone has it

    if os.geteuid() == 0:  # root is above the limit on processes
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    for nothing in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_MSGQUEUE,
    ):
        resource.setrlimit(nothing, _NONE)


def start_no_more() -> None:
    """Let this process start no process and no thread."""
    import resource

    resource.setrlimit(resource.RLIMIT_NPROC, _NONE)


def main(cpu: int, wall: float, memory: int) -> None:
    """Serve one request, JSON on standard input; write {"started": true} and the result to standard output, a line each."""
    limit(cpu, memory)
    to_child, requests = os.pipe()
    replies, to_parent = os.pipe()
    child = os.fork()
    start_no_more()
    nowhere = os.open(os.devnull, os.O_RDWR)
    if child == 0:
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        for other in (requests, replies, nowhere):
            os.close(other)
        serve(to_child, to_parent)
        os._exit(0)
    os.close(to_child)
    os.close(to_parent)
    with os.fdopen(os.dup(0), "rb") as stream:
        told = json.load(stream)
    results = os.dup(1)
    os.write(results, b'{"started": true}\n')  # from here on, what fails is not the sandbox
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    candidate = Candidate(child, requests, replies, time.monotonic() + wall)
    result = judge(told, candidate) if "tests" in told else answers(told, candidate)
    candidate.end()
    text = json.dumps(result).encode() + b"\n"
    while text:
        text = text[os.write(results, text) :]
    os._exit(0)  # whatever the tests left behind has no say in it


if __name__ == "__main__":
    sys.path[:] = sys.path[1:]  # this script's neighbours are no top-level modules
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
