"""Draws in flight: all at once, bounded where asked, ended at their deadlines or on request."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress

import dspy
import pytest

from dspy_mux import AllMembersFailed, SLMMux

from ..support.scripted import calls, scripted_lm
from ..support.wait import PATIENCE_S, until

QA = dspy.Signature("question -> answer")


def test_all_draws_are_in_flight_at_once():
    everyone_is_here = threading.Barrier(6, timeout=PATIENCE_S)

    def reply(prompt, draw):
        everyone_is_here.wait()  # passes only when 2 members × 3 draws wait in it together
        return {"answer": "x"}

    mux = SLMMux(dspy.Predict(QA), [scripted_lm("a", reply), scripted_lm("b", reply)])
    assert mux(question="?").verdict.calls == 6


async def test_all_draws_are_in_flight_in_acall_too():
    lms = [scripted_lm(name, ["x"], latency=PATIENCE_S) for name in "ab"]
    task = asyncio.ensure_future(SLMMux(dspy.Predict(QA), lms).acall(question="?"))
    while [lm.engine.most_at_once for lm in lms] != [3, 3]:
        assert not task.done()
        await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_num_threads_bounds_the_draws_in_acall_too():
    lm = scripted_lm("a", ["x"], latency=0.02)
    await SLMMux(dspy.Predict(QA), [lm], k=6, num_threads=2).acall(question="?")
    assert lm.engine.most_at_once == 2


def test_an_overdue_draw_makes_room_for_the_next():
    done = threading.Event()

    def reply(prompt, draw):
        if draw == 0:
            done.wait(PATIENCE_S)
        return {"answer": "x"}

    mux = SLMMux(dspy.Predict(QA), [scripted_lm("a", reply)], k=3, num_threads=1, timeout=1.5)
    verdict = mux(question="?").verdict
    done.set()
    assert verdict.ballots[0].votes == [None, 0, 0]
    assert verdict.ballots[0].abstentions == {"no answer within 1.5 s": 1}
    assert verdict.calls == 3


def test_a_draw_is_withdrawn_without_a_free_thread(monkeypatch):
    def refused(job):
        raise RuntimeError("can't start new thread")

    draw = SLMMux(dspy.Predict(QA), [scripted_lm("a", ["x"])]).draws(0, [0], {"question": "?"})[0]
    monkeypatch.setattr("dspy_mux.sampling.hung_calls.workers.start", refused)
    with draw._calls.blocking.under_way():
        draw.withdraw()
    draw.run()
    assert calls(draw.member.lm) == 0


def test_a_withdrawn_draws_inner_mux_stops():
    inner = scripted_lm("inner", ["x"], latency=0.05)
    others = SLMMux(dspy.Predict(QA), [inner], k=1)

    class Nested(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict(QA)

        def forward(self, question):
            for number in range(20):
                with suppress(AllMembersFailed):
                    others(question=f"{question}{number}")
            return self.step(question=question)

    outer = scripted_lm("outer", ["x"])
    draw = SLMMux(Nested(), [outer]).draws(0, [0], {"question": "?"})[0]
    thread = threading.Thread(target=draw.run)
    thread.start()
    until(lambda: calls(inner))
    draw.withdraw()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert calls(inner) < 20
    assert calls(outer) == 0


async def test_cancelling_acall_cancels_its_draws():
    lm = scripted_lm("a", ["x"], latency=PATIENCE_S)
    task = asyncio.ensure_future(SLMMux(dspy.Predict(QA), [lm]).acall(question="?"))
    while lm.engine.most_at_once < 3:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lm.engine._under_way == 0


async def test_so_does_cancelling_it_while_its_rule_decides():
    deciding, decided = threading.Event(), threading.Event()

    class Ponders:
        name = "ponders"

        def wants(self, ballots):
            if any(ballot.votes for ballot in ballots):
                deciding.set()
                decided.wait(PATIENCE_S)
            return [(1, 1)]

        def choose(self, ballots):
            return None

    lms = [scripted_lm("fast", ["x"]), scripted_lm("slow", ["x"], latency=PATIENCE_S)]
    mux = SLMMux(dspy.Predict(QA), lms, rule=Ponders(), schedule="hedged", k=1)
    task = asyncio.ensure_future(mux.acall(question="?"))
    while not deciding.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    decided.set()
    assert lms[1].engine._under_way == 0


def test_an_interrupt_ends_the_call_and_the_process():
    program = textwrap.dedent(
        """
        import os
        import time
        import dspy
        from dspy_mux import SLMMux
        from tests.support.scripted import scripted_lm

        def reply(prompt, draw):
            os.write(1, b"ready\\n")
            time.sleep(600)

        dspy.configure_cache(enable_disk_cache=False)
        SLMMux(dspy.Predict("question -> answer"), [scripted_lm("a", reply)])(question="?")
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0


def test_questions_from_many_threads_do_not_mix():
    mux = SLMMux(dspy.Predict(QA), [scripted_lm("echo", lambda p, d: {"answer": p.split("\n")[1]})])
    verdicts = {}

    def ask(i):
        verdicts[i] = mux(question=f"q{i}").verdict

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i: verdict.answer for i, verdict in verdicts.items()} == {i: f"q{i}" for i in range(16)}
    assert all(verdict.calls == 3 for verdict in verdicts.values())


def test_a_fresh_rollout_from_outside_draws_anew():
    lm = scripted_lm("a", ["x"])
    mux = SLMMux(dspy.Predict(QA), [lm], k=2)
    mux(question="?")
    with dspy.context(lm=scripted_lm("around", ["-"]).copy(rollout_id=1, temperature=1.0)):
        mux(question="?")
        mux(question="?")
    assert calls(lm) == 4


def test_a_wrong_return_value_is_the_cause():
    class Broken(dspy.Module):
        def forward(self, question):
            return {"answer": question}

    sound, broken = scripted_lm("sound", ["x"]), scripted_lm("broken", ["x"])
    with pytest.raises(Exception, match="the program returned dict, not a dspy.Prediction"):
        SLMMux(Broken(), [sound, broken])(question="?")


def test_calls_by_another_lm_count_too():
    helper = scripted_lm("helper", lambda *_: {"answer": "h"})

    class UsesHelper(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict(QA)

        def forward(self, question):
            with dspy.context(lm=helper):
                self.step(question=question + "!")
            return self.step(question=question)

    verdict = SLMMux(UsesHelper(), [scripted_lm("a", ["x"])], k=1)(question="?").verdict
    assert (verdict.calls, verdict.prompt_tokens) == (2, 20)


@pytest.mark.real_seeds
def test_seeds_differ_between_draws_questions_and_members():
    a, b = scripted_lm("a", ["x"]), scripted_lm("b", ["x"])
    mux = SLMMux(dspy.Predict(QA), [a, b])
    for question in ("one", "two"):
        mux(question=question)
    seeds = [sorted(request.config.seed for request in lm.engine.requests) for lm in (a, b)]
    runs = [numbers[i : i + 3] for numbers in seeds for i in (0, 3)]
    assert all(run == list(range(run[0], run[0] + 3)) for run in runs)
    assert len({run[0] for run in runs}) == 4
    mux(question="one")
    assert calls(a) == 6  # the same seeds again: served from the cache
