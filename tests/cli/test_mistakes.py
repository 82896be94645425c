"""What is wrong is told on one line, with exit code 2."""

from __future__ import annotations

import json
import sqlite3

import pytest

from ..support.rows import jsonl
from .rows import some_rows

VERBS = (("replay",), ("search",), ("scale", "--k", "2"), ("tune", "--trials", "2"), ("risk",))


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
    assert "has no member 'z'; it has a, b, c" in refused(
        verb[0], bank, *verb[1:], "--members", "a,z"
    )
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
        assert "holds several datasets: choose one of d, e with --dataset" in refused(
            verb[0], where, *verb[1:]
        )


def test_a_malformed_line_is_told_by_its_number(tmp_path, verb, refused):
    lines = [json.dumps(row) for row in some_rows()]
    lines[16] = lines[16][:-5]
    path = jsonl(tmp_path / "bank.jsonl", lines)
    assert f"Line 17 of {path} is not JSON" in refused(verb[0], path, *verb[1:])


def test_a_malformed_line_is_not_imported(tmp_path, refused):
    lines = [json.dumps(row) for row in some_rows()]
    lines[16] = "{"
    path = jsonl(tmp_path / "rows.jsonl", lines)
    assert f"Line 17 of {path} is not JSON" in refused(
        "bank", "import", tmp_path / "bank.sqlite", path
    )
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
        from dspy_mux.bank.import_export import import_file

        bank = SampleBank(path)
        import_file(bank, jsonl(path.with_suffix(".jsonl"), some_rows()))
        bank.close()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("what", ["truncated", "foreign", "text", "directory"])
@pytest.mark.parametrize("command", ["replay", "search", "info", "export"])
def test_a_file_that_is_not_a_bank_is_named(tmp_path, what, command, refused):
    path = tmp_path / "bank.sqlite"
    no_bank(path, what)
    arguments = {
        "info": ("bank", "info", path),
        "export": ("bank", "export", path, tmp_path / "out.jsonl"),
    }
    assert str(path) in refused(*arguments.get(command, (command, path)))


MISTAKES = {
    "k above what is recorded": (
        ("replay", "--k", "5"),
        r"holds at most 4 draws of 'a' for a question, fewer than k=5",
    ),
    "k above what is recorded, searching": (("search", "--k", "5"), "fewer than k=5"),
    "k above what is recorded, scaling": (("scale", "--k", "5"), "fewer than k=5"),
    "a ranking by something else": (
        ("search", "--by", "luck"),
        r"value for '--by': 'luck' is not one of 'objective', 'accuracy'; run `",
    ),
    "a temperature where none was recorded": (
        ("replay", "--temperature", "0.5"),
        "no draws at temperature 0.5; the temperature of its draws was not recorded: leave",
    ),
    "k of nothing": (("replay", "--k", "0"), "k must be 1 or more"),
    "k of nothing, searching": (("search", "--k", "0"), "k must be 1 or more"),
    "an unknown rule": (
        ("replay", "--rule", "majority"),
        "no rule 'majority' to replay: choose one of",
    ),
    "an unknown rule, searching": (("search", "--rule", "majority"), "no rule 'majority'"),
    "calibrated, searching": (("search", "--rule", "calibrated"), "cannot score the calibrated"),
    "a rule of an unknown member": (
        ("replay", "--rule", "self_consistency:z"),
        "names no member of a, b, c",
    ),
    "an unknown split field": (
        ("replay", "--split-field", "fold"),
        "has no field 'fold'; its questions have",
    ),
    "an unknown split value": (
        ("replay", "--split-field", "split", "--test", "dev"),
        "No question has split='dev'; there are",
    ),
    "an unknown training value": (
        ("tune", "--split-field", "split", "--train", "dev"),
        "No question has split='dev'",
    ),
    "the same split twice": (
        ("scale", "--split-field", "split", "--k", "2", "--test", "train"),
        "train and test are both 'train'",
    ),
    "an unknown context": (
        ("replay", "--rule", "calibrated", "--context", "topic"),
        "has no field 'topic'",
    ),
    "a holdout of all": (("replay", "--holdout", "1"), "must lie between 0 and 1"),
    "no repeats": (("replay", "--repeats", "0"), "number of repeats must be from 1 to 10000"),
    "no repeats of a risk": (("risk", "--repeats", "0"), "number of repeats must be from 1 to"),
    "a recorded split of no repeats": (
        ("risk", "--repeats", "0", "--split-field", "split"),
        "At least one split and one repeat",
    ),
    "a size that is text": (
        ("search", "--sizes", "two"),
        "--sizes must be like 3, 2-5 or 2,4, not 'two'",
    ),
    "a size that is empty": (("search", "--sizes", ""), "--sizes must be like"),
    "a range without its start": (("search", "--sizes", "-3"), "--sizes must be like"),
    "a range that runs backwards": (("search", "--sizes", "3-2"), "have from 1 to 3 members"),
    "a size above the pool": (("search", "--sizes", "4"), "have from 1 to 3 members"),
    "a size of nothing": (("search", "--sizes", "0-2"), "have from 1 to 3 members"),
    "a negative penalty": (("search", "--penalty=-1"), "must be 0 or more"),
    "a huge penalty": (("search", "--penalty", "1e200"), "1,000,000 at most, not 1e+200"),
    "a huge penalty of a curve": (("scale", "--penalty", "1e200"), "1,000,000 at most, not 1e+200"),
    "nothing to show": (("search", "--top", "0"), "must be 1 or more"),
    "an unknown objective": (("tune", "--minimize", "latency"), "minimize must be"),
    "a cost that was not recorded": (("tune", "--minimize", "cost_per_question"), "has no costs"),
    "a budget below all": (
        ("tune", "--trials", "2", "--minimize", "calls_per_question", "--budget", "0.5"),
        "within the budget",
    ),
    "a storage that is none": (
        ("tune", "--trials", "2", "--storage", "nowhere://x"),
        "cannot be used",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_exits_with_2(bank, refused, mistake):
    (name, *options), told = MISTAKES[mistake]
    if name == "tune":
        pytest.importorskip("optuna")
    assert told in refused(name, bank, *options)


def test_a_mistake_is_one_line_with_json_too(bank, refused):
    assert "fewer than k=5" in refused("replay", bank, "--k", 5, "--json")


def test_a_password_of_a_storage_is_not_told(bank, refused):
    pytest.importorskip("optuna")
    assert "hunter2" not in refused(
        "tune", bank, "--trials", 1, "--storage", "postgresql://u:hunter2@127.0.0.1:1/db"
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_questions_never_end_in_a_traceback(tmp_path, verb, dspy_mux, count):
    if verb[0] == "tune":
        pytest.importorskip("optuna")
    code, out, err = dspy_mux(
        verb[0], jsonl(tmp_path / "bank.jsonl", some_rows(count)), *verb[1:], "--json"
    )
    if code:
        assert (code, out) == (2, "")
        assert err.startswith("dspy-mux: ")
        assert len(err.splitlines()) == 1
    else:
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
