"""A fake of xllamacpp, and requests to an engine on it."""

from __future__ import annotations

import json

from dspy import lm15

#: The chat template in a GGUF file's metadata.
TEMPLATE = b"\x17\0\0\0\0\0\0\0tokenizer.chat_template\x08\0\0\0\x02\0\0\0\0\0\0\0{}"


class FakeServer:
    """Stands in for xllamacpp.Server: streams "s+i" for choice i of seed s in two chunks."""

    made: list[FakeServer]
    listening_address = "http://127.0.0.1:9"  # the discard port: nothing listens

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


def request(text: str = "Hello", seed: int | None = 3) -> lm15.Request:
    return lm15.Request(
        model="m", messages=(lm15.Message.user(text),), config=lm15.Config(seed=seed)
    )
