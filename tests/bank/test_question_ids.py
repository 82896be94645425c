"""Question ids are a file's word, and the content decides: two questions of one id never merge."""

from __future__ import annotations

import re

import dspy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dspy_mux import DataError, read_jsonl
from dspy_mux.bank.collect import collect
from dspy_mux.bank.import_export import export_file, import_file

from ..support.rows import a_result_file, a_row, jsonl
from ..support.skilled import a_member, a_mux, metric


def parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def unnumbered(path, rows):
    return jsonl(path, [{key: row[key] for key in row if key != "draw"} for row in rows])


def sums(first, model="a"):
    """Rows of four questions with the ids 0 to 3."""
    return [
        {
            **a_row(n, model, answer="right"),
            "question": f"{first + n} + {first + n}?",
            "gold": 2 * (first + n),
        }
        for n in range(4)
    ]


@pytest.mark.parametrize("write", [jsonl, parquet, unnumbered])
def test_other_questions_of_known_ids_are_refused_naming_both(bank, tmp_path, write):
    ending = "parquet" if write is parquet else "jsonl"
    one = write(tmp_path / f"one.{ending}", sums(0))
    two = write(tmp_path / f"two.{ending}", sums(10))
    import_file(bank, one)
    before = list(bank.rows())
    with pytest.raises(
        DataError,
        match=re.escape(
            f"{two} has the question '0' with the question '10 + 10?', and the bank {bank.name} "
            f"has it in the dataset 'default' (imported from one.{ending}) with the question "
            "'0 + 0?': import the file under a dataset of its own (dataset=…, --dataset)"
        ),
    ):
        import_file(bank, two)
    assert list(bank.rows()) == before
    assert import_file(bank, two, dataset="second").added == 4
    assert bank.datasets() == {"default": 4, "second": 4}


def test_another_right_answer_to_a_known_question_is_refused(bank, tmp_path):
    rows = sums(0)
    import_file(bank, jsonl(tmp_path / "one.jsonl", rows))
    others = [{**row, "model": "b", "gold": 7} for row in rows]
    with pytest.raises(DataError, match="the question '0' with the gold 7, .* with the gold 0"):
        import_file(bank, jsonl(tmp_path / "two.jsonl", others))


def test_result_files_with_other_right_answers_are_refused(bank, tmp_path):
    import_file(bank, a_result_file(tmp_path / "a.json", "a", {"2+2?": ["4"]}))
    with pytest.raises(DataError, match=r"with the gold '5', .* \(imported from a.json\) .* '4'"):
        import_file(bank, a_result_file(tmp_path / "b.json", "b", {"2+2?": ["4"]}, gold="5"))


@pytest.mark.parametrize(
    ("field", "values"), [("question", ("2+2?", "3+3?")), ("gold", (4, 5)), ("target", ("a", "b"))]
)
def test_one_id_of_two_questions_in_a_file_is_refused_by_its_rows(bank, tmp_path, field, values):
    rows = [{**a_row("q0", draw=n), field: value} for n, value in enumerate(values)]
    path = jsonl(tmp_path / "rows.jsonl", [a_row("q1"), *rows])
    for use in (read_jsonl, lambda path: import_file(bank, path)):
        with pytest.raises(
            DataError,
            match=re.escape(
                f"has the question_id 'q0' with the {field} {values[1]!r}, and line 2 has it with "
                f"the {field} {values[0]!r}"
            ),
        ):
            use(path)
    assert not bank.exists()


def test_nothing_of_a_file_is_imported_when_one_of_its_datasets_is_refused(bank, tmp_path):
    import_file(bank, jsonl(tmp_path / "one.jsonl", sums(0)), dataset="z")
    rows = [{**row, "dataset": "a"} for row in sums(0)]
    rows += [{**row, "dataset": "z"} for row in sums(10)]
    with pytest.raises(DataError, match="in the dataset 'z'"):
        import_file(bank, jsonl(tmp_path / "two.jsonl", rows))
    assert bank.datasets() == {"z": 4}


def test_what_is_not_the_question_may_differ_from_file_to_file(bank, tmp_path):
    rows = sums(0)
    import_file(bank, jsonl(tmp_path / "one.jsonl", [{**row, "run": 1} for row in rows]))
    again = [
        {**row, "model": "b", "run": 2, "split": "test", "gold": f"{row['gold']}.0"}
        | {"question": f" {row['question']}\n"}
        for row in rows
    ]
    bare = [
        {key: row[key] for key in row if key not in ("question", "gold")} | {"model": "c"}
        for row in rows
    ]
    for name, more in (("two.jsonl", again), ("three.jsonl", bare)):
        assert import_file(bank, jsonl(tmp_path / name, more)).added == 4
    assert bank.record().votes.shape == (4, 3, 1)


def examples(first):
    return [
        dspy.Example(question=f"{first + n} + {first + n}?", question_id=n, answer="right")
        for n in range(4)
    ]


@pytest.mark.parametrize("collected_first", [True, False])
def test_collected_questions_and_imported_ones_of_their_ids_stay_apart(
    bank, tmp_path, collected_first
):
    def collected():
        asked = [example.with_inputs("question") for example in examples(10)]
        collect(a_mux(a_member("a")), asked, metric, bank)

    def imported():
        import_file(bank, jsonl(tmp_path / "one.jsonl", sums(0)))

    for step in (collected, imported) if collected_first else (imported, collected):
        step()
    assert bank.datasets() == {"default": 8}
    assert {row["question"] for row in bank.rows()} == {
        f"{n} + {n}?" for n in (*range(4), *range(10, 14))
    }


def test_collections_whose_ids_are_the_same_stay_apart(bank):
    for first in (0, 10):
        asked = [example.with_inputs("question") for example in examples(first)]
        assert collect(a_mux(a_member("a")), asked, metric, bank).drawn == 12
    assert bank.datasets() == {"default": 8}


def answered(gold):
    return [dspy.Example(question="2+2?", answer=gold).with_inputs("question")]


def test_imported_scores_by_a_gold_answer_that_is_corrected_are_made_anew(bank, tmp_path):
    mux = a_mux(a_member("a", skill=1.0))
    collect(mux, answered("left"), metric, bank)
    export_file(bank, tmp_path / "out.jsonl")
    with bank.writing() as connection:
        for table in ("mux_scores", "mux_draws", "mux_questions"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    import_file(bank, tmp_path / "out.jsonl")
    assert bank.record().scores.max() == 0
    assert collect(mux, answered("left"), metric, bank).rescored == 0
    done = collect(mux, answered("right"), metric, bank)
    assert (done.drawn, done.rescored) == (0, 3)
    assert bank.record().scores.min() == 1


def test_an_export_by_a_former_gold_answer_is_refused(bank, tmp_path):
    mux = a_mux(a_member("a"))
    collect(mux, answered("left"), metric, bank)
    export_file(bank, tmp_path / "out.jsonl")
    assert import_file(bank, tmp_path / "out.jsonl").already == 3
    collect(mux, answered("right"), metric, bank)
    with pytest.raises(DataError, match="with the answer 'left', .* with the answer 'right'"):
        import_file(bank, tmp_path / "out.jsonl")
