"""Inspect's logs: `.eval`, an archive of JSON files, and `.json`.

A sample's epochs are its draws. https://inspect.aisi.org.uk/eval-logs.html
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import DataError
from ..columns import seconds
from ..rows import lay_out
from .archive import Archive
from .draws import (
    Context,
    Fault,
    Place,
    choose_score,
    expect,
    failure,
    filled,
    finish,
    last_user_text,
    listed,
    message_text,
    scalars,
    text_logprobs,
)

#: Holds, among a sample's metadata, the columns of a draw that this library exported.
WRITTEN_HERE = "dspy_mux"
#: Those columns: a log has no place for them, or another form.
KEPT = ("question_id", "answer", "answer_class", "cause", "temperature", "finish_reason")
#: Of a log that has ended, and of one that has not.
_HEADS = ("header.json", "_journal/start.json")
_ATTACHMENT = "attachment://"


def fits(log: Mapping[str, Any]) -> bool:
    """Whether a JSON document is a log."""
    spec = log.get("eval")
    return isinstance(spec, Mapping) and "model" in spec and ("version" in log or "status" in log)


def document_rows(log: Any, context: Context) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (sample, its draw) of a `.json` log."""
    _note_status(log, context)
    for number, sample in enumerate(log.get("samples") or [], 1):
        yield _draw(log, sample, number, context)


def archive_rows(path: str, context: Context) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield (sample, its draw) of a `.eval` log, one sample of which is held at a time.

    Raises:
        DataError: the file is not such a log, or a trick.
    """
    with Archive(path) as archive:
        heads = [name for name in _HEADS if name in archive.names]
        log = archive.json(heads[0]) if heads else None
        if not isinstance(log, dict) or not fits({"version": 2, **log}):
            raise DataError(
                f"{path!r} is an archive, but not a log of Inspect: it has no header.json with the "
                "model."
            )
        _note_status(log, context)
        samples = [name for name in archive.names if name.startswith("samples/")]
        for number, name in enumerate(samples, 1):
            yield _draw(log, archive.json(name), number, context)


def _note_status(log: Mapping[str, Any], context: Context) -> None:
    status = log.get("status")
    if status not in (None, "success"):
        context.note(
            f"the run ended with the status {reprlib.repr(status)}: samples may be missing"
        )


def dataset(log: Mapping[str, Any]) -> str | None:
    """Return the task of a log."""
    task = (log.get("eval") or {}).get("task")
    return task if isinstance(task, str) and task else None


def _draw(
    log: Mapping[str, Any], sample: Any, number: int, context: Context
) -> tuple[Place, dict[str, Any]]:
    with context.reading(number):
        sample = expect(sample, dict, "the sample")
        place = f"{reprlib.repr(sample['id'])}, epoch {reprlib.repr(sample['epoch'])}"
    with context.reading(place):
        return place, _row(log, sample, context)


def _row(log: Mapping[str, Any], sample: Mapping[str, Any], context: Context) -> dict[str, Any]:
    spec = log["eval"]
    output = sample.get("output") or {}
    text = _attached(output.get("completion") or _completion(output), sample)
    score = choose_score(context, _scores(sample), context.score)
    own: dict[str, Any] = {
        "question_id": sample["id"] if isinstance(sample["id"], (str, int)) else str(sample["id"]),
        "model": spec.get("model"),
        "draw": sample["epoch"] - 1 if isinstance(sample["epoch"], int) else sample["epoch"],
        "dataset": dataset(log),
        **filled(
            text=text or None,
            temperature=_temperature(log),
            seconds=sample.get("total_time"),
            created=seconds(sample.get("started_at")),
        ),
        **_usage(output.get("usage")),
        **_choice(output),
    }
    answer: Any = text or None
    if score is not None and isinstance(score[1], Mapping):
        value = score[1]
        if isinstance(value.get("answer"), str):
            answer = _attached(value["answer"], sample)
        own["score"] = _value(score[0], value.get("value"))
    own["answer"] = answer
    own.update(_kept(sample))
    if sample.get("error"):
        own.update(failure(sample["error"]))
    return lay_out(_fields(sample), own)


def _scores(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a sample's scores by scorer; the one of logs of 2024, which had one alone."""
    scores = sample.get("scores")
    if not scores and isinstance(sample.get("score"), Mapping):
        return {"score": sample["score"]}
    return scores or {}


def _kept(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a draw that this library exported."""
    kept = (sample.get("metadata") or {}).get(WRITTEN_HERE)
    return {name: kept[name] for name in KEPT if name in kept} if isinstance(kept, dict) else {}


def _fields(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sample says of its question."""
    said = sample.get("input")
    question = last_user_text(said) if isinstance(said, list) else said
    target = sample.get("target")
    if isinstance(target, list):
        target = target[0] if len(target) == 1 else str(target) if target else None
    return {
        **scalars(sample.get("metadata") or {}),
        **filled(question=_attached(question, sample), gold=target if target != "" else None),
    }


def _value(name: str, value: Any) -> Any:
    """Return a score's value.

    Raises:
        Fault: it is several.
    """
    if isinstance(value, Mapping):
        raise Fault(f"has the score {reprlib.repr(name)} of several values ({listed(value)})")
    if isinstance(value, str) and value.casefold() in ("yes", "no"):  # as Inspect counts them
        return value.casefold() == "yes"
    return value


def _completion(output: Mapping[str, Any]) -> str | None:
    choices = output.get("choices") or [{}]
    return message_text((choices[0].get("message") or {}).get("content"))


def _choice(output: Mapping[str, Any]) -> dict[str, Any]:
    choice = (output.get("choices") or [{}])[0]
    tokens = (choice.get("logprobs") or {}).get("content") or []
    return {**finish(choice.get("stop_reason")), **text_logprobs(tokens)}


def _usage(usage: Any) -> dict[str, Any]:
    if not isinstance(usage, Mapping):
        return {}
    return filled(
        prompt_tokens=usage.get("input_tokens"), completion_tokens=usage.get("output_tokens")
    )


def _temperature(log: Mapping[str, Any]) -> Any:
    configs = (
        (log.get("plan") or {}).get("config") or {},
        log["eval"].get("model_generate_config") or {},
    )
    found = [config["temperature"] for config in configs if "temperature" in config]
    return next((value for value in found if value is not None), None)


def _attached(text: Any, sample: Mapping[str, Any]) -> Any:
    """Return a text, which may be kept among the sample's attachments."""
    if isinstance(text, str) and text.startswith(_ATTACHMENT):
        return (sample.get("attachments") or {}).get(text[len(_ATTACHMENT) :], text)
    return text
