"""The engines on a fake llama.cpp: calls, deadlines, saving, members."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import sys
import threading
import time

import dspy
import pytest
from dspy import lm15

from dspy_mux import AllMembersFailed, SLMMux
from dspy_mux.errors import MissingExtra
from dspy_mux.local import (
    AsyncLlamaEngine,
    LlamaEngine,
    LocalModelCallError,
    local_lm,
    local_member,
    server,
)

from ..support.fake_llama import TEMPLATE, FakeServer, request


class TestCalls:
    def test_an_lm_answers(self, xllamacpp, chat_file):
        lm = local_lm(chat_file, temperature=1.0)

        assert lm("Hello", seed=3) == ["3!"]
        assert lm.history[-1]["usage"]["completion_tokens"] == 2
        assert FakeServer.made[0].bodies[0]["max_tokens"] == 256

    def test_concurrent_draws_share_a_request(self, xllamacpp, chat_file, unhurried_batches):
        engine = LlamaEngine(chat_file)
        engine.load()
        responses: dict[int, lm15.Response] = {}

        def draw(seed: int) -> None:
            responses[seed] = engine.complete(request(seed=seed))

        threads = [threading.Thread(target=draw, args=(seed,)) for seed in (3, 4, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=10)

        assert {
            seed: (r.text, r.usage.output_tokens, r.usage.cache_read_tokens)
            for seed, r in responses.items()
        } == {
            3: ("3!", 2, 1),
            4: ("4!", 3, 5),
            5: ("5!", 4, 5),
        }
        assert [(body["n"], body["seed"]) for body in FakeServer.made[0].bodies] == [(3, 3)]

    async def test_tasks_share_a_request_too(self, xllamacpp, chat_file):
        lm = local_lm(chat_file, temperature=1.0)
        await lm.acall("warm up", seed=0)

        assert await asyncio.gather(*(lm.acall("Hello", seed=s) for s in (1, 2, 3))) == [
            ["1!"],
            ["2!"],
            ["3!"],
        ]
        assert FakeServer.made[0].bodies[-1]["n"] == 3

    async def test_a_cancelled_task_leaves_the_others_alone(self, xllamacpp, chat_file):
        engine = AsyncLlamaEngine(chat_file)
        await engine.complete(request("warm up"))
        tasks = [asyncio.create_task(engine.complete(request(seed=s))) for s in (1, 2)]
        await asyncio.sleep(0)
        tasks[0].cancel()

        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert (await tasks[1]).text == "2!"

    def test_a_base_model_goes_on_with_the_text(self, xllamacpp, base_file):
        assert local_lm(base_file)("Q: x\nA:") == [":A\nx :Q"]

    def test_a_question_too_long_is_dspy_s_own_error(self, xllamacpp, chat_file):
        with pytest.raises(dspy.ContextWindowExceededError, match="too many tokens"):
            local_lm(chat_file)("too long", seed=1)
        assert len(FakeServer.made[0].bodies) == 1  # not tried again

    def test_weights_are_loaded_once_for_all_lms(self, xllamacpp, chat_file):
        lms = [
            local_lm(chat_file),
            local_lm(str(chat_file), temperature=0.7),
            local_lm(chat_file, max_tokens=9),
        ]
        for lm in lms:
            lm("Hello", seed=1)

        assert len(FakeServer.made) == 1

    def test_llama_cpps_own_server_is_locked(self, xllamacpp, chat_file):
        local_lm(chat_file)("Hello", seed=1)
        params = FakeServer.made[0].params

        assert params.hostnames == ["127.0.0.1"]
        assert len(params.api_keys[0]) == 32

    def test_a_file_that_llama_cpp_refuses_is_named(self, xllamacpp, tmp_path):
        (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
        lm = local_lm(tmp_path / "broken.gguf")

        with pytest.raises(LocalModelCallError, match=r"cannot load .*broken\.gguf"):
            lm("Hello")

    def test_a_missing_extra_is_named(self, monkeypatch, chat_file):
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        monkeypatch.setattr(server, "_servers", {})
        with pytest.raises(MissingExtra, match=r"pip install 'dspy-mux\[local\]'"):
            local_lm(chat_file)("Hello")

    def test_a_missing_extra_passes_through_dspy(self, monkeypatch, chat_file):
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        monkeypatch.setattr(server, "_servers", {})
        lm = dspy.LM("local/chatty", engine=LlamaEngine(chat_file), num_retries=0)
        with pytest.raises(MissingExtra, match=r"pip install 'dspy-mux\[local\]'"):
            lm("Hello")

    def test_dspy_can_stream_it(self, xllamacpp, chat_file):
        events = list(LlamaEngine(chat_file).stream(request(seed=3)))

        assert events[0].type == "start"
        assert "".join(e.delta.text for e in events if e.type == "delta") == "3!"


class SlowServer(FakeServer):
    """Takes two seconds to load, or until `go_on` is set; generates nothing for "hang"."""

    begun: threading.Event
    go_on: threading.Event

    def __init__(self, params) -> None:
        self.begun.set()
        self.go_on.wait(2)
        super().__init__(params)

    def handle_chat_completions(self, body, callback) -> None:
        while "hang" in json.dumps(body) and not callback({"choices": [], "id": "x"}):
            time.sleep(0.01)
        super().handle_chat_completions(body, callback)


@pytest.fixture
def slow(xllamacpp, monkeypatch):
    """Weights that are slow to load."""
    SlowServer.begun, SlowServer.go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(xllamacpp, "Server", SlowServer)
    return SlowServer


class TestDraws:
    """Draws of a mux while the weights are loaded."""

    def a_mux(self, file, **settings) -> SLMMux:
        return SLMMux(
            dspy.Predict("question -> answer"),
            [local_member(file, name="a", temperature=0.7)],
            k=2,
            **settings,
        )

    def asked(self, mux, question, how):
        return (
            mux(question=question) if how == "call" else asyncio.run(mux.acall(question=question))
        ).verdict

    def test_a_draw_withdrawn_during_the_load_never_runs(self, slow, chat_file):
        draw = self.a_mux(chat_file).draws(0, [0], {"question": "?"})[0]
        thread = threading.Thread(target=draw.run)
        thread.start()
        assert slow.begun.wait(10)
        draw.withdraw()
        slow.go_on.set()
        thread.join(10)

        assert not thread.is_alive()
        assert draw.prediction is None
        time.sleep(0.1)  # longer than draws are gathered
        assert FakeServer.made[0].bodies == []

    @pytest.mark.parametrize("how", ["call", "acall"])
    def test_time_of_the_load_is_free(self, slow, chat_file, how):
        verdict = self.asked(self.a_mux(chat_file, timeout=1), "?", how)

        assert verdict.ballots[0].abstentions == {}
        assert verdict.calls == 2

    @pytest.mark.parametrize("how", ["call", "acall"])
    def test_time_after_the_load_counts(self, slow, chat_file, how):
        with pytest.raises(AllMembersFailed, match="no answer within 1 s"):
            self.asked(self.a_mux(chat_file, timeout=1), "hang", how)

    @pytest.mark.parametrize("how", ["call", "acall"])
    def test_nothing_is_loaded_for_draws_that_the_cache_has(
        self, xllamacpp, chat_file, monkeypatch, how
    ):
        before = self.asked(self.a_mux(chat_file, timeout=60), "?", how)
        monkeypatch.setattr(server, "_servers", {})
        again = self.asked(self.a_mux(chat_file, timeout=60), "?", how)

        assert (before.calls, again.cached_calls) == (2, 2)
        assert len(FakeServer.made) == 1

    @pytest.mark.parametrize("how", ["call", "acall"])
    def test_unloadable_weights_are_the_cause_of_abstention(self, xllamacpp, tmp_path, how):
        (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(200_000) + TEMPLATE)
        with pytest.raises(
            AllMembersFailed, match=r"LocalModelCallError: llama\.cpp cannot load .*broken\.gguf"
        ):
            self.asked(self.a_mux(tmp_path / "broken.gguf", timeout=60), "?", how)


class TestSaving:
    def test_copies_share_the_engine(self, chat_file):
        lm = local_lm(chat_file)

        assert copy.deepcopy(lm).engine is lm.engine
        assert lm.copy(temperature=0.3).engine is lm.engine

    def test_an_engine_is_pickled_as_its_configuration(self, chat_file):
        engine = pickle.loads(pickle.dumps(LlamaEngine(chat_file, slots=3)))

        assert engine.dump_state() == {
            "name_or_path": str(chat_file),
            "threads": None,
            "slots": 3,
            "context": 4096,
        }

    def test_a_program_with_it_is_saved_and_loaded(self, xllamacpp, chat_file, tmp_path):
        program = dspy.Predict("question -> answer")
        program.lm = local_lm(chat_file, temperature=0.7, slots=2)
        program.save(tmp_path / "program.json")
        again = dspy.Predict("question -> answer")
        again.load(tmp_path / "program.json", allow_unsafe_lm_state=True)

        assert again.lm.model == program.lm.model
        assert again.lm.engine.slots == 2
        assert again.lm("Hello", seed=8) == ["8!"]


class TestMembers:
    def test_a_member_has_the_adapter_its_model_can_follow(self, chat_file, base_file):
        from dspy_mux import CompletionAdapter, PlainAdapter

        chat, base = (
            local_member(chat_file, k=2),
            local_member(base_file, name="b", temperature=0.1),
        )
        assert isinstance(base.adapter, CompletionAdapter)
        assert isinstance(chat.adapter, PlainAdapter)
        assert (chat.name, chat.k, base.name, base.temperature) == ("chatty", 2, "b", 0.1)

    def test_an_adapter_of_the_user_s_stays(self, chat_file):
        adapter = dspy.ChatAdapter()

        assert local_member(chat_file, adapter=adapter).adapter is adapter
