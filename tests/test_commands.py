"""The verbs over recorded draws: results on stdout, one JSON object with --json, one clear line for what is wrong."""

from __future__ import annotations

import gzip
import json
import os
import random
import sqlite3
import subprocess
import sys

import pytest

from dspy_mux.cli import main

from .test_exchange import a_result_file, a_row, jsonl

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
SKILL = {"a": 0.7, "b": 0.6, "c": 0.5}


def some_rows(count=40, k=4, skill=SKILL, **more):
    """Members that are right as often as their skill, the same way at each run."""
    rows = []
    for question in range(count):
        for member in skill:
            for draw in range(k):
                luck = random.Random(f"{question} {member} {draw}")
                answer = "right" if luck.random() < skill[member] else luck.choice(["wrong", "worse", ""])
                told = {"split": "test" if question % 2 else "train", "task": "xy"[question % 2], **more}
                rows.append(a_row(f"q{question}", member, draw, answer, answer == "right", **told))
    return rows


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return jsonl(tmp_path_factory.mktemp("bank") / "bank.jsonl", some_rows())


@pytest.fixture
def dspy_mux(capsys, monkeypatch):
    """The command in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dspy-mux", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        told = capsys.readouterr()
        return caught.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def as_json(dspy_mux):
    """What a verb prints with --json: one object, on one line, and nothing else."""

    def run(*arguments):
        code, out, err = dspy_mux(*arguments, "--json")
        assert code == 0, err
        assert len(out.splitlines()) == 1
        return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run


@pytest.fixture
def refused(dspy_mux):
    """The one line of a mistake: on stderr, exit code 2, no traceback."""

    def run(*arguments):
        code, out, err = dspy_mux(*arguments)
        assert (code, out) == (2, ""), err
        assert err.startswith("dspy-mux: ")
        assert len(err.splitlines()) == 1
        assert "Traceback" not in err
        return err

    return run


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


def test_replay_of_all_rules_is_one_object_of_each(bank, as_json):
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


def test_random_holdouts_are_the_same_for_the_same_seed(bank, as_json):
    options = ("replay", bank, "--k", 2, "--repeats", 3, "--holdout", 0.3)
    assert as_json(*options, "--seed", 1) == as_json(*options, "--seed", 1)
    assert as_json(*options, "--seed", 1)["accuracy"] != as_json(*options, "--seed", 2)["accuracy"]
    calibrated = ("replay", bank, "--rule", "calibrated", "--repeats", 1)
    assert as_json(*calibrated) == as_json(*calibrated)


def test_a_recorded_split_is_the_one_that_is_reported(bank, as_json):
    told = as_json("replay", bank, "--split-field", "split")
    assert (told["questions"], told["repeats"]) == (20, 1)
    other = as_json("replay", bank, "--split-field", "split", "--train", "test", "--test", "train")
    assert told["accuracy"] != other["accuracy"]


def test_a_recorded_split_by_hand(tmp_path, as_json):
    # The train questions say that b is the better one; at the tie of the only test question its answer is taken.
    rows = []
    for name, split in (("q1", "train"), ("q2", "test"), ("q3", "test")):
        rows += [a_row(name, "a", 0, "n", False, split=split), a_row(name, "b", 0, "y", True, split=split)]
    told = as_json("replay", jsonl(tmp_path / "bank.jsonl", rows), "--split-field", "split")
    assert (told["accuracy"], told["wins"], told["questions"]) == (1.0, {"a": 0.0, "b": 1.0}, 2)


def test_one_tested_question_has_no_standard_error_and_is_json_all_the_same(tmp_path, as_json):
    rows = [a_row(name, member, 0, split=name) for name in ("train", "test") for member in "ab"]
    assert as_json("replay", jsonl(tmp_path / "bank.jsonl", rows), "--split-field", "split")["accuracy"] == 1


def test_members_and_k_are_chosen(bank, as_json):
    told = as_json("replay", bank, "--members", "c, a", "--k", 1)
    assert (told["members"], told["k"], told["calls_per_question"]) == (["c", "a"], 1, 2)


def test_questions_with_too_few_draws_are_left_out_and_counted(tmp_path, as_json):
    rows = [row for row in some_rows() if not (row["question_id"] in ("q0", "q7") and row["model"] == "b" and row["draw"] > 1)]
    path = jsonl(tmp_path / "bank.jsonl", rows)
    assert (as_json("replay", path, "--k", 3)["left_out"], as_json("replay", path, "--k", 2)["left_out"]) == (2, 0)


def test_a_threshold_makes_graded_scores_right(tmp_path, as_json):
    rows = [{key: value for key, value in row.items() if key != "correct"} | {"score": 0.5} for row in some_rows()]
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
    for told in ("consistency", "pooled", "calibrated", "self_consistency", "k=4, n = 20", "Some member right"):
        assert told in out


def test_replay_as_a_process_prints_one_object(bank):
    command = [sys.executable, "-m", "dspy_mux", "replay", str(bank), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() >= REPLAY


# --- search, scale, tune


def test_search_tells_the_best_subsets_first(bank, as_json):
    told = as_json("search", bank, "--sizes", "1-3", "--top", 4)
    assert told.keys() >= {"results", "evaluated", "exact", "seconds"}
    assert (told["exact"], told["evaluated"], len(told["results"])) == (True, 7, 4)
    for result in told["results"]:
        assert result.keys() >= {"members", "objective", "union_accuracy", "contradiction", "accuracy"}
        assert result["objective"] == pytest.approx(result["union_accuracy"] - result["contradiction"])
        assert 0 <= result["contradiction"] <= result["union_accuracy"] <= 1
        assert 0 <= result["accuracy"] <= 1
    objectives = [result["objective"] for result in told["results"]]
    assert objectives == sorted(objectives, reverse=True)


@pytest.mark.parametrize(("sizes", "counts"), [("2", {2}), ("1,3", {1, 3}), ("1-2", {1, 2}), ("3,1-2", {1, 2, 3})])
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


def test_search_ranks_by_accuracy_too(bank, as_json, refused):
    told = as_json("search", bank, "--sizes", "1-3", "--by", "accuracy", "--top", 7)["results"]
    assert [result["accuracy"] for result in told] == sorted((result["accuracy"] for result in told), reverse=True)
    assert all(result["accuracy"] <= result["union_accuracy"] for result in told)


def test_budget_tells_what_a_bound_saves_and_costs(bank, tmp_path, as_json, dspy_mux, refused):
    points = as_json("budget", bank, "--k", 2, "--bounds", "0.1,0.9")["points"]
    assert [point["bound"] for point in points] == [0.0, 0.1, 0.9]
    assert points[0]["saved"] == 0
    assert points[-1]["saved"] > 0
    code, out, err = dspy_mux("budget", bank, "--k", 2, "--bounds", "0.9", "--html", tmp_path / "budget.html")
    assert code == 0, err
    assert "saved %" in out
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
    options = ("tune", bank, "--trials", 4, "--max-members", 2, "--split-field", "split", "--storage", storage)
    first, second = as_json(*options), as_json(*options)
    assert [trial["number"] for trial in second["trials"]] == list(range(8))
    assert second["trials"][:4] == first["trials"]
    assert second["best"]["value"] >= first["best"]["value"]
    assert len(as_json(*options, "--study-name", "another")["trials"]) == 4
    assert "is of other data" in refused(*options, "--members", "a,b")


def test_tune_minimizes_calls_within_a_budget(bank, as_json, refused):
    pytest.importorskip("optuna")
    told = as_json("tune", bank, "--trials", 8, "--split-field", "split", "--minimize", "calls_per_question", "--budget", 4)
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


# --- bank info, import, export


def test_a_bank_is_filled_told_and_written_out(bank, tmp_path, dspy_mux, as_json):
    made = tmp_path / "bank.sqlite"
    assert dspy_mux("bank", "import", made, bank, "--dataset", "sums") == (0, f"{bank}: 480 draws\n", "")
    told = as_json("bank", "info", made)
    assert [(row["dataset"], row["member"], row["questions"], row["draws"]) for row in told["draws"]] == [
        ("sums", member, 40, 160) for member in "abc"
    ]
    out = tmp_path / "out.jsonl"
    assert dspy_mux("bank", "export", made, out) == (0, f"{out}: 480 draws\n", "")
    assert as_json("replay", made) == as_json("replay", bank)
    assert as_json("replay", out) == as_json("replay", bank)


def test_every_verb_reads_a_bank_as_it_reads_a_file(bank, tmp_path, dspy_mux, as_json):
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, bank)
    for verb in (("search",), ("scale", "--k", 2)):
        one, two = (as_json(verb[0], where, *verb[1:]) for where in (made, bank))
        one.pop("seconds", None)
        two.pop("seconds", None)
        assert one == two


def test_several_files_are_imported_at_once(tmp_path, dspy_mux, as_json):
    made = tmp_path / "bank.sqlite"
    one = a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", "4"]})
    two = a_result_file(tmp_path / "b.json", "org/b", {"2+2?": ["5", "5"], "1+3?": ["6", "4"]})
    code, out, _ = dspy_mux("bank", "import", made, one, two)
    assert (code, len(out.splitlines())) == (0, 2)
    assert [(row["member"], row["draws"]) for row in as_json("bank", "info", made)["draws"]] == [("org/a", 4), ("org/b", 4)]


def test_bank_info_shows_a_table(bank, tmp_path, dspy_mux):
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, bank)
    code, out, _ = dspy_mux("bank", "info", made)
    assert code == 0
    assert "160" in out
    assert "default" in out


def test_bank_info_of_an_empty_bank_has_no_rows(tmp_path, as_json):
    from dspy_mux import SampleBank

    with SampleBank(tmp_path / "bank.sqlite").writing():
        pass
    assert as_json("bank", "info", tmp_path / "bank.sqlite") == {"draws": []}


def test_export_refuses_what_it_would_overwrite(bank, tmp_path, dspy_mux, refused):
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, bank)
    (tmp_path / "out.jsonl").write_text("mine")
    assert "is there already" in refused("bank", "export", made, tmp_path / "out.jsonl")
    assert "must end in" in refused("bank", "export", made, tmp_path / "out.csv")
    assert "no folder" in refused("bank", "export", made, tmp_path / "no folder" / "out.jsonl")


def test_names_in_brackets_are_text_and_no_markup(tmp_path, dspy_mux):
    path = jsonl(tmp_path / "bank.jsonl", some_rows(skill={"[red]a[/red]": 0.5, "[/b]": 0.5}))
    code, out, err = dspy_mux("replay", path)
    assert code == 0, err
    assert "[red]a[/red]" in out


# --- what is wrong


VERBS = (("replay",), ("search",), ("scale", "--k", "2"), ("tune", "--trials", "2"))


@pytest.fixture(params=VERBS, ids=lambda verb: verb[0])
def verb(request):
    if request.param[0] == "tune":
        pytest.importorskip("optuna")
    return request.param


def test_an_empty_file_is_one_line(tmp_path, verb, refused):
    (tmp_path / "bank.jsonl").write_text("\n")
    assert "holds no draws" in refused(verb[0], tmp_path / "bank.jsonl", *verb[1:])


def test_a_missing_bank_is_one_line(tmp_path, verb, refused):
    for name in ("none.jsonl", "none.sqlite"):
        assert "There is no bank" in refused(verb[0], tmp_path / name, *verb[1:])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_bank_is_one_line(tmp_path, verb, refused):
    from dspy_mux import SampleBank

    with SampleBank(tmp_path / "bank.sqlite").writing():
        pass
    assert "holds no draws yet" in refused(verb[0], tmp_path / "bank.sqlite", *verb[1:])


def test_missing_labels_are_one_line(tmp_path, verb, refused):
    rows = [{key: value for key, value in row.items() if key != "correct"} for row in some_rows()]
    told = refused(verb[0], jsonl(tmp_path / "bank.jsonl", rows), *verb[1:])
    assert "draws without a score" in told


def test_an_unknown_member_is_one_line(bank, verb, refused):
    assert "has no member 'z'; it has a, b, c" in refused(verb[0], bank, *verb[1:], "--members", "a,z")
    assert "Name each member once" in refused(verb[0], bank, *verb[1:], "--members", "a,a")
    assert "Name each member once" in refused(verb[0], bank, *verb[1:], "--members", ",")


def test_an_unknown_dataset_is_one_line(bank, tmp_path, verb, dspy_mux, refused):
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, bank)
    assert "no dataset 'z'; it has default" in refused(verb[0], made, *verb[1:], "--dataset", "z")
    assert "no dataset 'z'" in refused(verb[0], bank, *verb[1:], "--dataset", "z")


def test_several_datasets_are_one_line(tmp_path, verb, dspy_mux, refused):
    rows = [{**row, "dataset": name} for name in "de" for row in some_rows()]
    path, made = jsonl(tmp_path / "bank.jsonl", rows), tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, path)
    for where in (path, made):
        assert "holds several datasets: choose one of d, e with --dataset" in refused(verb[0], where, *verb[1:])


def test_a_malformed_line_is_told_by_its_number(tmp_path, verb, refused):
    lines = [json.dumps(row) for row in some_rows()]
    lines[16] = lines[16][:-5]
    path = jsonl(tmp_path / "bank.jsonl", lines)
    assert f"Line 17 of {path} is no JSON" in refused(verb[0], path, *verb[1:])


def test_a_malformed_line_is_not_imported(tmp_path, refused):
    lines = [json.dumps(row) for row in some_rows()]
    lines[16] = "{"
    path = jsonl(tmp_path / "rows.jsonl", lines)
    assert f"Line 17 of {path} is no JSON" in refused("bank", "import", tmp_path / "bank.sqlite", path)
    assert not (tmp_path / "bank.sqlite").exists()


def no_bank(path, what):
    if what == "foreign":
        with sqlite3.connect(path) as connection:
            connection.execute("create table invoices (id integer)")
        connection.close()
    elif what == "text":
        path.write_text("no bank\n" * 1000)
    elif what == "directory":
        path.mkdir()
    else:
        from dspy_mux import SampleBank
        from dspy_mux.exchange import import_file

        bank = SampleBank(path)
        import_file(bank, jsonl(path.with_suffix(".jsonl"), some_rows()))
        bank.close()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("what", ["truncated", "foreign", "text", "directory"])
@pytest.mark.parametrize("command", ["replay", "search", "info", "export"])
def test_what_is_no_bank_is_one_line_that_names_it(tmp_path, what, command, refused):
    path = tmp_path / "bank.sqlite"
    no_bank(path, what)
    arguments = {"info": ("bank", "info", path), "export": ("bank", "export", path, tmp_path / "out.jsonl")}
    assert str(path) in refused(*arguments.get(command, (command, path)))


MISTAKES = {
    "k above what is recorded": (("replay", "--k", "5"), r"holds at most 4 draws of 'a' for a question, fewer than k=5"),
    "k above what is recorded, searching": (("search", "--k", "5"), "fewer than k=5"),
    "k above what is recorded, scaling": (("scale", "--k", "5"), "fewer than k=5"),
    "k of nothing": (("replay", "--k", "0"), "k must be 1 or more"),
    "k of nothing, searching": (("search", "--k", "0"), "k must be 1 or more"),
    "an unknown rule": (("replay", "--rule", "majority"), "no rule 'majority' to replay: choose one of"),
    "an unknown rule, searching": (("search", "--rule", "majority"), "no rule 'majority'"),
    "calibrated, searching": (("search", "--rule", "calibrated"), "rules that need no fitting"),
    "a rule of an unknown member": (("replay", "--rule", "self_consistency:z"), "names no member of a, b, c"),
    "an unknown split field": (("replay", "--split-field", "fold"), "has no field 'fold'; its questions have"),
    "an unknown split value": (("replay", "--split-field", "split", "--test", "dev"), "No question has split='dev'; there are"),
    "an unknown training value": (("tune", "--split-field", "split", "--train", "dev"), "No question has split='dev'"),
    "the same split twice": (("scale", "--split-field", "split", "--k", "2", "--test", "train"), "train and test are both 'train'"),
    "an unknown context": (("replay", "--rule", "calibrated", "--context", "topic"), "has no field 'topic'"),
    "a holdout of all": (("replay", "--holdout", "1"), "must lie between 0 and 1"),
    "no repeats": (("replay", "--repeats", "0"), "repeats must be 1 or more"),
    "a size that is text": (("search", "--sizes", "two"), "--sizes must be like 3, 2-5 or 2,4, not 'two'"),
    "a size that is empty": (("search", "--sizes", ""), "--sizes must be like"),
    "a range without its start": (("search", "--sizes", "-3"), "--sizes must be like"),
    "a range that runs backwards": (("search", "--sizes", "3-2"), "have from 1 to 3 members"),
    "a size above the pool": (("search", "--sizes", "4"), "have from 1 to 3 members"),
    "a size of nothing": (("search", "--sizes", "0-2"), "have from 1 to 3 members"),
    "a negative penalty": (("search", "--penalty=-1"), "must be 0 or more"),
    "nothing to show": (("search", "--top", "0"), "must be 1 or more"),
    "an unknown objective": (("tune", "--minimize", "latency"), "minimize must be"),
    "a cost that was not recorded": (("tune", "--minimize", "cost_per_question"), "has no costs"),
    "a budget below all": (("tune", "--trials", "2", "--minimize", "calls_per_question", "--budget", "0.5"), "within the budget"),
    "a storage that is none": (("tune", "--trials", "2", "--storage", "nowhere://x"), "cannot be used"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(bank, refused, mistake):
    (name, *options), told = MISTAKES[mistake]
    if name == "tune":
        pytest.importorskip("optuna")
    assert told in refused(name, bank, *options)


def test_a_mistake_is_one_line_with_json_too(bank, refused):
    assert "fewer than k=5" in refused("replay", bank, "--k", 5, "--json")


def test_a_password_of_a_storage_is_not_told(bank, refused):
    pytest.importorskip("optuna")
    assert "hunter2" not in refused("tune", bank, "--trials", 1, "--storage", "postgresql://u:hunter2@127.0.0.1:1/db")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_questions_are_one_line_or_figures_and_never_a_traceback(tmp_path, verb, dspy_mux, count):
    if verb[0] == "tune":
        pytest.importorskip("optuna")
    code, out, err = dspy_mux(verb[0], jsonl(tmp_path / "bank.jsonl", some_rows(count)), *verb[1:], "--json")
    if code:
        assert (code, out) == (2, "")
        assert err.startswith("dspy-mux: ")
        assert len(err.splitlines()) == 1
    else:
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_two_programs_of_a_member_are_chosen_on_the_command_line(tmp_path, dspy_mux, as_json, refused):
    made = tmp_path / "bank.sqlite"
    for program in ("1111", "2222"):
        rows = [{**row, "program": program * 16} for row in some_rows(skill={"a": 1.0 if program == "1111" else 0.0})]
        dspy_mux("bank", "import", made, jsonl(tmp_path / f"{program}.jsonl", rows))
    assert "by 2 programs (111111111111, 222222222222)" in refused("replay", made)
    assert as_json("replay", made, "--program", "1111")["accuracy"] == 1
    assert as_json("replay", made, "--program", "latest")["accuracy"] == 0
    assert "no program '3333'" in refused("replay", made, "--program", "3333")
