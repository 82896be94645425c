"""Result files of the paper's reference implementation: one model each, its samples as draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .draws import Context, Fault, Place, question_key

_QUESTIONS = ("problem", "question", "prompt")


def fits(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is a result file."""
    return "model" in document and isinstance(document.get("responses"), list)


def rows(document: Any, context: Context) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (response, draw)."""
    for number, response in enumerate(document["responses"], 1):
        with context.reading(number):
            found = _draws(str(document["model"]), response)
        for draw in found:
            yield number, draw


def _draws(model: str, response: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = next((str(response[name]) for name in _QUESTIONS if response.get(name)), None)
    if text is None:
        raise Fault(f"has no {', '.join(_QUESTIONS[:2])} or {_QUESTIONS[2]}")
    question = question_key(text)
    draws = []
    for sample in response["samples"]:
        usage = sample.get("token_usage") or {}
        draws.append(
            {
                "question_id": question,
                "question": text,
                "model": model,
                "answer": sample.get("extracted_answer"),
                "correct": sample.get("is_correct"),
                "text": sample.get("model_response"),
                "gold": response.get("answer"),
                "prompt_tokens": usage.get("prompt_tokens"),
                "completion_tokens": usage.get("completion_tokens"),
            }
        )
    return draws
