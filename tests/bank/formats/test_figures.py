"""A file of each format: replayed and searched, with the figures that its own tool reports."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dspy_mux import SampleBank, replay, search
from dspy_mux.bank.answer_reading import AnswerReading
from dspy_mux.bank.formats.layout import Layout
from dspy_mux.bank.import_export import import_file

from ...support.rows import a_result_file, jsonl
from . import files

pytest.importorskip("pyarrow", reason="Parquet, and logs compressed by Zstandard")


def imported(folder, *paths, reading=None, **layout):
    bank = SampleBank(folder / "bank.sqlite")
    for path in paths:
        import_file(bank, path, layout=Layout(**layout), reading=reading)
    return bank


def means(bank, dataset=None):
    """Member → the mean score of its draws."""
    record = bank.record(dataset=dataset)
    return {
        name: float(np.nanmean(np.where(record.votes[:, at] == -2, np.nan, record.scores[:, at])))
        for at, name in enumerate(record.members)
    }


def check_decisions(bank, dataset=None):
    """A bank of two members or more is replayed and searched like one that was collected."""
    record = bank.record(dataset=dataset)
    decided = replay(record, "self_consistency:" + record.members[0])
    assert decided.questions == len(record.questions)
    assert search(record, 2, k=1).results[0].members == record.members


def test_logs_of_inspect(tmp_path):
    bank = imported(tmp_path, files.SMALL_LOG, files.LARGE_LOG)
    told = json.loads(files.LARGE_LOG.read_text())["results"]["scores"][0]["metrics"]
    assert means(bank)["mockllm/large"] == pytest.approx(told["accuracy"]["value"])
    assert means(bank)["mockllm/small"] == pytest.approx(6 / 9)  # as `inspect` reads the log
    assert bank.datasets() == {"sums": 3}
    record = bank.record()
    assert record.fields["question"][0] == "What is 9 + 9?"
    assert record.fields["gold"] == ("18", "15", "42")
    assert record.evidence["temperature"][0, 0, 0] == 0.7
    check_decisions(bank)


@pytest.mark.parametrize("score", ["exact_match,strict", "exact_match,flexible"])
def test_samples_of_the_harness(tmp_path, score):
    bank = imported(tmp_path, files.SUMS, score=score)
    told = json.loads(files.HARNESS_RESULTS.read_text())
    assert means(bank) == {told["model_name"]: pytest.approx(told["results"]["sums"][score])}
    assert bank.datasets() == {"sums": 3}


def test_options_of_the_harness(tmp_path):
    bank = imported(tmp_path, files.COLOURS)
    told = json.loads(files.HARNESS_RESULTS.read_text())["results"]["colours"]["acc,none"]
    assert means(bank) == {"org/small": told}
    rows = list(bank.rows())
    assert [row["answer"] for row in rows] == ["blue", "blue"]
    assert [row["answer_logprob"] for row in rows] == [-0.1, -0.1]
    assert bank.record().fields["gold"] == ("blue", "green")


def test_repeats_of_the_harness_are_draws(tmp_path):
    bank = imported(tmp_path, files.REPEATED, reading=AnswerReading.of_type("float"))
    record = bank.record()
    assert record.votes.shape == (3, 1, 3)
    assert means(bank) == {"org/small": pytest.approx(6 / 9)}  # of draws; the harness scores one


@pytest.mark.parametrize(
    ("path", "right"), [(files.SUMS_DETAILS, 2 / 3), (files.COLOURS_DETAILS, 1 / 2)]
)
def test_details_of_lighteval(tmp_path, path, right):
    import pyarrow.parquet

    told = [
        value
        for row in pyarrow.parquet.read_table(path).to_pylist()
        for value in row["metric"].values()
    ]
    bank = imported(tmp_path, path)
    assert means(bank) == {"org/small": pytest.approx(sum(told) / len(told))}
    assert sum(told) / len(told) == right


def test_a_run_of_helm(tmp_path):
    told = json.loads((files.HELM.parent / "stats.json").read_text())[0]
    bank = imported(tmp_path, files.HELM)
    assert means(bank) == {"org/small": pytest.approx(told["mean"])}
    record = bank.record()
    assert record.fields["gold"] == ("blue", "green", "red")
    assert record.evidence["text_logprob"][0, 0, 0] == -0.25


def test_results_of_promptfoo(tmp_path):
    told = json.loads(files.PROMPTFOO.read_text())["results"]["prompts"]
    bank = imported(tmp_path, files.PROMPTFOO)
    assert means(bank) == {
        one["provider"]: pytest.approx(one["metrics"]["testPassCount"] / 9) for one in told
    }
    check_decisions(bank)


def test_promptfoo_lines_are_its_results(tmp_path):
    results = json.loads(files.PROMPTFOO.read_text())["results"]["results"]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    lines = jsonl(tmp_path / "results.jsonl", results)
    whole = imported(tmp_path / "one", files.PROMPTFOO).record()
    by_line = imported(tmp_path / "two", lines).record()
    assert np.array_equal(whole.votes, by_line.votes)
    assert np.array_equal(whole.scores, by_line.scores)


def questions(tmp_path):
    rows = [
        {"question_id": key, "question": text, "gold": gold}
        for key, (text, gold) in files.QUESTIONS.items()
    ]
    return str(jsonl(tmp_path / "questions.jsonl", rows))


def test_outputs_of_batches(tmp_path):
    paths = [
        jsonl(
            tmp_path / f"{model}.jsonl",
            [
                files.batch_line("sum-0", first, "$18", model=model),
                files.batch_line("sum-1", "It is 15.", second, model=model),
            ],
        )
        for model, first, second in (("small", "19", "14"), ("large", "18", "15.0"))
    ]
    bank = imported(
        tmp_path,
        *paths,
        reading=AnswerReading.of_type("float"),
        questions=questions(tmp_path),
    )
    assert means(bank) == {"small": 0.5, "large": 1.0}
    assert bank.record().fields["question"] == ("What is 9 + 9?", "What is 20 - 5?")
    check_decisions(bank)


def test_outputs_of_vllm(tmp_path):
    path = jsonl(
        tmp_path / "outputs.jsonl",
        [files.offline_line("9 + 9?", "18", "18.0", "19"), files.offline_line("20 - 5?", "15")],
    )
    bank = imported(tmp_path, path, model="small", reading=AnswerReading.of_type("float"))
    record = bank.record()
    assert record.members == ("small",)
    assert record.votes.tolist() == [[[0, 0, 1]], [[0, -2, -2]]]
    assert record.evidence["text_logprob"][0, 0, 0] == -0.5


def test_result_files_of_the_reference(tmp_path):
    path = a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", "4"]})
    assert means(imported(tmp_path, path)) == {"org/a": 0.75}


ROWS = [
    {"question_id": f"q{at}", "model": model, "answer": answer, "correct": answer == "x"}
    for at in range(2)
    for model in ("small", "large")
    for answer in ("x", "y" if model == "small" else "x")
]


def table(path):
    import pandas

    frame = pandas.DataFrame(ROWS)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".json":
        frame.to_json(path, orient="records", indent=1)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet", "json", "jsonl", "ndjson"])
def test_tables(tmp_path, ending):
    pytest.importorskip("pandas")
    bank = imported(tmp_path, table(tmp_path / f"rows.{ending}"))
    assert means(bank) == {"small": 0.5, "large": 1.0}
    check_decisions(bank)
