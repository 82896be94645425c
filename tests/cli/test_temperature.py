"""`--temperature`: which draws the verbs read of a file or bank that has several."""

from __future__ import annotations

import pytest

from ..support.rows import jsonl
from .rows import some_rows


@pytest.fixture(params=["rows.jsonl", "bank.sqlite"])
def source(request, tmp_path, dspy_mux):
    """The rows at 0.5, and greedy draws that are wrong throughout."""
    rows = some_rows()
    greedy = [{**row, "answer": "greedy", "correct": False} for row in rows if row["draw"] == 0]
    rows = [{**row, "temperature": 0.5} for row in rows]
    file = jsonl(tmp_path / "rows.jsonl", [*rows, *({**row, "temperature": 0} for row in greedy)])
    if request.param == "rows.jsonl":
        return file
    assert dspy_mux("bank", "import", tmp_path / "bank.sqlite", file)[0] == 0
    return tmp_path / "bank.sqlite"


def test_every_verb_asks_for_a_choice(source, dspy_mux):
    for verb in ("replay", "search", "budget", "accuracies", "risk"):
        code, out, err = dspy_mux(verb, source)
        assert (code, out, err.count("\n")) == (2, "", 1), (verb, err)
        assert "holds draws of 'a' at the temperatures 0, 0.5, which never mix: choose one" in err


def test_a_choice_is_what_the_verbs_read(source, bank, as_json):
    replay = "replay", source, "--repeats", 1, "--k", 1, "--temperature"
    plain = as_json("replay", bank, "--repeats", 1, "--k", 1)
    assert as_json(*replay, "0.5") == plain
    assert as_json(*replay, "0")["accuracy"] == 0
    each = as_json(*replay, "each")
    assert set(each["members"]) == {f"{name}@{at}" for name in "abc" for at in ("0", "0.5")}


def test_members_of_fewer_draws_say_which_k_to_choose(source, dspy_mux, as_json):
    each = "--temperature", "each"
    for verb in ("replay", "search", "budget", "accuracies", "tune", "scale", "risk"):
        code, out, err = dspy_mux(verb, source, *each)
        assert (code, out, err.count("\n")) == (2, "", 1), (verb, err)
        assert "at most 1 draw of 'a@0' for a question and 4 of 'a@0.5': pass k=1 (--k 1; " in err
    assert as_json("accuracies", source, *each, "--k", 1)["k"] == 1
    tuned = as_json("tune", source, *each, "--k-max", 1, "--trials", 1, "--max-members", 6)
    assert tuned["best"]["k"] == 1
    points = as_json("scale", source, *each, "--k-max", 1, "--max-members", 2)["by_members"]
    assert {point["k"] for point in points} == {1}


def test_a_temperature_that_is_none_is_refused_in_one_line(source, dspy_mux):
    assert (
        "no draws at temperature 0.7; it has 0, 0.5"
        in (dspy_mux("replay", source, "--temperature", "0.7")[2])
    )
    assert dspy_mux("replay", source, "--temperature", "hot")[2] == (
        "dspy-mux: --temperature must be a number such as 0.5, or 'each', not 'hot'.\n"
    )


def test_an_overview_needs_no_choice(source, as_json):
    rows = as_json("bank", "info", source)["draws"]
    assert sorted((row["temperature"], row["draws"], row["evidence"]) for row in rows) == [
        *[(0.0, 40, 0)] * 3,
        *[(0.5, 160, 0)] * 3,
    ]
