"""A mux's predictions where DSPy shows or stores them: as any program's, with its fields alone."""

from __future__ import annotations

import copy
import csv
import json

import cloudpickle
import dspy
import pytest

from ..support.pools import mux_of

DEVSET = [dspy.Example(question=f"{n}?", answer="x").with_inputs("question") for n in range(3)]


def exact(example, pred, trace=None):
    return pred.answer == example.answer


@pytest.fixture
def mux():
    return mux_of(["x", "x", "y"], ["z", "w", "v"])


def test_it_prints_as_its_fields(mux):
    pred = mux(question="?")
    assert str(pred) == "Prediction(\n    answer='x'\n)"
    assert pred.toDict() == {"answer": "x"}


def test_evaluate_tables_and_files_hold_the_fields(mux, tmp_path, capsys):
    result = dspy.Evaluate(
        devset=DEVSET,
        metric=exact,
        num_threads=1,
        display_table=2,
        save_as_json=str(tmp_path / "result.json"),
        save_as_csv=str(tmp_path / "result.csv"),
    )(mux)
    assert result.score == 100
    assert "pred_answer" in capsys.readouterr().out
    (first, *_) = json.loads((tmp_path / "result.json").read_text())
    assert first == {"question": "0?", "example_answer": "x", "pred_answer": "x", "exact": True}
    with (tmp_path / "result.csv").open() as file:
        assert next(iter(csv.DictReader(file))).keys() == first.keys()


def test_the_history_has_every_draw(mux, capsys):
    mux(question="?")
    assert len(mux.history) == 6
    mux.inspect_history(n=6)
    assert capsys.readouterr().out.count("Response:") == 6


def test_copies_keep_the_verdict(mux):
    pred = mux(question="?")
    for twin in (copy.copy(pred), copy.deepcopy(pred), cloudpickle.loads(cloudpickle.dumps(pred))):
        assert twin.verdict == pred.verdict
