"""A model server that answers after a fixed latency, in a process of its own.

with model_server(latency=0.2) as address:
    dspy.LM("openai/any", api_base=address, api_key="none", engine="lm15")
    bill(address).requests
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass

#: How a request asks for more than one choice; within a text, its quotes would be escaped.
_N = re.compile(rb'(?<!\\)"n": ?(\d+)')
_TEXT = "[[ ## reasoning ## ]]\n{}\n\n[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]"


@dataclass
class Bill:
    """What a server has been asked for so far, and bills: a prompt once a request.

    Attributes:
        choices: answers given, one or more a request.
    """

    requests: int = 0
    choices: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __sub__(self, earlier: Bill) -> Bill:
        before = asdict(earlier)
        return Bill(**{name: value - before[name] for name, value in asdict(self).items()})


@contextlib.contextmanager
def model_server(
    latency: float, words: int = 1, prompt_tokens: int = 10, slots: int = 0
) -> Iterator[str]:
    """Run an OpenAI-shaped server that answers 42 after `latency` seconds; yield its address.

    It gives `n` choices and log-probabilities where it is asked for them.

    Args:
        words: of the reasoning before the answer.
        prompt_tokens: that it bills for any prompt.
        slots: choices that it works at at once, the others wait; 0 for any number.
    """
    settings = map(str, (latency, words, prompt_tokens, slots))
    with in_a_process(__name__, *settings) as address:
        yield address


@contextlib.contextmanager
def in_a_process(module: str, *arguments: str) -> Iterator[str]:
    """Run a server in a process of its own; yield the address of the port that it prints."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def bill(address: str) -> Bill:
    """Return what the server at an address has billed so far."""
    with urllib.request.urlopen(f"{address}/bill") as reply:
        return Bill(**json.load(reply))


def reply_body(words: int, *, logprobs: bool, n: int = 1, prompt_tokens: int = 10) -> bytes:
    """Return the body of a reply; its tokens are words and what stands between them."""
    choices, completion_tokens = [], 0
    for index in range(n):
        # The choices differ: one text n times is what servers answer that do not sample.
        text = _TEXT.format(" ".join([f"reason{index or ''}"] + ["reason"] * (words - 1)))
        tokens = re.findall(r"\s?\w+|\s?[^\w\s]+|\s", text)
        completion_tokens += len(tokens)
        choice = {
            "index": index,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        if logprobs:
            choice["logprobs"] = {"content": [_token(token) for token in tokens]}
        choices.append(choice)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "any"}
    return json.dumps({**head, "choices": choices, "usage": usage}).encode()


def _token(token: str) -> dict[str, object]:
    return {"token": token, "bytes": [*token.encode()], "logprob": -0.12345678, "top_logprobs": []}


class _Server:
    def __init__(self, latency: float, words: int, prompt_tokens: int, slots: int) -> None:
        self.latency, self.words, self.prompt_tokens = latency, words, prompt_tokens
        self.bill = Bill()
        self._slots = asyncio.Semaphore(slots) if slots else None
        self._next = asyncio.Lock()

    async def serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError
        ):  # the client is done with the connection
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                asked = await reader.readexactly(int(length or 0))
                if head.startswith(b"get "):
                    body = json.dumps(asdict(self.bill)).encode()
                else:
                    body = await self._reply(asked)
                about = b"Content-Type: application/json\r\nContent-Length: %d" % len(body)
                writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (about, body))
                await writer.drain()
        writer.close()

    async def _reply(self, asked: bytes) -> bytes:
        found = _N.search(asked)
        n = int(found[1]) if found else 1
        if self._slots is None:
            await asyncio.sleep(self.latency)
        else:
            async with self._next:  # or requests would each hold a part of what they need
                for _ in range(n):
                    await self._slots.acquire()
            await asyncio.sleep(self.latency)
            for _ in range(n):
                self._slots.release()
        body, completion_tokens = self._made(n, b'"logprobs"' in asked)
        self.bill.requests += 1
        self.bill.choices += n
        self.bill.prompt_tokens += self.prompt_tokens
        self.bill.completion_tokens += completion_tokens
        return body

    @functools.cache  # noqa: B019  (one server a process)
    def _made(self, n: int, logprobs: bool) -> tuple[bytes, int]:
        body = reply_body(self.words, logprobs=logprobs, n=n, prompt_tokens=self.prompt_tokens)
        return body, json.loads(body)["usage"]["completion_tokens"]


if __name__ == "__main__":
    asyncio.run(_Server(float(sys.argv[1]), *map(int, sys.argv[2:])).serve())
