"""Runs Python that nobody trusts, such as a model's answer, in a sandbox of its own: bubblewrap around `sandbox_worker.py`.

    sandbox.check()                                                   # refuses where the platform cannot give the limits
    sandbox.failure(source, "add", "def check(f): assert f(1, 2) == 3")   # None: it passes; else why not
    sandbox.outputs(source, "add", [(1, 2), (3, 4)])                  # what it returns

Every run is a new sandbox, gone afterwards with all that ran in it: no network, no process, environment variable or `/proc` of
ours; of the files only Python's and the system's libraries, read-only, and no writable place at all; limits on CPU time, wall time,
memory and the size of answers. The code can start no process or thread. When we are root, it runs as nobody.

Not kept out: code that knows a hole in the kernel. Seen by it: the time, and packages installed beside Python itself.

Needs Linux on x86-64 or ARM64 and bubblewrap (https://github.com/containers/bubblewrap); there is no way to run without.
"""

from __future__ import annotations

import json
import os
import platform
import selectors
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dspy_mux.errors import ConfigurationError

from . import sandbox_worker

_WORKER = Path(sandbox_worker.__file__)
_STARTED = b'{"started": true}\n'
_START = 20.0  # seconds that starting may take on a busy machine
_END = (
    2.0  # seconds that it may take to tell the result, when it has noticed itself that time is up
)
_MAX_RESULT = 4 * sandbox_worker.MAX_REPLY  # bytes


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Attributes:
        cpu: seconds of processor time.
        wall: seconds, asleep or waiting for a processor too.
        memory: bytes of address space; Python itself takes about 30 MB of it.
    """

    cpu: int = 5
    wall: float = 20.0
    memory: int = 512 << 20


LIMITS = Limits()


class Outcome(NamedTuple):
    """What a call came to: the value, plain data; or why there is none, an exception's name or a limit."""

    value: Any
    error: str | None


def failure(
    source: str, function: str, tests: str, *, context: str = "", limits: Limits = LIMITS
) -> str | None:
    """Why a source fails its tests; None where it passes them.

    The tests run in a process apart from the source's; to them its function takes and returns plain data (None, bool, numbers, str,
    bytes, list, tuple, set, dict, iterators), by value: an argument changed in place stays as it was for the tests.

    Args:
        source: code that defines the function; never trusted.
        function: its name.
        tests: code that defines `check(candidate)`, which raises where the candidate is wrong.
        context: code that the tests need too; a function of this name in it gives way to the candidate.
        limits: of the source and of the tests, each.

    Raises:
        ConfigurationError: there is no sandbox here.
    """
    result = _run(
        {"source": source, "function": function, "tests": tests, "context": context}, limits
    )
    return (
        str(told) if (told := result.get("failure", "it ended its own judge")) is not None else None
    )


def outputs(
    source: str, function: str, calls: Sequence[tuple[Any, ...]], *, limits: Limits = LIMITS
) -> list[Outcome]:
    """What a source's function returns for each tuple of arguments, in one process one after the other.

    Where the process ends or runs out of a limit, this call and those after it have that as their error. Sets are ordered and
    `random` is seeded alike in every run.

    Args:
        source, function, limits: as for `failure`.
        calls: arguments, plain data.

    Raises:
        ConfigurationError: there is no sandbox here.
        TypeError: an argument is no plain data.
    """
    result = _run(
        {
            "source": source,
            "function": function,
            "calls": sandbox_worker.encode([tuple(call) for call in calls]),
        },
        limits,
    )
    told = result.get("outcomes")
    if not isinstance(told, list) or len(told) != len(calls):
        return [Outcome(None, "it ended its own judge")] * len(calls)
    return [_outcome(each) for each in told]


def _outcome(told: Any) -> Outcome:
    if not isinstance(told, dict) or "value" not in told:
        return Outcome(None, str(told.get("error") if isinstance(told, dict) else told))
    try:
        return Outcome(sandbox_worker.decode(told["value"]), None)
    except (ValueError, RecursionError):
        return Outcome(None, "the answer is no plain data")


# ------------------------------------------------------------------------------------------------ whether there is one

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
        ("gets memory past its limit", lambda: bytearray(resource.getrlimit(resource.RLIMIT_AS)[0])),
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
"""


def check() -> None:
    """Refuse where the platform cannot give the sandbox and all its limits, which are tried out once.

    Raises:
        ConfigurationError: what is missing and what to do.
    """
    if (reason := unavailable()) is not None:
        raise ConfigurationError(reason)


@lru_cache(maxsize=1)
def unavailable() -> str | None:
    """Why there is no sandbox here, in a sentence that says what to do; None where there is one."""
    try:
        (outcome,) = outputs(_PROBE, "lacking", [()], limits=Limits(cpu=2))
    except ConfigurationError as error:
        return str(error)
    if outcome == Outcome([], None):
        return None
    what = outcome.error or f"code inside {', '.join(outcome.value)}"
    return f"Code of models is not run here, for bubblewrap's sandbox does not hold on this machine ({what}): use another one."


# ------------------------------------------------------------------------------------------------ one run


def _run(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """What the worker reports; {} where it was brought down or ran out of time.

    Raises:
        ConfigurationError: there is no sandbox here, or it did not start.
    """
    with _seccomp_program() as program:
        command = [
            *_bubblewrap(program),
            *(
                _python(),
                "-S",
                "-s",
                str(_WORKER),
                str(limits.cpu),
                str(limits.wall),
                str(limits.memory),
            ),
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
            told = _talk(process, json.dumps(request).encode(), limits.wall)
        finally:
            process.kill()  # and with it, all in its namespace
    if not told.startswith(_STARTED):
        reason = (told.decode(errors="replace").strip() or "it did not start in time").splitlines()[
            -1
        ][:200]
        raise ConfigurationError(
            f"bubblewrap cannot make a sandbox here, and models' code is not run without ({reason}): allow unprivileged user "
            "namespaces, or as root CAP_SYS_ADMIN, on this machine or for this container."
        )
    try:
        result = json.loads(told.removeprefix(_STARTED))
    except (ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


def _talk(process: subprocess.Popen[bytes], request: bytes, wall: float) -> bytes:
    """Send the request; what comes back until `wall` seconds and a little after it has started, at most `_MAX_RESULT` bytes."""
    assert process.stdin is not None
    assert process.stdout is not None
    told, deadline = b"", time.monotonic() + _START
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while (left := deadline - time.monotonic()) > 0 and len(told) < _MAX_RESULT:
            for key, _ in selector.select(left):
                if key.fileobj is process.stdout:
                    piece = os.read(key.fd, 1 << 16)
                    if not piece:
                        return told
                    if not told:
                        deadline = time.monotonic() + wall + _END
                    told += piece
                    continue
                try:
                    request = request[os.write(key.fd, request) :]
                except BrokenPipeError:
                    request = b""
                if not request:
                    selector.unregister(process.stdin)
                    process.stdin.close()
    return told


def _python() -> str:
    """The interpreter itself, outside any virtual environment."""
    return os.path.realpath(sys.executable)


def _bubblewrap(program: int) -> Iterator[str]:
    """The command line up to what runs inside."""
    if sys.platform != "linux" or platform.machine() not in _FORBIDDEN:
        raise ConfigurationError(
            f"Models' code runs in a bubblewrap sandbox only, which needs Linux on x86-64 or ARM64, not {platform.system()} on "
            f"{platform.machine()}: use such a machine, a virtual one will do."
        )
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise ConfigurationError(
            "Models' code runs in a bubblewrap sandbox only, and there is no `bwrap` here: install bubblewrap "
            "(apt install bubblewrap, dnf install bubblewrap)."
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
    if (
        os.geteuid() == 0
    ):  # no user namespace: mapped from root, the code would be root to the limit on processes
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
    for folder in _above([*shown, "/dev/null"]):  # else nobody could not pass them
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
    """Where Python's own library lies; the system's `/usr/lib` is shown anyway."""
    folders = map(
        os.path.realpath,
        (f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64", os.path.dirname(os.__file__)),
    )
    return sorted({folder for folder in folders if not folder.startswith("/usr/lib")})


def _above(paths: Iterable[str]) -> list[str]:
    """The folders above some paths, outer ones first."""
    return sorted(
        {str(folder) for path in paths for folder in Path(path).parents if folder != Path("/")}
    )


# ------------------------------------------------------------------------------------------------ system calls

#: What the code never needs and no other limit covers, by machine: AUDIT_ARCH, then the numbers of ptrace, process_vm_readv and
#: _writev, unshare, mount, shmget, msgget, semget, socket, memfd_create, keyctl, add_key, request_key, bpf, perf_event_open and
#: userfaultfd.
_FORBIDDEN = {
    "x86_64": (
        0xC000003E,
        (101, 310, 311, 272, 165, 29, 68, 64, 41, 319, 250, 248, 249, 321, 298, 323),
    ),
    "aarch64": (
        0xC00000B7,
        (117, 270, 271, 97, 40, 194, 186, 190, 198, 279, 219, 217, 218, 280, 241, 282),
    ),
}
#: The same on every machine: io_uring_setup to _register, open_tree, move_mount, fsopen, pidfd_getfd, mount_setattr, memfd_secret.
_FORBIDDEN_ANYWHERE = (425, 426, 427, 428, 429, 430, 438, 442, 447)
_LOAD, _EQUAL, _AT_LEAST, _RETURN = (
    0x20,
    0x15,
    0x35,
    0x06,
)  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EPERM


@contextmanager
def _seccomp_program() -> Iterator[int]:
    """A descriptor to read the filter from that bubblewrap hands to the kernel (seccomp(2)): these calls fail with EPERM."""
    architecture, numbers = _FORBIDDEN.get(platform.machine(), (0, ()))
    forbidden = (*numbers, *_FORBIDDEN_ANYWHERE)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 0, len(forbidden) + 3, architecture), (_LOAD, 0, 0, 0)]
    steps.append((_AT_LEAST, len(forbidden) + 1, 0, 0x40000000))  # x32 calls have other numbers
    steps += [(_EQUAL, len(forbidden) - at, 0, number) for at, number in enumerate(forbidden)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as stream:
            stream.write(b"".join(struct.pack("HBBI", *step) for step in steps))
        yield reader
    finally:
        os.close(reader)
