"""Run untrusted Python, such as a model's answer, in a sandbox: bubblewrap and `sandbox_worker.py`.

    sandbox.check()                                     # raises if this machine has no sandbox
    sandbox.failure(source, "add", "def check(f): assert f(1, 2) == 3")     # None if it passes
    sandbox.outputs(source, "add", [(1, 2), (3, 4)])    # what it returns

Every run is a new sandbox that ends with everything in it. The code has no network, and sees no
process, environment variable or `/proc` of ours. It sees only Python's and the system's libraries,
read-only, and cannot write anywhere. CPU time, wall time, memory and the size of answers are
limited. It cannot start processes or threads. If we are root, it runs as nobody.

The sandbox does not stop code that exploits a hole in the kernel. The code sees the time, and the
packages installed beside Python itself.

Requires Linux on x86-64 or ARM64 and bubblewrap (https://github.com/containers/bubblewrap); there
is no way to run without it.
"""

from __future__ import annotations

import json
import os
import platform
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dspy_mux.errors import MissingExtra

from . import sandbox_worker, seccomp

_WORKER = Path(sandbox_worker.__file__)
_JUDGE_ENDED = "it ended its own judge"
_STARTED = b'{"started": true}\n'
_START = 20.0  # seconds that starting may take on a busy machine
_END = 2.0  # seconds that it may take to report the result after its time is up
_MAX_RESULT = 4 * sandbox_worker.MAX_REPLY  # bytes


class SandboxUnavailable(MissingExtra):
    """This machine cannot give the sandbox; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Attributes:
        cpu: seconds of processor time.
        wall: seconds, including those asleep or waiting for a processor.
        memory: bytes of address space, of which Python itself takes about 30 MB.
    """

    cpu: int = 5
    wall: float = 20.0
    memory: int = 512 << 20


LIMITS = Limits()


class Outcome(NamedTuple):
    """What a call returned: plain data, or an error, which is an exception's name or a limit."""

    value: Any
    error: str | None


def failure(
    source: str, function: str, tests: str, *, context: str = "", limits: Limits = LIMITS
) -> str | None:
    """Return why a source fails its tests; None if it passes them.

    The tests run in another process than the source. To them its function takes and returns plain
    data (None, bool, numbers, str, bytes, list, tuple, set, dict, iterators) by value: an argument
    that it changes in place is unchanged for the tests.

    Args:
        source: code that defines the function; never trusted.
        function: its name.
        tests: code that defines `check(candidate)`, which raises if the candidate is wrong.
        context: further code that the tests need; the candidate replaces a function of its name.
        limits: of the source and of the tests, each.

    Raises:
        SandboxUnavailable: this machine has no sandbox.
    """
    request = {"source": source, "function": function, "tests": tests, "context": context}
    reason = _run(request, limits).get("failure", _JUDGE_ENDED)
    return None if reason is None else str(reason)


def outputs(
    source: str, function: str, calls: Sequence[tuple[Any, ...]], *, limits: Limits = LIMITS
) -> list[Outcome]:
    """Return what a source's function returns for each tuple of arguments.

    The calls run one after the other in one process. If it ends or exceeds a limit, this call and
    those after it have that as their error. The order of sets and the seed of `random` are the
    same in every run.

    Args:
        source, function, limits: as for `failure`.
        calls: arguments, plain data.

    Raises:
        SandboxUnavailable: this machine has no sandbox.
        TypeError: an argument is not plain data.
    """
    encoded = sandbox_worker.encode([tuple(call) for call in calls])
    result = _run({"source": source, "function": function, "calls": encoded}, limits)
    answers = result.get("outcomes")
    if not isinstance(answers, list) or len(answers) != len(calls):
        return [Outcome(None, _JUDGE_ENDED)] * len(calls)
    return [_outcome(answer) for answer in answers]


def _outcome(answer: Any) -> Outcome:
    if not isinstance(answer, dict) or "value" not in answer:
        return Outcome(None, str(answer.get("error") if isinstance(answer, dict) else answer))
    try:
        return Outcome(sandbox_worker.decode(answer["value"]), None)
    except (ValueError, RecursionError):
        return Outcome(None, "the answer is not plain data")


# ------------------------------------------------------------------------------------------------
# Whether there is a sandbox

_PROBE = """
import os, resource, socket, _thread

def lacking():
    found = []
    for name, attempt in (
        ("forks", os.fork),
        ("starts threads", lambda: _thread.start_new_thread(int, ())),
        ("opens sockets", socket.socket),
        ("sees processes", lambda: os.listdir("/proc")),
        ("reads files", lambda: open("/etc/passwd")),
        ("writes files", lambda: open("/tmp/x", "w")),
        ("gets memory past its limit", lambda: bytearray(memory_limit)),
    ):
        try:
            attempt()
        except (OSError, RuntimeError, MemoryError):
            continue
        if os.getpid() != first:
            os._exit(0)
        found.append(name)
    return found

first = os.getpid()
memory_limit = resource.getrlimit(resource.RLIMIT_AS)[0]
"""


def check() -> None:
    """Try the sandbox and its limits once.

    Raises:
        SandboxUnavailable: this machine cannot give them.
    """
    if (reason := unavailable()) is not None:
        raise SandboxUnavailable(reason)


@lru_cache(maxsize=1)
def unavailable() -> str | None:
    """Return why this machine has no sandbox, and what to do; None if it has one."""
    try:
        (outcome,) = outputs(_PROBE, "lacking", [()], limits=Limits(cpu=2))
    except SandboxUnavailable as error:
        return str(error)
    if outcome == Outcome([], None):
        return None
    reason = outcome.error or f"code inside {', '.join(outcome.value)}"
    return (
        "Models' code is not run on this machine, because bubblewrap's sandbox does not hold here "
        f"({reason}): use another machine."
    )


# ------------------------------------------------------------------------------------------------
# One run


def _run(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Return what the worker reports; {} if it was brought down or ran out of time.

    Raises:
        SandboxUnavailable: this machine has no sandbox, or it did not start.
    """
    worker = [_python(), "-S", "-s", str(_WORKER)]
    with seccomp.filter_program() as program:
        command = [
            *_bubblewrap(program),
            *worker,
            *map(str, (limits.cpu, limits.wall, limits.memory)),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[program],
            cwd="/",
        )
    with process:
        try:
            reply = _talk(process, json.dumps(request).encode(), limits.wall)
        finally:
            process.kill()  # and with it everything in its namespace
    if not reply.startswith(_STARTED):
        lines = reply.decode(errors="replace").strip().splitlines()
        reason = lines[-1][:200] if lines else "it did not start in time"
        raise SandboxUnavailable(
            "bubblewrap cannot make a sandbox here, and models' code is not run without it "
            f"({reason}): allow unprivileged user namespaces, or as root CAP_SYS_ADMIN, on this "
            "machine or for this container."
        )
    try:
        result = json.loads(reply.removeprefix(_STARTED))
    except (ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


def _talk(process: subprocess.Popen[bytes], request: bytes, wall: float) -> bytes:
    """Send the request; return the reply, at most `_MAX_RESULT` bytes.

    Waits until shortly after the worker's `wall` seconds, which begin when it has started.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    reply, deadline = b"", time.monotonic() + _START
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while (left := deadline - time.monotonic()) > 0 and len(reply) < _MAX_RESULT:
            for key, _ in selector.select(left):
                if key.fileobj is process.stdout:
                    piece = os.read(key.fd, 1 << 16)
                    if not piece:
                        return reply
                    if not reply:
                        deadline = time.monotonic() + wall + _END
                    reply += piece
                    continue
                try:
                    request = request[os.write(key.fd, request) :]
                except BrokenPipeError:
                    request = b""
                if not request:
                    selector.unregister(process.stdin)
                    process.stdin.close()
    return reply


def _python() -> str:
    """Return the interpreter itself, outside any virtual environment."""
    return os.path.realpath(sys.executable)


def _bubblewrap(program: int) -> Iterator[str]:
    """Yield the command line up to what runs inside."""
    if sys.platform != "linux" or platform.machine() not in seccomp.MACHINES:
        raise SandboxUnavailable(
            "Models' code runs only in a bubblewrap sandbox, which needs Linux on x86-64 or ARM64, "
            f"not {platform.system()} on {platform.machine()}: use such a machine, real or virtual."
        )
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxUnavailable(
            "Models' code runs only in a bubblewrap sandbox, and `bwrap` is not installed: "
            "install bubblewrap (apt install bubblewrap, dnf install bubblewrap)."
        )
    yield bwrap
    yield from (
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup-try",
    )
    yield from (
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--setenv",
        "PYTHONHASHSEED",
        "0",
    )
    if os.geteuid() == 0:
        # Not a user namespace: mapped from root, the code would escape the limit on processes.
        yield from ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield from ("--unshare-user", "--cap-drop", "ALL")
    python = _python()
    shown = [
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/etc/ld.so.cache",
        *_libraries(),
        python,
        str(_WORKER),
    ]
    for folder in _parents([*shown, "/dev/null"]):  # else nobody could not enter them
        yield from ("--perms", "0755", "--dir", folder)
    for path in shown:
        yield from ("--ro-bind-try", path, path)
    yield from (
        "--dev-bind",
        "/dev/null",
        "/dev/null",
        "--remount-ro",
        "/",
        "--chdir",
        "/",
        "--seccomp",
        str(program),
        "--",
    )


def _libraries() -> list[str]:
    """Return the folders of Python's own library, besides the system's `/usr/lib`."""
    folders = map(
        os.path.realpath,
        (f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64", os.path.dirname(os.__file__)),
    )
    return sorted({folder for folder in folders if not folder.startswith("/usr/lib")})


def _parents(paths: Iterable[str]) -> list[str]:
    """Return the folders above some paths, outer ones first."""
    return sorted(
        {str(folder) for path in paths for folder in Path(path).parents if folder != Path("/")}
    )
