"""Every page's Python runs from top to bottom, and every command that it shows is one."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
import typer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import dspy_mux
from dspy_mux.bank.task import load_task
from dspy_mux.cli.main import app
from eval.__main__ import app as eval_app

from ..support.browser import opened
from ..support.pools import mux_of
from ..support.served import served
from .world import fill_bank, fill_draws, world

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Run as programs of their own, from files, by mux/test_larger_program.
FILES = re.compile(r"# \w+\.py\n")
#: Pages that run in tests/mux, without the names that this world lends.
ELSEWHERE = ("streaming", "testing")


def commands(page: Path) -> list[str]:
    """Return the lines that begin with one of our commands, without their comments."""
    text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
    fenced = "\n".join(
        re.findall(r"^```(?:bash|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    )
    shown = fenced.splitlines() + re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    found = [line for line in shown if re.match(r"(dspy-mux|make|python -m eval\S*) \S", line)]
    return [re.sub(r"\s+(#|→).*", "", line) for line in found]


COMMANDS = [(page.stem, line) for page in PAGES for line in commands(page)]
MAKE = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{p}: {c}" for p, c in COMMANDS])
def test_its_commands_are_some(page, line):
    words = [word for word in shlex.split(line) if word not in ("[", "]")]
    if words[0] == "make":
        assert words[1] in MAKE
        return
    ours = words[0] == "dspy-mux"
    command = verbs(app if ours else eval_app)
    words = words[1 if ours else 3 :]
    context = command.make_context("command", [words[0]], resilient_parsing=True)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"no verb {words[0]}"
        command = command.commands[words.pop(0)]
    command.make_parser(context).parse_args(words)


@functools.cache
def verbs(of: typer.Typer) -> Any:
    """Return the parser of all commands, which takes longer to make than to use."""
    return typer.main.get_command(of)


def blocks(page: Path) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [block for block in found if not FILES.match(block)]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page) and page.stem not in ELSEWHERE],
    ids=lambda page: page.stem,
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_code_runs(page, tmp_path, monkeypatch):
    if page.stem == "tracing":  # it changes DSPy's classes, those that other tests made too
        subprocess.run([sys.executable, "-c", "\n".join(blocks(page))], check=True)
        return
    with world(tmp_path, monkeypatch) as names:
        prepare(page.stem, names)
        if page.stem == "scale":  # tests/cluster collects on clusters
            taken = inspect.signature(dspy_mux.collect)
            monkeypatch.setattr(dspy_mux, "collect", taken.bind)
        source = "\n".join(blocks(page))
        try:
            exec(compile(source, str(page), "exec"), names)
        finally:
            dspy.configure(callbacks=[])


def prepare(page: str, names: dict) -> None:
    """Make what a page's code takes for granted: what its reader has by then."""
    if page == "risk":
        fill_bank("runs/task.sqlite")
        names["prediction"] = names["mux"](question="What is 1 + 1?")
    if page == "evidence":
        fill_draws("draws.jsonl")
        names["bank"] = "runs/task.sqlite"


def test_the_clients_of_the_page_on_serving_ask_a_served_mux(monkeypatch, capsys):
    """Each by itself, as a reader who copies it would; only the port is another one."""
    found = re.findall(r"```(py|sh)\n(.*?)```", text_of("serving"), re.DOTALL)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with served({"my-mux": mux_of(["5", "5"], ["4", "5"])}) as address:
        for kind, block in found:
            block = block.replace("http://localhost:8900", address)
            if kind == "sh":
                done = subprocess.run(["sh", "-c", block], capture_output=True, check=True)
                assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "5"
            else:
                exec(compile(block, "serving.md", "exec"), {})
    assert [kind for kind, _ in found] == ["sh", "py", "py"]
    assert capsys.readouterr().out == "5\na 1.0\n['5']\n"


def test_the_task_of_your_own_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (source,) = re.findall(r"```python\n# tickets.py\n(.*?)```", text_of("task"), re.DOTALL)
    Path("tickets.py").write_text(source)
    Path("tickets.csv").write_text("question,answer\nWhere is it?,delivery\nIt broke.,repair\n")
    task = load_task("tickets")
    (example,) = task.examples("test")
    assert task.metric(example, dspy.Prediction(answer="Repair"))
    assert len(task.examples(None)) == 2


def text_of(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text("utf-8")


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    settings = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"} | {"commands"}
    assert {page for page in pages if not (tmp_path / page / "index.html").is_file()} == set()
    with opened(tmp_path / "index.html") as page:
        for name in ("decisions", "models", "commands"):
            page.driver.get((tmp_path / name / "index.html").as_uri())
            page.resize(390)
            assert page.run("return document.documentElement.scrollWidth") == 390, name
        # A table that does not fit scrolls in its own box, and the names in it stay.
        page.driver.get((tmp_path / "decisions" / "index.html").as_uri())
        page.wait(lambda: page.count(".md-typeset__scrollwrap") > 1)
        assert (
            page.run(
                "const boxes = [...document.querySelectorAll('.md-typeset__scrollwrap')];"
                "const box = boxes.find(e => e.scrollWidth > e.clientWidth);"
                "const cell = box.querySelector('tbody td');"
                "box.scrollLeft = 90;"
                "const left = e => Math.round(e.getBoundingClientRect().left);"
                "return left(cell) - left(box)"
            )
            == 0
        )


def test_addresses_are_those_of_the_project():
    """The package index shows the README, where relative links lead nowhere."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    readme = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", readme)
    assert [link for link in links if not link.startswith("https://")] == []
    ours = [link for link in links if "dspy-mux" in link]
    pages = re.compile(re.escape(urls["Documentation"]) + r"([\w-]*)/?(#.*)?$")
    for link in ours:
        if found := pages.match(link):
            assert (ROOT / "docs" / f"{found[1] or 'index'}.md").is_file(), link
        else:
            assert (ROOT / re.sub(r".*/(?:blob/|)main/", "", link)).exists(), link
