"""Which format a file is in, and what is said of those that are in none, or broken."""

from __future__ import annotations

import json
import shutil

import pytest

from dspy_mux import ConfigurationError, DataError
from dspy_mux.bank.formats.layout import Layout
from dspy_mux.bank.formats.recognition import open_source
from dspy_mux.bank.import_export import import_file

from ...support.rows import a_result_file, a_row, jsonl
from . import files

pytest.importorskip("pyarrow", reason="Parquet, and logs compressed by Zstandard")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (files.SMALL_LOG, "inspect"),
        (files.LARGE_LOG, "inspect"),
        (files.SUMS, "lm-eval"),
        (files.SUMS_DETAILS, "lighteval"),
        (files.HELM, "helm"),
        (files.PROMPTFOO, "promptfoo"),
    ],
)
@pytest.mark.parametrize("ending", [None, "", ".log"])
def test_a_format_is_found_by_the_content(tmp_path, path, name, ending):
    if ending is not None:
        path = shutil.copy(path, tmp_path / f"file{ending}")
    assert open_source(path, Layout())[0].name == name


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([files.batch_line("q0", "x")], "batch"),
        ([files.offline_line("One?", "x")], "vllm"),
        ([a_row()], "rows"),
        ([{"doc": 1, "resps": 2}], "rows"),
    ],
)
def test_a_format_of_lines_is_found_by_the_first(tmp_path, rows, name):
    assert open_source(jsonl(tmp_path / "file.jsonl", rows), Layout())[0].name == name


def test_a_result_file_is_found(tmp_path):
    path = a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4"]})
    assert open_source(path, Layout())[0].name == "reference"


def test_an_unknown_format_and_one_of_another_kind_are_refused(tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", [a_row()])
    with pytest.raises(ConfigurationError, match="no format 'excel': choose one of inspect"):
        open_source(path, Layout(format="excel"))
    with pytest.raises(ConfigurationError, match="no file of the format helm: it holds an object"):
        open_source(path, Layout(format="helm"))
    with pytest.raises(DataError, match="is not samples of lm-evaluation-harness"):
        open_source(path, Layout(format="lm-eval"))
    (tmp_path / "list.json").write_text("[1]")
    for name, title in (("helm", "a run of HELM"), ("inspect", "a log of Inspect")):
        with pytest.raises(DataError, match=f"is not {title}"):
            open_source(tmp_path / "list.json", Layout(format=name))
    with pytest.raises(ConfigurationError, match="leave --map and --each out"):
        open_source(path, Layout(format="lm-eval", each="resps"))


def test_a_bank_is_no_file_to_import(bank, tmp_path):
    other = tmp_path / "other.db"
    other.write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(DataError, match="is a bank itself"):
        import_file(bank, other)


def test_a_score_that_is_not_there_is_named_with_those_that_are(bank):
    with pytest.raises(ConfigurationError, match="no score 'f1'; it has match"):
        import_file(bank, files.LARGE_LOG, layout=Layout(score="f1"))
    with pytest.raises(ConfigurationError, match="no filter 'loose'; it has strict, flexible"):
        import_file(bank, files.SUMS, layout=Layout(score="exact_match,loose"))
    assert not bank.exists()


def test_a_column_of_rows_may_be_the_score(bank, tmp_path):
    rows = [a_row(correct=True, f1=0.25), a_row(draw=1, correct=True, f1="0.5")]
    import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), layout=Layout(score="f1"))
    assert bank.record().scores.tolist() == [[[0.25, 0.5]]]
    with pytest.raises(DataError, match=r"Line 1 of .* has no score 'f2'"):
        import_file(bank, tmp_path / "rows.jsonl", layout=Layout(score="f2"))


def test_options_are_chosen_as_the_score_chooses_them(bank, tmp_path):
    line = json.loads(files.COLOURS.read_text().splitlines()[0])
    line |= {"metrics": ["acc", "acc_norm"], "acc": 0.0, "acc_norm": 1.0}
    said = [["-2.0", "False"], ["-2.1", "False"], ["-9", "False"]]  # green, blue, red
    line["resps"], line["filtered_resps"] = [[one] for one in said], said
    for at in (0, 1, 2):
        line["arguments"][f"gen_args_{at}"]["arg_1"] = (" so", " a longer one", " x")[at]
    path = jsonl(tmp_path / "samples.jsonl", [line])
    for score, option in (("acc", "so"), ("acc_norm", "a longer one")):
        layout = Layout(score=score, model="a")
        import_file(bank, path, layout=layout, dataset=score)
        (row,) = bank.rows(dataset=score)
        assert row["answer"] == option
    line["resps"], line["filtered_resps"] = line["resps"][:1], said[:1]
    with pytest.raises(DataError, match="the likelihood of one continuation"):
        import_file(bank, jsonl(path, [line]), layout=Layout(model="a"), dataset="other")


def test_a_metric_of_the_whole_corpus_is_no_score(bank, tmp_path):
    # As f1 is kept for tasks such as MasakhaNER: the right answer and the filtered ones.
    line = json.loads(files.SUMS.read_text().splitlines()[0])
    line |= {"metrics": ["f1"], "f1": ["18", ["18"]], "filtered_resps": [["18"]]}
    line["arguments"]["gen_args_0"]["arg_1"] = {"do_sample": False, "until": ["</s>"]}
    path = jsonl(tmp_path / "samples.jsonl", [line])
    done = import_file(bank, path, layout=Layout(model="a"))
    assert "no score is one of a single answer (f1)" in done.notes[0]
    (row,) = bank.rows()
    assert (row["answer"], row["score"], row["temperature"]) == ("18", None, 0.0)
    with pytest.raises(DataError, match=r"Line 1 of .* no f1 of its own"):
        import_file(bank, path, layout=Layout(model="a", score="f1"), dataset="other")


def test_repeats_with_one_answer_ask_for_a_type(bank):
    with pytest.raises(DataError, match=r"Line 1 of .* 3 repeats and 1 filtered .* --type float"):
        import_file(bank, files.REPEATED)
    assert not bank.exists()


def changed(path, folder, change):
    """A copy of a JSON document, changed."""
    content = json.loads(path.read_text())
    change(content)
    (folder / path.name).write_text(json.dumps(content))
    return folder / path.name


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        (files.LARGE_LOG, lambda log: log["samples"][2].pop("epoch"), r"Sample 3 of .*--map"),
        (
            files.LARGE_LOG,
            lambda log: log["samples"][0]["scores"]["match"].update(value={"a": 1}),
            r"Sample 'sum-0', epoch 1 of .* several values \(a\)",
        ),
        (
            files.LARGE_LOG,
            lambda log: log["samples"][0].update(output=["x"]),
            r"Sample 'sum-0', epoch 1 of .* not as the format has it",
        ),
        (
            files.LARGE_LOG,
            lambda log: log["samples"][0].update(epoch=2),
            r"Sample 'sum-0', epoch 2 of .* repeats draw 1",
        ),
        (files.HELM, lambda run: run["request_states"][1].pop("request"), r"Request 2 of"),
        (files.HELM, lambda run: run.update(request_states=3), r"not as the format helm has it"),
        (
            files.HELM,
            lambda run: run["request_states"][1].update(reference_index=0),
            r"Request 2 of .* asks for each option by itself",
        ),
        (
            files.PROMPTFOO,
            lambda said: said["results"]["results"][3].pop("provider"),
            r"Result 4 of .* not as the format has it \(KeyError: 'provider'\)",
        ),
    ],
)
def test_what_is_not_as_the_format_has_it_is_named_and_nothing_is_written(
    bank, tmp_path, path, change, told
):
    with pytest.raises(DataError, match=told):
        import_file(bank, changed(path, tmp_path, change))
    assert not bank.exists()


def test_failed_samples_are_abstentions_with_their_cause(bank, tmp_path):
    def fail(log):
        log["samples"][0].update(error={"message": "timed out\nafter", "traceback": ""})

    import_file(bank, changed(files.LARGE_LOG, tmp_path, fail))
    assert [row["cause"] for row in bank.rows() if row["answer"] == ""] == ["timed out"]


def test_failed_requests_of_a_batch_are_abstentions(bank, tmp_path):
    rows = [
        files.batch_line("q0", "x"),
        files.batch_line("q1", error={"code": "batch_expired", "message": "too late"}),
        files.batch_line("q2", status=500, error=None),
    ]
    rows[2]["response"]["body"] = {"error": {"message": "overloaded"}}
    import_file(bank, jsonl(tmp_path / "out.jsonl", rows))
    assert [(row["model"], row["answer"], row["cause"]) for row in bank.rows()] == [
        ("small", "x", None),
        ("small", "", "too late"),
        ("small", "", "overloaded"),
    ]


def test_a_run_of_helm_without_its_scores_says_so(bank, tmp_path):
    done = import_file(bank, shutil.copy(files.HELM, tmp_path / "scenario_state.json"))
    assert "no per_instance_stats.json" in done.notes[0]
    assert {row["score"] for row in bank.rows()} == {None}


def test_files_of_one_task_join_and_those_of_another_stay_apart(bank):
    import_file(bank, files.SUMS)
    import_file(bank, files.COLOURS)
    assert bank.datasets() == {"colours": 2, "sums": 3}
    import_file(bank, files.SUMS, dataset="mine")
    assert bank.datasets() == {"colours": 2, "mine": 3, "sums": 3}


def test_a_sample_of_messages_and_attachments_is_read(bank, tmp_path):
    def change(log):
        sample = log["samples"][0]
        question = [{"type": "text", "text": "What is 9 + 9?"}, {"type": "image", "image": "x"}]
        sample["input"] = [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": question},
        ]
        sample["output"]["completion"] = "attachment://a1"
        sample["attachments"] = {"a1": "It is 18."}
        sample["output"]["choices"][0].update(
            stop_reason="max_tokens",
            logprobs={"content": [{"token": "18", "logprob": -0.5}, {"token": ".", "logprob": -1}]},
        )

    import_file(bank, changed(files.LARGE_LOG, tmp_path, change))
    row = next(iter(bank.rows()))
    assert (row["question"], row["outputs"]) == ("What is 9 + 9?", {"text": "It is 18."})
    assert (row["text_logprob"], row["lowest_logprob"]) == (-1.5, -1.0)
    assert row["finish_reason"] == "length"
