"""The package that is published: built as `make package` builds it, without a network."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: What is made while the code runs, and no part of it.
MADE = {"__pycache__", ".DS_Store"}


def run(*words: str, **settings) -> str:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, **settings
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def sources(room: str) -> set[str]:
    """The files below a folder, code and data."""
    paths = (path.relative_to(ROOT) for path in (ROOT / room).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not MADE & {*path.parts}}


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_index_would_take_both(built):
    run("-m", "twine", "check", "--strict", *map(str, built))


def test_the_wheel_holds_the_library_with_its_data_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == sources("dspy_mux")


def test_the_sources_hold_what_the_tests_need(built):
    with tarfile.open(built[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    for room in ("dspy_mux", "programs", "eval", "tests", "docs", "examples"):
        assert sources(room) <= names, room
    assert {"CONTRIBUTING.md", "SECURITY.md", "Makefile", "mkdocs.yml", "noxfile.py"} <= names


def test_the_metadata_says_where_everything_is(built):
    metadata = metadata_of(built[1])
    labels = {url.partition(",")[0] for url in metadata.get_all("Project-URL")}
    assert {"Documentation", "Source", "Issues", "Changes"} <= labels
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == "<3.14,>=3.10"
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_the_page_on_the_index_has_no_relative_link(built):
    text = metadata_of(built[1]).get_payload()
    links = re.findall(r"\]\(([^)\s]+)", text)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


SHOW = """
import runpy, sys

import dspy_mux

print(dspy_mux.__file__)
sys.argv[1:] = ["--version"]
runpy.run_module("dspy_mux", run_name="__main__")
"""


def test_the_wheel_installs_and_runs(built, tmp_path):
    place, wheel = tmp_path / "site", str(built[1])
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(place), wheel)
    environment = {**os.environ, "PYTHONPATH": str(place)}
    where, version = run("-c", SHOW, cwd=tmp_path, env=environment).splitlines()
    assert Path(where).is_relative_to(place)
    assert metadata_of(built[1])["Version"] in version
    assert list(place.glob("*/dspy-mux*"))
