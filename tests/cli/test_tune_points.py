"""`dspy-mux tune --max-risk … --escalate …`: operating points as JSON, a table, and mistakes."""

from __future__ import annotations

import pytest

from ..support.rows import jsonl
from .rows import some_rows

TUNE = ("--trials", 4)
POINT = {"threshold", "names", "promised", "coverage", "risk", "accuracy", "escalated", "cost"}


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    skill = {"a": 0.55, "b": 0.5, "big": 0.95}
    rows = some_rows(160, 3, skill)
    return jsonl(tmp_path_factory.mktemp("tune") / "bank.jsonl", rows)


def test_the_promise_and_its_points(pool, as_json):
    found = as_json("tune", pool, *TUNE, "--max-risk", 0.3, "--confidence", 0.8)["operating"]
    assert (found["compiled"], found["large"], found["questions"]) == ("most answered", None, 80)
    assert found["points"][0]["promised"]
    assert found["points"][0].keys() == POINT
    assert "at most 30 % wrong among the answered, with 80 % confidence" in found["promise"]
    assert found["promise"] in found["note"]


def test_a_member_stands_for_the_large_model(pool, as_json, dspy_mux):
    asked = ("tune", pool, *TUNE, "--escalate", "big", "--max-escalated", 0.5)
    told = as_json(*asked)
    found = told["operating"]
    assert "big" not in told["best"]["members"]
    assert (found["compiled"], found["large"], found["promise"]) == ("most accurate", "big", None)
    assert all(point["escalated"] <= 0.5 for point in found["points"])
    code, out, _ = dspy_mux(*asked)
    assert code == 0
    assert "(compiled)" in out
    assert "What is not trusted goes to big, one call a question" in " ".join(out.split())


def test_without_an_aim_there_are_no_points(pool, as_json):
    assert "operating" not in as_json("tune", pool, *TUNE)


def test_a_recorded_split_chooses_the_setting_and_the_threshold(bank, as_json):
    asked = ("tune", bank, *TUNE, "--max-risk", 0.5, "--confidence", 0.5)
    told = as_json(*asked, "--split-field", "split", "--k-max", 2)
    assert (told["questions"], told["operating"]["questions"]) == (20, 20)


def test_too_few_labels_are_said(bank, dspy_mux, as_json):
    asked = ("tune", bank, *TUNE, "--k-max", 2, "--max-risk", 0.05)
    assert as_json(*asked)["operating"]["points"] == []
    assert "5 % at 90 % confidence needs at least 45" in " ".join(dspy_mux(*asked)[1].split())


def test_the_large_model_may_be_of_another_temperature(tmp_path, as_json):
    lines = some_rows(60, 2, {"a": 0.7, "b": 0.6, "big": 0.95})
    rows = [
        {**row, "temperature": temperature}
        for row in lines
        for temperature in ((0.0,) if row["model"] == "big" else (0.0, 0.5))
    ]
    bank = jsonl(tmp_path / "bank.jsonl", rows)
    told = as_json("tune", bank, *TUNE, "--escalate", "big", "--max-escalated", 0.9)
    assert told["operating"]["large"] == "big"
    assert {trial["greedy"] for trial in told["trials"]} == {False, True}


def test_mistakes_are_one_sentence(pool, tmp_path, refused):
    tune = ("tune", pool, *TUNE)
    assert "no member 'gpt5'; it has a, b, big" in refused(*tune, "--escalate", "gpt5")
    both = ("--escalate", "a", "--members", "a,b")
    assert "cannot be in the pool too" in refused(*tune, *both)
    assert "--max-risk must lie between 0 and 1, not 5: 0.05 is 5 %" in refused(
        *tune, "--max-risk", 5
    )
    assert "confidence must lie" in refused(*tune, "--max-risk", 0.1, "--confidence", 90)
    assert "name it" in refused(*tune, "--max-escalated", 0.5)
    assert "name it" in refused(*tune, "--max-cost", 0.5)
    priced = ("--escalate", "big", "--max-cost-per-question", 0.5)
    assert "No draw of 'big' has a recorded price" in refused(*tune, *priced)
    out_of_reach = ("--escalate", "big", "--max-risk", 0.1, "--max-escalated", 0)
    assert "stays within max_escalated=0" in refused(*tune, *out_of_reach)
    rows = some_rows(20, 2)
    for row in rows:
        row.pop("correct")
    unscored = jsonl(tmp_path / "unscored.jsonl", rows)
    assert "without a score" in refused("tune", unscored, *TUNE, "--max-risk", 0.1)
