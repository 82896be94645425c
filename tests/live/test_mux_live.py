"""Real small models answer through a mux, in this process and over HTTP on loopback."""

from __future__ import annotations

import asyncio

import dspy
import pytest

from dspy_mux import AllMembersFailed, JSONSchemaAdapter, Member, SLMMux, Verdict
from dspy_mux.local import CATALOG, fetch, local_lm, local_member, path
from programs import everyday

pytestmark = pytest.mark.live

#: Qwen's weights are larger than a test run should fetch: it takes part where they are on the
#: machine already.
HERE = [
    "smollm2-135m",
    "gemma3-270m",
    *(name for name in CATALOG if name.startswith("qwen") and path(name)),
]
QUESTION = "Which city is the capital of France?"


@pytest.fixture(scope="module")
def members():
    return [local_member(name, max_tokens=16, accept_license=True) for name in HERE]


@pytest.fixture(scope="module")
def http_server():
    """llama.cpp's own HTTP server with SmolLM2."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(fetch("smollm2-135m"))
    params.n_parallel, params.n_ctx, params.verbosity = 3, 6144, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    yield (server := xllamacpp.Server(params)).listening_address + "/v1"
    del server


def test_the_pool_answers_an_everyday_question(members):
    verdict = SLMMux(everyday.program(), members, temperature=0.5)(
        question=QUESTION, category="capital"
    ).verdict
    assert [ballot.member for ballot in verdict.ballots] == HERE
    assert all(ballot.answers for ballot in verdict.ballots)
    assert "Paris" in {answer.answer for ballot in verdict.ballots for answer in ballot.answers}
    assert verdict.calls == 3 * len(HERE)
    assert verdict.completion_tokens >= verdict.calls
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_gemma_goes_on_with_a_text():
    shots = "Q: capital of Italy\nA: Rome\nQ: capital of Spain\nA: Madrid\nQ: capital of France\nA:"
    settings = {"temperature": 0.0, "max_tokens": 8, "stop": ["\n"], "accept_license": True}

    (text,) = local_lm("gemma3-270m", **settings)(shots)
    assert text.strip() == "Paris"


def test_acall_draws_what_the_call_draws(members):
    mux = SLMMux(everyday.program(), members[:1], temperature=0.5)
    sync = mux(question=QUESTION, category="capital").verdict
    asynchronous = asyncio.run(mux.acall(question=QUESTION, category="capital")).verdict
    assert sync.answer == asynchronous.answer
    assert sync.ballots[0].votes == asynchronous.ballots[0].votes


def test_a_rerun_asks_no_model(members):
    mux = SLMMux(everyday.program(), members, temperature=0.5)
    first = mux(question="Which city is the capital of Italy?", category="capital").verdict
    again = mux(question="Which city is the capital of Italy?", category="capital").verdict
    assert (again.calls, again.cached_calls, again.answer) == (0, first.calls, first.answer)


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_a_model_over_http_gives_the_same_verdict(members, http_server, engine):
    over_http = dspy.LM(
        f"openai/smollm2-{engine}",
        api_base=http_server,
        api_key="none",
        engine=engine,
        max_tokens=32,
    )
    pool = [members[0], Member(over_http, adapter=members[0].adapter, name="http")]
    verdict = SLMMux(everyday.program(), pool, temperature=0.5)(
        question=QUESTION, category="capital"
    ).verdict
    here, there = verdict.ballots
    assert set(here.model_dump()) == set(there.model_dump())
    assert len(there.votes) == 3
    assert verdict.calls == 6
    assert verdict.prompt_tokens > 0
    assert verdict.completion_tokens > 0


def test_a_server_that_enforces_a_schema(members):
    member = Member(
        local_lm("smollm2-135m", max_tokens=64), name="schema", adapter=JSONSchemaAdapter()
    )
    pred = SLMMux(dspy.Predict("question -> answer: int"), [member], k=2, temperature=0.5)(
        question="What is 2 + 2?"
    )
    assert isinstance(pred.answer, int)
    assert pred.verdict.ballots[0].abstentions == {}


def test_a_program_without_demos_answers_too(members):
    pred = SLMMux(
        "question -> answer", [local_member("smollm2-135m", max_tokens=64)], k=2, temperature=0.5
    )(question="What is the capital of France? One word.")
    assert pred.verdict.calls == 2


def test_overlong_questions_are_one_error(members):
    with pytest.raises(AllMembersFailed) as failure:
        SLMMux(everyday.program(), members, k=1)(question="why " * 25_000, category="capital")
    assert set(failure.value.causes) == set(HERE)
    assert all("ontext" in causes[0] for causes in failure.value.causes.values())
    assert "\n" not in str(failure.value)
