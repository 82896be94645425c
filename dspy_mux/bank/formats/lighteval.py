"""lighteval's details: `details_TASK_DATE.parquet`, written with `--save-details`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..rows import lay_out
from .draws import Context, Fault, Place, choose_score, filled, question_key, scalars

_COLUMNS = {"doc", "metric", "model_response"}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\S+")


def fits(columns: Sequence[str]) -> bool:
    """Whether a Parquet file has the columns of details."""
    return set(columns) >= _COLUMNS


def rows(
    table: Iterable[tuple[int, dict[str, Any]]], context: Context
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (row, draw)."""
    model = model_of(context.path)
    for number, row in table:
        with context.reading(number):
            document, response = row["doc"], row["model_response"]
            scores = {
                name: value
                for name, value in (row["metric"] or {}).items()
                if isinstance(value, (int, float))  # of a single answer, not of the corpus
            }
            score = choose_score(context, scores, context.score)
            found = _draws(document, response, None if score is None else score[1], context)
            fields = _fields(document)
            own = {
                "question_id": document.get("id") or question_key(document["query"]),
                **filled(dataset=document.get("task_name") or None, model=model),
            }
        for draw in found:
            yield number, lay_out(fields, {**own, **draw})


def model_of(path: str) -> str | None:
    """Return the model that the folders of a file name: `details/MODEL/DATE/details_….parquet`."""
    folders = Path(path).parts[:-1]
    if "details" not in folders:
        return None
    after = folders[len(folders) - folders[::-1].index("details") :]
    named = [name for name in after if not _DATE.fullmatch(name)]
    return "/".join(named) or None


def _draws(
    document: Mapping[str, Any], response: Mapping[str, Any], score: Any, context: Context
) -> list[dict[str, Any]]:
    texts = response.get("text") or []
    likelihoods = response.get("logprobs") or []
    if not texts:
        if len(likelihoods) != len(document["choices"]):
            raise Fault("has neither a text nor the log-probability of each choice")
        best = max(range(len(likelihoods)), key=likelihoods.__getitem__)
        return [
            {
                "answer": str(document["choices"][best]).strip(),
                **filled(score=score, answer_logprob=min(0.0, likelihoods[best])),
            }
        ]
    read = response.get("text_post_processed") or texts
    tokens = response.get("output_tokens") or []
    if len(texts) > 1 and not context.read_by_type:
        context.note(
            "rows of several texts have one score for all of them, so their draws have none: "
            "--type scores each by the right answer"
        )
    return [
        {
            "answer": read[at] if at < len(read) else text,
            **filled(
                text=text,
                score=score if len(texts) == 1 else None,
                prompt_tokens=len(response.get("input_tokens") or []) or None,
                completion_tokens=len(tokens[at]) if len(tokens) == len(texts) else None,
            ),
        }
        for at, text in enumerate(texts)
    ]


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    choices, gold = document.get("choices") or [], document.get("gold_index")
    places = gold if isinstance(gold, list) else [gold]
    right = [choices[at] for at in places if isinstance(at, int) and 0 <= at < len(choices)]
    right = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in right]
    return {
        **scalars(document.get("specific") or {}),
        "question": document.get("original_query") or document["query"],
        **filled(gold=str(right[0]).strip() if len(right) == 1 else str(right) if right else None),
    }
