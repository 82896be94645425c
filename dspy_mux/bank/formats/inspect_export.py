"""Write recorded draws as Inspect's logs, which its viewer shows: a draw is a sample's epoch.

A log is of one dataset and one member at one program, as `.eval`: an archive of JSON files.
https://inspect.aisi.org.uk/eval-logs.html
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...errors import StorageError
from ..rows import DRAW_KEYS, QUESTION_FIELDS
from .inspect_log import KEPT, WRITTEN_HERE

_VERSION = 2  # of the format
_SCORER = "metric"
_QUESTIONS = ("question", "problem", "query")
_GOLD = ("gold", "target", "expected", "ground_truth", "answer")
_STOPPED = {"length": "max_tokens", "stop": "stop", "content_filter": "content_filter"}
_MOST_IN_NAME = 60
_PATH = re.compile(r"[/\\\\:]|\.\.+")


def write_logs(rows: Iterable[Mapping[str, Any]], folder: Path) -> int:
    """Write draws to a new folder of logs; return how many there were.

    Draws are written as they come: what is held is a short summary of each.

    Args:
        rows: as `SampleBank.rows` yields them.

    Raises:
        StorageError: a log cannot be written; then there is no folder.
    """
    part = folder.with_name(folder.name + ".part")
    logs: dict[tuple[str, str, str], _Log] = {}
    try:
        part.mkdir()
        try:
            for row in rows:
                key = (row["dataset"], row["model"], row["program"])
                if key not in logs:
                    logs[key] = _Log(part, *key, len(logs) + 1)
                logs[key].add(row)
            for log in logs.values():
                log.finish()
            part.rename(folder)
        finally:
            for log in logs.values():
                log.file.close()
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"{str(folder)!r} cannot be written: {error.strerror or error}."
        ) from error
    return sum(len(log.summaries) for log in logs.values())


class _Log:
    """One log as it is written."""

    def __init__(self, folder: Path, dataset: str, member: str, program: str, number: int):
        self.dataset, self.member, self.program = dataset, member, program
        self.key = hashlib.sha256(repr((dataset, member, program)).encode()).hexdigest()[:22]
        stem = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{dataset}_{member}")[:_MOST_IN_NAME]
        path = folder / f"{number:04d}_{stem}_{self.key}.eval"
        self.file = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self.ids: dict[str, str] = {}  # question's fingerprint → sample id
        self.taken: set[str] = set()
        self.summaries: list[dict[str, Any]] = []
        self.scores: list[float] = []
        self.usage = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), 0)
        self.times: list[float] = []
        self.temperatures: set[float | None] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a draw."""
        sample = self._sample(row)
        self._write(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample)
        left_out = ("output", "messages", "metadata", "store", "events", "attachments")
        summary = {name: value for name, value in sample.items() if name not in left_out}
        self.summaries.append({**summary, "metadata": {}, "completed": True, "message_count": 2})

    def _id(self, row: Mapping[str, Any]) -> str:
        """Return a question's sample id: two questions may have one name."""
        key = row["question_fingerprint"]
        if key not in self.ids:
            name = _PATH.sub("_", str(row["question_id"]))  # it names a member of the archive
            self.ids[key] = name if name not in self.taken else f"{name} {key[:12]}"
            self.taken.add(self.ids[key])
        return self.ids[key]

    def _sample(self, row: Mapping[str, Any]) -> dict[str, Any]:
        fields = _fields(row)
        question = next((fields[name] for name in _QUESTIONS if fields.get(name)), None)
        gold = next((fields[name] for name in _GOLD if fields.get(name) not in (None, "")), "")
        abstained = row["answer"] in (None, "")
        text = _text(row)
        usage = self._spend(row)
        score = 0.0 if abstained else row["score"]
        if score is not None:
            self.scores.append(score)
        self.temperatures.add(row.get("temperature"))
        sample: dict[str, Any] = {
            "id": self._id(row),
            "epoch": row["draw"] + 1,
            "input": str(row["question_id"] if question is None else question),
            "target": str(gold),
            "messages": [
                {"role": "user", "content": str(question or row["question_id"])},
                {"role": "assistant", "content": text, "model": self.member},
            ],
            "output": self._output(row, text, usage),
            "scores": {} if score is None else {_SCORER: _score(row, score, abstained)},
            "metadata": {**fields, WRITTEN_HERE: _kept(row)},
            "store": {},
            "events": [],
            "model_usage": {self.member: usage} if usage else {},
            "attachments": {},
        }
        if row.get("created") is not None:
            self.times.append(row["created"])
            sample["started_at"] = sample["completed_at"] = _time(row["created"])
        if row.get("seconds") is not None:
            sample["total_time"] = sample["working_time"] = row["seconds"]
        return sample

    def _output(
        self, row: Mapping[str, Any], text: str, usage: Mapping[str, int] | None
    ) -> dict[str, Any]:
        choice = {
            "message": {"role": "assistant", "content": text, "model": self.member},
            "stop_reason": _STOPPED.get(row.get("finish_reason") or "", "unknown"),
        }
        output: dict[str, Any] = {"model": self.member, "choices": [choice], "completion": text}
        return {**output, **({"usage": usage} if usage else {})}

    def _spend(self, row: Mapping[str, Any]) -> dict[str, int] | None:
        counts = row.get("prompt_tokens"), row.get("completion_tokens")
        if counts == (None, None):
            return None
        sent, got = int(counts[0] or 0), int(counts[1] or 0)
        usage = {"input_tokens": sent, "output_tokens": got, "total_tokens": sent + got}
        for name, value in usage.items():
            self.usage[name] += value
        return usage

    def finish(self) -> None:
        """Write what is known at the end."""
        spec = self._spec()
        start = {"version": _VERSION, "eval": spec, "plan": self._plan()}
        self._write("_journal/start.json", start)
        times = [_time(value) for value in (min(self.times), max(self.times))] if self.times else []
        first, last = times or ["", ""]
        self._write("summaries.json", self.summaries)
        self._write("reductions.json", [])
        self._write(
            "header.json",
            {
                **start,
                "status": "success",
                "results": self._results(),
                "stats": {
                    "started_at": first,
                    "completed_at": last,
                    "model_usage": {self.member: self.usage},
                    "role_usage": {},
                },
                "invalidated": False,
            },
        )
        self.file.close()

    def _spec(self) -> dict[str, Any]:
        created = _time(min(self.times)) if self.times else _time(0)
        epochs = max(summary["epoch"] for summary in self.summaries)
        return {
            "eval_id": self.key,
            "run_id": self.key,
            "created": created,
            "task": self.dataset,
            "task_id": hashlib.sha256(self.dataset.encode()).hexdigest()[:22],
            "task_version": 0,
            "task_args": {},
            "dataset": {
                "name": self.dataset,
                "samples": len(self.ids),
                "sample_ids": list(self.ids.values()),
                "shuffled": False,
            },
            "model": self.member,
            "model_generate_config": {},
            "model_args": {},
            "config": {"epochs": epochs, "epochs_reducer": ["mean"]},
            "packages": {},
            "metadata": {WRITTEN_HERE: {"member": self.member, "program": self.program}},
        }

    def _plan(self) -> dict[str, Any]:
        known = self.temperatures
        config = {"temperature": next(iter(known))} if len(known) == 1 and None not in known else {}
        return {"name": "plan", "steps": [], "config": config}

    def _results(self) -> dict[str, Any]:
        count = len(self.scores)
        metrics = {}
        if count:
            mean = math.fsum(self.scores) / count
            metrics["mean"] = {"name": "mean", "value": mean, "params": {}}
        score = {
            "name": _SCORER,
            "scorer": _SCORER,
            "scored_samples": count,
            "unscored_samples": len(self.summaries) - count,
            "params": {},
            "metrics": metrics,
        }
        total = len(self.summaries)
        return {"total_samples": total, "completed_samples": total, "scores": [score]}

    def _write(self, name: str, value: Any) -> None:
        self.file.writestr(name, json.dumps(value))


def _score(row: Mapping[str, Any], score: float, abstained: bool) -> dict[str, Any]:
    answer = row["answer"]
    said = "abstained" if not row.get("cause") else f"abstained: {row['cause']}"
    return {
        "value": score,
        "answer": None if abstained else answer if isinstance(answer, str) else json.dumps(answer),
        "explanation": said if abstained else None,
        "history": [],
    }


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a log has no place for, or another form."""
    return {name: row[name] for name in KEPT if row.get(name) is not None}


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row's question."""
    own = ("dataset", "question_id")
    beside = {k: v for k, v in row.items() if k not in DRAW_KEYS and k not in own}
    return {**beside, **(row.get(QUESTION_FIELDS) or {})}


def _text(row: Mapping[str, Any]) -> str:
    """Return what a draw replied, as far as it is recorded: its text, or its fields."""
    outputs = row.get("outputs")
    if isinstance(outputs, Mapping) and outputs:
        if set(outputs) == {"text"} and isinstance(outputs["text"], str):
            return outputs["text"]
        return "\n\n".join(
            f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
            for name, value in outputs.items()
        )
    answer = row["answer"]
    return answer if isinstance(answer, str) else json.dumps(answer)


def _time(value: float) -> str:
    """Return a time as ISO 8601; the first of 1970 for one that no clock shows."""
    try:
        return datetime.fromtimestamp(value, timezone.utc).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, timezone.utc).isoformat(timespec="seconds")
