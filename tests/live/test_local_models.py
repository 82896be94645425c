"""The embedded engine on real weights, those of SmolLM2."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dspy
import pydantic
import pytest
from dspy import lm15

from dspy_mux.local import (
    AsyncLlamaEngine,
    LlamaEngine,
    fetch,
    gguf,
    local_lm,
    local_member,
    weights,
)

pytestmark = pytest.mark.live

SHOTS = "".join(f"Q: What is {n} plus one?\nA: {n + 1}\n" for n in range(4))


@pytest.fixture(scope="module")
def engine() -> LlamaEngine:
    fetch("smollm2-135m")
    engine = LlamaEngine("smollm2-135m")
    engine.load()
    return engine


def request(text: str, seed: int | None = None, **config) -> lm15.Request:
    settings = {"max_tokens": 12, "temperature": 1.0, "seed": seed, **config}
    return lm15.Request(
        model="m", messages=(lm15.Message.user(text),), config=lm15.Config(**settings)
    )


def together(engine: LlamaEngine, requests: list[lm15.Request]) -> list[lm15.Response]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(engine.complete, requests))


def test_grouped_draws_equal_single_draws(engine, unhurried_batches):
    # Answers of different lengths: some stop early, some are cut at twelve tokens.
    requests = [request("Name one animal. One word only.", seed) for seed in range(40, 46)]
    single = [engine.complete(each) for each in requests]
    grouped = together(engine, requests)

    assert [r.text for r in grouped] == [r.text for r in single]
    assert [r.finish_reason for r in grouped] == [r.finish_reason for r in single]
    assert [r.usage.output_tokens for r in grouped] == [r.usage.output_tokens for r in single]
    assert {r.usage.input_tokens for r in grouped} == {r.usage.input_tokens for r in single}
    assert len({r.text for r in grouped}) > 1
    assert all(r.usage.output_tokens > 0 for r in grouped)
    assert len({r.id.rsplit("-", 1)[0] for r in grouped}) == 1, "the draws did not share a request"


def test_draws_without_a_seed_differ(engine):
    texts = {
        r.text for r in together(engine, [request("Tell me a story about rain.") for _ in range(4)])
    }

    assert len(texts) > 1


def test_a_prompt_shared_by_draws_is_read_once(engine, unhurried_batches):
    text = (
        f"A prompt nobody has read before {time.time_ns()}: "
        + "tell me about rivers, lakes and seas. " * 20
    )
    draws = together(engine, [request(text, seed) for seed in range(4)])

    fresh = [r.usage.input_tokens - r.usage.cache_read_tokens for r in draws]
    assert max(fresh) > 100
    assert sum(fresh) < max(fresh) + 20


async def test_the_async_engine_gives_the_same_answers(engine):
    twin = AsyncLlamaEngine("smollm2-135m")
    requests = [request("Name one colour.", seed) for seed in range(4)]
    expected = [engine.complete(each).text for each in requests]

    assert [r.text for r in await asyncio.gather(*map(twin.complete, requests))] == expected


async def test_a_cancelled_task_frees_its_slot(engine):
    twin = AsyncLlamaEngine("smollm2-135m")
    long = asyncio.create_task(
        twin.complete(
            request("Tell me everything.", 1, max_tokens=4000, extensions={"ignore_eos": True})
        )
    )
    beats = 0
    for _ in range(20):
        await asyncio.sleep(0.01)
        beats += 1
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long

    # Four thousand tokens would take far longer than this.
    answer = await asyncio.wait_for(twin.complete(request("Name one fruit.", 2)), timeout=20)
    assert answer.text
    assert beats == 20


def test_a_question_of_a_few_thousand_tokens_fits(engine):
    text = "The cat sat on the mat and looked at the dog. " * 190 + "What did the cat look at?"
    answers = together(engine, [request(text, seed, max_tokens=2) for seed in range(2)])

    assert all(a.usage.input_tokens > 2000 for a in answers)


def test_a_question_of_100_000_characters_is_refused(engine):
    with pytest.raises(dspy.ContextWindowExceededError, match="context size"):
        local_lm("smollm2-135m")("why? " * 20_000, cache=False)
    # … and harms nobody else.
    assert engine.complete(request("Hello")).text is not None


def test_a_schema_holds_the_answer(engine):
    class Animal(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=12)
        legs: int

    lm = local_lm("smollm2-135m", temperature=1.0, max_tokens=60)
    for seed in range(3):
        (text,) = lm("Describe an animal as JSON.", response_format=Animal, seed=seed, cache=False)
        Animal.model_validate_json(text)


def test_responses_hold_log_probabilities(engine):
    response = engine.complete(request("Name one animal.", 1, max_tokens=4, logprobs=2))

    assert len(response.logprobs) == 4
    assert all(token.logprob <= 0 and len(token.top) == 2 for token in response.logprobs)


@pytest.mark.timeout(120)  # spinning threads took minutes
def test_two_models_do_not_stall_each_other(engine):
    # The same weights with other settings are another model in memory.
    other = LlamaEngine("smollm2-135m", slots=4, context=2048)
    other.load()
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(e.complete, request(SHOTS + f"Q: {i}\nA:", i))
            for i in range(4)
            for e in (engine, other)
        ]
        assert all(f.result().text is not None for f in futures)


def test_a_local_member_works_in_a_dspy_program(engine):
    member = local_member("smollm2-135m", temperature=0.5)
    with dspy.context(lm=member.lm, adapter=member.adapter):
        assert isinstance(
            dspy.Predict("question -> answer")(question="What is the capital of France?").answer,
            str,
        )


@pytest.mark.parametrize("transport", ["lm15", "litellm"])
def test_a_llama_cpp_server_needs_only_http(transport, monkeypatch):
    import xllamacpp

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    params = xllamacpp.CommonParams()
    params.model.path = str(fetch("smollm2-135m"))
    params.n_ctx, params.verbosity = 1024, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    served = xllamacpp.Server(params)
    lm = dspy.LM(
        "openai/smollm2",
        api_base=served.listening_address + "/v1",
        api_key="none",
        engine=transport,
        max_tokens=12,
        cache=False,
    )

    (text,) = lm("Name one animal.")
    assert text
    assert lm.history[-1]["usage"]["completion_tokens"] > 0


IN_FLIGHT = """
import threading, time
from dspy import lm15
from dspy_mux.local import LlamaEngine
engine = LlamaEngine("smollm2-135m")
def ask(seed, text={text!r}):
    config = lm15.Config(max_tokens=3000, seed=seed, extensions={{"ignore_eos": True}})
    message = lm15.Message.user(text)
    return engine.complete(lm15.Request(model="m", messages=(message,), config=config))
engine.load()
for seed in range(3):
    threading.Thread(target=ask, args=(seed,), daemon=True).start()
time.sleep(0.5)
print("running", flush=True)
{then}
"""


@pytest.mark.parametrize(
    "text", ["Tell me everything.", "word " * 1500], ids=["writing", "reading"]
)
def test_the_interpreter_exits_cleanly_with_draws_in_flight(text):
    done = subprocess.run(
        [sys.executable, "-c", IN_FLIGHT.format(text=text, then="")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "running\n"), done.stderr


def test_ctrl_c_stops_a_call_and_exits_cleanly():
    script = IN_FLIGHT.format(text="Tell me everything.", then="ask(9, 'Tell me more.')")
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "running\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode in (130, -signal.SIGINT, 1), err
    assert "KeyboardInterrupt" in err
    assert "terminate called" not in err


def test_a_second_ctrl_c_does_not_wait_for_a_prompt_to_be_read():
    then = """
import atexit
atexit.register(print, "exiting", flush=True)  # runs before llama.cpp is closed
raise KeyboardInterrupt
"""
    process = subprocess.Popen(
        [sys.executable, "-c", IN_FLIGHT.format(text="word " * 3000, then=then)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "running\n"
    assert process.stdout.readline() == "exiting\n"
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert err.count("Traceback") == 1  # of the first one
    assert "terminate called" not in err


def test_llama_cpp_is_silent_unless_asked(tmp_path):
    script = "from dspy_mux.local import LlamaEngine; LlamaEngine('smollm2-135m').load()"
    quiet, loud = (
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **extra},
        )
        for extra in ({"DSPY_MUX_VERBOSE": "0"}, {"DSPY_MUX_VERBOSE": "1"})
    )

    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert "llama" in loud.stdout + loud.stderr


def test_a_saved_program_answers_in_another_process(tmp_path):
    program = dspy.Predict("question -> answer")
    program.lm = local_lm("smollm2-135m", temperature=0.0, max_tokens=8)
    program.save(tmp_path / "program.json")
    script = (
        "import sys, dspy; p = dspy.Predict('question -> answer')\n"
        "p.load(sys.argv[1], allow_unsafe_lm_state=True)\n"
        "import json; print(json.dumps(p.lm('The capital of France is')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "program.json")],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert isinstance(json.loads(done.stdout)[0], str), done.stderr


FORKS = """
import os, sys
from dspy_mux import SLMMux
from dspy_mux.local import local_member

settings = {"threads": 1, "slots": 2, "context": 512, "max_tokens": 64, "cache": False}
mux = SLMMux("question -> answer", [local_member("smollm2-135m", **settings)], k=2, temperature=0.5)
print(mux(question="What is 2 + 2?").verdict.confidence)
for uses in (False, True):
    child = os.fork()
    if child == 0:
        sys.exit(7 if not uses or mux(question="What is 2 + 2?").verdict.calls == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7, uses
assert mux(question="What is 2 + 2?").verdict.calls == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_child_forked_after_loading_loads_its_own_and_ends(tmp_path):
    script = tmp_path / "forks.py"
    script.write_text(FORKS)
    subprocess.run([sys.executable, str(script)], check=True, timeout=250)


@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b"])
def test_control_tokens_in_a_question_are_text(name):
    """A control token costs one token of the prompt; as text it costs several."""
    engine = LlamaEngine(name, slots=1, context=1024)
    engine.load()
    tokens = gguf.control_tokens(weights.path(name))
    assert {"<|im_end|>", "<eos>"} & set(tokens)
    steering = [token for token in tokens if token in ("<|im_start|>", "<|im_end|>", "<eos>")]
    plain, attacked = (
        engine.complete(request(text, 1, max_tokens=1)).usage.input_tokens
        for text in ("Hi.", "Hi." + "".join(steering * 8))
    )
    assert attacked - plain >= 2 * 8 * len(steering)
