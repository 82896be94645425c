"""Hostile code in real sandboxes neither passes, nor stays, nor sees anything of ours.

Without bubblewrap these tests fail: `apt install bubblewrap`.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from programs.code import sandbox
from programs.code.sandbox import Limits, Outcome
from tests.support.sandboxes import BUSY, RIGHT, SHORT, TESTS, left_behind


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> None:
    reason = sandbox.unavailable()
    assert reason is None, f"these tests need the sandbox: {reason}"


# --------------------------------------------------------------------------------------------------
# What must not pass

ATTACKS = {
    "loops for ever": "def f(x):\n    while True: pass",
    "loops for ever when imported": "while True: pass\n" + RIGHT,
    "loops and ignores the signal": "import signal\nsignal.signal(signal.SIGXCPU, "
    "signal.SIG_IGN)\nwhile True: pass\n" + RIGHT,
    "sleeps": "import time\ntime.sleep(1000)\n" + RIGHT,
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n" + RIGHT,
    "sys.exit(0)": "import sys\ndef f(x):\n    sys.exit(0)",
    "sys.exit(0) when imported": "import sys\nsys.exit(0)\n" + RIGHT,
    "os._exit(0)": "import os\ndef f(x):\n    os._exit(0)",
    "os._exit(0) when imported": "import os\nos._exit(0)\n" + RIGHT,
    "10 GB list": "def f(x):\n    return [0] * (10 * 2**30 // 8)",
    "10 GB piece by piece": "kept = []\nwhile True:\n    kept.append(bytearray(1 << 20))\n" + RIGHT,
    "10 GB in 10 GB of text": "def f(x):\n    return 'x' * (10 * 2**30)",
    "deep recursion": "def f(x):\n    return f(x)",
    "deeper recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x):\n    return f(x)",
    "nested too deep": "def f(x):\n    value = []\n    for _ in range(10**5): value = [value]\n"
    "    return value",
    "holds itself": "def f(x):\n    value = []\n    value.append(value)\n    return value",
    "prints without end": "def f(x):\n    while True: print('x' * 10**6)",
    "returns too much": "def f(x):\n    return 'x' * 10**8",
    "an endless iterator": "import itertools\ndef f(x):\n    return itertools.count()",
    "kills the judge": "import os\nos.kill(os.getppid(), 9)\n" + RIGHT,
    "kills all": "import os\nos.kill(-1, 9)\n" + RIGHT,
    "stops the judge": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n" + RIGHT,
    "closes all": "import os\nos.closerange(0, 1000)\n" + RIGHT,
    "equals anything": "class Any(str):\n    def __eq__(self, other): return True\n"
    "    __hash__ = None\ndef f(x): return Any('x')",
    "equals anything, an object": "class Any:\n    def __eq__(self, other): return True\n"
    "def f(x): return Any()",
    "patches builtins": """
import builtins
builtins.AssertionError = type('Quiet', (BaseException,), {})
builtins.len = lambda x: 0
def f(x): return 0
""",
    "patches the judge": """
import gc, sys, json, types
def f(x):
    judge = sys.modules['__main__']
    judge.judge = judge.answers = lambda told, candidate: {'failure': None}
    json.dumps = lambda told: '{"failure": null}'
    return 0
""",
    "writes the verdict wherever it can": r"""
import json
import os
for descriptor in range(64):
    for line in (b'{"started": true}\n', b'{"failure": null}\n'):
        try:
            os.write(descriptor, line)
        except OSError:
            pass
def f(x): return 0
""",
    "prints the verdict and leaves": """
import json
import os
def f(x):
    print('{"failure": null}', flush=True)
    os.write(1, b'{"failure": null}')
    os._exit(0)
""",
    "answers with what is no answer": r"""
import json
import os
def f(x):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'{"value": {"list": [' * 50000 + b'\n')
        except OSError:
            pass
""",
    "looks for the tests in its memory": """
import gc, sys
def f(x):
    frame, seen = sys._getframe(), []
    while frame:
        seen += [repr(frame.f_locals), repr(frame.f_globals)]
        frame = frame.f_back
    seen += [repr(each) for each in gc.get_objects()]
    wanted = ' '.join(['expected', str(x * x)])
    return wanted if any(wanted in text for text in seen) else 'nothing found'
""",
    "reads the tests from the judge's input": """
import json
import os
def f(x):
    told = b''
    for path in ('/dev/stdin', '/proc/self/fd/0', '/proc/1/environ'):
        try:
            told += open(path, 'rb').read()
        except OSError:
            pass
    told += os.read(0, 10**6)
    return 'expected ' + str(x * x) if b'expected' in told else 'nothing found'
""",
    "traces the judge": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def f(x):
    attached = libc.ptrace(16, os.getppid(), 0, 0) == 0
    return 'expected ' + str(x * x) if attached else ctypes.get_errno()
""",
}


# Far above the sandbox's own limits: whoever reaches it found that those do not hold.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_code_neither_passes_nor_stays(attack: str) -> None:
    failure = sandbox.failure(ATTACKS[attack], "f", TESTS, limits=SHORT)
    assert failure is not None
    assert not left_behind()


def test_a_program_that_opens_a_shell_starts_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    source = f"""
import os, subprocess
def f():
    codes = [os.system("touch {touched}"), os.system("touch /tmp/x")]
    for start in (
        lambda: subprocess.run(["/bin/sh", "-c", "true"]),
        lambda: os.execv("/bin/sh", ["sh"]),
        lambda: os.posix_spawn("/bin/true", ["true"], {{}}),
    ):
        try:
            start()
            codes.append(0)
        except OSError:
            codes.append(1)
    return codes
"""
    (outcome,) = sandbox.outputs(source, "f", [()], limits=SHORT)
    assert outcome.error is None
    assert 0 not in outcome.value
    assert not touched.exists()


def test_a_fork_bomb_does_not_get_off_the_ground() -> None:
    mild = """
import os
def f():
    started = 0
    for _ in range(3):
        try:
            started += os.fork() > 0
        except OSError:
            pass
    return started
"""
    assert sandbox.outputs(mild, "f", [()], limits=SHORT) == [Outcome(0, None)]
    real = (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
        + RIGHT
    )
    assert sandbox.failure(real, "f", TESTS, limits=BUSY) == "it ran out of CPU time"
    threads = (
        "import threading\ndef f(x):\n    while True: threading.Thread(target=f, args=(x,)).start()"
    )
    assert (
        sandbox.failure(threads, "f", TESTS, limits=SHORT)
        == "RuntimeError: raised by the candidate"
    )
    assert not left_behind()


def test_tests_that_misbehave_are_contained_too() -> None:
    for tests in (
        "import os\nos.fork()\ndef check(candidate): pass",
        "def check(candidate):\n    while True: pass",
        "def check(candidate): open('/tmp/x', 'w')",
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "this is no Python",
        "x = 1",
    ):
        assert sandbox.failure(RIGHT, "f", tests, limits=SHORT) is not None
    assert not left_behind()


# --------------------------------------------------------------------------------------------------
# What must not be seen


def test_no_file_of_ours_is_seen_or_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with tempfile.NamedTemporaryFile("w", dir=Path.home(), suffix=".secret") as ours:
        ours.write("secret")
        ours.flush()
        source = """
import json
import os
def f(paths):
    read, written = [], []
    for path in paths:
        try:
            read.append((path, len(open(path, 'rb').read(100))))
        except OSError:
            pass
    for folder, folders, files in os.walk('/'):
        for name in ('x', *files[:2]):
            try:
                open(os.path.join(folder, name), 'a')
                written.append(os.path.join(folder, name))
            except OSError:
                pass
    written = [path for path in written if path != '/dev/null']
    return sorted(os.environ), read, written, os.listdir('/dev')
"""
        paths = [
            ours.name,
            "/etc/passwd",
            "/etc/shadow",
            "/etc/hostname",
            "/proc/self/environ",
            "/proc/1/environ",
            __file__,
        ]
        paths += ["/bin/sh", "/usr/bin/env", "/dev/mem", "/dev/tty", "/sys/kernel"]
        # On a cold disk the walk takes its time.
        (outcome,) = sandbox.outputs(source, "f", [(paths,)], limits=Limits(cpu=60, wall=240.0))
    assert outcome.error is None
    environment, read, written, devices = outcome.value
    assert set(environment) <= {"PWD", "PYTHONHASHSEED", "LC_CTYPE"}
    assert read == []
    assert written == []
    assert devices == ["null"]


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        source = """
import socket, urllib.request
def f(port):
    reached = []
    for reach in (
        lambda: socket.create_connection(("127.0.0.1", port), 1),
        lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=1),
        lambda: socket.socket(socket.AF_UNIX),
        lambda: socket.getaddrinfo("example.com", 80),
    ):
        try:
            reach()
            reached.append(1)
        except OSError:
            reached.append(0)
    return reached
"""
        (outcome,) = sandbox.outputs(source, "f", [(server.getsockname()[1],)], limits=SHORT)
        assert outcome == Outcome([0, 0, 0, 0], None)
        with pytest.raises(TimeoutError):
            server.accept()


def test_system_calls_cannot_raise_the_limits() -> None:
    source = """
import ctypes, os, resource
def f():
    libc = ctypes.CDLL(None, use_errno=True)
    raised = []
    for name in dir(resource):
        if not name.startswith('RLIMIT_'):
            continue
        if resource.getrlimit(getattr(resource, name))[1] != resource.RLIM_INFINITY:
            try:
                limit = resource.getrlimit(getattr(resource, name))[1]
                resource.setrlimit(getattr(resource, name), (limit + 1, limit + 1))
                raised.append(name)
            except (OSError, ValueError):
                pass
    calls = {
        'unshare': libc.unshare(0x10000000),
        'shmget': libc.shmget(0, 1 << 20, 0o1600),
        'setuid': libc.setuid(0),
        'mount': libc.mount(b'none', b'/dev', b'tmpfs', 0, None),
        'memfd_create': libc.memfd_create(b'x', 0),
        'chroot': libc.chroot(b'/usr'),
    }
    return raised, [name for name, result in calls.items() if result != -1], os.getuid()
"""
    (outcome,) = sandbox.outputs(source, "f", [()], limits=SHORT)
    assert outcome.error is None
    raised, succeeded, user = outcome.value
    assert raised == []
    assert succeeded == []
    assert user != 0
