"""Shell completion, by the protocol that the shells' scripts speak, and in a real bash."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dspy_mux.local import CATALOG
from dspy_mux.voting.rules import RULES

from ..support.commands import dspy_mux, run_here
from ..support.terminal import terminal


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "pool.toml",
        "pairs.toml",
        "mux.json",
        "bank.sqlite",
        "draws.jsonl.gz",
        "notes",
        ".own.toml",
    ):
        Path(name).write_text("")
    Path("runs").mkdir()
    Path("runs/task.sqlite").write_text("")
    return tmp_path


def offered(line: str) -> list[str]:
    """What bash is offered at the end of a line."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    done = run_here(
        dspy_mux,
        _DSPY_MUX_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(words).rstrip("\n") + "\n",
        COMP_CWORD=str(len(words) - 1),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dspy-mux re", ["replay"]),
        ("dspy-mux bank ex", ["export"]),
        ("dspy-mux ask --p", ["--pool"]),
        ("dspy-mux ask --pool p", ["pairs.toml", "pool.toml"]),
        ("dspy-mux ask --pool ", ["pairs.toml", "pool.toml", "runs/"]),
        ("dspy-mux ask --pool .", [".own.toml"]),
        ("dspy-mux serve --mux ", ["mux.json", "runs/"]),
        ("dspy-mux replay ", ["bank.sqlite", "draws.jsonl.gz", "runs/"]),
        ("dspy-mux replay runs/", ["runs/task.sqlite"]),
        ("dspy-mux replay r", []),  # the only folder: bash adds a slash and no space
        ("dspy-mux replay bank.sqlite --rule p", ["pooled", "probability"]),
        ("dspy-mux replay bank.sqlite --rule=ca", ["calibrated"]),
        ("dspy-mux risk bank.sqlite --train ", ["train", "val", "test"]),
        ("dspy-mux search bank.sqlite --by o", ["objective"]),
        ("dspy-mux collect t --pool pool.toml --bank b --ray l", ["local"]),
        ("dspy-mux bank import b f --format l", ["lm-eval", "lighteval"]),
        ("dspy-mux pull ", [*CATALOG]),
    ],
)
def test_what_is_offered(line, expected):
    assert offered(line) == expected


def test_every_rule_is_offered():
    assert set(offered("dspy-mux replay b --rule ")) == {*RULES, "calibrated", "all"}


def test_names_that_need_quotes_are_left_to_the_shell():
    Path("my pool.toml").write_text("")
    assert offered("dspy-mux ask --pool ") == []


@pytest.mark.parametrize(
    ("shell", "action", "expected"),
    [
        ("zsh", {}, """_arguments '*: :(("pooled"\n"probability"))'"""),
        ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "pooled\nprobability"),
    ],
)
def test_zsh_and_fish_are_offered_the_same(shell, action, expected):
    done = run_here(
        dspy_mux,
        _DSPY_MUX_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="dspy-mux replay bank.sqlite --rule p",
        **action,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, expected, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_in_a_real_bash(folder):
    tool = folder / "tools" / "dspy-mux"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dspy_mux "$@"\n')
    tool.chmod(0o755)
    path = f"{tool.parent}:/usr/bin:/bin"
    with terminal(["bash", "--norc", "-i"], PATH=path, PS1="$ ", HOME=str(folder)) as bash:
        bash.until(r"\$ ")
        bash.type("dspy-mux --install-completion\n")
        bash.until(r"(?s)bash completion installed in .*\$ ")
        bash.type("source .bashrc\n")
        bash.until(r"\$ ")
        bash.type("dspy-mux replay b\t")
        bash.until("replay bank.sqlite ")
        bash.type("--rule calib\t")
        bash.until("--rule calibrated ")
        bash.type("\x15exit\n")
        assert bash.end() == 0


def test_the_shell_does_not_wait_for_dspy():
    code = "import dspy_mux.cli.main, sys; print({'dspy', 'numpy', 'litellm'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
