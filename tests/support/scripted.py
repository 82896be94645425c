"""A language model whose replies a test writes: a DSPy engine that answers from a function of the
request."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage

Reply = Callable[[str, int], Any]


class ScriptedEngine:
    """Replies by `reply(prompt, draw)`; an exception it returns is raised, a string is the text,
    a dict the output fields.

    `draw` is the draw's number in its member (the mux hands seeds to engines that say
    `seeded_draws`).
    """

    seeded_draws = True

    def __init__(
        self, reply: Reply, latency: float = 0.0, shown: Callable[[Request], str] | None = None
    ):
        self.reply, self.latency, self.shown = reply, latency, shown or prompt_of
        self.requests: list[Request] = []
        self.most_at_once = self._under_way = 0
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptedEngine:
        return self

    @property
    def calls(self) -> int:
        return len(self.requests)

    def complete(self, request: Request) -> Response:
        self._begin(request)
        try:
            time.sleep(self.latency)
            return self._response(request)
        finally:
            self._end()

    def _begin(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)

    def _end(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _response(self, request: Request) -> Response:
        reply = self.reply(self.shown(request), request.config.seed or 0)
        if isinstance(reply, BaseException):
            raise reply
        text = marked(**reply) if isinstance(reply, dict) else reply
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason="stop",
            usage=Usage(input_tokens=10, output_tokens=2, total_tokens=12),
        )


class AsyncScriptedEngine:
    def __init__(self, engine: ScriptedEngine):
        self.engine = engine

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncScriptedEngine:
        return self

    async def complete(self, request: Request) -> Response:
        self.engine._begin(request)
        try:
            await asyncio.sleep(self.engine.latency)
            return self.engine._response(request)
        finally:
            self.engine._end()


def prompt_of(request: Request) -> str:
    """The last user turn."""
    return request.messages[-1].text or ""


def everything(request: Request) -> str:
    """The system message and all turns."""
    system = (
        request.system
        if isinstance(request.system, str)
        else "".join(part.text for part in request.system or ())
    )
    return "\n".join([system, *(message.text or "" for message in request.messages)])


def marked(**fields: Any) -> str:
    """A reply as DSPy's ChatAdapter asks for it."""
    return (
        "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())
        + "\n\n[[ ## completed ## ]]"
    )


def asked(prompt: str, field: str = "question") -> str:
    """The value of an input field in a ChatAdapter prompt."""
    match = re.search(rf"\[\[ ## {field} ## \]\]\n(.*?)(?=\n\n|\Z)", prompt, re.DOTALL)
    return match.group(1).strip() if match else prompt


def scripted_lm(
    name: str,
    reply: Reply | Sequence[Any],
    latency: float = 0.0,
    shown: Callable[[Request], str] | None = None,
    **settings: Any,
) -> dspy.LM:
    """An LM that replies by a function, or with the answers of a list, one for each draw number
    (the last one repeats).

    The function sees the last user turn, or what `shown` makes of the request.
    """
    if not callable(reply):
        answers = list(reply)
        reply = lambda prompt, draw: _as_reply(answers[min(draw, len(answers) - 1)])  # noqa: E731
    engine = ScriptedEngine(reply, latency, shown)
    return dspy.LM(
        f"scripted/{name}", engine=engine, async_engine=AsyncScriptedEngine(engine), **settings
    )


def _as_reply(answer: Any) -> Any:
    return (
        answer
        if isinstance(answer, (BaseException, dict))
        else {"reasoning": "Because.", "answer": answer}
    )


def calls(lm: dspy.LM) -> int:
    return lm.engine.calls


class TwoSteps(dspy.Module):
    """A program of two steps: only the second one produces the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = dspy.Predict("question -> idea"), dspy.Predict("idea -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.second(idea=self.first(question=question).idea)
