"""A model server that answers after a fixed latency, in a process of its own.

with model_server(latency=0.2) as address:
    dspy.LM("openai/any", api_base=address, api_key="none", engine="lm15")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator

_TEXT = "[[ ## reasoning ## ]]\n{}\n\n[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]"


@contextlib.contextmanager
def model_server(latency: float, words: int = 1) -> Iterator[str]:
    """Run an OpenAI-shaped server that answers 42 after `latency` seconds; yield its address.

    It gives log-probabilities where it is asked for them.

    Args:
        words: of the reasoning before the answer.
    """
    command = [sys.executable, "-m", __name__, str(latency), str(words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def reply_body(words: int, *, logprobs: bool) -> bytes:
    """Return the body of a reply; its tokens are words and what stands between them."""
    text = _TEXT.format(" ".join(["reason"] * words))
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    tokens = re.findall(r"\s?\w+|\s?[^\w\s]+|\s", text)
    if logprobs:
        content = [
            {"token": token, "bytes": [*token.encode()], "logprob": -0.12345678, "top_logprobs": []}
            for token in tokens
        ]
        choice["logprobs"] = {"content": content}
    usage = {"prompt_tokens": 10, "completion_tokens": len(tokens), "total_tokens": 10}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "any"}
    return json.dumps({**head, "choices": [choice], "usage": usage}).encode()


async def _serve(latency: float, words: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    plain, weighed = (
        head % (len(body), body)
        for body in (reply_body(words, logprobs=False), reply_body(words, logprobs=True))
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError
        ):  # the client is done with the connection
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                asked = await reader.readexactly(int(length or 0))
                await asyncio.sleep(latency)
                writer.write(weighed if b'"logprobs"' in asked else plain)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), int(sys.argv[2])))
