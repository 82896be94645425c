"""`python -m eval evidence` on banks whose evidence tells right answers from wrong ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from dspy_mux import ConfigurationError
from eval.__main__ import app
from eval.evidence.sources import read_source

MEMBERS = ("a", "b", "c")
QUESTIONS = 120


def bank(tmp_path, *, name="draws.jsonl", telling=True, temperatures=(0.0, 0.5), old=False):
    """Write draws: members are right at random, and sure where they are right if `telling`."""
    random, rows = np.random.default_rng(0), []
    for question in range(QUESTIONS):
        for at, member in enumerate(MEMBERS):
            right, doubt = bool(random.random() < 0.55), random.random()
            for temperature in temperatures:
                for draw in range(1 if temperature == 0 else 3):
                    sure = -0.1 if right or not telling else -2.0 - doubt
                    row = {
                        "question_id": f"q{question}",
                        "model": member,
                        "draw": draw,
                        "answer": "right" if right else f"wrong {at}",
                        "correct": right,
                        "temperature": temperature,
                    }
                    if old:
                        row |= {"lp_span": sure, "lp_sum": 3 * sure, "tokens": 20, "lp_tail": -1}
                        del row["temperature"]
                    else:
                        row["token_logprobs"] = [sure / 2, sure / 2]
                    rows.append(row)
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(*arguments):
    result = CliRunner().invoke(app, ["evidence", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_evidence_that_tells_shows_in_every_figure(tmp_path):
    found = json.loads(
        run(bank(tmp_path), "--labels", "60", "--k", "1,3", "--repeats", "3", "--json")
    )
    (source,) = found["banks"]
    assert (source["questions"], source["left_out"], found["repeats"]) == (QUESTIONS, 0, 3)
    cells = {(c["rule"], c["temperature"], c["k"]): c for c in source["cells"]}
    assert len(cells) == 6 * 3
    assert {cell["labels"] for cell in cells.values()} == {60}
    greedy = cells["probability", "greedy", 1]
    assert greedy["calls_per_question"] == 3
    assert (
        greedy["roc_area"]["mean"]
        > 0.9
        > 0.6
        > cells["consistency", "greedy", 1]["roc_area"]["mean"]
    )
    gaps = {
        (g["rule"], g["minus"], g["setting"], g["minus_setting"]): g for g in source["differences"]
    }
    gap = gaps["probability", "consistency", "greedy, k=1", "k=3"]
    assert gap["mean"] > 0.2
    assert gap["low"] > 0.1
    assert gap["mean"] == pytest.approx(
        greedy["accuracy"]["mean"] - cells["consistency", "sampled", 3]["accuracy"]["mean"]
    )
    assert gaps["calibrated with evidence", "calibrated on votes", "k=3", "k=3"]["low"] > 0


def test_rules_on_votes_see_no_evidence(tmp_path):
    options = ("--labels", "30", "--k", "3", "--repeats", "2")
    told, silent = (
        json.loads(run(bank(tmp_path, telling=telling), *options, "--json"))
        for telling in (True, False)
    )
    by_rule = [
        {c["rule"]: c["accuracy"]["mean"] for c in each["banks"][0]["cells"]}
        for each in (told, silent)
    ]
    for rule in ("best member", "pooled", "consistency", "calibrated on votes"):
        assert by_rule[0][rule] == by_rule[1][rule]
    assert by_rule[0]["probability"] > by_rule[1]["probability"]


def test_tables_print_with_a_title_for_each_bank(tmp_path):
    shown = run(bank(tmp_path), "--labels", "30", "--k", "1", "--repeats", "2", "--markdown")
    assert "### draws, 120 questions: accuracy % (95 % interval)" in shown
    assert "| greedy, k=1 | probability | 3 |" in shown
    assert "probability − consistency" in shown


def test_old_names_of_evidence_are_read(tmp_path):
    source = read_source(str(bank(tmp_path, temperatures=(0.5,), old=True)))
    assert source.greedy is None
    evidence = source.sampled.evidence
    assert math.isclose(np.nanmax(evidence["answer_logprob"]), -0.1)
    assert math.isclose(np.nanmax(evidence["text_logprob"]), -0.3, rel_tol=1e-6)
    assert np.nanmax(evidence["completion_tokens"]) == 20


def test_questions_without_greedy_draws_are_left_out_and_counted(tmp_path):
    file = bank(tmp_path)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [r for r in rows if (r["question_id"], r["temperature"]) != ("q0", 0.0)]
    file.write_text("".join(json.dumps(row) + "\n" for row in reversed(kept)))
    source = read_source(str(file))
    assert source.left_out == 1
    assert source.greedy.questions == source.sampled.questions
    # The same members in the same order, although the rows came in another.
    assert source.greedy.members == source.sampled.members


def test_several_warm_temperatures_are_refused(tmp_path):
    file = bank(tmp_path, temperatures=(0.3, 0.5))
    with pytest.raises(ConfigurationError, match="draws at 2 temperatures above 0"):
        read_source(str(file))
