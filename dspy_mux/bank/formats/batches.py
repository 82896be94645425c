"""Batches: the output of OpenAI's batch API, of vLLM's `run_batch`, and vLLM's offline outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..rows import lay_out
from .draws import (
    Context,
    Fault,
    Place,
    expect,
    failure,
    filled,
    finish,
    last_user_text,
    listed,
    message_text,
    question_key,
    text_logprobs,
)


def fits(row: Mapping[str, Any]) -> bool:
    """Whether a line is the output of a batch."""
    return "custom_id" in row and ("response" in row or "error" in row)


def fits_offline(row: Mapping[str, Any]) -> bool:
    """Whether a line is an output of vLLM's `LLM.generate` or `LLM.chat`."""
    outputs = row.get("outputs")
    return isinstance(outputs, list) and ("prompt" in row or "request_id" in row)


def rows(
    lines: Iterable[tuple[int, dict[str, Any]]], context: Context
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (line, draw): each choice of a response is one; `custom_id` names the question."""
    models: dict[str, None] = {}
    for number, line in lines:
        with context.reading(number):
            question = line["custom_id"]
            found = _draws(line, models)
        for draw in found:
            yield number, {"question_id": question, **draw}


def offline_rows(
    lines: Iterable[tuple[int, dict[str, Any]]], context: Context
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (line, draw): each output of a prompt is one."""
    for number, line in lines:
        with context.reading(number):
            prompt = line.get("prompt")
            prompt = last_user_text(prompt) if isinstance(prompt, list) else prompt
            own = {
                "question_id": line["request_id"] if prompt is None else question_key(prompt),
                **filled(model=line.get("model")),
            }
            found = [_output(output) for output in line["outputs"]]
        for draw in found:
            yield number, lay_out(filled(question=prompt), {**own, **draw})


def _draws(line: Mapping[str, Any], models: dict[str, None]) -> list[dict[str, Any]]:
    response = line.get("response")
    body = response.get("body", response) if isinstance(response, Mapping) else None
    status = response.get("status_code", 200) if isinstance(response, Mapping) else None
    if isinstance(body, Mapping) and isinstance(body.get("model"), str):
        models.setdefault(body["model"])
    if line.get("error") or body is None or (isinstance(status, int) and status >= 400):
        reason = line.get("error") or (body or {}).get("error") or f"status {status}"
        if len(models) > 1:
            raise Fault(
                f"failed without a model, and the file has several ({listed(models)}): "
                "import the lines of each by themselves"
            )
        # A failed request names no model: its draw is one of the file's model, if that is known.
        return [{**filled(model=next(iter(models), None)), **failure(reason)}]
    common = filled(model=body.get("model"), created=body.get("created", body.get("created_at")))
    choices = _choices(body)
    if not choices:
        return [{**common, **failure("the response holds no choice")}]
    if len(choices) == 1:  # of several, the usage is not known by choice
        common.update(_usage(body.get("usage")))
    return [{**common, **choice} for choice in choices]


def _choices(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "output" in body:  # of the endpoint /v1/responses
        said = [
            message_text(item.get("content"))
            for item in expect(body["output"], list, "output")
            if item.get("type") == "message"
        ]
        whole = "\n".join(part for part in said if part)
        reason = (body.get("incomplete_details") or {}).get("reason")
        return [{"answer": whole or None, **filled(text=whole or None), **finish(reason)}]
    draws = []
    for choice in expect(body.get("choices"), list, "choices"):
        message = choice.get("message")
        text = message_text(message.get("content")) if message else choice.get("text")
        logprobs = choice.get("logprobs") or {}
        tokens = logprobs.get("content") or logprobs.get("token_logprobs") or []
        draws.append(
            {
                "answer": text,
                **filled(text=text),
                **finish(choice.get("finish_reason")),
                **text_logprobs(tokens),
            }
        )
    return draws


def _usage(usage: Any) -> dict[str, Any]:
    said = usage if isinstance(usage, Mapping) else {}
    return filled(
        prompt_tokens=said.get("prompt_tokens", said.get("input_tokens")),
        completion_tokens=said.get("completion_tokens", said.get("output_tokens")),
    )


def _output(output: Any) -> dict[str, Any]:
    if isinstance(output, str):
        return {"answer": output, "text": output}
    text = output["text"]
    total = output.get("cumulative_logprob")
    return {
        "answer": text,
        "text": text,
        **filled(
            text_logprob=None if total is None else min(0.0, total),
            completion_tokens=len(output.get("token_ids") or []) or None,
        ),
        **finish(output.get("finish_reason")),
    }
