"""Rows without `draw`: a new run is numbered behind the recorded ones, a known one adds nothing."""

from __future__ import annotations

import pytest

from dspy_mux import DataError
from dspy_mux.bank import imported
from dspy_mux.bank.import_export import Imported, import_file
from dspy_mux.sampling.members import MOST_DRAWS

from ..support.rows import a_result_file, a_row, jsonl


def a_run(tmp_path, name, answers, model="a", **more):
    """A file of draws without numbers: `answers` are those of each question, in order."""
    rows = [
        {
            "question_id": f"q{at}",
            "model": model,
            "answer": answer,
            "correct": answer == "x",
            **more,
        }
        for at, given in enumerate(answers)
        for answer in given
    ]
    return jsonl(tmp_path / f"{name}.jsonl", rows)


def recorded(bank, member="a"):
    """Question → the answers of its draws 0, 1, …"""
    found = {}
    for row in bank.rows():
        if row["model"] == member:
            found.setdefault(row["question_id"], {})[row["draw"]] = row["answer"]
    assert all(sorted(draws) == list(range(len(draws))) for draws in found.values())
    return {
        question: "".join(draws[at] or "-" for at in sorted(draws))
        for question, draws in found.items()
    }


def test_a_second_run_is_added_behind_the_first(bank, tmp_path):
    assert import_file(bank, a_run(tmp_path, "one", ["xx", "xy"])) == Imported(added=4, already=0)
    assert import_file(bank, a_run(tmp_path, "two", ["xx", "yx"])) == Imported(added=4, already=0)
    assert recorded(bank) == {"q0": "xxxx", "q1": "xyyx"}


def test_each_run_that_is_there_adds_nothing_however_many_there_are(bank, tmp_path):
    runs = [
        a_run(tmp_path, name, answers)
        for name, answers in (("one", ["xx", "xy"]), ("two", ["yx", "xx"]), ("three", ["y", "y"]))
    ]
    for path in runs:
        import_file(bank, path)
    before = list(bank.rows())
    assert [import_file(bank, path) for path in runs] == [
        Imported(0, 4),
        Imported(0, 4),
        Imported(0, 2),
    ]
    assert list(bank.rows()) == before


def appended(path, more):
    """Append the rows of another file, as a log that grows."""
    path.write_text(path.read_text() + more.read_text())
    return path


def test_a_file_that_grew_adds_its_new_rows(bank, tmp_path):
    path = a_run(tmp_path, "begun", ["xy", "z"])
    import_file(bank, path)
    appended(path, a_run(tmp_path, "more", ["z", "z", "x"]))
    assert import_file(bank, path) == Imported(added=3, already=3)
    assert recorded(bank) == {"q0": "xyz", "q1": "zz", "q2": "x"}
    assert import_file(bank, path) == Imported(added=0, already=6)


def test_a_file_that_grew_after_another_adds_its_new_rows(bank, tmp_path):
    path = a_run(tmp_path, "begun", ["xy", "z"])
    for run in (path, a_run(tmp_path, "other", ["xx", "yy"])):
        import_file(bank, run)
    appended(path, a_run(tmp_path, "more", ["z"]))
    assert import_file(bank, path) == Imported(added=1, already=3)
    assert recorded(bank) == {"q0": "xyxxz", "q1": "zyy"}


def test_equal_rows_of_another_dataset_are_further_draws(bank, tmp_path):
    path = a_run(tmp_path, "one", ["xy"])
    assert import_file(bank, path, dataset="d") == Imported(2, 0)
    assert import_file(bank, path, dataset="e") == Imported(2, 0)
    assert import_file(bank, path, dataset="d") == Imported(0, 2)


def test_a_run_without_numbers_is_written_whole_or_not_at_all(bank, tmp_path, monkeypatch):
    monkeypatch.setattr(imported, "_BATCH", 3)
    import_file(bank, a_run(tmp_path, "other", ["zy", "yy", "yy"]))
    before, path, add = list(bank.rows()), a_run(tmp_path, "rows", ["xy", "xz", "xx"]), bank.add
    written = []

    def killed(connection, rows):
        if written:
            raise KeyboardInterrupt
        written.append(add(connection, rows))

    with monkeypatch.context() as patch:
        patch.setattr(bank, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            import_file(bank, path)
    assert list(bank.rows()) == before
    assert import_file(bank, path) == Imported(added=6, already=0)
    assert recorded(bank) == {"q0": "zyxy", "q1": "yyxz", "q2": "yyxx"}


def test_abstentions_are_compared_as_answers_are(bank, tmp_path):
    path = a_run(tmp_path, "one", [["x", ""], ["", ""]])
    import_file(bank, path)
    assert import_file(bank, path) == Imported(0, 4)
    assert import_file(bank, a_run(tmp_path, "two", [["x", ""], ["", "y"]])) == Imported(4, 0)
    assert recorded(bank) == {"q0": "x-x-", "q1": "---y"}


def test_a_file_of_other_questions_or_another_member_starts_at_the_first_draw(bank, tmp_path):
    import_file(bank, a_run(tmp_path, "one", ["x", "x"]))
    assert import_file(bank, a_run(tmp_path, "two", ["y", "x", "z"], model="b")) == Imported(3, 0)
    assert recorded(bank, "b") == {"q0": "y", "q1": "x", "q2": "z"}


def test_draws_of_two_programs_are_numbered_apart(bank, tmp_path):
    rows = [
        {key: value for key, value in a_row(answer=a, program=p).items() if key != "draw"}
        for p in "pq"
        for a in "xy"
    ]
    import_file(bank, jsonl(tmp_path / "rows.jsonl", rows))
    assert [(row["program"], row["draw"]) for row in bank.rows()] == [
        ("p", 0),
        ("p", 1),
        ("q", 0),
        ("q", 1),
    ]


def test_numbers_that_rows_have_are_kept(bank, tmp_path):
    import_file(bank, a_run(tmp_path, "one", ["xx"]))
    last = {key: value for key, value in a_row(answer="z").items() if key != "draw"}
    path = jsonl(
        tmp_path / "two.jsonl", [last, a_row(draw=1, answer="y"), a_row(draw=5, answer="y"), last]
    )
    assert import_file(bank, path) == Imported(added=3, already=1)
    assert sorted((row["draw"], row["answer"]) for row in bank.rows()) == [
        (0, "x"),
        (1, "x"),
        (5, "y"),
        (6, "z"),
        (12, "z"),
    ]


def test_more_draws_than_a_bank_numbers_are_refused(bank, tmp_path):
    import_file(bank, jsonl(tmp_path / "one.jsonl", [a_row(draw=MOST_DRAWS - 1)]))
    with pytest.raises(
        DataError,
        match="more than 10000 draws of 'a' for one question: import into another one",
    ):
        import_file(bank, a_run(tmp_path, "two", ["yy"]))


def test_a_second_result_file_of_a_model_is_added(bank, tmp_path):
    one = a_result_file(tmp_path / "one.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", None]})
    two = a_result_file(tmp_path / "two.json", "org/a", {"2+2?": ["4", "4"], "1+3?": ["4", "4"]})
    assert [import_file(bank, path) for path in (one, two, one, two)] == [Imported(4, 0)] * 2 + [
        Imported(0, 4)
    ] * 2
    assert bank.record().scores.tolist() == [[[1, 0, 1, 1]], [[1, 0, 1, 1]]]
