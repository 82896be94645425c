"""Verdicts as lines of a file: from every way to call a mux, whole, and without keys."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import pickle
from datetime import datetime, timedelta, timezone

import dspy
import pytest

from dspy_mux import (
    AllMembersFailed,
    ConfigurationError,
    DataError,
    NotTrusted,
    SLMMux,
    StorageError,
    VerdictLog,
    read_verdicts,
)

from ..support.scripted import scripted_lm

QA = "question -> answer"


def pool():
    """Two members: two of three for x, and no two alike."""
    return {"a": scripted_lm("a", ["x", "x", "y"]), "b": scripted_lm("b", ["u", "v", "w"])}


def a_mux(**settings):
    return SLMMux(dspy.Predict(QA), pool(), **settings)


def down(prompt, draw):
    return ConnectionError("refused")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_question_is_a_line_of_votes_and_figures(path, how):
    mux = a_mux(threshold=0.9)
    with dspy.context(callbacks=[VerdictLog(path)]):
        prediction = (
            mux(question="secret") if how == "sync" else asyncio.run(mux.acall(question="secret"))
        )
    [line] = read_verdicts(path)
    assert (line.rule, line.schedule, line.member, line.trusted) == (
        "consistency",
        "full",
        "a",
        False,
    )
    assert (line.group, line.answered, line.escalated) == (prediction.verdict.group, True, False)
    assert line.confidence == pytest.approx(2 / 3)
    assert line.calls + line.cached_calls == 6
    assert [(b.member, b.votes, b.k) for b in line.ballots] == [
        ("a", [0, 0, 1], 3),
        ("b", [2, 3, 4], 3),
    ]
    assert line.group == 0
    assert abs(line.at - datetime.now(timezone.utc)) < timedelta(hours=1)
    assert "secret" not in path.read_text()
    assert (line.inputs, line.answer, line.causes) == (None, None, None)


def test_texts_are_logged_where_they_are_asked_for_and_never_a_key(path):
    key = "sk-proj-Zq8vT3nLw0xYb7Rk2Pd5"
    own = "myOwnServersKey-4711-abc"
    keyed = SLMMux(dspy.Predict(QA), [dspy.LM("openai/small", api_key=own)])
    log = VerdictLog(path, texts=True)
    log.log(a_mux()(question="?"), {"question": f"Is {key} or {own} right?"}, mux=keyed)
    assert read_verdicts(path)[0].inputs["question"] == "Is sk-*** or *** right?"
    assert read_verdicts(path)[0].answer == "x"
    failing = SLMMux(dspy.Predict(QA), [scripted_lm("b", down)], k=1)
    with dspy.context(callbacks=[log]), pytest.raises(AllMembersFailed):
        failing(question="Anyone?")
    ((cause, count),) = read_verdicts(path)[1].causes["scripted/b"].items()
    assert ("refused" in cause, count) == (True, 1)
    assert not any(secret in path.read_text() for secret in (key, own))


def test_a_question_without_an_answer_is_a_line_too(path):
    mux = SLMMux(dspy.Predict(QA), {"a": scripted_lm("a", down)}, k=2)
    with dspy.context(callbacks=[VerdictLog(path)]), pytest.raises(AllMembersFailed) as raised:
        mux(question="?")
    [line] = read_verdicts(path)
    assert (line.answered, line.confidence, line.ballots[0].votes) == (False, 0.0, [None, None])
    again = pickle.loads(pickle.dumps(raised.value))
    assert again.ballots == raised.value.ballots
    assert again.ballots[0].votes == [None, None]


def test_what_becomes_of_doubtful_answers_leaves_the_pools_own(path):
    log = VerdictLog(path)
    escalating = a_mux(threshold=0.9, otherwise="escalate", escalate=scripted_lm("large", ["z"]))
    with dspy.context(callbacks=[log]):
        prediction = escalating(question="?")
        with pytest.raises(NotTrusted):
            a_mux(threshold=0.9, otherwise="abstain")(question="?")
    escalated, kept = read_verdicts(path)
    assert prediction.answer == "z"
    assert (escalated.escalated, escalated.member, escalated.group) == (True, "scripted/large", 0)
    assert (kept.escalated, kept.member, kept.group, kept.trusted) == (False, "a", 0, False)


def test_a_mux_in_a_larger_program_under_evaluate(path):
    class Outer(dspy.Module):
        def __init__(self):
            super().__init__()
            self.mux = a_mux(k=1)

        def forward(self, question):
            return self.mux(question=question)

    examples = [
        dspy.Example(question=str(n), answer="x").with_inputs("question") for n in range(30)
    ]
    evaluate = dspy.Evaluate(devset=examples, metric=lambda *_: True, num_threads=4)
    with dspy.context(callbacks=[VerdictLog(path, texts=True)]):
        evaluate(Outer())
    asked = sorted(int(line.inputs["question"]) for line in read_verdicts(path))
    assert asked == list(range(30))


def test_a_log_of_one_mux_alone(path):
    mux, other = a_mux(), a_mux()
    mux.callbacks = [VerdictLog(path)]
    mux(question="?")
    other(question="?")
    assert len(read_verdicts(path)) == 1


def test_lines_by_hand(path):
    log, mux = VerdictLog(path, texts=True), a_mux()
    prediction = mux(question="?")
    log.log(prediction, {"question": "?"}, mux=mux)
    log.log(prediction.verdict)
    by_prediction, by_verdict = read_verdicts(path)
    assert by_prediction.schedule == "full"
    assert by_verdict.schedule is None
    assert by_prediction.ballots == by_verdict.ballots
    with pytest.raises(ConfigurationError, match="Prediction has no verdict to log"):
        log.log(dspy.Prediction(answer="x"))


def write_many(path, count):
    mux, log = a_mux(k=1), VerdictLog(path, texts=True)
    prediction = mux(question="?")
    for at in range(count):
        log.log(prediction, {"question": f"{os.getpid()} {at} " + "x" * 5000})


def test_processes_share_a_file(path):
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=write_many, args=(path, 50)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = read_verdicts(path)
    assert len(lines) == len(path.read_text().splitlines()) == 150
    assert len({line.inputs["question"] for line in lines}) == 150


def test_a_line_that_was_cut_off_costs_that_line_alone(path):
    log, mux = VerdictLog(path), a_mux()
    log.log(mux(question="?"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    log.log(mux(question="?"))
    assert len(read_verdicts(path)) == 2
    assert len(path.read_text().splitlines()) == 3


def test_a_file_that_is_moved_away_is_begun_anew(path):
    log, mux = VerdictLog(path), a_mux()
    log.log(mux(question="?"))
    path.rename(path.with_suffix(".1"))
    log.log(mux(question="?"))
    assert len(read_verdicts(path)) == len(read_verdicts(path.with_suffix(".1"))) == 1


def test_a_log_that_cannot_be_written_costs_no_answer(path, caplog):
    log = VerdictLog(path)
    path.mkdir()
    with dspy.context(callbacks=[log]), caplog.at_level(logging.WARNING, "dspy"):
        assert a_mux()(question="?").answer == "x"
    assert "A verdict cannot be written to" in caplog.text
    with pytest.raises(StorageError, match="Is a directory"):
        log.log(a_mux()(question="?"))


@pytest.mark.parametrize("path", [".", "missing/log.jsonl"])
def test_a_path_that_cannot_be_a_file_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot hold a log"):
        VerdictLog(path)


def test_reading_since_a_time(path):
    log, mux = VerdictLog(path), a_mux()
    log.log(mux(question="?"))
    first = json.loads(path.read_text())
    first["at"] = "2026-01-01T00:00:00Z"
    path.write_text(json.dumps(first) + "\n")
    log.log(mux(question="?"))
    assert len(read_verdicts(path)) == 2
    assert len(read_verdicts(path, since=datetime(2026, 2, 1, tzinfo=timezone.utc))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a log\n", "holds no verdict"),
        ('{"question_id": "q0"}\n', "Line 1 of .* is no verdict .* is wrong at at: Field required"),
        ('{"at": "2026-01-01T00:00:00", "ballots": []}', "is wrong at at: .*timezone"),
        ('{"at": "2026-01-01T00:00:00Z", "ballots": [], "confidence": "high"}', "at confidence"),
    ],
)
def test_another_file_is_refused(path, text, message):
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_verdicts(path)


def test_a_missing_file_is_refused(path):
    with pytest.raises(DataError, match="No such file"):
        read_verdicts(path)
