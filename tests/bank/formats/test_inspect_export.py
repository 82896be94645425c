"""A bank as Inspect's logs: as its library has them, and read back as they were."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from dspy_mux import ConfigurationError, SampleBank
from dspy_mux.bank.answer_reading import AnswerReading
from dspy_mux.bank.import_export import export_file, import_file

from ...support.records import some_rows
from ...support.rows import a_row, jsonl
from . import files


def logs_of(bank, folder):
    export_file(bank, folder, format="inspect")
    return sorted(folder.iterdir())


def content(log):
    with zipfile.ZipFile(log) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def rows_of(bank):
    """Member → its draws, without what a log has no place for."""
    found = {}
    for row in bank.rows():
        kept = ("question_id", "draw", "answer", "score", "cause", "temperature", "prompt_tokens")
        found.setdefault((row["dataset"], row["model"]), []).append(
            {name: row.get(name) for name in (*kept, "finish_reason", "task", "gold")}
        )
    return {key: sorted(rows, key=lambda row: str(row)) for key, rows in found.items()}


@pytest.fixture
def filled(bank, tmp_path):
    """Draws of two members and an odd question, some of them abstentions, some by a type."""
    rows = [
        {
            **a_row(f"q{at}", member, draw, text, None, gold=str(at + 1), task="+"),
            "question": f"{at} + 1?",
        }
        for at in range(2)
        for member in ("org/small", "large")
        for draw, text in enumerate(["1", "2.0", "$2", "none"])
    ]
    more = {"temperature": 0.5, "prompt_tokens": 7, "completion_tokens": 2, "seconds": 0.5}
    rows = [{**row, **more, "finish_reason": "stop", "created": 1.7e9} for row in rows]
    rows.append(a_row("a/../b é", "large", 0, "3", None, temperature=0.5))
    path = jsonl(tmp_path / "rows.jsonl", rows)
    import_file(bank, path, dataset="sums", reading=AnswerReading.of_type("float"))
    return bank


def test_a_log_is_as_the_library_has_it(filled, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((files.DATA / "inspect" / "schema.json").read_text())
    summary = {"$ref": "#/$defs/EvalSampleSummary", "$defs": schema["$defs"]}
    whole, short = map(jsonschema.Draft202012Validator, (schema, summary))
    for log in logs_of(filled, tmp_path / "logs"):
        said = content(log)
        samples = [value for name, value in said.items() if name.startswith("samples/")]
        whole.validate({**said["header.json"], "samples": samples})
        for one in said["summaries.json"]:
            short.validate(one)
        named = {f"samples/{one['id']}_epoch_{one['epoch']}.json" for one in samples}
        assert named == {name for name in said if name.startswith("samples/")}
        assert said["header.json"]["results"]["total_samples"] == len(samples)


def test_the_mean_of_a_log_is_that_of_the_bank(filled, tmp_path):
    record = filled.record()
    for log, at in zip(logs_of(filled, tmp_path / "logs"), (0, 1), strict=True):
        said = content(log)["header.json"]
        scores = record.scores[:, at][record.votes[:, at] != -2]
        unscored = np.isnan(scores).sum()
        (one,) = said["results"]["scores"]
        assert said["eval"]["model"] == record.members[at]
        assert one["unscored_samples"] == unscored
        assert one["metrics"]["mean"]["value"] == pytest.approx(np.nanmean(scores))


def test_an_exported_bank_is_read_back_as_it_was(filled, tmp_path):
    other = SampleBank(tmp_path / "other.sqlite")
    for log in logs_of(filled, tmp_path / "logs"):
        import_file(other, log)
    assert rows_of(other) == rows_of(filled)
    assert other.record().votes.tolist() == filled.record().votes.tolist()


def test_text_answers_are_read_back(bank, tmp_path):
    import_file(bank, jsonl(tmp_path / "rows.jsonl", some_rows()))
    other = SampleBank(tmp_path / "other.sqlite")
    for log in logs_of(bank, tmp_path / "logs"):
        import_file(other, log)
    assert rows_of(other) == rows_of(bank)


def test_a_log_of_inspect_survives_the_way_in_and_out(bank, tmp_path):
    import_file(bank, files.LARGE_LOG)
    other = SampleBank(tmp_path / "other.sqlite")
    (log,) = logs_of(bank, tmp_path / "logs")
    import_file(other, log)
    assert rows_of(other) == rows_of(bank)
    original = json.loads(files.LARGE_LOG.read_text())["results"]["scores"][0]["metrics"]
    said = content(log)["header.json"]["results"]["scores"][0]["metrics"]["mean"]["value"]
    assert said == pytest.approx(original["accuracy"]["value"])


def test_a_folder_that_is_there_stays(filled, tmp_path):
    (tmp_path / "logs").mkdir()
    with pytest.raises(ConfigurationError, match="is there already"):
        export_file(filled, tmp_path / "logs", format="inspect")
    with pytest.raises(ConfigurationError, match="no format 'excel'"):
        export_file(filled, tmp_path / "new", format="excel")
    assert sorted(path.name for path in tmp_path.glob("logs*")) == ["logs"]
