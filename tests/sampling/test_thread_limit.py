"""Threads of all draws together: bounded, queued, and never waiting for each other for ever."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest

from dspy_mux import AllMembersFailed, ConfigurationError, SLMMux
from dspy_mux.sampling import offload, run, thread_limit
from dspy_mux.sampling.thread_limit import ThreadLimit, draw_threads
from dspy_mux.sampling.threads import Workers

from ..support.scripted import scripted_lm
from ..support.wait import PATIENCE_S, until

QA = dspy.Signature("question -> answer")


class Plain(dspy.Module):
    """A program without an async form."""

    def __init__(self, step=None):
        super().__init__()
        self.predict, self.step = dspy.Predict(QA), step

    def forward(self, question):
        return (self.step or self.predict)(question=question)


async def a_thread_each(calls):
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(calls)) as pool:
        return await asyncio.gather(*(loop.run_in_executor(pool, call) for call in calls))


@pytest.fixture
def limited(monkeypatch):
    def limit(most):
        monkeypatch.setenv("DSPY_MUX_DRAW_THREADS", str(most))

    return limit


@pytest.fixture
def never_stalled(monkeypatch):
    monkeypatch.setattr(thread_limit, "STALLED_S", 10 * PATIENCE_S)


@pytest.mark.parametrize("how", ["call", "acall"])
async def test_calls_side_by_side_share_the_threads(how, limited, never_stalled):
    limited(4)
    lm = scripted_lm("a", ["x"], latency=0.005)
    mux = SLMMux(Plain(), [lm])
    if how == "call":
        predictions = await a_thread_each([lambda: mux(question="?")] * 20)
    else:
        predictions = await asyncio.gather(*(mux.acall(question="?") for _ in range(20)))
    assert [each.verdict.confidence for each in predictions] == [1.0] * 20
    assert lm.engine.most_at_once <= 4
    until(lambda: draw_threads._held == 0)  # given back once a thread is free, after its draw
    assert not draw_threads._queue


def test_threads_are_no_more_than_draws_at_once(monkeypatch, limited, never_stalled):
    limited(4)
    workers = Workers()
    monkeypatch.setattr(thread_limit, "workers", workers)
    most, start = [], workers.start

    def counted(job, then):
        start(job, then)
        most.append(workers._threads)

    monkeypatch.setattr(workers, "start", counted)
    mux = SLMMux(dspy.Predict(QA), [scripted_lm("a", ["x"])], k=9)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: mux(question=f"{n}"), range(20)))
    assert max(most) == 4


@pytest.mark.parametrize("how", ["call", "acall"])
async def test_inner_muxes_get_threads_while_outer_draws_hold_all(how, limited, never_stalled):
    limited(3)
    inner = SLMMux(dspy.Predict(QA), [scripted_lm("inner", ["y"])])
    mux = SLMMux(
        Plain(lambda question: inner(question=question)), [scripted_lm("outer", ["x"])], k=6
    )
    asked = mux.acall if how == "acall" else lambda **inputs: asyncio.to_thread(mux, **inputs)
    predictions = await asyncio.gather(*(asked(question=f"{n}") for n in range(3)))
    assert [each.answer for each in predictions] == ["y"] * 3


class Tool(dspy.Module):
    """Asks a mux on a thread of its own, which knows nothing of the draw around it."""

    def __init__(self, mux):
        super().__init__()
        self.ask = mux.acall

    def forward(self, question):
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(asyncio.run(self.ask(question=question)))
        )
        thread.start()
        thread.join(PATIENCE_S)
        return answers[0]


@pytest.mark.parametrize("program", [dspy.Predict(QA), Plain()])
def test_a_mux_on_a_tools_own_thread_gets_on(program, limited, monkeypatch):
    for module in (thread_limit, run, offload):
        monkeypatch.setattr(module, "STALLED_S", 0.05)
    limited(2)
    inner = SLMMux(program, [scripted_lm("inner", ["y"])], k=2)
    mux = SLMMux(Tool(inner), [scripted_lm("outer", ["x"])], k=4)
    assert mux(question="?").verdict.ballots[0].votes == [0] * 4


@pytest.mark.parametrize("how", ["call", "acall"])
async def test_waiting_for_a_thread_takes_no_time_of_a_draw(how, limited, never_stalled):
    limited(1)
    mux = SLMMux(Plain(), [scripted_lm("a", ["x"])], k=1, timeout=1.5)
    permit = draw_threads.applicant(lambda: None).take()
    asked = mux.acall if how == "acall" else lambda **inputs: asyncio.to_thread(mux, **inputs)
    task = asyncio.ensure_future(asked(question="?"))
    await asyncio.sleep(1.7)
    assert not task.done()
    permit.release()
    assert (await task).verdict.ballots[0].votes == [0]


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_an_impossible_limit_is_refused(value, limited):
    limited(value)
    with pytest.raises(ConfigurationError, match="DSPY_MUX_DRAW_THREADS must be a whole number"):
        SLMMux(dspy.Predict(QA), [scripted_lm("a", ["x"])])(question="?")


def allow_threads(monkeypatch, most):
    """Let the system start so many threads for draws, and no more."""
    workers, started, start = Workers(), [], threading.Thread.start
    workers._watched = True  # by no thread of its own
    monkeypatch.setattr(thread_limit, "workers", workers)

    def limited(thread):
        if thread.name == "dspy-mux-draw":
            if len(started) >= most:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.parametrize("how", ["call", "acall"])
async def test_draws_without_a_thread_fail_and_the_call_goes_on(how, monkeypatch):
    allow_threads(monkeypatch, 0)
    mux = SLMMux(Plain(), [scripted_lm("a", ["x"])])
    with pytest.raises(AllMembersFailed, match="NoThread: the system starts no further thread"):
        mux(question="?") if how == "call" else await mux.acall(question="?")


async def test_a_decision_without_a_thread_is_made_all_the_same(monkeypatch):
    allow_threads(monkeypatch, 0)
    assert await offload.decide(lambda: 42) == 42


@pytest.mark.parametrize("how", ["call", "acall"])
async def test_few_threads_make_all_draws(how, monkeypatch):
    allow_threads(monkeypatch, 2)
    mux = SLMMux(Plain(), [scripted_lm("a", ["x"], latency=0.01)], k=8)
    if how == "acall":
        predictions = await asyncio.gather(*(mux.acall(question=f"{n}") for n in range(4)))
    else:
        predictions = await a_thread_each([lambda: mux(question="?")] * 4)
    assert [each.verdict.ballots[0].votes for each in predictions] == [[0] * 8] * 4


def test_a_call_ended_early_gives_back_what_it_was_granted():
    limit = ThreadLimit(lambda: 1)
    first = limit.applicant(lambda: None).take()
    notified = []
    second, third = (limit.applicant(lambda name=name: notified.append(name)) for name in "23")
    assert (second.take(), third.take()) == (None, None)
    first.release()
    first.release()
    assert notified == ["2"]
    second.leave()
    assert notified == ["2", "3"]
    third.take().release()
    assert limit._held == 0


def test_the_first_who_waits_is_served_first_and_inner_calls_before_outer_ones():
    limit, served = ThreadLimit(lambda: 1), []
    held = limit.applicant(lambda: None).take()
    outer = [limit.applicant(lambda n=n: served.append(n)) for n in range(2)]
    assert [each.take() for each in outer] == [None, None]
    depth = thread_limit._depth.set(1)
    inner = limit.applicant(lambda: served.append("inner"))
    thread_limit._depth.reset(depth)
    assert inner.take() is None
    held.release()
    inner.take().release()
    outer[0].take().release()
    assert served == ["inner", 0, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_process_begins_with_all_its_threads(limited):
    limited(1)
    mux = SLMMux(dspy.Predict(QA), [scripted_lm("a", ["x"])])
    permit = draw_threads.applicant(lambda: None).take()
    child = os.fork()
    if child == 0:
        os._exit(0 if mux(question="?").answer == "x" else 1)
    until(lambda: (ended := os.waitpid(child, os.WNOHANG))[0] and ended[1] == 0)
    permit.release()
