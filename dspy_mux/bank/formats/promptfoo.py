"""promptfoo: the results that `promptfoo eval --output` writes as `.json` or `.jsonl`.

Repeats of a test are draws. A provider is a member; with several prompts, each of them is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..rows import lay_out
from .draws import (
    Context,
    Place,
    choose_score,
    expect,
    failure,
    filled,
    finish,
    question_key,
    scalars,
)

_ERROR = 2  # of `failureReason`: there is no output


def fits(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document holds results."""
    results = document.get("results")
    return isinstance(results, Mapping) and isinstance(results.get("results"), list)


def fits_line(row: Mapping[str, Any]) -> bool:
    """Whether a line is a result."""
    return row.keys() >= {"vars", "provider", "prompt", "success"}


def rows(document: Any, context: Context) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (result, draw)."""
    results = document["results"]["results"]
    yield from line_rows(enumerate(results, 1), context)


def line_rows(
    results: Iterable[tuple[int, Any]], context: Context
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (result, draw) of results, one of which is held at a time."""
    prompts: dict[str, list[str]] = {}  # provider → its prompts
    for number, result in results:
        with context.reading(number):
            row = _draw(expect(result, dict, "the result"), prompts, context)
        yield number, row


def _draw(
    result: Mapping[str, Any], prompts: dict[str, list[str]], context: Context
) -> dict[str, Any]:
    response = result.get("response") or {}
    scores = {"pass": result.get("success"), "score": result.get("score")}
    scores.update(result.get("namedScores") or {})
    choice = choose_score(context, scores, context.score or "pass")
    usage = response.get("tokenUsage") or {}
    output = response.get("output")
    own = {
        "question_id": question_key(result["vars"]),
        "model": _member(result, prompts),
        "answer": output,
        "score": None if choice is None else choice[1],
        **filled(
            text=output if isinstance(output, str) else None,
            prompt_tokens=usage.get("prompt"),
            completion_tokens=usage.get("completion"),
            cost=result.get("cost"),
        ),
        **finish(response.get("finishReason")),
    }
    if isinstance(result.get("latencyMs"), (int, float)):
        own["seconds"] = result["latencyMs"] / 1000
    if output is None or result.get("failureReason") == _ERROR:
        own.update(failure(response.get("error") or result.get("error")))
    return lay_out(_fields(result), own)


def _member(result: Mapping[str, Any], prompts: dict[str, list[str]]) -> str:
    """Return the provider's name, with the number of its prompt from the second one on."""
    provider = result["provider"]
    if isinstance(provider, Mapping):
        provider = provider.get("label") or provider["id"]
    name = str(provider)
    said = result.get("promptId") or json.dumps((result.get("prompt") or {}).get("label"))
    own = prompts.setdefault(name, [])
    if said not in own:
        own.append(said)
    at = own.index(said)
    return name if at == 0 else f"{name}#{at + 1}"


def _fields(result: Mapping[str, Any]) -> dict[str, Any]:
    values = result["vars"]
    asserted = [
        one.get("value")
        for one in (result.get("testCase") or {}).get("assert") or []
        if isinstance(one, Mapping) and one.get("type") == "equals"
    ]
    named = next(
        (values[name] for name in ("question", "query", "problem") if name in values), None
    )
    question = named if named is not None else json.dumps(values, sort_keys=True)
    if len(values) == 1:
        question = next(iter(values.values()))
    gold = asserted[0] if len(asserted) == 1 else None
    return {
        **scalars(values),
        **filled(
            question=question if isinstance(question, str) else json.dumps(question),
            gold=gold if isinstance(gold, (str, int, float)) else None,
        ),
    }
