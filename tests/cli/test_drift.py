"""`dspy-mux drift`: a table, JSON, exit codes, and one line for what cannot be compared."""

from __future__ import annotations

import re

import dspy
import pytest

from dspy_mux import Member, SLMMux

from ..support.rows import a_row, jsonl


def rows(questions=120, abstains=lambda q: False):
    return [
        a_row(
            f"q{q}",
            member,
            draw,
            "" if member == "b" and abstains(q) else f"x{(q + draw) % 2 if q % 3 else 0}",
            q % 2 == 0,
            split="test" if q % 2 else "train",
        )
        for q in range(questions)
        for member in "ab"
        for draw in range(3)
    ]


def line(q, *, abstains=False, at="2026-11-27T12:00:00Z", k=3):
    votes = [0, 1, 0] if q % 3 else [0, 0, 0]
    return {
        "at": at,
        "rule": "consistency",
        "schedule": "full",
        "member": "a",
        "confidence": votes.count(0) / 3,
        "trusted": None,
        "group": 0,
        "ballots": [
            {"member": "a", "votes": votes, "k": k},
            {"member": "b", "votes": [None] * 3 if abstains else votes, "k": k},
        ],
    }


@pytest.fixture
def bank(tmp_path):
    return jsonl(tmp_path / "bank.jsonl", rows())


@pytest.fixture
def alike(tmp_path):
    return jsonl(tmp_path / "alike.jsonl", [line(q) for q in range(60)])


@pytest.fixture
def changed(tmp_path):
    lines = [line(q, at="2026-11-01T12:00:00Z") for q in range(60)]
    lines += [line(q, abstains=q % 4 == 0) for q in range(60)]
    return jsonl(tmp_path / "changed.jsonl", lines)


def test_a_table_says_what_drifts(dspy_mux, bank, changed):
    code, out, err = dspy_mux("drift", bank, changed)
    assert (code, err) == (0, "")
    assert "120 questions in the log, 120 in the bank; consistency" in out
    assert "Drift: the abstention of b went from 0.0 to 12.5 % (p = 0.00" in out
    assert "in at most 5.0 % of cases" in out
    assert "With 120 questions, for example, abstentions of the pool are seen to rise from" in out


def test_nothing_drifts_in_a_log_of_the_banks_own_kind(dspy_mux, bank, alike):
    code, out, _ = dspy_mux("drift", bank, alike, "--fail-on-drift")
    assert code == 0
    assert "No figure drifts." in out


def test_drift_is_an_exit_code_where_it_is_asked_for(dspy_mux, bank, changed):
    assert dspy_mux("drift", bank, changed, "--fail-on-drift")[0] == 1
    assert dspy_mux("drift", bank, changed)[0] == 0


def test_json_has_all_figures(as_json, bank, changed):
    found = as_json("drift", bank, changed, "--change", 0.2, "--level", 0.01)
    assert (found["drifted"], found["rule"], found["k"], found["log_questions"]) == (
        *(True, "consistency", [3, 3], 120),
    )
    assert (found["level"], found["change"]) == (0.01, 0.2)
    drifted = [e for e in found["comparisons"] if e["drifted"]]
    assert ("b", "abstention") in [(e["member"], e["figure"]) for e in drifted]
    assert set(found["comparisons"][0]) == {
        *("member", "figure", "bank", "log", "change", "low", "high", "p", "p_corrected"),
        *("drifted", "bank_questions", "log_questions", "smallest_change", "questions_needed"),
    }


def test_verdicts_since_a_time_and_questions_of_a_split(as_json, bank, changed):
    found = as_json("drift", bank, changed, "--since", "2026-11-20", "--split-field", "split")
    assert (found["log_questions"], found["bank_questions"]) == (60, 60)
    before = jsonl(changed.with_name("before.jsonl"), [line(0, at="2026-11-01T12:00:00Z")])
    assert as_json("drift", bank, before)["log_questions"] == 1


def test_the_saved_mux_in_service(as_json, bank, tmp_path):
    mux = SLMMux(
        dspy.Predict("question -> answer"),
        {name: Member(dspy.LM(f"openai/{name}")) for name in "ab"},
        threshold=0.9,
    )
    mux.save(tmp_path / "mux.json")
    log = jsonl(tmp_path / "log.jsonl", [line(q) for q in range(60)])
    found = as_json("drift", bank, log, "--mux", tmp_path / "mux.json")
    assert "trusted" in [e["figure"] for e in found["comparisons"]]


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        ([line(0, k=4)], (), "k=4 draws of 'a', and .* has at most 3"),
        ([line(0)], ("--since", "tomorrow"), "--since must be a date or time"),
        ([line(0)], ("--since", "2030-01-01"), "no verdict to compare"),
        ([line(0)], ("--split-field", "part"), "has no field 'part'"),
        ([line(0)], ("--split-field", "split", "--test", "dev"), "No question has split='dev'"),
        ([line(0)], ("--mux", "mux.json"), "There is no saved mux"),
        ([{"question_id": "q0"}], (), "Line 1 of .* is no verdict"),
    ],
)
def test_what_cannot_be_compared_is_one_line(refused, bank, tmp_path, lines, options, message):
    log = jsonl(tmp_path / "log.jsonl", lines)
    assert re.search(message, refused("drift", bank, log, *options))


def test_a_log_that_is_missing(refused, bank):
    assert "cannot be read: No such file" in refused("drift", bank, "log.jsonl")
