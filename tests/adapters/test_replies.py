"""Replies as real servers send them, over HTTP: thinking, cut off, in a fence, without a text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import dspy
import pytest

from dspy_mux import AllMembersFailed, Member, PlainAdapter, SLMMux
from dspy_mux.answers.reply import CUT_OFF, ONLY_THINKING
from dspy_mux.baselines import LLMDebate, MixtureOfAgents
from dspy_mux.sampling.causes import EMPTY, UNPARSABLE

from ..support.http_models import ModelServer, model_server

ENGINES = ("lm15", "litellm")
THINKER = "<think>24? The answer is 24.</think>\nThere are 72 legs in all."
CUT = "We add 3 and 4, and then multiply by 5 to"
FENCED = 'Here you are:\n```json\n{"answer": 72}\n```'


class Legs(dspy.Signature):
    question: str = dspy.InputField()
    answer: int = dspy.OutputField()


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


def member(server: ModelServer, engine: str, name: str, adapter: dspy.Adapter | None) -> Member:
    lm = dspy.LM(
        f"openai/{name}",
        api_base=f"{server.address}/v1",
        api_key="none",
        engine=engine,
        cache=False,
    )
    return Member(lm, name=name, adapter=adapter)


def mux_of(
    server: ModelServer,
    replies: dict[str, tuple[dict[str, Any], str]],
    *,
    engine: str = "lm15",
    signature: Any = Legs,
    adapter: dspy.Adapter | None = None,
) -> SLMMux:
    server.replies = replies
    return SLMMux(signature, [member(server, engine, name, adapter) for name in replies], k=2)


def asked(mux: SLMMux, how: str) -> dspy.Prediction:
    call = {"question": "How many legs have 18 dogs?"}
    return mux(**call) if how == "call" else asyncio.run(mux.acall(**call))


@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("adapter", [None, PlainAdapter()], ids=["chat", "plain"])
def test_a_pool_that_thinks_breaks_off_and_fences(server, adapter, engine, how):
    mux = mux_of(
        server,
        {
            "thinker": ({"content": THINKER}, "stop"),
            "cut": ({"content": CUT}, "length"),
            "fenced": ({"content": FENCED}, "stop"),
        },
        engine=engine,
        adapter=adapter,
    )
    pred = asked(mux, how)
    assert pred.answer == 72
    ballots = {ballot.member: ballot for ballot in pred.verdict.ballots}
    assert ballots["cut"].abstentions == {CUT_OFF: 2}
    assert [ballots[name].confidence for name in ("thinker", "cut", "fenced")] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("message", "ending", "cause"),
    [
        ({"content": None, "reasoning_content": "It is 72, but wait"}, "stop", EMPTY),
        ({"content": None, "reasoning_content": "It is 72, but wait"}, "length", CUT_OFF),
        ({"content": "", "reasoning_content": "It is 72."}, "stop", EMPTY),
        ({"content": "<think>It is 72, or"}, "length", CUT_OFF),
        ({"content": "<think>It is 72, or"}, "stop", ONLY_THINKING),
        ({"content": "[THINK]The answer is 72.[/THINK]"}, "stop", ONLY_THINKING),
        ({"content": "[[ ## answer ## ]]\n7"}, "length", CUT_OFF),
        ({"content": "[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]"}, "stop", UNPARSABLE),
        (
            {
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 72}'},
                    }
                ],
            },
            "tool_calls",
            EMPTY,
        ),
    ],
)
def test_what_is_no_answer_abstains(server, engine, message, ending, cause):
    mux = mux_of(server, {"one": (message, ending)}, engine=engine)
    with pytest.raises(AllMembersFailed) as raised:
        mux(question="How many legs have 18 dogs?")
    assert raised.value.causes == {"one": [cause]}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "content",
    [
        "[[ ## answer ## ]]\n72\n\n[[ ## comp",
        "The answer is 72. To check, 18 times",
        r"So \boxed{72} because",
        "<think>24?</think>\n#### 72\nThis",
    ],
)
def test_an_answer_stated_before_the_cut_counts(server, engine, content):
    mux = mux_of(server, {"one": ({"content": content}, "length")}, engine=engine)
    assert mux(question="How many legs have 18 dogs?").answer == 72


@pytest.mark.parametrize(("end", "votes"), [("\n\n[[ ## completed", [0, 0]), ("5", [None, None])])
def test_where_several_fields_are_the_answer_each_must_be_whole(server, end, votes):
    content = "[[ ## title ## ]]\nEmma\n\n[[ ## score ## ]]\n3" + end
    whole = "[[ ## title ## ]]\nEmma\n\n[[ ## score ## ]]\n3\n\n[[ ## completed ## ]]"
    server.replies = {"cut": ({"content": content}, "length"), "up": ({"content": whole}, "stop")}
    members = [member(server, "lm15", name, None) for name in server.replies]
    program = dspy.Predict("question -> title: str, score: int")
    mux = SLMMux(program, members, k=2, answer_field=["title", "score"])
    assert mux(question="Which book?").verdict.ballots[0].votes == votes


def test_without_a_history_cut_offs_are_noticed_too(server):
    mux = mux_of(server, {"one": ({"content": CUT}, "length")})
    with dspy.context(disable_history=True), pytest.raises(AllMembersFailed, match=CUT_OFF):
        mux(question="How many legs have 18 dogs?")
    assert mux.members[0].lm.history == []


Sentiment = Literal["positive", "negative"]


@pytest.mark.parametrize(
    ("type_", "content", "answer"),
    [
        (str, "[[ ## answer ## ]]\nParis[[ ## completed ## ]]", "Paris"),
        (str, "**[[ ## answer ## ]]**\nParis", "Paris"),
        (str, "[[## answer ##]]\nParis\n\n[[## completed ##]]", "Paris"),
        (str, "[[ ## Answer ## ]]: Paris", "Paris"),
        (float, "[[ ## answer ## ]]\n10^6", 1e6),
        (float, "[[ ## answer ## ]]\n1.234,56", 1234.56),
        (float, "[[ ## answer ## ]]\n9.8 m/s^2\n\n[[ ## completed ## ]]", 9.8),
        (int, "[[ ## answer ## ]]\n1,234", 1234),
        (bool, "[[ ## answer ## ]]\nYes", True),
        (Sentiment, "[[ ## answer ## ]]\nPositive.", "positive"),
        (int | None, "[[ ## answer ## ]]\nNone", None),
        (str | None, "[[ ## answer ## ]]\nnot found", None),
        (str | None, "[[ ## answer ## ]]\nParis", "Paris"),
    ],
)
def test_the_default_adapter_reads_the_field_by_its_kind(server, type_, content, answer):
    signature = dspy.Signature({
        "question": (str, dspy.InputField()), "answer": (type_, dspy.OutputField())
    })  # fmt: skip
    mux = mux_of(server, {"one": ({"content": content}, "stop")}, signature=signature)
    pred = mux(question="Which?")
    assert (pred.answer, pred.verdict.confidence) == (answer, 1.0)


@pytest.mark.parametrize(
    ("type_", "content"),
    [
        (float, "[[ ## answer ## ]]\n5-7"),
        (float, "[[ ## answer ## ]]\n2024-03-15"),
        (bool, "[[ ## answer ## ]]\nyes/no"),
        (Sentiment, "[[ ## answer ## ]]\nnot positive"),
        (int | None, "I do not know what to say."),
        (int | None, "[[ ## reasoning ## ]]\nNothing to see."),
    ],
)
def test_the_default_adapter_makes_nothing_up(server, type_, content):
    signature = dspy.Signature({
        "question": (str, dspy.InputField()), "answer": (type_, dspy.OutputField())
    })  # fmt: skip
    mux = mux_of(server, {"one": ({"content": content}, "stop")}, signature=signature)
    with pytest.raises(AllMembersFailed):
        mux(question="Which?")


def test_an_answer_without_its_reasoning_counts(server):
    content = "[[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]"
    mux = mux_of(
        server,
        {"one": ({"content": content}, "stop")},
        signature=dspy.ChainOfThought("question -> answer"),
    )
    assert mux(question="Which?").answer == "Paris"


@pytest.mark.parametrize("adapter", [dspy.JSONAdapter(), dspy.XMLAdapter()])
@pytest.mark.parametrize(
    ("value", "answer"), [("10^6", 1e6), ('"1.234,56"', 1234.56), ("5 million", 5e6), ("5.5", 5.5)]
)
def test_other_adapters_read_the_field_by_its_kind(server, adapter, value, answer):
    is_json = isinstance(adapter, dspy.JSONAdapter)
    content = f'{{"answer": {value}}}' if is_json else f"<answer>{value}</answer>"
    signature = dspy.Predict("question -> answer: float")
    mux = mux_of(
        server, {"one": ({"content": content}, "stop")}, signature=signature, adapter=adapter
    )
    assert mux(question="Which?").answer == answer


class Month(dspy.Signature):
    question: str = dspy.InputField()
    answer: int = dspy.OutputField(ge=1, le=12)


@pytest.mark.parametrize("content", ["[[ ## answer ## ]]\n99", "The answer is 99."])
def test_an_answer_outside_the_fields_bounds_abstains(server, content):
    mux = mux_of(server, {"one": ({"content": content}, "stop")}, signature=Month)
    with pytest.raises(AllMembersFailed):
        mux(question="Which month?")
    assert mux.kind.key(12) is not None
    assert mux.kind.key(13) is None


@pytest.mark.parametrize("adapter", [None, dspy.JSONAdapter()], ids=["chat", "json"])
@pytest.mark.parametrize(
    ("value", "answer"),
    [("[1000000, 3]", [1e6, 3.0]), ("[1, 2,]", [1.0, 2.0]), ("[10^6, 3]", None)],
)
def test_a_repaired_list_holds_no_fragments(server, adapter, value, answer):
    content = f"[[ ## answer ## ]]\n{value}" if adapter is None else f'{{"answer": {value}}}'
    signature = dspy.Predict("question -> answer: list[float]")
    mux = mux_of(
        server, {"one": ({"content": content}, "stop")}, signature=signature, adapter=adapter
    )
    try:
        given = mux(question="Which?").answer
    except AllMembersFailed:
        given = None
    assert given in (answer, [1e6, 3.0])  # or the right value


@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize("adapter", [dspy.XMLAdapter(), dspy.ChatAdapter()], ids=["xml", "chat"])
@pytest.mark.parametrize(
    ("message", "ending", "cause"),
    [
        ({"content": None, "reasoning_content": "<answer>24</answer>"}, "stop", EMPTY),
        ({"content": None, "reasoning_content": "<answer>24</answer>"}, "length", CUT_OFF),
        ({"content": "<think>The answer is 24."}, "stop", ONLY_THINKING),
        ({"content": CUT}, "length", CUT_OFF),
    ],
)
def test_dspys_second_call_through_json_is_guarded_too(
    server, adapter, message, ending, cause, how
):
    mux = mux_of(server, {"one": (message, ending)}, adapter=adapter)
    with pytest.raises(AllMembersFailed) as raised:
        asked(mux, how)
    assert raised.value.causes == {"one": [cause]}


@pytest.mark.parametrize("content", ["<answer>72</answer>", "<answer>72</answer> To che"])
def test_a_closed_xml_answer_before_the_cut_counts(server, content):
    mux = mux_of(
        server,
        {"one": ({"content": content}, "length")},
        signature=dspy.Predict(Legs),
        adapter=dspy.XMLAdapter(),
    )
    assert mux(question="How many legs have 18 dogs?").answer == 72


@pytest.mark.parametrize(
    "adapter", [None, dspy.JSONAdapter(), PlainAdapter()], ids=["chat", "json", "plain"]
)
@pytest.mark.parametrize("type_", [int, str])
@pytest.mark.parametrize(
    "content",
    [
        '{"answer": null}',
        '```json\n{"answer": null,}\n```',
        '{"answer": ""}',
        '{"note": "well"}',
        "{}",
    ],
)
def test_an_object_without_an_answer_is_none(server, content, type_, adapter):
    signature = dspy.Signature({
        "question": (str, dspy.InputField()), "answer": (type_, dspy.OutputField())
    })  # fmt: skip
    if isinstance(adapter, PlainAdapter) and "null" not in content:
        return  # a plain text needs no form
    mux = mux_of(
        server,
        {"one": ({"content": content}, "stop")},
        signature=dspy.Predict(signature),
        adapter=adapter,
    )
    with pytest.raises(AllMembersFailed):
        mux(question="Which?")


def test_an_object_is_read_by_the_fields_own_name(server):
    signature = dspy.Predict("question -> legs: int")
    reply = {"content": '{"Legs": 72, "dogs": 18}'}
    assert mux_of(server, {"one": (reply, "stop")}, signature=signature)(question="?").legs == 72


@pytest.mark.parametrize("method", [LLMDebate, MixtureOfAgents])
@pytest.mark.parametrize(
    ("content", "ending"),
    [
        ("<think>SECRET: 24.</think>\n[[ ## answer ## ]]\n72", "stop"),
        ("<think>SECRET: 24.</think>\nI give up.", "stop"),
        ("<think>SECRET: 24.", "stop"),
        ("<think>SECRET: 24.", "length"),
    ],
)
@pytest.mark.parametrize("adapter", [None, PlainAdapter()], ids=["chat", "plain"])
def test_agents_never_see_thinking(server, adapter, content, ending, method):
    server.replies = {
        "thinker": ({"content": content}, ending),
        "other": ({"content": "[[ ## answer ## ]]\n72\n\n[[ ## completed ## ]]"}, "stop"),
    }
    members = [member(server, "lm15", name, adapter) for name in ("thinker", "other")]
    # The thinker must not aggregate.
    choices = {"aggregator": "other"} if method is MixtureOfAgents else {}
    verdict = method(dspy.Predict(Legs), members, **choices)(question="How many?").verdict
    assert "SECRET" not in "".join(turn.text for turn in verdict.turns)
