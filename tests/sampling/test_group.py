"""Draws of one member and question leave as one request, and each stays a draw."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor, wait as wait_for
from functools import partial

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.sampling.grouped_call import may_group
from dspy_mux.sampling.run import sample

from ..support.choice_server import choice_server
from ..support.fault_server import Fault, always, fault_server
from ..support.group_draws import (
    Chained,
    Plain,
    a_mux,
    an_lm,
    answers,
    asked,
    each_engine,
    each_way,
    numbered,
)
from ..support.scripted import scripted_lm
from ..support.wait import PATIENCE_S, until

K = 5
EACH = {str(number): 1 for number in range(K)}


@each_engine
@each_way
def test_k_draws_are_one_request_whose_prompt_is_billed_once(how, engine):
    with choice_server(numbered) as server:
        verdict = asked(a_mux(server, k=K, engine=engine), how).verdict
        assert server.sizes() == [K]
        assert answers(verdict) == EACH
        assert (verdict.calls, verdict.shared_calls, verdict.cached_calls) == (K, K - 1, 0)
        assert verdict.prompt_tokens == server.prompt_tokens
        assert verdict.completion_tokens == sum(
            server.count(numbered("", number)) for number in range(K)
        )


def test_a_request_does_not_wait_for_the_draws_of_the_next_question():
    with choice_server(numbered) as server:
        mux = a_mux(server, k=2)

        def draws():
            yield from mux.draws(0, range(2), {"question": "1"})
            until(lambda: server.sizes() == [2])  # such as a bank that another process has locked
            yield from mux.draws(0, range(2), {"question": "2"})

        assert [draw.cause for draw in sample(draws())] == [None] * 4
        assert server.sizes() == [2, 2]


class OwnLoop(dspy.Module):
    """Waits for its step on an event loop of its own, as the `forward` of many programs does."""

    def __init__(self, seconds):
        super().__init__()
        self.step, self.seconds = dspy.Predict("question -> answer"), iter(seconds)

    def forward(self, question):
        async def ask(seconds):
            try:
                return await asyncio.wait_for(self.step.acall(question=question), seconds)
            except asyncio.TimeoutError:
                return dspy.Prediction(answer="late")

        return asyncio.run(ask(next(self.seconds)))


@each_engine
def test_draws_on_event_loops_of_their_own_share_no_request(engine):
    with choice_server(numbered) as server:
        program = OwnLoop([1e-6, *[None] * 3])
        draws = a_mux(server, program=program, k=4, engine=engine).draws(
            0, range(4), {"question": "?"}
        )
        drawn = [draw.prediction.answer for draw in sample(draws)]
        assert sorted(drawn)[-1] == "late"
        assert set(server.sizes()) == {1}


@each_engine
def test_a_callback_may_ask_another_model(engine):
    with choice_server(numbered) as server:
        other = an_lm(server, "other", engine=engine)

        class Asking(dspy.utils.BaseCallback):
            def on_lm_start(self, call_id, instance, inputs):
                if instance.model != other.model:
                    other(f"Is this {instance.kwargs['rollout_id']}?")

        mux = a_mux(server, k=4, engine=engine)
        with dspy.context(callbacks=[Asking()]):
            assert sum(answers(mux(question="?").verdict).values()) == 4
        assert dict(server.given) == {"other": 4, "small": 4}
        assert {body["model"]: body.get("n", 1) for body in server.bodies}["other"] == 1


class Watching(dspy.utils.BaseCallback):
    def __init__(self):
        self.began, self.ended = [], []

    def on_lm_start(self, call_id, instance, inputs):
        self.began.append(instance.kwargs["rollout_id"])

    def on_lm_end(self, call_id, outputs, exception=None):
        self.ended.append((outputs, exception))


def test_each_draw_has_its_own_rollout_history_callbacks_usage_and_choice():
    with choice_server(numbered) as server:
        mux, watching = a_mux(server, k=K), Watching()
        with dspy.context(callbacks=[watching]), dspy.track_usage() as tracker:
            draws = list(sample(mux.draws(0, range(K), {"question": "?"})))
        draws.sort(key=lambda draw: draw.number)
        # The choice at a draw's place among the choices: what a seeded server repeats.
        assert [draw.prediction.answer for draw in draws] == [str(draw.number) for draw in draws]
        assert [draw.spent.calls for draw in draws] == [1] * K
        assert [draw.spent.prompt_tokens for draw in draws] == [server.prompt_tokens] + [0] * 4
        assert sorted(watching.began) == list(range(K))
        assert [exception for _, exception in watching.ended] == [None] * K
        history = mux.members[0].lm.history
        assert len(history) == K
        assert len({str(entry["outputs"]) for entry in history}) == K
        assert len(dspy.cache.memory_cache) == K
        total = tracker.get_total_tokens()["openai/small"]
        assert total["prompt_tokens"] == server.prompt_tokens


@each_way
def test_a_re_run_makes_no_request_and_missing_draws_leave_as_a_smaller_group(how):
    with choice_server(numbered) as server:
        mux = a_mux(server, k=K)
        kept = [0, 1, 3]  # the first cached, one in the middle missing
        if how == "call":
            list(sample(mux.draws(0, kept, {"question": "?"})))
        else:

            async def draw():
                draws = mux.draws(0, kept, {"question": "?"})
                await asyncio.gather(*(draw.arun() for draw in draws))
                await mux.members[0].lm.aclose()

            asyncio.run(draw())
        assert sum(server.sizes()) == 3
        server.bodies.clear()
        verdict = asked(a_mux(server, k=K), how).verdict
        assert server.sizes() == [2]
        assert (verdict.calls, verdict.shared_calls, verdict.cached_calls) == (2, 1, 3)
        assert answers(verdict) == EACH
        again = asked(a_mux(server, k=K), how).verdict
        assert (server.sizes(), again.cached_calls, answers(again)) == ([2], K, EACH)


def test_entries_of_the_cache_are_those_of_separate_requests():
    with choice_server(numbered) as server:
        # One by one, so that the server's numbers are the draws'.
        apart = a_mux(server, k=K, group=False, num_threads=1)(question="?").verdict
        entries = {key: text_in(entry) for key, entry in dspy.cache.memory_cache.items()}
        dspy.configure_cache(enable_disk_cache=False)
        server._numbers.clear()
        together = a_mux(server, k=K)(question="?").verdict
        assert server.sizes() == [1] * K + [K]
        assert {key: text_in(entry) for key, entry in dspy.cache.memory_cache.items()} == entries
        assert len(entries) == K
        bill = {"calls", "shared_calls", "prompt_tokens"}
        assert together.model_dump(exclude=bill) == apart.model_dump(exclude=bill)
        assert apart.prompt_tokens == K * together.prompt_tokens


def text_in(entry):
    [response] = entry["responses"]
    return response["message"]


def test_only_first_calls_are_shared():
    def twice(prompt, number):
        step = "2" if "draft" in prompt.rpartition("[[ ## question")[2] else "1"
        return numbered(prompt, number) + f"\n<!-- {step} -->"

    with choice_server(twice) as server:
        verdict = a_mux(server, k=3, program=Chained())(question="?").verdict
        assert sorted(server.sizes()) == [1, 1, 1, 3]
        assert (verdict.calls, verdict.shared_calls) == (6, 2)


@each_way
def test_a_program_without_an_async_form_shares_too(how):
    with choice_server(numbered) as server:
        verdict = asked(a_mux(server, k=K, program=Plain()), how).verdict
        assert (server.sizes(), answers(verdict)) == ([K], EACH)


def test_draws_that_ask_differently_ask_apart_from_then_on():
    def own(step, question):
        return step(question=f"{question} {dspy.settings.lm.kwargs['rollout_id']}")

    with choice_server(numbered) as server:
        mux = a_mux(server, k=3, program=Plain(own))
        first = mux(question="?").verdict
        assert sum(answers(first).values()) == 3
        asked_for = len(server.bodies), sum(server.sizes())
        assert first.calls == asked_for[1]  # what was asked for in vain is counted
        assert first.calls - first.shared_calls == asked_for[0]
        second = mux(question="!").verdict
        assert (second.calls, second.shared_calls) == (3, 0)
        assert server.sizes()[asked_for[0] :] == [1, 1, 1]


def test_two_calls_at_once_within_a_draw_are_answered():
    def both(step, question):
        # As dspy.Parallel does, but for its progress bars, which tqdm cannot make side by side.
        with ThreadPoolExecutor(2) as threads:
            calls = [
                threads.submit(contextvars.copy_context().run, step, question=f"{question} {n}")
                for n in range(2)
            ]
        return dspy.Prediction(answer=" ".join(call.result().answer for call in calls))

    with choice_server(numbered) as server:
        verdict = a_mux(server, k=3, program=Plain(both))(question="?").verdict
        assert sum(answers(verdict).values()) == 3
        assert verdict.calls == sum(server.sizes())
        assert verdict.calls - verdict.shared_calls == len(server.bodies)


@pytest.mark.parametrize("config", [{"temperature": 0.0}, {"n": 2}], ids=["temperature 0", "n"])
def test_calls_that_ask_otherwise_are_separate(config):
    with choice_server(numbered) as server:
        verdict = a_mux(server, k=2, program=Plain(config=config))(question="?").verdict
        assert verdict.shared_calls == 0
        assert set(server.sizes()) == {1}
        assert sum(answers(verdict).values()) == 2


class Own(dspy.LM):
    def forward(self, prompt=None, messages=None, **settings):
        return super().forward(prompt, messages, **settings)


@pytest.mark.parametrize(
    ("lm", "auto", "forced"),
    [
        (dspy.LM("openai/a", api_key="x"), True, True),
        (dspy.LM("openai/a", api_key="x", engine="litellm"), True, True),
        (dspy.LM("groq/a", api_key="x"), False, True),
        (dspy.LM("anthropic/a", api_key="x"), False, True),
        (dspy.LM("ollama_chat/a"), False, True),
        (dspy.LM("openai/o3-mini", api_key="x", temperature=1.0, max_tokens=20000), False, True),
        (dspy.LM("openai/a", api_key="x", model_type="text"), False, False),
        (dspy.LM("openai/a", api_key="x", model_type="responses"), False, False),
        (Own("openai/a", api_key="x"), False, False),
        (scripted_lm("a", ["x"]), False, False),
        (dspy.utils.DummyLM([{"answer": "x"}]), False, False),
    ],
)
def test_lms_that_may_share(lm, auto, forced):
    assert may_group(lm, "auto") is auto
    assert may_group(lm, True) is forced
    assert may_group(lm, False) is False


@each_way
@pytest.mark.parametrize(("threads", "sizes"), [(1, [1] * K), (2, [2, 2, 1]), (8, [K])])
def test_num_threads_bounds_a_group(how, threads, sizes):
    with choice_server(numbered) as server:
        verdict = asked(a_mux(server, k=K, num_threads=threads), how).verdict
        assert (max(server.sizes()), sum(server.sizes())) == (max(sizes), K)
        if how == "call":
            assert server.sizes() == sizes
        assert answers(verdict) == EACH


def test_one_thread_for_all_draws_asks_one_by_one(monkeypatch):
    monkeypatch.setenv("DSPY_MUX_DRAW_THREADS", "1")
    with choice_server(numbered) as server:
        verdict = a_mux(server, k=3)(question="?").verdict
        assert (sum(server.sizes()), sum(answers(verdict).values())) == (3, 3)


def test_a_schedule_asks_for_what_it_wants_in_one_request():
    with choice_server(lambda prompt, number: numbered(prompt, 0)) as server:
        lms = [an_lm(server, name) for name in "ab"]
        accuracies = {"openai/a": 0.9, "openai/b": 0.1}
        mux = SLMMux(
            dspy.Predict("question -> answer"), lms, k=K, schedule="frugal", accuracies=accuracies
        )
        verdict = mux(question="?").verdict
        assert verdict.answer == "0"
        assert len(server.bodies) < sum(server.sizes()) == verdict.calls
        assert verdict.calls - verdict.shared_calls == len(server.bodies)


def test_questions_side_by_side_share_no_request():
    with choice_server(numbered) as server, ThreadPoolExecutor(8) as threads:
        mux = a_mux(server, k=3)
        found = list(threads.map(lambda n: mux(question=f"{n}?").verdict, range(8)))
        assert server.sizes() == [3] * 8
        assert all(answers(verdict) == {"0": 1, "1": 1, "2": 1} for verdict in found)


@each_way
@pytest.mark.parametrize("threads", ["1", "64"])
def test_draws_of_a_mux_within_a_draw_share_and_are_counted(how, threads, monkeypatch):
    monkeypatch.setenv("DSPY_MUX_DRAW_THREADS", threads)
    with choice_server(numbered) as server:
        inner = a_mux(server, "inner", k=3)

        def within(step, question):
            inner(question=question)
            return step(question=question)

        verdict = asked(a_mux(server, "outer", k=3, program=Plain(within)), how).verdict
        assert verdict.calls == sum(server.sizes()) == 12
        assert verdict.calls - verdict.shared_calls == len(server.bodies)


@each_way
def test_a_request_ends_when_the_last_draw_has_left_and_not_before(how):
    with fault_server(always(Fault.HANG)) as server:
        mux = a_mux(server, k=3)

        async def leave(draws, ends):
            await asyncio.to_thread(until, lambda: server.requests)
            for draw in draws[:-1]:
                draw.withdraw()
            await asyncio.sleep(0.1)
            assert server.open == 1
            draws[-1].withdraw()
            await ends()
            await asyncio.to_thread(server.wait_until_left)
            assert len(server.requests) == 1
            await mux.members[0].lm.aclose()

        draws = mux.draws(0, range(3), {"question": "?"})
        for draw in draws:
            draw.expect()
        if how == "call":
            with ThreadPoolExecutor(3) as threads:
                ran = [threads.submit(draw.run) for draw in draws]
                asyncio.run(leave(draws, lambda: asyncio.to_thread(wait_for, ran, PATIENCE_S)))
                assert all(each.done() for each in ran)
        else:

            async def run():
                ran = [asyncio.ensure_future(draw.arun()) for draw in draws]
                await leave(draws, lambda: asyncio.wait(ran))

            asyncio.run(run())


def test_a_cancelled_call_has_ended_its_request():
    async def cancel(mux, when):
        asking = asyncio.ensure_future(mux.acall(question="?"))
        await when()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        left = [task for task in asyncio.all_tasks() if "_settle" in repr(task)]
        await mux.members[0].lm.aclose()
        return left

    with fault_server(always(Fault.HANG)) as server:
        lm = an_lm(server, cache=False)
        mux = SLMMux(dspy.Predict("question -> answer"), [lm], k=3)
        arrived = partial(asyncio.to_thread, until, lambda: server.requests)
        moments = [arrived, *(partial(asyncio.sleep, 0.002 * step) for step in range(12))]
        for when in moments:
            assert asyncio.run(cancel(mux, when)) == []
        server.wait_until_left()
