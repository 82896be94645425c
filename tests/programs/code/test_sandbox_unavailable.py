"""Without a sandbox no code runs, and the message says what is missing and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from programs.code import sandbox
from programs.code.sandbox import SandboxUnavailable

RIGHT = "def f(x):\n    return f'expected {x * x}'\n"


def test_without_bubblewrap_nothing_runs(
    tmp_path: Path,
) -> None:
    touched = tmp_path / "touched"
    source = f"open({str(touched)!r}, 'w')"
    code = (
        "from programs.code import sandbox\n"
        "try:\n    sandbox.check()\nexcept Exception as error:\n    print(type(error).__name__, "
        "error)\n"
        f"sandbox.outputs({source!r}, 'f', [()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith(
        "SandboxUnavailable Models' code runs only in a bubblewrap sandbox"
    )
    assert "apt install bubblewrap" in done.stdout
    assert "SandboxUnavailable" in done.stderr
    assert not touched.exists()


def test_on_another_platform_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(
        SandboxUnavailable, match="needs Linux on x86-64 or ARM64, not Linux on riscv64"
    ):
        sandbox.outputs(RIGHT, "f", [(1,)])


def test_a_failing_bubblewrap_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(
        SandboxUnavailable,
        match="No permissions to create new namespace.*allow unprivileged user namespaces",
    ):
        sandbox.outputs(RIGHT, "f", [(1,)])
