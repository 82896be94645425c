"""A run folder: what a comparison was asked for, and every answer as it arrives.

    RUN/run.json        the manifest: members, tasks, methods, versions
    RUN/results.jsonl   one row per task, method and question; rows are only added, the last counts
    RUN/bank.sqlite     the draws that the methods share (`dspy_mux.SampleBank`)

Each row is one write of a whole line, so a killed run resumes where it stopped. A last line that a
crash cut short is removed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from dspy_mux.errors import ConfigurationError, DataError, StorageError
from dspy_mux.sampling.causes import is_error

from .schema import Manifest, Row, mistake_in

VERSION = 1
_MANIFEST, _ROWS = "run.json", "results.jsonl"
#: Settings that all rows of a run share; tasks and methods may be added to a run.
_COMMON = ("seed", "split", "limit", "validation_limit", "k", "temperature", "pool")
_OF_A_TASK = ("fingerprint", "context", "max_tokens")

#: (task, method, settings, question_id): what a row is the answer to.
Key = tuple[str, str, str, str]


class Run:
    """A run folder, opened for reading (`open`) or for adding to (`start`).

    Attributes:
        path: the folder.
        manifest: the content of `run.json`.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self.manifest = path, manifest
        self._lock = threading.Lock()
        self._alone: FileLock | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open a run for reading; nothing in it is changed.

        Raises:
            DataError: not a run folder, a run of a newer version, or a damaged manifest.
        """
        damaged = f"{str(path)!r} is not a run folder, or its {_MANIFEST} is damaged"
        try:
            manifest = json.loads((Path(path) / _MANIFEST).read_text(encoding="utf-8"))
            version = int(manifest["version"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{damaged}: `python -m eval compare --out …` makes one.") from error
        if version > VERSION:
            raise DataError(
                f"The run {str(path)!r} was made by a newer version (format {version}): "
                "update dspy-mux."
            )
        if (mistake := mistake_in(manifest, Manifest)) is not None:
            raise DataError(
                f"{damaged} (it {mistake}): `python -m eval compare --out …` makes one."
            )
        return cls(Path(path), manifest)

    @classmethod
    def start(cls, path: str | os.PathLike[str], manifest: dict[str, Any]) -> Run:
        """Start a run, or resume the folder's, for this process alone.

        The tasks and methods of `manifest` are added to an existing run.

        Raises:
            ConfigurationError: the folder's run has other settings, or another process uses it.
            DataError: the folder's manifest is damaged.
            StorageError: the folder cannot be written.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            alone = FileLock(folder / ".lock")
            alone.acquire(timeout=0)
        except Timeout as error:
            raise ConfigurationError(
                f"Another process is at work on the run {str(path)!r}: name another --out."
            ) from error
        except OSError as error:
            raise StorageError(
                f"The run folder {str(path)!r} cannot be written ({error.strerror}): "
                "name another --out."
            ) from error
        try:
            run = cls(folder, manifest)
            if (folder / _MANIFEST).exists():
                run.manifest = _merged(cls.open(folder).manifest, manifest, str(path))
            run._remove_cut_line()
            run.save()
        except BaseException:
            alone.release()
            raise
        run._alone = alone
        return run

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._alone is not None:
            self._alone.release()

    @property
    def bank(self) -> Path:
        """Return the path of the run's own bank."""
        return self.path / "bank.sqlite"

    def save(self) -> None:
        """Write the manifest; raise StorageError if it cannot be written."""
        self.write(_MANIFEST, json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of the run; an existing file is replaced whole.

        Raises:
            StorageError: it cannot be written.
        """
        part = self.path / f"{name}.part"
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(self.path / name)
        except OSError as error:
            raise _unwritten(
                f"{name} of the run {str(self.path)!r} could not be written", error
            ) from error

    def task(self, name: str) -> dict[str, Any]:
        """Return a task's entry in the manifest."""
        return next(task for task in self.manifest["tasks"] if task["name"] == name)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Iterate over the answers, in the order they came.

        Of a question that was asked again, the last row counts, unless errors left it without an
        answer that an earlier row has. Rows of replaced settings are left out.

        Raises:
            DataError: a line that is not a row, other than a last line that was cut short.
            StorageError: the rows cannot be read.
        """
        current = {
            (task["name"], method): key
            for task in self.manifest["tasks"]
            for method, key in task["settings"].items()
        }
        counting = {key: number for key, (number, _) in self._counting().items()}
        for number, row in enumerate(self._all_rows()):
            is_current = (
                current.get((row["task"], row["method"]), row["settings"]) == row["settings"]
            )
            if is_current and counting.get(_key(row), number) == number:
                yield row

    def done(self) -> dict[Key, list[str]]:
        """Return what is answered already, under any settings, with the errors in each row."""
        return {key: errors for key, (_, errors) in self._counting().items()}

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row in one write of a whole line, so neither threads nor a crash mix two rows."""
        # ASCII: model output may hold a lone surrogate, which UTF-8 cannot.
        line = json.dumps(row, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        try:
            with self._lock, (self.path / _ROWS).open("ab", buffering=0) as file:
                begun, written = file.seek(0, os.SEEK_END), 0
                try:
                    while written < len(line):
                        written += file.write(line[written:])
                except OSError:
                    file.truncate(begun)  # half a row would spoil the next one
                    raise
        except OSError as error:
            raise _unwritten(f"A row could not be written to {str(self.path)!r}", error) from error

    def _counting(self) -> dict[Key, tuple[int, list[str]]]:
        """Return the position of the row that counts for each question, and its errors."""
        counting: dict[Key, tuple[int, list[str]]] = {}
        answered: set[Key] = set()
        for number, row in enumerate(self._all_rows()):
            key, errors = _key(row), errors_in(row)
            if row["answer"] is not None:
                answered.add(key)
            elif errors and key in answered:
                continue
            counting[key] = number, errors
        return counting

    def _all_rows(self) -> Iterator[dict[str, Any]]:
        path = self.path / _ROWS
        if not path.exists():
            return
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        row = json.loads(line)
                        mistake = mistake_in(row, Row)
                    except (ValueError, RecursionError):
                        mistake = "is not JSON"
                    if mistake is None:
                        yield row
                    elif line.endswith(b"\n"):
                        raise DataError(
                            f"Line {number} of {str(path)!r} is not a row of a run (it {mistake}): "
                            "remove it."
                        )
                    # Otherwise a crash cut it short; `start` removes it.
        except OSError as error:
            raise StorageError(
                f"{str(path)!r} cannot be read: {error.strerror or error}."
            ) from error

    def _remove_cut_line(self) -> None:
        """Remove a last line that a crash cut short."""
        path = self.path / _ROWS
        if not path.exists():
            return
        try:
            with path.open("r+b") as file:
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
        except OSError as error:
            raise _unwritten(
                f"The rows of the run {str(self.path)!r} cannot be resumed", error
            ) from error


def errors_in(row: Mapping[str, Any]) -> list[str]:
    """Return the causes of draws, turns and verifications that failed with an error, one each.

    Errors are timeouts, refused connections and the like, but not unusable answers.
    """
    drawn = [
        cause
        for ballot in row["ballots"]
        for cause, count in ballot["abstentions"].items()
        for _ in range(count)
    ]
    return [cause for cause in drawn if is_error(cause)] + errors_of(row["turns"])


def errors_of(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the causes of turns and verifications that failed with an error."""
    causes = (
        cause for turn in turns for cause in (turn["cause"], *turn.get("unjudged", {}).values())
    )
    return [cause for cause in causes if cause is not None and is_error(cause)]


def _key(row: Mapping[str, Any]) -> Key:
    return row["task"], row["method"], row["settings"], row["question_id"]


def _unwritten(failure: str, error: OSError) -> StorageError:
    return StorageError(f"{failure} ({error.strerror or error}): fix that and run again.")


def _merged(old: dict[str, Any], new: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the manifest of a resumed run: the old one plus the new tasks and methods."""
    # Methods repeat the common settings: report each difference once.
    differ = _differ_in_common(old, new) or _differ_in_parts(old, new)
    if differ:
        raise ConfigurationError(
            f"The run {path!r} was made with other settings ({'; '.join(differ)}): "
            "name another --out, or ask as before."
        )
    added: dict[str, Any] = {}
    for kind, name_of in (("tasks", "name"), ("methods", "id")):
        there = {entry[name_of] for entry in old[kind]}
        added[kind] = [*old[kind], *(entry for entry in new[kind] if entry[name_of] not in there)]
    if "large" in new:
        added["large"] = new["large"]
    notes = list(dict.fromkeys([*old["notes"], *new["notes"]]))
    return {**old, **added, "notes": notes, "command": new["command"], "versions": new["versions"]}


def _differ_in_common(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    pairs = [(name, _common(old, name), _common(new, name)) for name in _COMMON]
    return [_difference(name, before, now) for name, before, now in pairs if before != now]


def _differ_in_parts(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the differences in tasks and methods that both have."""
    differences = []
    for kind, name_of, compared in (
        ("tasks", "name", _OF_A_TASK),
        ("methods", "id", ("settings",)),
    ):
        known = {entry[name_of]: entry for entry in old[kind]}
        for entry in new[kind]:
            before = known.get(entry[name_of], entry)
            differences += [
                _difference(f"{entry[name_of]} {name}", before.get(name), entry.get(name))
                for name in compared
                if before.get(name) != entry.get(name)
            ]
    return differences


def _common(manifest: dict[str, Any], name: str) -> Any:
    if name != "pool":
        return manifest.get(name)
    # Reply lengths depend on the task, and are compared there.
    return [
        {key: value for key, value in member.items() if key != "max_tokens"}
        for member in manifest["pool"]
    ]


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "pool":
        before, now = ([member["name"] for member in pool] for pool in (before, now))
        return (
            f"pool {', '.join(before)}, now {', '.join(now)}"
            if before != now
            else "the pool's models, adapters or temperatures"
        )
    if name.endswith(" fingerprint"):
        return f"other questions or answers of {name.removesuffix(' fingerprint')}"
    old, new = (json.dumps(value, ensure_ascii=False) for value in (before, now))
    return f"{name} {old}, now {new}"
