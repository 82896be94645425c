from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import dspy
import numpy as np
import pytest

from dspy_mux import (
    ConfigurationError,
    Member,
    MetricFailed,
    MuxError,
    SampleBank,
    SLMMux,
)
from dspy_mux.bank.collect import collect
from dspy_mux.bank.score import recorded
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import Split
from dspy_mux.voting.tally import Tally

from ..support.http_models import model_server
from ..support.scripted import ScriptedEngine
from ..support.skilled import QA, a_member, a_mux, calls, metric, questions


def test_every_draw_is_recorded_once_with_its_score(bank):
    mux = a_mux(a_member("a"), a_member("b"))
    done = collect(mux, questions(5), metric, bank, k=4)
    assert (done.drawn, done.already, done.missing, done.calls, done.stopped) == (
        40,
        0,
        0,
        40,
        None,
    )
    record = bank.record()
    assert record.votes.shape == (5, 2, 4)
    assert (record.votes >= 0).all()
    assert set(np.unique(record.scores)) <= {0.0, 1.0}
    assert record.field("category") == ["a", "b", "c", "a", "b"]


def test_what_is_recorded_is_never_asked_for_again(bank):
    mux = a_mux(a_member("a"), a_member("b"))
    collect(mux, questions(4), metric, bank, k=2)
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    again = a_mux(a_member("a"), a_member("b"))
    done = collect(again, questions(6), metric, bank, k=3)
    assert (done.already, done.drawn) == (16, 20)
    assert calls(again) == [10, 10]


def test_the_replay_of_a_record_is_what_evaluate_gives_for_the_live_mux(bank):
    mux = a_mux(a_member("a", 0.5), a_member("b", 0.4), k=3, accuracies={"a": 0.4, "b": 0.6})
    examples = questions(30)
    collect(mux, examples, metric, bank)
    record = recorded(mux, examples, metric, bank, dataset="default", k=3)
    everything = np.arange(30)
    measured = dict(
        zip("ab", Tally(record.votes).plurality_scores(record.scores).mean(axis=0), strict=True)
    )
    for rule in ("consistency", "pooled", "self_consistency"):
        result = replay(record, rule, splits=[Split(everything, everything)])
        live = a_mux(*mux.members, rule=rule, accuracies=measured)
        assert result.accuracy == pytest.approx(
            dspy.Evaluate(devset=examples, metric=metric, num_threads=4)(live).score / 100, abs=1e-4
        )
        predictions = [live(**example.inputs()) for example in examples]
        assert result.per_question.tolist() == [
            float(metric(e, p)) for e, p in zip(examples, predictions, strict=True)
        ]
        wins = [prediction.verdict.member for prediction in predictions]
        assert result.wins == {name: pytest.approx(wins.count(name) / 30) for name in "ab"}


def test_draws_of_another_program_stay_apart(bank):
    collect(a_mux(a_member("a")), questions(3), metric, bank)
    changed = SLMMux(
        dspy.Predict(dspy.Signature(QA, "Answer in French.")), [a_member("a")], k=3, temperature=0.5
    )
    assert collect(changed, questions(3), metric, bank).drawn == 9
    with pytest.raises(ConfigurationError, match="by 2 programs"):
        bank.record()
    assert bank.record(program="latest").votes.shape == (3, 1, 3)


def test_answers_of_one_question_are_compared_across_members_and_collections(bank):
    def says(name, *answers):
        return Member(
            dspy.LM(
                f"scripted/{name}", engine=ScriptedEngine(lambda _, draw: {"answer": answers[draw]})
            ),
            name=name,
        )

    number = "question -> answer: float"
    mux = SLMMux(dspy.Predict(number), [says("a", "18", "18.0", "7")], k=3, temperature=0.5)
    collect(mux, questions(1), lambda e, p, trace=None: True, bank)
    both = SLMMux(
        dspy.Predict(number),
        [says("a", "18", "18.0", "7"), says("b", "7.00", "1,8e1", "18")],
        k=3,
        temperature=0.5,
    )
    collect(both, questions(1), lambda e, p, trace=None: True, bank)
    # Classes are numbered as draws arrive, which is in no order that could be told.
    a, b = bank.record().votes[0].tolist()
    assert a[0] == a[1] != a[2]
    assert (b[0], b[2]) == (a[2], a[0])


def test_a_draw_that_fails_abstains_with_its_cause_and_can_be_tried_again(bank):
    broken = True

    def reply(prompt, draw):
        return ValueError("out of order") if broken and draw == 1 else {"answer": "right"}

    mux = a_mux(Member(dspy.LM("scripted/a", engine=ScriptedEngine(reply)), name="a"))
    assert collect(mux, questions(2), metric, bank).abstained == 2
    assert (bank.record().votes[:, 0, 1] == -1).all()
    assert {row["cause"] for row in bank.rows() if row["answer"] == ""} == {
        "LMUnexpectedError: [scripted/a] out of order"
    }
    broken = False
    again = collect(mux, questions(2), metric, bank)
    assert (again.drawn, again.failed) == (0, 2)
    assert again.errors == (
        "Errors cost 2 of 6 draws, most often 'LMUnexpectedError: [scripted/a] out of order': "
        "retry_failed (--retry-failed) "
        "makes them again."
    )
    assert [row["errors"] for row in bank.info()] == [2]
    retried = collect(mux, questions(2), metric, bank, retry_failed=True)
    assert (retried.drawn, retried.failed, retried.errors) == (2, 0, None)
    assert (bank.record().votes >= 0).all()


def test_a_failure_stays_recorded_until_another_draw_takes_its_place(bank):
    engine = ScriptedEngine(
        lambda prompt, draw: {"answer": "right"} if "q0?" in prompt else ValueError("out of order")
    )
    mux = a_mux(Member(dspy.LM("scripted/a", engine=engine), name="a"))
    collect(mux, questions(10), metric, bank, num_threads=1)
    before = sorted(row["question_id"] for row in bank.rows())
    engine.reply = lambda prompt, draw: KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        collect(mux, questions(10), metric, bank, retry_failed=True, num_threads=1)
    assert sorted(row["question_id"] for row in bank.rows()) == before
    # More than twelve in a row, but known to fail: the member is not out of order.
    engine.reply = lambda prompt, draw: ValueError("out of order still")
    again = collect(mux, questions(10), metric, bank, retry_failed=True, num_threads=1)
    assert (again.drawn, again.abstained, again.missing) == (27, 27, 0)
    assert sorted(row["question_id"] for row in bank.rows()) == before
    assert {row["cause"] for row in bank.rows() if row["cause"]} == {
        "LMUnexpectedError: [scripted/a] out of order still"
    }
    with pytest.raises(MuxError, match="first 12 draws of 'a' all failed"):
        collect(mux, questions(40), metric, bank, retry_failed=True, num_threads=1)
    engine.reply = lambda prompt, draw: {"answer": "right"}
    collect(mux, questions(40), metric, bank, retry_failed=True)
    assert (bank.record().votes >= 0).all()
    assert bank.record().votes.shape == (40, 1, 3)


def test_a_member_that_only_fails_stops_the_collection(bank):
    mux = a_mux(
        a_member("a"),
        Member(
            dspy.LM("scripted/b", engine=ScriptedEngine(lambda *_: ValueError("wrong key"))),
            name="b",
        ),
    )
    with pytest.raises(MuxError, match="first 12 draws of 'b' all failed .*wrong key"):
        collect(mux, questions(40), metric, bank, num_threads=4)
    assert sum(row["model"] == "a" for row in bank.rows()) > 0


def test_a_metric_that_raises_is_told_with_its_example_and_costs_no_draw(bank):
    mux = a_mux(a_member("a"))

    def broken(example, pred, trace=None):
        if example.question == "q2?":
            raise KeyError("gold")
        return metric(example, pred)

    with pytest.raises(MetricFailed, match=r"KeyError: 'gold' on the example .*q2\?"):
        collect(mux, questions(4), broken, bank, num_threads=1)
    before = calls(mux)[0]
    done = collect(mux, questions(4), metric, bank)
    assert done.already == before
    assert calls(mux) == [12]
    assert not np.isnan(bank.record().scores).any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_gives_no_number_scores_nothing(bank, value):
    with pytest.raises(MetricFailed, match=f"the score is {value} on the example .*q0"):
        collect(a_mux(a_member("a")), questions(2), lambda *_: value, bank, num_threads=1)
    assert all(row["score"] is None for row in bank.rows())


def test_a_draw_whose_answer_cannot_be_looked_at_is_an_abstention_with_its_cause(bank, monkeypatch):
    mux = a_mux(a_member("a", skill=1.0))

    def too_deep(self, value):
        if value is not None:
            raise RecursionError("nested too deeply")

    monkeypatch.setattr(type(mux.kind), "key", too_deep)
    assert collect(mux, questions(2), metric, bank).abstained == 6
    assert {row["cause"] for row in bank.rows()} == {"RecursionError: nested too deeply"}


@pytest.mark.parametrize("num_threads", [1, 8])
def test_a_budget_of_calls_holds_to_the_call(bank, num_threads):
    mux = a_mux(a_member("a", latency=0.002), a_member("b", latency=0.002))
    done = collect(mux, questions(20), metric, bank, max_calls=25, num_threads=num_threads)
    assert (done.calls, done.stopped, done.missing) == (25, "max_calls", 95)
    assert sum(calls(mux)) == 25


def test_two_processes_share_the_work_and_draw_nothing_twice(tmp_path, bank, bank_url):
    script = tmp_path / "one.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parents[2])!r})
            import dspy
            dspy.configure_cache(enable_disk_cache=False)
            from dspy_mux import SampleBank
            from dspy_mux.bank.collect import collect
            from tests.support.skilled import a_member, a_mux, calls, metric, questions
            mux = a_mux(a_member("a", latency=0.005), a_member("b", latency=0.005))
            collect(mux, questions(80), metric, SampleBank(sys.argv[1]), num_threads=4)
            print(sum(calls(mux)))
            """
        )
    )
    both = [
        subprocess.Popen([sys.executable, script, bank_url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    spent = [int(process.communicate(timeout=120)[0]) for process in both]
    assert sum(spent) == 80 * 2 * 3
    assert bank.record().drawn().tolist() == [[3, 3]] * 80


def test_a_killed_collection_goes_on_where_it_stopped(bank, bank_url, monkeypatch):
    monkeypatch.setattr("dspy_mux.bank.claims.BEAT_S", 0.2)
    process = multiprocessing.get_context("spawn").Process(target=_slowly, args=(bank_url,))
    process.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (bank.exists() and sum(1 for _ in bank.rows()) >= 20):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    kept = sum(1 for _ in bank.rows())
    assert kept >= 20
    mux = a_mux(a_member("a"), a_member("b"))
    done = collect(mux, questions(60), metric, bank)
    assert (done.already, done.missing) == (kept, 0)
    assert sum(calls(mux)) == 360 - kept
    assert bank.record().drawn().tolist() == [[3, 3]] * 60


def _slowly(url):
    dspy.configure_cache(enable_disk_cache=False)
    collect(
        a_mux(a_member("a", latency=0.02), a_member("b", latency=0.02)),
        questions(60),
        metric,
        SampleBank(url),
        num_threads=2,
    )


def test_ctrl_c_records_what_has_arrived(bank, monkeypatch):
    mux = a_mux(a_member("a", latency=0.005))
    settled = 0

    def interrupted(example, pred, trace=None):
        nonlocal settled
        settled += 1
        if settled == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return True

    with pytest.raises(KeyboardInterrupt):
        collect(mux, questions(30), interrupted, bank, num_threads=2)
    kept = sum(1 for _ in bank.rows())
    assert 5 <= kept < 90
    assert collect(mux, questions(30), metric, bank).already == kept


def test_outputs_and_settings_hold_no_key(bank, tmp_path):
    with model_server() as server:
        settings = {
            "api_base": f"{server.address}/v1",
            "api_key": "sk-very-secret",
            "engine": "lm15",
            "max_tokens": 7,
        }
        collect(
            a_mux(Member(dspy.LM("openai/a", **settings), name="a")), questions(1), metric, bank
        )
    assert b"very-secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert "max_tokens" in json.dumps([dict(row) for row in _descriptions(bank)])


def _descriptions(bank):
    from dspy_mux.bank.storage.schema import programs

    with bank.writing() as connection:
        return [json.loads(row.description) for row in connection.execute(programs.select())]


@pytest.mark.parametrize(
    ("examples", "settings", "told"),
    [
        ([], {}, "no examples"),
        ([dspy.Example(question="q")], {}, "does not say what its inputs are"),
        ([*questions(1), {"question": "q"}], {}, "Example 2 must be a dspy.Example, not a dict:"),
        (
            [*questions(1), dspy.Example(q="q", answer="x").with_inputs("q")],
            {},
            r"Example 2 does not fit the mux\. SLMMux takes its inputs by name, question=…",
        ),
        (
            [dspy.Example(question="q", demos=[]).with_inputs("question", "demos")],
            {},
            "SLMMux was called with demos=…",
        ),
        (questions(1), {"k": 0}, "1 or more"),
        (questions(1), {"metric": 7}, "metric must be a function"),
    ],
)
def test_bad_input_is_refused_before_a_call(bank, examples, settings, told):
    mux = a_mux(a_member("a"))
    with pytest.raises(ConfigurationError, match=told):
        collect(mux, examples, bank=bank, **{"metric": metric, **settings})
    assert calls(mux) == [0]
    assert not bank.exists()


def test_a_bank_is_named_by_its_path_too(tmp_path):
    for bank in (tmp_path / "bank.sqlite", str(tmp_path / "bank.sqlite")):
        done = collect(a_mux(a_member("a")), questions(2), metric, bank)
    assert (done.drawn, done.already) == (0, 6)
    with pytest.raises(ConfigurationError, match="A bank is a SampleBank, a file's path or"):
        collect(a_mux(a_member("a")), questions(2), metric, None)
