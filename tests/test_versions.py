"""The range of DSPy versions that we declare, test and document is one range."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def declared():
    found = re.search(r'"(dspy[<>=][^"]*)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    return Requirement(found[1])


def test_the_installed_dspy_is_in_the_range_or_beyond_it():
    """`make test-next` runs beyond it."""
    installed, lowest = Version(metadata.version("dspy")), Version("3.4.1")
    assert installed >= lowest
    assert installed >= Version("3.5.dev0") or declared().specifier.contains(installed, True)


def test_the_range_is_what_the_readme_says():
    bounds = {bound.operator: bound.version for bound in declared().specifier}
    assert bounds == {">=": "3.4.1", "<": "3.5"}
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"DSPy from {bounds['>=']} to the last 3.4 release is supported" in readme


def test_make_knows_every_session():
    sessions = re.findall(r"^def ([a-z]+)\(session", (ROOT / "noxfile.py").read_text(), re.M)
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"--session (\w+)", makefile)) == set(sessions)
