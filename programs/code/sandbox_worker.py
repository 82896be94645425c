"""What runs inside the sandbox: a script, run by its path, that imports only the standard library.

It has two processes. The child runs the candidate, which is untrusted code: it gets source and
calls over one pipe and answers over another. The parent runs the tests. To them the candidate is a
function that sends its arguments to the child and returns the plain data that comes back. So the
candidate never meets the tests: it cannot end them, patch what they use, or return an object that
claims to equal anything. It is forked before the parent reads them, so they are not in its memory.
It cannot start a process or thread.

`encode` and `decode` write plain data as JSON, inside and outside the sandbox.
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
MAX_OUTCOMES = 200_000  # bytes of all answers that leave the sandbox
_MAX_ITEMS = 100_000  # of an iterator
_NOBODY = 65534
_NONE = (0, 0)

#: {"source", "function"}, and either {"tests", "context"} or {"calls"}.
Request = dict[str, Any]
#: {"value": encoded plain data} or {"error": an exception's name, or a limit}.
Answer = dict[str, Any]

# ------------------------------------------------------------------------------------------------
# Plain data as JSON


def encode(value: Any) -> Any:
    """Return plain data as what `json` can write; subclasses become what they derive from.

    Raises:
        TypeError: the value is not plain data, such as a function.
        RecursionError: the value is nested too deeply, or in itself.
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
    raise TypeError(f"{type(value).__name__} is not plain data")


def decode(encoded: Any) -> Any:
    """Return the plain data that `encode` wrote.

    Raises:
        ValueError: `encode` did not write this.
        RecursionError: the data is nested too deeply.
    """
    if not isinstance(encoded, dict):
        if isinstance(encoded, list):
            raise ValueError("a bare list")
        return encoded
    if len(encoded) != 1:
        raise ValueError("one name is expected")
    ((name, content),) = encoded.items()
    try:
        if name in _CONTAINERS:
            return _CONTAINERS[name](map(decode, content))
        return _DECODERS[name](content)
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"not a {name}") from error


_CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda content: int(content, 16),
    "complex": lambda content: complex(*content),
    "bytes": bytes.fromhex,
    "dict": lambda content: {decode(key): decode(item) for key, item in content},
    "iterator": lambda content: iter([decode(item) for item in content]),
}

# ------------------------------------------------------------------------------------------------
# The child: the candidate


def serve(requests: int, replies: int) -> None:
    """Run the source of the first request, then call its function for each further request.

    Once the source runs, nothing in this process is trusted.
    """

    def reply(answer: Answer) -> None:
        text = json.dumps(answer).encode()
        if len(text) >= MAX_REPLY:
            text = b'{"error": "the answer is too long"}'
        os.write(replies, text + b"\n")

    lines = os.fdopen(requests, "r", encoding="ascii")
    request = json.loads(lines.readline())
    namespace: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec(compile(request["source"], "candidate.py", "exec"), namespace)
        function = namespace[request["function"]]
    except BaseException as error:  # noqa: BLE001  (any exception, even SystemExit, is its answer)
        return reply({"error": _named(error)})
    reply({})
    for line in lines:
        args, kwargs = decode(json.loads(line))
        random.seed(0)
        try:
            reply({"value": encode(function(*args, **kwargs))})
        except BaseException as error:  # noqa: BLE001  (any exception is its answer)
            reply({"error": _named(error)})


def _named(error: BaseException) -> str:
    return type(error).__name__


# ------------------------------------------------------------------------------------------------
# The parent: the tests


class Ended(BaseException):
    """The candidate's process gives no more answers.

    Not an Exception, so that no test's `except Exception` swallows it.
    """


class Candidate:
    """The candidate as a function: a call asks the child.

    It returns plain data, and raises only builtin exceptions.
    """

    def __init__(self, child: int, requests: int, replies: int, deadline: float):
        self._child, self._deadline = child, deadline
        self._requests, self._replies = requests, replies
        self._pending = b""
        self._reaped = False

    def start(self, source: str, function: str) -> None:
        """Send the source.

        Raises:
            Ended: the source does not run, or lacks the function.
        """
        answer = self._ask({"source": source, "function": function})
        if "error" in answer:
            raise Ended(f"the code does not run: {answer['error']}")

    def ask(self, args: Any) -> Answer:
        """Return the answer to a call in JSON: {"value": …} or {"error": the exception's name}.

        Raises:
            Ended: there is no answer.
        """
        return self._ask(encode((args, {})))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._ask(encode((args, kwargs)))
        if "error" not in answer:
            try:
                return decode(answer["value"])
            except (KeyError, ValueError, RecursionError) as error:
                raise Ended("its answer is not plain data") from error
        kind = getattr(builtins, str(answer["error"]), None)
        is_exception = (
            isinstance(kind, type)
            and issubclass(kind, Exception)
            and not issubclass(kind, UnicodeError)
        )
        raise (kind if is_exception else RuntimeError)("raised by the candidate")  # type: ignore[misc]

    def end(self) -> None:
        """Kill the child."""
        if not self._reaped:
            os.kill(self._child, signal.SIGKILL)

    def _ask(self, question: Any) -> Answer:
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
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Ended("its answer is not understood") from error
        if not isinstance(answer, dict):
            raise Ended("its answer is not understood")
        return answer

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise Ended("it ran out of wall time")

    def _raise_how_it_ended(self) -> None:
        while time.monotonic() < self._deadline:  # it may have closed its pipe and still run
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


def judge(request: Request, candidate: Candidate) -> dict[str, str | None]:
    """Run the tests of a request; return {"failure": None} if they pass, else why not."""
    namespace: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(request["context"], "context.py", "exec"), namespace)
        namespace[request["function"]] = candidate
        exec(compile(request["tests"], "tests.py", "exec"), namespace)
        candidate.start(request["source"], request["function"])
        namespace["check"](candidate)
    except Ended as ended:
        return {"failure": str(ended)}
    except BaseException as error:  # noqa: BLE001  (a failed test may raise anything)
        return {"failure": f"{_named(error)}: {error}"[:500].removesuffix(": ")}
    return {"failure": None}


def call_each(request: Request, candidate: Candidate) -> dict[str, list[Answer]]:
    """Call the function on each of a request's arguments; return {"outcomes": its answers}.

    Once the candidate has ended, the remaining answers have its cause.
    """
    outcomes: list[Answer] = []
    size = 0
    try:
        candidate.start(request["source"], request["function"])
        for args in decode(request["calls"]):
            outcome = candidate.ask(args)
            size += len(json.dumps(outcome))
            if size > MAX_OUTCOMES:
                raise Ended("the answer is too long")
            outcomes.append(outcome)
    except Ended as ended:
        outcomes += [{"error": str(ended)}] * (len(request["calls"]["list"]) - len(outcomes))
    return {"outcomes": outcomes}


# ------------------------------------------------------------------------------------------------
# Limits


def limit(cpu: int, memory: int) -> None:
    """Give up root and set the limits of this process and its child, which cannot be raised."""
    import resource  # only on Unix

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
    """Forbid this process to start processes and threads."""
    import resource

    resource.setrlimit(resource.RLIMIT_NPROC, _NONE)


def main(cpu: int, wall: float, memory: int) -> None:
    """Serve one request.

    Reads it as JSON from standard input; writes {"started": true} and the result, a line each.
    """
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
        request = json.load(stream)
    results = os.dup(1)
    os.write(results, b'{"started": true}\n')  # from here on, a failure is not the sandbox's
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    candidate = Candidate(child, requests, replies, time.monotonic() + wall)
    task = judge if "tests" in request else call_each
    result = task(request, candidate)
    candidate.end()
    text = json.dumps(result).encode() + b"\n"
    while text:
        text = text[os.write(results, text) :]
    os._exit(0)  # nothing that the tests left behind can run any more


if __name__ == "__main__":
    sys.path[:] = sys.path[1:]  # the modules beside this script are not top-level ones
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
