"""A real HTTP server that answers and fails as OpenAI-compatible servers do, by a plan.

    with fault_server(always(Fault.HANG, model="b")) as server:
        dspy.LM("openai/b", api_base=server.address, api_key="none")

It answers `n` choices; what a fault does to several of them, `Fault` says. A plan may also return
how the server takes `n`: `always(TakesN.ONE, model="b")`.

`python -m tests.support.fault_server --rate 0.3 --seed 0` runs one in a process of its own and
prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from tests.support.choices import Choice, TakesN, reply
from tests.support.scripted import asked, marked
from tests.support.wait import until


class Fault(str, Enum):
    """What a request meets instead of an answer.

    A request for several choices meets it as a whole, but for those in `OF_A_CHOICE`: these meet
    the choices that the server's `struck` names, by default all of them.
    """

    RATE_LIMITED = "429"
    RATE_LIMITED_WITH_HINT = "429 with Retry-After"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    RESET = "connection reset"
    HANG = "hang"
    TRICKLE = "slow trickle"
    TRUNCATED = "truncated JSON"
    HTML = "HTML instead of JSON"
    NO_CHOICES = "empty choices"
    NULL_CONTENT = "null content"
    CUT_OFF = "finish_reason length"
    HUGE = "10 MB of text"
    OTHER_MODEL = "wrong model name"
    UNAUTHORIZED = "401"
    NOT_FOUND = "404"
    TOO_LONG = "400 with context length"


#: Faults of a choice's text, rather than of a reply.
OF_A_CHOICE = frozenset({Fault.NULL_CONTENT, Fault.CUT_OFF, Fault.HUGE})
_ERRORS: dict[Fault, tuple[int, dict[str, Any]]] = {
    Fault.RATE_LIMITED: (
        429,
        {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"},
    ),
    Fault.RATE_LIMITED_WITH_HINT: (
        429,
        {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"},
    ),
    Fault.SERVER_ERROR: (500, {"message": "The server had an error.", "type": "server_error"}),
    Fault.UNAVAILABLE: (503, {"message": "The model is overloaded.", "type": "server_error"}),
    Fault.UNAUTHORIZED: (
        401,
        {
            "message": "Incorrect API key provided.",
            "type": "authentication_error",
            "code": "invalid_api_key",
        },
    ),
    Fault.NOT_FOUND: (
        404,
        {
            "message": "The model does not exist.",
            "type": "invalid_request_error",
            "code": "model_not_found",
        },
    ),
    Fault.TOO_LONG: (
        400,
        {
            "message": "This model's maximum context length is 10 tokens. "
            "However, your messages resulted in 99 tokens.",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
    ),
}
_DRAW = re.compile(r"\[draw (\d+)\]")
#: Between two bytes of a trickle, in seconds.
_TRICKLE_S = 0.05


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        draw: its number, where the prompt names it.
        attempt: how often the same was asked before.
        n: the choices that it asks for; a plan of faults at random goes by the fields above alone.
        choice: which of them is meant, where each has an answer of its own.
    """

    model: str
    question: str
    draw: int
    attempt: int
    n: int = field(default=1, repr=False)
    choice: int = field(default=0, repr=False)


#: What a request meets; None for an answer.
Plan = Callable[[Asked], "Fault | TakesN | None"]
#: The answer that a choice gets.
Answers = Callable[[Asked], str]
#: The completion tokens that a choice is billed.
Usage = Callable[[Asked], int]


def always(fault: Fault | TakesN, model: str | None = None) -> Plan:
    """This fault at every request to the model, or to all."""
    return lambda request: fault if model in (None, request.model) else None


def in_turn(*faults: Fault | TakesN | None, model: str | None = None) -> Plan:
    """One fault after the other, by attempt at the same draw; then answers."""
    return lambda request: (
        faults[request.attempt]
        if model in (None, request.model) and request.attempt < len(faults)
        else None
    )


def at_random(rate: float, seed: int, faults: Sequence[Fault] = tuple(Fault)) -> Plan:
    """A fault for a share of the requests; always the same for an attempt at a draw."""

    def plan(request: Asked) -> Fault | None:
        luck = random.Random(f"{seed} {request}")
        return luck.choice(list(faults)) if luck.random() < rate else None

    return plan


class FaultServer:
    """What a running server has seen.

    Attributes:
        address: its base address, shaped as OpenAI's.
        requests: what was asked so far.
        given: choices that were sent so far, by model.
        replies: replies of choices that were sent so far, by model; each bills its prompt once.
        struck: which choices meet a fault of a choice; None for all.
        open: connections open now.
        most_open: the most connections that were open at once.
    """

    def __init__(
        self,
        plan: Plan,
        answers: Answers,
        latency: float = 0.0,
        retry_after: str = "3600",
        usage: Usage = lambda _: 2,
    ):
        self.plan, self.answers, self.latency, self.retry_after, self.usage = (
            plan,
            answers,
            latency,
            retry_after,
            usage,
        )
        self.requests: list[Asked] = []
        self.given: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()
        self.struck: frozenset[int] | None = None
        #: Choices that `TakesN.FEWER` gives and `TakesN.LIMITED` takes.
        self.most = 2
        self.most_open = self.port = 0
        self._connections: set[asyncio.Task[Any]] = set()
        self._attempts: Counter[tuple[str, str, int]] = Counter()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open(self) -> int:
        return len(self._connections)

    @property
    def draws(self) -> int:
        """Choices asked for so far: as many as separate requests would be."""
        return sum(request.n for request in list(self.requests))

    def wait_until_left(self) -> None:
        """Wait until all connections are closed."""
        until(lambda: not self.open)

    def count(self, model: str) -> int:
        return len(self.sizes(model))

    def sizes(self, model: str) -> list[int]:
        """Return how many choices each request to a model asked for, in the order they came."""
        return [request.n for request in list(self.requests) if request.model == model]

    async def serve(
        self, started: Callable[[], object], stopped: asyncio.Event | None = None
    ) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        started()
        await (stopped or asyncio.Event()).wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        self.most_open = max(self.most_open, self.open)
        try:
            # The client is done with the connection, or the server is.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                    body = json.loads(await reader.readexactly(int(length or 0)) or b"{}")
                    await self._answer(self._asked(body), reader, writer)
                    await writer.drain()
        finally:
            self._connections.discard(connection)
            writer.close()

    def _asked(self, body: dict[str, Any]) -> Asked:
        prompt = str(body["messages"][-1]["content"])
        named = _DRAW.search(prompt)
        draw = (str(body["model"]), asked(prompt), int(named.group(1)) if named else 0)
        request = Asked(*draw, self._attempts[draw], n=body.get("n") or 1)
        self._attempts[draw] += 1
        self.requests.append(request)
        return request

    async def _answer(
        self, request: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        fault = self.plan(request)
        await asyncio.sleep(self.latency)
        if fault is Fault.HANG:
            await reader.read(1)
            raise ConnectionAbortedError
        elif fault is Fault.RESET:
            plain: socket.socket = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            raise ConnectionAbortedError
        elif fault is Fault.TRICKLE:
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000000\r\n\r\n"
            )
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.read(1), _TRICKLE_S)
            raise ConnectionAbortedError
        elif fault in _ERRORS:
            status, error = _ERRORS[fault]
            hint = (
                f"Retry-After: {self.retry_after}\r\n"
                if fault is Fault.RATE_LIMITED_WITH_HINT
                else ""
            )
            _send(writer, status, json.dumps({"error": error}).encode(), headers=hint)
        elif fault is Fault.HTML:
            _send(writer, 200, b"<html><body><h1>Bad gateway</h1></body></html>", "text/html")
        elif fault is Fault.TRUNCATED:
            whole = self._body(request, fault)
            _send(writer, 200, whole[: len(whole) // 2])
        elif isinstance(fault, TakesN) and (refusal := fault.refusal(request.n, self.most)):
            _send(writer, refusal[0], json.dumps(refusal[1]).encode())
        else:
            _send(writer, 200, self._body(request, fault))

    def _body(self, request: Asked, fault: Fault | TakesN | None) -> bytes:
        takes = fault if isinstance(fault, TakesN) else TakesN.ALL
        count = 0 if fault is Fault.NO_CHOICES else takes.count(request.n, self.most)
        if fault is not Fault.TRUNCATED:
            self.given[request.model] += count
            self.replies[request.model] += 1
        asked_for = [replace(request, choice=at) for at in range(count)]
        if takes is TakesN.SAME:
            asked_for = [request] * count
        model = "another-model" if fault is Fault.OTHER_MODEL else request.model
        return json.dumps(reply(model, [self._choice(each, fault) for each in asked_for])).encode()

    def _choice(self, request: Asked, fault: Fault | TakesN | None) -> Choice:
        tokens = self.usage(request)
        if self.struck is None or request.choice in self.struck:
            if fault is Fault.NULL_CONTENT:
                return Choice(None, tokens)
            if fault is Fault.CUT_OFF:
                text = "[[ ## reasoning ## ]]\nTo begin with, one has to"
                return Choice(text, tokens, finish_reason="length")
            if fault is Fault.HUGE:
                return Choice("blah " * 2_000_000, tokens)
        # Choices of one answer differ in their reasoning, or they would be one text n times.
        reasoning = f"Because of {request.choice}." if request.choice else "Because."
        return Choice(marked(reasoning=reasoning, answer=self.answers(request)), tokens)


def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    kind: str = "application/json",
    headers: str = "",
) -> None:
    about = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}"
    head = f"HTTP/1.1 {status} Reason\r\n{about}\r\n"
    writer.write(head.encode() + body)


def right(request: Asked) -> str:
    return "42"


@contextmanager
def fault_server(plan: Plan, answers: Answers = right, **settings: Any) -> Iterator[FaultServer]:
    """A server on a thread of this process."""
    server, started = FaultServer(plan, answers, **settings), threading.Event()
    loop, stopped = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        with closing(loop):
            loop.run_until_complete(server.serve(started.set, stopped))

    thread = threading.Thread(target=run, name="fault-server", daemon=True)
    thread.start()
    started.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.0, help="share of the requests that fail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    given = parser.parse_args()
    stalls = [Fault.HANG, Fault.TRICKLE]
    faults = [fault for fault in Fault if fault not in (*stalls, Fault.HUGE)] * 20 + stalls
    plan = at_random(given.rate, given.seed, faults)
    server = FaultServer(plan, right, given.latency, retry_after="1")
    asyncio.run(server.serve(lambda: print(server.port, flush=True)))


if __name__ == "__main__":
    main()
