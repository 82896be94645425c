"""lm-evaluation-harness: `samples_TASK_DATE.jsonl`, written with `--log_samples`.

A line is a document under one filter; its repeats are the draws.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ..rows import lay_out
from .draws import Context, Fault, Place, choose_score, filled, listed, scalars

#: What a filter yields where it finds nothing.
_INVALID = "[invalid]"
_QUESTIONS = ("question", "problem", "query", "prompt", "input", "text")
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT.+)\.jsonl")


def fits(row: Mapping[str, Any]) -> bool:
    """Whether a line is one of the harness."""
    return row.keys() >= {"doc_id", "doc", "resps", "filtered_resps"}


def rows(
    lines: Iterable[tuple[int, dict[str, Any]]], context: Context
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (line, draw): those of one filter.

    Raises:
        ConfigurationError: no line has the score, or the filter, that was named.
    """
    task, model = about(context.path)
    metric, _, wanted = (context.score or "").partition(",")
    seen: dict[str, None] = {}
    for number, line in lines:
        name = str(line.get("filter", "none"))
        seen.setdefault(name)
        if name != (wanted or next(iter(seen))):
            continue
        with context.reading(number):
            own = filled(dataset=task, model=model)
            fields = _fields(line)
            found = _draws(line, _score(line, metric, context), context)
        for draw in found:
            yield number, lay_out(fields, {**own, **draw})
    if wanted and wanted not in seen:
        raise ConfigurationError(f"{context.path} has no filter {wanted!r}; it has {listed(seen)}.")
    if len(seen) > 1 and not wanted:
        first, *others = seen
        context.note(
            f"answers are those of the filter {first!r}; --score METRIC,{others[0]} reads another's"
        )


def about(path: str) -> tuple[str | None, str | None]:
    """Return the task in a file's name, and the model in the results beside it."""
    found = _NAME.fullmatch(Path(path).name)
    if found is None:
        return None, None
    beside = Path(path).with_name(f"results_{found['date']}.json")
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
        model = said.get("model_name")
    except (OSError, ValueError, RecursionError, AttributeError):
        model = None  # --model names it
    return found["task"], model if isinstance(model, str) and model else None


def _score(line: Mapping[str, Any], metric: str, context: Context) -> Any:
    known = line.get("metrics") or []
    # A metric of the whole corpus, such as f1, keeps pairs of answers in place of a score.
    scores = {name: line[name] for name in known if isinstance(line.get(name), (int, float))}
    if metric and metric not in scores and isinstance(line.get(metric), list):
        raise Fault(f"has no {metric} of its own: it is computed from all answers together")
    if known and not scores:
        context.note(f"no score is one of a single answer ({listed(known)}): --type scores them")
    chosen = choose_score(context, scores, metric or None)
    return None if chosen is None else chosen[1]


def _draws(line: Mapping[str, Any], score: Any, context: Context) -> list[dict[str, Any]]:
    responses = line["resps"]
    if _is_choice(responses):
        return [_chosen(line, score, by_length=(context.score or "").startswith("acc_norm"))]
    texts = responses[0] if responses else []
    filtered = line["filtered_resps"]
    answers = filtered[0] if filtered and isinstance(filtered[0], list) else filtered
    whole = len(answers) == len(texts)
    if not whole and not context.read_by_type:
        raise Fault(
            f"has {len(texts)} repeats and {len(answers)} filtered answer: read the texts by a "
            "type, as with --type float, or take a filter that keeps all repeats"
        )
    options = _options(line)
    draws = []
    for at, text in enumerate(texts):
        answer = answers[at] if whole else None
        draws.append(
            {
                "question_id": line["doc_id"],
                "answer": None if answer == _INVALID else answer,
                **filled(
                    text=text if isinstance(text, str) else None,
                    # The score of several repeats is that of all of them together.
                    score=score if len(texts) == 1 else None,
                    temperature=_temperature(options),
                ),
            }
        )
    return draws


def _is_choice(responses: Any) -> bool:
    """Whether each response is the log-likelihood of an option, and whether it was greedy."""
    return bool(responses) and all(
        isinstance(one, list) and len(one) == 1 and isinstance(one[0], list) and len(one[0]) == 2
        for one in responses
    )


def _chosen(line: Mapping[str, Any], score: Any, *, by_length: bool) -> dict[str, Any]:
    """Return the draw of a question with options: the most probable one.

    Args:
        by_length: per character, as `acc_norm` has it.
    """
    likelihoods = [float(one[0][0]) for one in line["resps"]]
    if len(likelihoods) == 1:
        raise Fault("asks for the likelihood of one continuation, so that no answer is written")
    lengths = [len(_option(line, at)) or 1 for at in range(len(likelihoods))]
    weighed = [
        value / length if by_length else value
        for value, length in zip(likelihoods, lengths, strict=True)
    ]
    best = max(range(len(weighed)), key=weighed.__getitem__)
    return {
        "question_id": line["doc_id"],
        "answer": _option(line, best),
        **filled(answer_logprob=min(0.0, likelihoods[best]), score=score),
    }


def _option(line: Mapping[str, Any], at: int) -> str:
    """Return an option's text."""
    return str(line["arguments"][f"gen_args_{at}"]["arg_1"]).strip()


def _options(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a text was generated."""
    said = (line.get("arguments") or {}).get("gen_args_0", {}).get("arg_1")
    return said if isinstance(said, Mapping) else {}


def _temperature(options: Mapping[str, Any]) -> Any:
    """Return the temperature of a text: 0 where it says that nothing was sampled."""
    if options.get("do_sample") is False:
        return 0.0
    return options.get("temperature") if options.get("do_sample") else None


def _fields(line: Mapping[str, Any]) -> dict[str, Any]:
    document = line["doc"] if isinstance(line["doc"], Mapping) else {}
    prompt = (line.get("arguments") or {}).get("gen_args_0", {}).get("arg_0")
    named = next((document[name] for name in _QUESTIONS if document.get(name)), None)
    question = named if isinstance(named, str) else prompt
    gold: Any = line.get("target")
    if _is_choice(line["resps"]) and str(gold).isdecimal() and int(gold) < len(line["resps"]):
        gold = _option(line, int(gold))
    if isinstance(gold, list):
        gold = gold[0] if len(gold) == 1 else str(gold)
    return {**scalars(document), **filled(question=question, gold=gold)}
