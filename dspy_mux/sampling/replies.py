"""Replies with log-probabilities: what a server says of each token, and what becomes evidence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from ..adapters.extract import ExtractingAdapter
from ..adapters.readings import Reading
from ..voting.evidence import Evidence, measured
from .cut_off import finish_reasons, item
from .decisions import decision_probability, is_decided


@dataclasses.dataclass(frozen=True)
class Reply:
    """One reply of a draw's LM, with the log-probabilities of its tokens.

    Attributes:
        text: as an adapter gets it.
        tokens: each token's bytes.
        logprobs: each token's natural logarithm.
        billed: how many tokens the server counts, those of hidden reasoning among them; None where
            it does not say.
    """

    text: str
    tokens: list[bytes]
    logprobs: list[float]
    temperature: float | None
    finish_reason: str | None
    billed: int | None = None

    def evidence(self, span: tuple[int, int] | None, stated: float | None = None) -> Evidence:
        """Return what the reply says, given where its answer stands in the text."""
        evidence = measured(
            self.logprobs,
            None if span is None else self._tokens_of(*span),
            temperature=self.temperature,
            finish_reason=self.finish_reason,
            stated=stated,
        )
        tokens = self.billed or evidence.completion_tokens
        return dataclasses.replace(evidence, completion_tokens=tokens)

    def _tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the tokens of a part of the text; None where they are not sure to be those."""
        whole, text = b"".join(self.tokens), _bytes(self.text)
        at = whole.find(text)
        if at < 0 or whole.find(text, at + 1) >= 0:
            return None  # the server changed the text, or it stands in its own reasoning too
        first = at + len(_bytes(self.text[:start]))
        last = at + len(_bytes(self.text[:end]))
        position, within = 0, []
        for number, token in enumerate(self.tokens):
            position, before = position + len(token), position
            if before < last and position > first:
                within.append(number)
                if _says_more(whole[before : max(before, first)]) or _says_more(
                    whole[min(position, last) : position]
                ):
                    return None  # a token of the answer and of another word
        return (within[0], within[-1] + 1) if within else None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _says_more(part: bytes) -> bool:
    return any(character.isalnum() for character in part.decode(errors="replace"))


def replies_of(entry: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Reply]:
    """Return the replies of a call that have log-probabilities.

    Args:
        entry: the call's history entry.
        settings: of the LM; those of the call come first.
    """
    outputs: Sequence[Any] = entry["outputs"]
    if not any(isinstance(output, dict) and output.get("logprobs") for output in outputs):
        return []
    temperature = {**settings, **(entry.get("kwargs") or {})}.get("temperature")
    reasons = [*finish_reasons(entry["response"], len(outputs)), *[None] * len(outputs)]
    billed = _billed(entry) if len(outputs) == 1 else None
    found = []
    for output, reason in zip(outputs, reasons, strict=False):
        tokens = item(output.get("logprobs"), "content") or () if isinstance(output, dict) else ()
        try:
            logprobs = [float(item(token, "logprob")) for token in tokens]
            parts = [_token(token) for token in tokens]
        except (TypeError, ValueError):  # no log-probabilities of OpenAI's form
            continue
        if logprobs:
            reason = None if reason is None else str(reason)
            text = output.get("text") or ""
            found.append(Reply(text, parts, logprobs, temperature, reason, billed))
    return found


def _billed(entry: Mapping[str, Any]) -> int | None:
    """Return how many tokens a call's completion has by its server."""
    given = (entry.get("usage") or {}).get("completion_tokens")
    if given is None:  # DSPy bills nothing for what its cache has, and keeps the response
        given = item(item(entry["response"], "usage"), "output_tokens")
    return given if isinstance(given, int) else None


def _token(token: object) -> bytes:
    """Return a token's bytes; a token may hold a part of a character alone."""
    given = item(token, "bytes")
    return _bytes(str(item(token, "token"))) if given is None else bytes(given)


def forget_logprobs(outputs: list[Any]) -> None:
    """Make the outputs of a call those of one that did not ask for log-probabilities, in place."""
    for output in outputs:
        if isinstance(output, dict):
            output.pop("logprobs", None)
    if all(isinstance(output, dict) and output.keys() == {"text"} for output in outputs):
        outputs[:] = [output["text"] for output in outputs]


def evidence_of(
    replies: Sequence[Reply],
    readings: Sequence[Reading],
    adapter: dspy.Adapter,
    prediction: dspy.Prediction | None,
    lm: dspy.BaseLM,
) -> Evidence | None:
    """Return the evidence of a draw; None where nothing is known.

    Args:
        replies: those of the draw with log-probabilities.
        readings: what the replies were read as.
        adapter: that read them.
        prediction: what came of them; None for an abstention.
        lm: the member's.
    """
    place = None
    if prediction is not None and isinstance(adapter, ExtractingAdapter):
        field = adapter.answer_field
        answer = prediction.get(field)
        if is_decided(answer, field, readings):
            return _decided(decision_probability(answer, field, readings), lm, replies)
        place = adapter.place_of(prediction, readings) if replies else None
    if place is not None:
        of_the_place = [reply for reply in replies if reply.text == place.text]
        if len(of_the_place) == 1:
            return of_the_place[0].evidence(place.span)
    # Of several calls, the one that gave the answer is unknown.
    return replies[0].evidence(None) if len(replies) == 1 else None


def _decided(
    probability: float | None, lm: dspy.BaseLM, replies: Sequence[Reply]
) -> Evidence | None:
    """Return the evidence of one of DSPy's decisions, which brings a probability of its own.

    It is measured where the LM takes decision requests, and elsewhere what the model states.
    """
    text = replies[0].evidence(None, probability) if len(replies) == 1 else None
    if getattr(lm, "supports_decision_requests", False) is not True:
        return text or (None if probability is None else Evidence(stated=probability))
    if not probability:
        return text
    return Evidence(answer_logprob=min(0.0, math.log(probability)))
