"""The pictures of docs/decisions.md are what the rules decide."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from dspy_mux.voting.rules import RULES

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "rule_pictures.py"))


@pytest.mark.parametrize("rule", SCRIPT["PICTURES"])
def test_a_picture_is_what_the_rule_decides(rule):
    file = DOCS / "images" / f"rule_{rule}.svg"
    assert file.read_text("utf-8") == SCRIPT["picture"](rule), "run `python docs/rule_pictures.py`"
    assert f"images/{file.name}" in (DOCS / "decisions.md").read_text("utf-8")


def test_the_learned_rule_decides_its_picture_itself():
    assert SCRIPT["learned"]().decided_by == "calibrated"


def test_every_rule_has_a_picture_and_no_other():
    files = {file.stem.removeprefix("rule_") for file in (DOCS / "images").glob("rule_*.svg")}
    assert files == set(SCRIPT["PICTURES"]) == {*RULES, "calibrated"}
