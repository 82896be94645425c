"""Tool calls as the answer of a mux: a server's own, and those that stand in the text."""

from __future__ import annotations

import asyncio
import json

import dspy
import pytest
from dspy.lm15 import Message, Response, ToolCallPart, Usage

from dspy_mux import SLMMux

from ..support.scripted import AsyncScriptedEngine, ScriptedEngine, scripted_lm


def ask(mux, how, **inputs):
    return mux(**inputs) if how == "called" else asyncio.run(mux.acall(**inputs))


@pytest.fixture(params=["called", "awaited"])
def how(request):
    return request.param


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class WithTools(dspy.Signature):
    """Call the tools that are needed."""

    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


class NativeEngine(ScriptedEngine):
    """A server that calls tools natively, each call with an id of its own."""

    supports_function_calling = True

    def _response(self, request):
        draw = request.config.seed or 0
        assert [tool.name for tool in request.tools] == ["add"]
        parts = [
            ToolCallPart(id=f"call_{draw}_{at}", name="add", input=dict(arguments))
            for at, arguments in enumerate(self.reply("", draw))
        ]
        usage = Usage(input_tokens=10, output_tokens=2, total_tokens=12)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(parts),
            finish_reason="tool_call",
            usage=usage,
        )


def native_lm(name, reply):
    engine = NativeEngine(reply)
    return dspy.LM(f"scripted/{name}", engine=engine, async_engine=AsyncScriptedEngine(engine))


def test_native_tool_calls_are_compared_by_name_and_arguments(how):
    def reply(_, draw):
        return [{"a": 2, "b": 3} if draw < 2 else {"a": 9, "b": 9}]

    adapter = dspy.ChatAdapter(use_native_function_calling=True, use_json_adapter_fallback=False)
    mux = SLMMux(
        dspy.Predict(WithTools),
        {name: native_lm(name, reply) for name in "ab"},
        k=3,
        adapter=adapter,
    )
    pred = ask(mux, how, question="2 + 3?", tools=[dspy.Tool(add)])
    [call] = pred.calls.tool_calls
    assert (call.name, call.args) == ("add", {"a": 2, "b": 3})
    assert pred.verdict.confidence == pytest.approx(2 / 3)
    assert call.execute([dspy.Tool(add)]) == 5


def test_tool_calls_in_the_text_are_compared_by_name_and_arguments(how):
    def reply(prompt, draw):
        call = {"id": f"call {draw}", "name": "add", "args": {"b": 3, "a": 2}}
        return {"calls": json.dumps({"tool_calls": [call]})}

    program = dspy.Predict(WithTools)
    lms = {name: scripted_lm(name, reply) for name in "ab"}
    pred = ask(SLMMux(program, lms, k=2), how, question="2 + 3?", tools=[dspy.Tool(add)])
    assert pred.verdict.confidence == 1.0
    assert [call.args for call in pred.calls.tool_calls] == [{"a": 2, "b": 3}]
