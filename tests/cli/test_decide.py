"""`replay`, `search`, `budget`, `scale` and `tune`."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys

import pytest

from ..support.rows import a_row, jsonl
from .rows import some_rows

REPLAY = {
    "rule",
    "k",
    "members",
    "questions",
    "left_out",
    "accuracy",
    "stderr",
    "ci95",
    "union_accuracy",
    "calls_per_question",
    "frugal_calls_per_question",
    "wins",
}


# --- replay


def test_replay_tells_what_the_rule_scores(bank, as_json):
    told = as_json("replay", bank)
    assert told.keys() >= REPLAY
    assert (told["rule"], told["k"], told["members"], told["questions"], told["left_out"]) == (
        "consistency",
        4,
        ["a", "b", "c"],
        40,
        0,
    )
    low, high = told["ci95"]
    assert 0 < low <= told["accuracy"] <= high < 1
    assert told["accuracy"] <= told["union_accuracy"] <= 1
    assert 0 < told["stderr"] < 0.2
    assert told["frugal_calls_per_question"] <= told["calls_per_question"] == 12
    assert told["wins"].keys() == {"a", "b", "c"}
    assert 0.9 < sum(told["wins"].values()) <= 1 + 1e-9


def test_replay_of_all_rules_has_probability_where_draws_have_evidence(tmp_path, as_json):
    rows = [
        a_row(f"q{at}", model, draw, answer, answer == "x", answer_logprob=logprob)
        for at in range(12)
        for draw in range(2)
        for model, answer, logprob in (("a", "x", -0.1), ("b", "y", -2.0), ("c", "y", -2.5))
    ]
    told = as_json("replay", jsonl(tmp_path / "draws.jsonl", rows), "--rule", "all")["rules"]
    assert (told["probability"]["accuracy"], told["pooled"]["accuracy"]) == (1.0, 0.0)
    assert [rule for rule, figures in told.items() if "evidence" in figures] == ["calibrated"]
    assert isinstance(told["calibrated"]["evidence"], bool)
    assert told["calibrated"]["evidence_share"] in (0.0, 1.0)
    one = as_json("replay", tmp_path / "draws.jsonl", "--rule", "probability")
    assert one["rule"] == "probability"


def test_replay_says_where_calibrated_left_it_to_a_simple_rule(tmp_path, dspy_mux):
    few = jsonl(tmp_path / "few.jsonl", some_rows(count=12))
    _, out, _ = dspy_mux("replay", few, "--rule", "calibrated", "--repeats", 3)
    told = " ".join(out.split())
    assert "calibrated left it to a simple rule in 3 of 3 splits or choices of draws: " in told
    assert "/decisions/#when-calibrated-leaves-it-to-a-simple-rule says more." in told


def test_replay_says_what_calibrated_read(tmp_path, dspy_mux, as_json):
    rows = [
        a_row(f"q{at}", model, 0, model, at % 2 == right, problem=f"Which {at % 2}?")
        for at in range(40)
        for right, model in enumerate("ab")
    ]
    file = jsonl(tmp_path / "draws.jsonl", rows)
    asked = "replay", file, "--rule", "calibrated", "--context", "auto"
    assert as_json(*asked)["context"] == "problem"
    assert "calibrated weighed by the questions' field 'problem'.\n" in dspy_mux(*asked)[1]
    assert "context" not in as_json(*asked[:4])
    said = "dspy-mux: --context auto reads the questions' field 'problem'.\n"
    for verb in (("budget", file), ("tune", file, "--trials", 1)):
        code, _, err = dspy_mux(*verb, "--context", "auto")
        assert (code, err) == (0, said)


@pytest.mark.parametrize(("questions", "said"), [(3, True), (40, False)])
def test_replay_says_that_few_questions_tell_no_rules_apart(tmp_path, dspy_mux, questions, said):
    code, out, _ = dspy_mux("replay", jsonl(tmp_path / "few.jsonl", some_rows(questions)))
    assert code == 0
    assert ("are too few to tell rules apart" in out) is said


def test_replay_of_all_rules_is_one_object(bank, as_json):
    told = as_json("replay", bank, "--rule", "all", "--k", 4, "--repeats", 1)
    assert told.keys() == {"rules"}
    assert set(told["rules"]) >= {"consistency", "pooled", "calibrated", "self_consistency"}
    for rule, result in told["rules"].items():
        assert result.keys() >= REPLAY
        assert result["rule"] == rule
        assert 0 <= result["accuracy"] <= 1
    assert told["rules"]["consistency"] == as_json("replay", bank, "--repeats", 1)
    assert told["rules"]["self_consistency"]["calls_per_question"] == 4


def test_a_member_that_is_always_right_scores_one(tmp_path, as_json):
    path = jsonl(tmp_path / "bank.jsonl", some_rows(skill={"sure": 1.0, "wrong": 0.0}))
    assert as_json("replay", path, "--rule", "self_consistency:sure")["accuracy"] == 1
    assert as_json("replay", path, "--members", "wrong")["accuracy"] == 0


def test_a_seed_repeats_random_holdouts(bank, as_json):
    options = ("replay", bank, "--k", 2, "--repeats", 3, "--holdout", 0.3)
    assert as_json(*options, "--seed", 1) == as_json(*options, "--seed", 1)
    assert as_json(*options, "--seed", 1)["accuracy"] != as_json(*options, "--seed", 2)["accuracy"]
    calibrated = ("replay", bank, "--rule", "calibrated", "--repeats", 1)
    assert as_json(*calibrated) == as_json(*calibrated)


def test_a_recorded_split_is_reported(bank, as_json):
    told = as_json("replay", bank, "--split-field", "split")
    assert (told["questions"], told["repeats"]) == (20, 1)
    other = as_json("replay", bank, "--split-field", "split", "--train", "test", "--test", "train")
    assert told["accuracy"] != other["accuracy"]


def test_a_recorded_split_by_hand(tmp_path, as_json):
    # b is better on the train questions, so its answer wins the tie of the only test question.
    rows = []
    for name, split in (("q1", "train"), ("q2", "test"), ("q3", "test")):
        rows += [
            a_row(name, "a", 0, "n", False, split=split),
            a_row(name, "b", 0, "y", True, split=split),
        ]
    told = as_json("replay", jsonl(tmp_path / "bank.jsonl", rows), "--split-field", "split")
    assert (told["accuracy"], told["wins"], told["questions"]) == (1.0, {"a": 0.0, "b": 1.0}, 2)


def test_one_tested_question_is_valid_json(tmp_path, as_json):
    rows = [a_row(name, member, 0, split=name) for name in ("train", "test") for member in "ab"]
    assert (
        as_json("replay", jsonl(tmp_path / "bank.jsonl", rows), "--split-field", "split")[
            "accuracy"
        ]
        == 1
    )


def test_members_and_k_are_chosen(bank, as_json):
    told = as_json("replay", bank, "--members", "c, a", "--k", 1)
    assert (told["members"], told["k"], told["calls_per_question"]) == (["c", "a"], 1, 2)


def test_questions_with_too_few_draws_are_left_out(tmp_path, as_json):
    rows = [
        row
        for row in some_rows()
        if not (row["question_id"] in ("q0", "q7") and row["model"] == "b" and row["draw"] > 1)
    ]
    path = jsonl(tmp_path / "bank.jsonl", rows)
    assert (
        as_json("replay", path, "--k", 3)["left_out"],
        as_json("replay", path, "--k", 2)["left_out"],
    ) == (2, 0)


def test_a_threshold_makes_graded_scores_right(tmp_path, as_json):
    rows = [
        {key: value for key, value in row.items() if key != "correct"} | {"score": 0.5}
        for row in some_rows()
    ]
    path = jsonl(tmp_path / "bank.jsonl", [{**row, "answer": "x"} for row in rows])
    assert as_json("replay", path)["union_accuracy"] == 0
    assert as_json("replay", path, "--threshold", 0.5)["union_accuracy"] == 1


def test_replay_reads_a_gzipped_file(bank, tmp_path, as_json):
    packed = tmp_path / "bank.jsonl.gz"
    packed.write_bytes(gzip.compress(bank.read_bytes()))
    assert as_json("replay", packed) == as_json("replay", bank)


def test_replay_shows_a_table(bank, dspy_mux):
    code, out, err = dspy_mux("replay", bank, "--rule", "all", "--repeats", 1)
    assert (code, err) == (0, "")
    for told in (
        "consistency",
        "pooled",
        "calibrated",
        "self_consistency",
        "k=4, n = 20",
        "Some member right",
    ):
        assert told in out


def test_replay_as_a_process_prints_one_object(bank):
    command = [sys.executable, "-m", "dspy_mux", "replay", str(bank), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() >= REPLAY


# --- accuracies


def test_accuracies_are_estimated_beside_the_measured_ones(bank, as_json, dspy_mux):
    told = as_json("accuracies", bank, "--k", 2)
    assert told.keys() == {"accuracies", "measured", "k", "questions", "left_out"}
    assert (told["k"], told["questions"]) == (2, 40)
    assert told["accuracies"].keys() == told["measured"].keys() == {"a", "b", "c"}
    code, out, _ = dspy_mux("accuracies", bank)
    assert (code, "measured" in out) == (0, True)


def test_accuracies_need_no_score(tmp_path, as_json, dspy_mux, refused):
    rows = [{**row, "correct": None} for row in some_rows()]
    file = jsonl(tmp_path / "bank.jsonl", rows)
    assert as_json("accuracies", file)["measured"] is None
    assert "measured" not in dspy_mux("accuracies", file)[1]
    assert "at least two members" in refused("accuracies", file, "--members", "a")
    assert "without a score" in refused("replay", file)


# --- search, scale, tune


def test_search_tells_the_best_subsets_first(bank, as_json):
    told = as_json("search", bank, "--sizes", "1-3", "--top", 4)
    assert told.keys() >= {"results", "evaluated", "exact", "seconds"}
    assert (told["exact"], told["evaluated"], len(told["results"])) == (True, 7, 4)
    for result in told["results"]:
        assert result.keys() >= {
            "members",
            "objective",
            "union_accuracy",
            "contradiction",
            "accuracy",
        }
        assert result["objective"] == pytest.approx(
            result["union_accuracy"] - result["contradiction"]
        )
        assert 0 <= result["contradiction"] <= result["union_accuracy"] <= 1
        assert 0 <= result["accuracy"] <= 1
    objectives = [result["objective"] for result in told["results"]]
    assert objectives == sorted(objectives, reverse=True)


@pytest.mark.parametrize(
    ("sizes", "counts"), [("2", {2}), ("1,3", {1, 3}), ("1-2", {1, 2}), ("3,1-2", {1, 2, 3})]
)
def test_sizes_are_one_a_range_or_a_list(bank, as_json, sizes, counts):
    told = as_json("search", bank, "--sizes", sizes, "--top", 10, "--k", 2)
    assert {len(result["members"]) for result in told["results"]} == counts


def test_search_weighs_the_contradiction_by_the_penalty(bank, as_json):
    for result in as_json("search", bank, "--penalty", 0)["results"]:
        assert result["objective"] == pytest.approx(result["union_accuracy"])


def test_search_shows_a_table(bank, dspy_mux):
    code, out, _ = dspy_mux("search", bank)
    assert code == 0
    assert "Proven best." in out
    assert "a, b, c" in out


def test_figures_of_the_questions_that_chose_say_so(bank, dspy_mux, as_json):
    assert as_json("search", bank)["chosen_on_these_questions"] is True
    assert "in-sample: these questions chose the subsets" in dspy_mux("search", bank)[1]
    pytest.importorskip("optuna")
    for split, told in (
        ((), "cross-fitted (no question is scored"),
        (("--split-field", "split"), "of the validation split, on"),
    ):
        _, out, _ = dspy_mux("tune", bank, "--trials", 2, *split)
        assert told in out
        assert "by which the best of the trials (2) was taken: that flatters it" in out
        assert as_json("tune", bank, "--trials", 2, *split)["chosen_on_these_questions"] is True


def test_search_ranks_by_accuracy_too(bank, as_json, refused):
    told = as_json("search", bank, "--sizes", "1-3", "--by", "accuracy", "--top", 7)["results"]
    assert [result["accuracy"] for result in told] == sorted(
        (result["accuracy"] for result in told), reverse=True
    )
    assert all(result["accuracy"] <= result["union_accuracy"] for result in told)


def test_budget_tells_what_a_bound_saves_and_costs(bank, tmp_path, as_json, dspy_mux, refused):
    points = as_json("budget", bank, "--k", 2, "--bounds", "0.1,0.9")["points"]
    assert [point["bound"] for point in points] == [0.0, 0.1, 0.9]
    assert points[0]["saved"] == 0
    assert points[-1]["saved"] > 0
    code, out, err = dspy_mux(
        *("budget", bank, "--bounds", "0.9", "--split-field", "split"),
        *("--html", tmp_path / "budget.html"),
    )
    assert code == 0, err
    assert "stopped" in out
    assert "plotly" in (tmp_path / "budget.html").read_text(encoding="utf-8").lower()
    assert "--bounds must be numbers like 0.05,0.1" in refused("budget", bank, "--bounds", "few")
    assert "must lie between 0 and 1" in refused("budget", bank, "--bounds", "3")


def test_scale_tells_accuracy_over_members_and_over_draws(bank, as_json):
    told = as_json("scale", bank, "--k", 2, "--max-members", 3)
    assert told.keys() >= {"by_members", "by_draws", "k", "sweet_spot", "reason", "left_out"}
    assert {(point["size"], point["rule"]) for point in told["by_members"]} == {
        (size, rule) for size in (1, 2, 3) for rule in ("consistency", "pooled")
    }
    assert {point["k"] for point in told["by_draws"]} == {2, 3, 4}
    for point in told["by_members"]:
        assert 0 <= point["low"] <= point["accuracy"] <= point["high"] <= 1
        assert point["calls_per_question"] == 2 * point["size"]


def test_scale_writes_its_figures(bank, tmp_path, dspy_mux):
    pytest.importorskip("plotly")
    code, out, err = dspy_mux("scale", bank, "--k", 2, "--html", tmp_path / "scale.html")
    assert code == 0, err
    assert "Sweet spot" in out
    assert "plotly" in (tmp_path / "scale.html").read_text(encoding="utf-8").lower()


def test_tune_tells_the_best_setting_beside_the_papers(bank, as_json):
    pytest.importorskip("optuna")
    told = as_json("tune", bank, "--trials", 6, "--max-members", 2, "--k-max", 3)
    best = told["best"]
    assert best.keys() >= {"members", "k", "penalty", "rule", "value", "baseline_value"}
    assert len(best["members"]) <= 2
    assert best["k"] <= 3
    assert 0 <= best["value"] <= 1
    assert 0 <= best["baseline_value"] <= 1
    assert len(told["trials"]) == 6
    assert told["difference"]["mean"] == pytest.approx(best["value"] - best["baseline_value"])


def test_tune_is_the_same_for_the_same_seed(bank, as_json):
    pytest.importorskip("optuna")
    options = ("tune", bank, "--trials", 5, "--seed", 3, "--split-field", "split", "--k-max", 2)
    assert as_json(*options) == as_json(*options)


def test_tune_goes_on_with_a_stored_study(bank, tmp_path, as_json, refused):
    pytest.importorskip("optuna")
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    options = (
        "tune",
        bank,
        "--trials",
        4,
        "--max-members",
        2,
        "--split-field",
        "split",
        "--storage",
        storage,
    )
    first = as_json(*options)
    assert as_json(*options) == first  # it has the trials asked for
    second = as_json(*options, "--trials", 8)
    assert [trial["number"] for trial in second["trials"]] == list(range(8))
    assert second["trials"][:4] == first["trials"]
    assert second["best"]["value"] >= first["best"]["value"]
    assert len(as_json(*options, "--study-name", "another")["trials"]) == 4
    assert "is of other data" in refused(*options, "--members", "a,b")


def test_tune_minimizes_calls_within_a_budget(bank, as_json, refused):
    pytest.importorskip("optuna")
    told = as_json(
        "tune",
        bank,
        "--trials",
        8,
        "--split-field",
        "split",
        "--minimize",
        "calls_per_question",
        "--budget",
        4,
    )
    chosen = told["best"]
    assert len(chosen["members"]) * chosen["k"] <= 4
    costs = [setting["cost"] for setting in told["front"]]
    assert costs
    assert min(costs) >= 1
    assert "budget" in refused("tune", bank, "--trials", 2, "--budget", 4)


def test_tune_on_a_recorded_split_reports_it(bank, as_json):
    pytest.importorskip("optuna")
    told = as_json("tune", bank, "--trials", 4, "--split-field", "split")
    assert (told["questions"], told["cross_fitted"]) == (20, False)
