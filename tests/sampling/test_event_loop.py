"""`acall` on an event loop that is not its own: others get their turns, and their executor."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest

from dspy_mux import AllMembersFailed, SLMMux
from dspy_mux.sampling.turns import SLICE_S, in_turn, take_turn

from ..support.fault_server import fault_server
from ..support.scripted import scripted_lm
from ..support.wait import PATIENCE_S

QA = dspy.Signature("question -> answer")


class Plain(dspy.Module):
    """A program without an async form."""

    def __init__(self):
        super().__init__()
        self.predict = dspy.Predict(QA)

    def forward(self, question):
        return self.predict(question=question)


async def test_tools_that_wait_for_a_mux_may_fill_the_executor():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(6))
    mux = SLMMux(dspy.Predict(QA), [scripted_lm("a", ["x"])])

    def tool():
        return asyncio.run_coroutine_threadsafe(mux.acall(question="?"), loop).result(PATIENCE_S)

    predictions = await asyncio.gather(*(asyncio.to_thread(tool) for _ in range(6)))
    assert [each.answer for each in predictions] == ["x"] * 6


class Refusing(ThreadPoolExecutor):
    def submit(self, *args, **settings):
        raise AssertionError("the default executor is the program's")


@pytest.mark.parametrize("schedule", ["full", "frugal", "hedged"])
@pytest.mark.parametrize("program", [dspy.Predict(QA), Plain()])
async def test_no_work_of_a_mux_goes_to_the_executor(schedule, program):
    asyncio.get_running_loop().set_default_executor(Refusing(1))
    lms = [scripted_lm(name, ["x"]) for name in "abc"]
    assert (await SLMMux(program, lms, schedule=schedule).acall(question="?")).answer == "x"


async def test_no_client_is_loaded_in_the_executor():
    asyncio.get_running_loop().set_default_executor(Refusing(1))
    with fault_server(lambda _: None) as server:
        lm = dspy.LM("openai/a", api_base=server.address, api_key="none", cache=False)
        prediction = await SLMMux(dspy.Predict(QA), [lm], timeout=PATIENCE_S).acall(question="?")
        assert prediction.answer == "42"


@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize("program", [dspy.Predict(QA), Plain()])
async def test_a_client_that_cancels_its_own_call_costs_its_draws_alone(how, program):
    cancelled = lambda prompt, draw: asyncio.CancelledError()  # noqa: E731
    lms = [scripted_lm("cancelled", cancelled), scripted_lm("b", ["x"])]
    mux = SLMMux(program, lms, schedule="frugal")
    prediction = mux(question="?") if how == "call" else await mux.acall(question="?")
    assert prediction.answer == "x"
    ballots = {ballot.member: ballot for ballot in prediction.verdict.ballots}
    (cause,) = ballots["scripted/cancelled"].abstentions
    assert cause.startswith("CancelledError")
    assert ballots["scripted/b"].votes == [0, 0, 0]


async def test_where_all_clients_cancel_the_members_failed():
    lm = scripted_lm("a", lambda prompt, draw: asyncio.CancelledError())
    with pytest.raises(AllMembersFailed, match="CancelledError"):
        await SLMMux(dspy.Predict(QA), [lm]).acall(question="?")


async def test_a_task_cancelled_with_all_others_is_cancelled():
    lm = scripted_lm("a", ["x"], latency=PATIENCE_S)
    task = asyncio.ensure_future(SLMMux(dspy.Predict(QA), [lm]).acall(question="?"))
    while lm.engine.most_at_once < 3:
        await asyncio.sleep(0.01)
    for each in asyncio.all_tasks() - {asyncio.current_task()}:
        each.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("latency", [0.0, 0.05])
async def test_others_get_their_turn_between_a_few_draws(latency):
    """Counts the passes of the loop, which a busy machine makes slower, not fewer."""
    passes, written, read = 0, Counter(), Counter()

    async def others():
        nonlocal passes
        while True:
            await asyncio.sleep(0)
            passes += 1

    class Counting(dspy.ChatAdapter):
        def format(self, *args, **settings):
            written[passes] += 1
            return super().format(*args, **settings)

        def parse(self, signature, completion):
            read[passes] += 1
            return super().parse(signature, completion)

    lms = [scripted_lm(name, ["x"], latency=latency) for name in "abc"]
    mux = SLMMux(dspy.Predict(QA), lms, adapter=Counting())
    counting = asyncio.ensure_future(others())
    await asyncio.gather(*(mux.acall(question=f"{n}") for n in range(50)))
    counting.cancel()
    assert written.total() == read.total() == 450
    assert max(written.values()) <= 50
    assert max(read.values()) <= 50


async def test_what_was_asked_first_is_finished_first():
    """The calls come back from their servers in the reverse order."""
    answered, begun, finished = [asyncio.Event() for _ in range(20)], [], []

    async def call(number):
        with in_turn():
            await take_turn()
            begun.append(number)
            await answered[number].wait()
            await take_turn()
            time.sleep(2 * SLICE_S)  # so that all others have to wait
            finished.append(number)

    calls = [asyncio.ensure_future(call(number)) for number in range(20)]
    while len(begun) < len(calls):
        await asyncio.sleep(0)
    for event in reversed(answered):
        event.set()
    await asyncio.gather(*calls)
    assert finished[1:] == sorted(finished[1:])
