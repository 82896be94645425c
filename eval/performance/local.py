"""The embedded engine: tokens per second through a mux over llama.cpp's own server.

Both sides draw a question's k answers as one request of n = k, so both share the prompt.
SmolLM2-135M, weights in memory, prompts that neither side has seen.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy

from dspy_mux import AllMembersFailed, CompletionAdapter, Member, PlainAdapter, SLMMux
from dspy_mux.local import local_lm
from dspy_mux.local.server import server_for

from .figures import Figure

MODEL = "smollm2-135m"
SLOTS = K = 8
#: Draws of a member where the same server is asked over HTTP, as any server is.
OVER_HTTP = 5
RUNS = 3
#: Tokens per answer (a model goes on to the last one), and questions per run.
SHORT, LONG = 12, 48
QUESTIONS = {SHORT: 6, LONG: 1}
_WORDS = (
    "river",
    "stone",
    "cloud",
    "lamp",
    "garden",
    "winter",
    "copper",
    "violin",
    "harbour",
    "meadow",
    "engine",
    "paper",
)


class OneLine(dspy.Signature):
    """Go on."""

    text: str = dspy.InputField()
    answer: str = dspy.OutputField()


def figures() -> Iterator[Figure]:
    lm = local_lm(MODEL, slots=SLOTS, cache=False)
    lm.engine.load()
    server = server_for(lm.engine._settings())
    for tokens, name in ((SHORT, "short"), (LONG, "long")):
        pairs = [_ours(lm, tokens) / _raw(server._llama, tokens) for _ in range(RUNS)]
        yield Figure.of(
            f"engine: tokens a second through a mux over the raw server, {name} answers "
            f"({tokens} tokens, k={K})",
            pairs,
            target="≥ 0.9",
        )
    gains = [_together(server._llama, SHORT) / _apart(server._llama, SHORT) for _ in range(RUNS)]
    yield Figure.of(
        f"engine: answers of {SHORT} tokens, a prompt shared by {K} draws over separate requests",
        gains,
        target="≥ 3",
    )
    muxes = [_over_http(server, group) for group in (True, False)]
    rates = [[_answers(mux) for mux in muxes] for _ in range(RUNS)]
    yield Figure.of(
        f"engine over HTTP: answers of {SHORT} tokens a second through a mux, grouped over "
        f"separate requests (k={OVER_HTTP})",
        [grouped / separate for grouped, separate in rates],
    )


def _prompt(words: int = 220) -> str:
    """A text that no run has read before."""
    return " ".join(random.choices(_WORDS, k=words))


def _ours(lm: dspy.LM, tokens: int) -> float:
    """Measure tokens per second through the mux: one question at a time, its draws together."""
    program = dspy.Predict(OneLine)
    # No stop sequence: every draw is `tokens` long on both sides.
    copy = lm.copy(max_tokens=tokens, stop=["\0"])
    member = Member(copy, adapter=CompletionAdapter())
    mux = SLMMux(program, [member], k=K, temperature=1.0)
    made = 0
    began = time.perf_counter()
    for _ in range(QUESTIONS[tokens]):
        made += mux(text=_prompt()).verdict.completion_tokens
    return made / (time.perf_counter() - began)


def _over_http(server: Any, group: bool) -> SLMMux:
    """Return a mux that asks the server over HTTP, with a chat's prompt."""
    lm = dspy.LM(
        "openai/local",
        api_base=f"{server._llama.listening_address}/v1",
        api_key=server._key,
        engine="lm15",
        cache=False,
        max_tokens=SHORT,
    )
    member = Member(lm, adapter=PlainAdapter())
    return SLMMux(dspy.Predict(OneLine), [member], k=OVER_HTTP, temperature=1.0, group=group)


def _answers(mux: SLMMux) -> float:
    """Measure answers per second; each has as many tokens as it may, so most count as cut off."""
    began = time.perf_counter()
    for _ in range(QUESTIONS[LONG]):
        with contextlib.suppress(AllMembersFailed):
            mux(text=_prompt())
    return QUESTIONS[LONG] * OVER_HTTP / (time.perf_counter() - began)


def _raw(llama: Any, tokens: int) -> float:
    """Tokens a second of the server itself, in the same requests."""
    began = time.perf_counter()
    made = sum(
        _request(llama, f"Go on.\nQ: {_prompt()}\nA:", tokens, K) for _ in range(QUESTIONS[tokens])
    )
    return made / (time.perf_counter() - began)


def _together(llama: Any, tokens: int) -> float:
    return _rate(lambda prompt: _request(llama, prompt, tokens, K))


def _apart(llama: Any, tokens: int) -> float:
    """Every draw a request of its own, all at once, and no prompt kept from one to the next."""

    def ask(prompt: str) -> int:
        with ThreadPoolExecutor(K) as pool:
            return sum(
                pool.map(lambda _: _request(llama, prompt, tokens, 1, cache_prompt=False), range(K))
            )

    return _rate(ask)


def _rate(ask: Callable[[str], int]) -> float:
    began = time.perf_counter()
    made = sum(ask(_prompt()) for _ in range(QUESTIONS[SHORT]))
    return made / (time.perf_counter() - began)


def _request(llama: Any, prompt: str, tokens: int, n: int, *, cache_prompt: bool = True) -> int:
    made = 0

    def take(chunk: dict[str, Any]) -> bool:
        nonlocal made
        usage = chunk.get("usage")
        made += usage["completion_tokens"] if usage else 0
        return False

    body = {
        "prompt": prompt,
        "max_tokens": tokens,
        "n": n,
        "temperature": 1.0,
        "seed": random.getrandbits(30),
        "stop": ["\0"],
    }
    body.update(stream=True, stream_options={"include_usage": True}, cache_prompt=cache_prompt)
    llama.handle_completions(body, take)
    return made
