"""HELM: `scenario_state.json` of a run, with the scores of `per_instance_stats.json` beside it.

A request's completions are draws, and so are the trials with other examples in the prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...text import first_line
from ..rows import lay_out
from .draws import (
    Context,
    Fault,
    Place,
    choose_score,
    expect,
    failure,
    filled,
    finish,
    scalars,
    text_logprobs,
)

_SCORES = "per_instance_stats.json"
#: Statistics of an instance that are no scores of its answer.
_NO_SCORES = (
    "num_",
    "max_",
    "logprob",
    "training_",
    "inference_",
    "finish_",
    "batch_",
    "estimated_",
)
#: Those that HELM reports first, in this order.
_FIRST = ("exact_match", "quasi_exact_match", "prefix_exact_match", "final_number_exact_match")

#: (instance, perturbation, trial) → name → value
_Scores = dict[tuple[str, str, int], dict[str, float]]


def fits(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is a run's state."""
    return "adapter_spec" in document and "request_states" in document


def rows(document: Any, context: Context) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (request, draw)."""
    scores = _scores(Path(context.path).with_name(_SCORES), context)
    for number, state in enumerate(document["request_states"], 1):
        with context.reading(number):
            found = _draws(expect(state, dict, "the request"), scores, context)
        for draw in found:
            yield number, draw


def _draws(state: Mapping[str, Any], scores: _Scores, context: Context) -> list[dict[str, Any]]:
    if state.get("request_mode") == "calibration":
        return []
    if state.get("reference_index") is not None:
        raise Fault(
            "asks for each option by itself, so that no answer is written: only runs that "
            "generate, or ask for the options together, have draws"
        )
    instance, request = state["instance"], state["request"]
    perturbation = (instance.get("perturbation") or {}).get("name", "")
    trial = state.get("train_trial_index", 0)
    own = {
        "question_id": f"{instance['id']} {perturbation}".strip(),
        "model": request["model"] or request.get("model_deployment"),
        **filled(temperature=request.get("temperature")),
    }
    result = state.get("result") or {}
    if not result.get("success"):
        return [lay_out(_fields(instance), {**own, **failure(result.get("error"))})]
    completions = result["completions"]
    of_instance = scores.get((instance["id"], perturbation, trial), {})
    score = choose_score(context, of_instance, context.score)
    timing = filled(seconds=result.get("request_time"), created=result.get("request_datetime"))
    return [
        lay_out(
            _fields(instance),
            {
                **own,
                **timing,
                **_completion(completion, state.get("output_mapping") or {}),
                # The statistics of several completions are means over them, or the best.
                **filled(score=score[1] if score and len(completions) == 1 else None),
            },
        )
        for completion in completions
    ]


def _completion(completion: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    text = completion["text"]
    tokens = completion.get("tokens") or []
    said = text.strip()
    return {
        "answer": mapping.get(said, said),
        "text": mapping.get(said, text),
        **filled(completion_tokens=len(tokens) or None),
        **text_logprobs(tokens),
        **finish((completion.get("finish_reason") or {}).get("reason")),
    }


def _fields(instance: Mapping[str, Any]) -> dict[str, Any]:
    references = instance.get("references") or []
    right = [
        (one.get("output") or {}).get("text")
        for one in references
        if "correct" in (one.get("tags") or [])
    ]
    return {
        **scalars(instance.get("extra_data") or {}),
        **filled(
            question=instance["input"].get("text"),
            gold=right[0] if len(right) == 1 else str(right) if right else None,
            split=instance.get("split"),
            sub_split=instance.get("sub_split"),
        ),
    }


def _scores(path: Path, context: Context) -> _Scores:
    """Return the statistics of the run's instances; none where their file is not there."""
    if not path.exists():
        context.note(
            f"there is no {_SCORES} beside the file, so its draws have no scores: --type scores "
            "them by the right answer"
        )
        return {}
    scores: _Scores = {}
    try:
        for one in json.loads(path.read_text(encoding="utf-8")):
            place = (
                one["instance_id"],
                (one.get("perturbation") or {}).get("name", ""),
                one["train_trial_index"],
            )
            values = scores.setdefault(place, {})
            for stat in one["stats"]:
                name = stat["name"]["name"]
                if stat.get("count") and not name.startswith(_NO_SCORES):
                    values.setdefault(name, stat["sum"] / stat["count"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{context.path} has scores beside it, in {path.name}, that cannot be read: "
            f"{first_line(error)}."
        ) from error
    return {place: _in_order(values) for place, values in scores.items()}


def _in_order(values: dict[str, float]) -> dict[str, float]:
    first = {name: values[name] for name in _FIRST if name in values}
    return {**first, **values}
