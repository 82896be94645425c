from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import sys
import threading
import time
import types
from pathlib import Path

import dspy
import pytest
from dspy import lm15

from dspy_mux import AllMembersFailed, SLMMux
from dspy_mux.errors import LocalModelError, MissingExtra
from dspy_mux.local import (
    AsyncLlamaEngine,
    LlamaEngine,
    LocalModelCallError,
    cores,
    gguf,
    local_lm,
    local_member,
    server,
)

TEMPLATE = b"\x17\0\0\0\0\0\0\0tokenizer.chat_template\x08\0\0\0\x02\0\0\0\0\0\0\0{}"


@pytest.fixture
def chat_file(tmp_path) -> Path:
    file = tmp_path / "chatty.gguf"
    file.write_bytes(b"GGUF" + bytes(200_000) + TEMPLATE + bytes(500_000))
    return file


@pytest.fixture
def base_file(tmp_path) -> Path:
    file = tmp_path / "plain.gguf"
    file.write_bytes(b"GGUF" + bytes(700_000))
    return file


class FakeServer:
    """Stands in for xllamacpp.Server: streams "s+i" for choice i of seed s in two chunks."""

    made: list[FakeServer]

    def __init__(self, params) -> None:
        if "broken" in params.model.path:
            raise RuntimeError("Failed to init server, please check the input params.")
        self.params = params
        self.bodies: list[dict] = []
        FakeServer.made.append(self)

    def handle_chat_completions(self, body, callback) -> None:
        self.bodies.append(body)
        if "too long" in json.dumps(body):
            callback(
                {
                    "error": {
                        "code": 400,
                        "type": "exceed_context_size_error",
                        "message": "too many tokens",
                    }
                }
            )
            return
        for index in range(body["n"]):
            for text in (str(body["seed"] + index), "!"):
                choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
                if callback({"choices": [choice], "id": "x"}):
                    return
        for index in range(body["n"]):
            done = {"index": index, "delta": {}, "finish_reason": "stop"}
            usage = {
                "prompt_tokens": 5,
                "completion_tokens": 2 + index,
                "prompt_tokens_details": {"cached_tokens": 1},
            }
            if callback({"choices": [done], "id": "x"}) or callback(
                {"choices": [], "usage": usage, "id": "x"}
            ):
                return

    def handle_completions(self, body, callback) -> None:
        self.bodies.append(body)
        for index in range(body["n"]):
            choice = {"index": index, "text": body["prompt"][::-1], "finish_reason": "length"}
            callback(
                {
                    "choices": [choice],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 9},
                    "id": "x",
                }
            )


@pytest.fixture
def xllamacpp(monkeypatch):
    """A process in which xllamacpp is a fake and nothing has been loaded."""
    FakeServer.made = []
    namespace = types.SimpleNamespace

    def params():
        return namespace(model=namespace(), cpuparams=namespace(), cpuparams_batch=namespace())

    fake = types.SimpleNamespace(Server=FakeServer, CommonParams=params)
    monkeypatch.setitem(sys.modules, "xllamacpp", fake)
    monkeypatch.setattr(server, "_servers", {})
    return fake


def request(text: str = "Hello", seed: int | None = 3) -> lm15.Request:
    return lm15.Request(
        model="m", messages=(lm15.Message.user(text),), config=lm15.Config(seed=seed)
    )


class TestFiles:
    def test_a_chat_template_is_found_in_the_metadata(self, chat_file, base_file):
        assert gguf.has_chat_template(chat_file)
        assert not gguf.has_chat_template(base_file)

    def test_what_is_no_gguf_file_is_told(self, tmp_path):
        (tmp_path / "x.gguf").write_bytes(b"PK\3\4")
        with pytest.raises(LocalModelError, match=r"x\.gguf is not a GGUF file"):
            LlamaEngine(tmp_path / "x.gguf")
        with pytest.raises(LocalModelError, match="There is no weights file"):
            LlamaEngine(tmp_path / "y.gguf")
        with pytest.raises(LocalModelError, match="the catalog has smollm2-135m"):
            LlamaEngine("mystery")

    def test_files_of_one_name_have_names_of_their_own_in_the_cache(self, chat_file, tmp_path):
        (tmp_path / "other").mkdir()
        twin = tmp_path / "other" / chat_file.name
        changed = bytearray(chat_file.read_bytes())
        changed[-1] = 1
        twin.write_bytes(changed)

        models = {LlamaEngine(file).model for file in (chat_file, twin, str(chat_file))}
        assert len(models) == 2
        assert all(model.startswith("local/chatty@") for model in models)

    @pytest.mark.parametrize(
        "settings",
        [{"slots": 0}, {"context": 10}, {"threads": 0}, {"threads": True}, {"slots": 1.5}],
    )
    def test_numbers_that_cannot_be_meant_are_refused(self, chat_file, settings):
        with pytest.raises(
            LocalModelError, match=f"{next(iter(settings))} of a local model must be a whole number"
        ):
            LlamaEngine(chat_file, **settings)


class TestCalls:
    def test_an_lm_answers(self, xllamacpp, chat_file):
        lm = local_lm(chat_file, temperature=1.0)

        assert lm("Hello", seed=3) == ["3!"]
        assert lm.history[-1]["usage"]["completion_tokens"] == 2
        assert FakeServer.made[0].bodies[0]["max_tokens"] == 256

    def test_concurrent_draws_share_a_request_and_keep_their_own_tokens(
        self, xllamacpp, chat_file, unhurried_batches
    ):
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

    def test_nobody_else_may_use_the_server_that_llama_cpp_opens(self, xllamacpp, chat_file):
        local_lm(chat_file)("Hello", seed=1)
        params = FakeServer.made[0].params

        assert params.hostnames == ["127.0.0.1"]
        assert len(params.api_keys[0]) == 32

    def test_a_file_that_llama_cpp_refuses_is_told(self, xllamacpp, tmp_path):
        (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
        lm = local_lm(tmp_path / "broken.gguf")

        with pytest.raises(LocalModelCallError, match=r"cannot load .*broken\.gguf"):
            lm("Hello")

    def test_a_missing_extra_is_told(self, monkeypatch, chat_file):
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        monkeypatch.setattr(server, "_servers", {})
        with pytest.raises(MissingExtra, match=r"pip install 'dspy-mux\[local\]'"):
            local_lm(chat_file)("Hello")

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

    def test_a_draw_that_is_withdrawn_while_the_weights_are_loaded_is_not_generated(
        self, slow, chat_file
    ):
        draw = self.a_mux(chat_file).draw(0, 0, {"question": "?"})
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
    def test_the_load_is_no_draws_time(self, slow, chat_file, how):
        verdict = self.asked(self.a_mux(chat_file, timeout=1), "?", how)

        assert verdict.ballots[0].abstentions == {}
        assert verdict.calls == 2

    @pytest.mark.parametrize("how", ["call", "acall"])
    def test_what_comes_after_the_load_is(self, slow, chat_file, how):
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
    def test_weights_that_cannot_be_loaded_are_told_as_the_cause(self, xllamacpp, tmp_path, how):
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


class TestThreads:
    @pytest.fixture(autouse=True)
    def _afresh(self, monkeypatch):
        monkeypatch.delenv("DSPY_MUX_THREADS", raising=False)
        cores.default_threads.cache_clear()
        yield
        cores.default_threads.cache_clear()

    @pytest.mark.parametrize(
        ("machine", "usable", "busy", "threads"),
        [(8, 8, 0, 8), (8, 8, 3, 5), (64, 4, 30, 4), (2, 2, 9, 1)],
    )
    def test_the_default_is_the_cores_that_are_free(
        self, monkeypatch, machine, usable, busy, threads
    ):
        monkeypatch.setattr(cores.os, "cpu_count", lambda: machine)
        monkeypatch.setattr(cores, "usable_cores", lambda: usable)
        monkeypatch.setattr(cores, "busy_cores", lambda: busy)

        assert cores.default_threads() == threads

    def test_the_environment_decides(self, monkeypatch):
        monkeypatch.setenv("DSPY_MUX_THREADS", "3")
        assert cores.default_threads() == 3

    @pytest.mark.parametrize("told", ["0", "-1", "many", "1.5"])
    def test_a_senseless_number_is_refused(self, monkeypatch, told):
        monkeypatch.setenv("DSPY_MUX_THREADS", told)
        with pytest.raises(LocalModelError, match="DSPY_MUX_THREADS must be a whole number"):
            cores.default_threads()

    @pytest.mark.parametrize(
        ("quota", "cores_"),
        [("max 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("300000 100000", 3)],
    )
    def test_a_container_s_quota_counts(self, monkeypatch, tmp_path, quota, cores_):
        (tmp_path / "cpu.max").write_text(quota)
        monkeypatch.setattr(cores, "_CGROUP_QUOTA", tmp_path / "cpu.max")
        monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(4)), raising=False)

        assert cores.usable_cores() == cores_

    def test_what_is_busy_is_never_negative(self):
        assert cores.busy_cores() >= 0

    def test_openmp_s_settings_do_not_stay_in_the_environment(self, xllamacpp, chat_file):
        before = dict(os.environ)
        LlamaEngine(chat_file).load()

        assert dict(os.environ) == before
