"""What a mux answered, as clients are told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import dspy

from ..mux.prediction import verdict_body
from ..mux.trust import is_kept_back
from ..voting.verdict import NotTrusted, Verdict
from ..voting.verdict_parts import jsonable
from .chat import ChatReply
from .models import ServedModel


@dataclass(frozen=True)
class Answer:
    """What becomes of a question that was decided.

    Attributes:
        model: who was asked.
        verdict: what it decided.
        outputs: the program's; None where the answer is kept back, as it is not trusted.
    """

    model: ServedModel
    verdict: Verdict
    outputs: dict[str, Any] | None

    @classmethod
    def of(cls, model: ServedModel, decided: dspy.Prediction | NotTrusted) -> Answer:
        if isinstance(decided, NotTrusted):
            return cls(model, decided.verdict, None)
        outputs = {name: decided[name] for name in decided}
        fields = model.mux.compared.fields
        return cls(model, decided.verdict, None if is_kept_back(decided, fields) else outputs)

    @property
    def text(self) -> str:
        """The answer alone: a text as it is, anything else as JSON."""
        answer = self.verdict.answer
        if isinstance(answer, str):
            return answer
        return json.dumps(jsonable(answer), ensure_ascii=False)

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message of the assistant."""
        answer = self.verdict.answer
        if self.outputs is None:
            return {"role": "assistant", "content": None, "refusal": self.refusal}
        if isinstance(answer, ChatReply):
            return answer.message()
        return {"role": "assistant", "content": self.text, "refusal": None}

    @property
    def refusal(self) -> str:
        """Why the answer is kept back."""
        threshold = self.model.mux.pool.settings.threshold or 0.0
        return (
            f"The answer is not trusted: its confidence {self.verdict.confidence:.2f} is below "
            f"the threshold {threshold:g}."
        )

    @property
    def finish_reason(self) -> str:
        answer = self.verdict.answer
        is_reply = isinstance(answer, ChatReply) and self.outputs is not None
        return answer.finish_reason if is_reply else "stop"

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of all draws together."""
        sent, received = self.verdict.prompt_tokens, self.verdict.completion_tokens
        return {
            "prompt_tokens": sent,
            "completion_tokens": received,
            "total_tokens": sent + received,
        }

    @property
    def headers(self) -> dict[str, str]:
        """The verdict's figures as headers."""
        verdict = self.verdict
        trusted = "unknown" if verdict.trusted is None else str(verdict.trusted).lower()
        return {
            "x-mux-member": "".join(c if " " <= c <= "~" else "?" for c in verdict.member),
            "x-mux-confidence": f"{verdict.confidence:.4g}",
            "x-mux-trusted": trusted,
            "x-mux-calls": str(verdict.calls),
        }

    def body(self) -> dict[str, Any]:
        """Return the outputs with the verdict in full."""
        outputs = None if self.outputs is None else jsonable(self.outputs)
        return {"model": self.model.name, "outputs": outputs, "verdict": verdict_body(self.verdict)}
