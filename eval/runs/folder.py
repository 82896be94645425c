"""A run folder: what a comparison was asked, and every answer as it arrives, one line of JSON for a question under a method.

    RUN/run.json        the manifest: members, tasks, methods, versions
    RUN/results.jsonl   one row a task, method and question; rows are only ever added, and the last one counts
    RUN/bank.sqlite     the draws that the methods share (`dspy_mux.SampleBank`)

A row is written whole and at once, so a run that is killed goes on where it stopped. A last line that a crash cut short is mended.
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

from dspy_mux.sampling.abstention import is_error
from dspy_mux.errors import ConfigurationError, MuxError

from .schema import Manifest, Row, mistake_in

VERSION = 1
_MANIFEST, _ROWS = "run.json", "results.jsonl"
#: What all rows of a run have in common; tasks and methods may be added to one.
_COMMON = ("seed", "split", "limit", "validation_limit", "k", "temperature", "pool")
_OF_A_TASK = ("fingerprint", "context", "max_tokens")

#: (task, method, settings, question_id): what a row is the answer to.
Key = tuple[str, str, str, str]


class Run:
    """A run folder, opened to be read (`open`) or to be gone on with (`start`).

    Attributes:
        path: the folder.
        manifest: what `run.json` holds.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self.manifest = path, manifest
        self._lock = threading.Lock()
        self._alone: FileLock | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """A run to read; nothing in it is changed.

        Raises:
            ConfigurationError: it is no run folder, one of a newer version, or its manifest lacks something or has it wrong.
        """
        none = f"{str(path)!r} is no run folder, or its {_MANIFEST} is damaged"
        try:
            manifest = json.loads((Path(path) / _MANIFEST).read_text(encoding="utf-8"))
            version = int(manifest["version"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigurationError(
                f"{none}: `python -m eval compare --out …` makes one."
            ) from error
        if version > VERSION:
            raise ConfigurationError(
                f"The run {str(path)!r} was made by a newer version (format {version}): update dspy-mux."
            )
        if (mistake := mistake_in(manifest, Manifest)) is not None:
            raise ConfigurationError(
                f"{none} (it {mistake}): `python -m eval compare --out …` makes one."
            )
        return cls(Path(path), manifest)

    @classmethod
    def start(cls, path: str | os.PathLike[str], manifest: dict[str, Any]) -> Run:
        """A new run, or the one in the folder, gone on with by this process alone: `manifest`'s tasks and methods are added to it.

        Raises:
            ConfigurationError: the folder's run was made with other settings, or another process is at work on it, or it cannot be
                written.
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
            raise ConfigurationError(
                f"The run folder {str(path)!r} cannot be written: {error.strerror}."
            ) from error
        try:
            run = cls(folder, manifest)
            if (folder / _MANIFEST).exists():
                run.manifest = _merged(cls.open(folder).manifest, manifest, str(path))
            run._mend()
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
        """Where the run's own bank lies."""
        return self.path / "bank.sqlite"

    def save(self) -> None:
        """Write the manifest; raises MuxError where it cannot be written."""
        self.write(_MANIFEST, json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of the run; one that is there is replaced whole.

        Raises:
            MuxError: it cannot be written.
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
        """What the manifest tells of a task."""
        return next(task for task in self.manifest["tasks"] if task["name"] == name)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The answers, in the order they came; of a question that was asked again the last, but for one that errors left without an
        answer where there had been one. Rows of settings that a later call to the run replaced are left out.

        Raises:
            ConfigurationError: a line that is no row, other than a last one that was cut short; or they cannot be read.
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
        """What was answered already, under whichever settings, and the errors that had a part in it."""
        return {key: errors for key, (_, errors) in self._counting().items()}

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row: one write of a whole line, so that neither threads nor a crash can mix two."""
        # ASCII: model output may hold half a character, which no UTF-8 has.
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
        """The position of the row that counts for a question, and the errors in it."""
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
                        mistake = "is no JSON"
                    if mistake is None:
                        yield row
                    elif line.endswith(b"\n"):
                        raise ConfigurationError(
                            f"Line {number} of {str(path)!r} is no row of a run (it {mistake}): remove it."
                        )
                    # Else it was cut short by a crash; a run that goes on removes it.
        except OSError as error:
            raise ConfigurationError(
                f"{str(path)!r} cannot be read: {error.strerror or error}."
            ) from error

    def _mend(self) -> None:
        """Remove a last line that was cut short."""
        path = self.path / _ROWS
        if not path.exists():
            return
        try:
            with path.open("r+b") as file:
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
        except OSError as error:
            raise _unwritten(
                f"The rows of the run {str(self.path)!r} cannot be gone on with", error
            ) from error


def errors_in(row: Mapping[str, Any]) -> list[str]:
    """The causes of draws, turns and verifications that ended in an error (a timeout, a refused connection), one for each."""
    drawn = [
        cause
        for ballot in row["ballots"]
        for cause, count in ballot["abstentions"].items()
        for _ in range(count)
    ]
    return [cause for cause in drawn if is_error(cause)] + errors_of(row["turns"])


def errors_of(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of turns and verifications."""
    causes = (
        cause for turn in turns for cause in (turn["cause"], *turn.get("unjudged", {}).values())
    )
    return [cause for cause in causes if cause is not None and is_error(cause)]


def _key(row: Mapping[str, Any]) -> Key:
    return row["task"], row["method"], row["settings"], row["question_id"]


def _unwritten(what: str, error: OSError) -> MuxError:
    return MuxError(f"{what} ({error.strerror or error}): mend that and go on.")


def _merged(old: dict[str, Any], new: dict[str, Any], path: str) -> dict[str, Any]:
    """The manifest of a run that is gone on with: the old one with the tasks and methods that are new in `new`."""
    # A method's declared settings repeat the common ones: what differs is told once.
    differ = _differ_in_common(old, new) or _differ_in_parts(old, new)
    if differ:
        raise ConfigurationError(
            f"The run {path!r} was made with other settings ({'; '.join(differ)}): name another --out, or ask as before."
        )
    added: dict[str, Any] = {}
    for kind, name_of in (("tasks", "name"), ("methods", "id")):
        there = {entry[name_of] for entry in old[kind]}
        added[kind] = [*old[kind], *(entry for entry in new[kind] if entry[name_of] not in there)]
    notes = list(dict.fromkeys([*old["notes"], *new["notes"]]))
    return {**old, **added, "notes": notes, "command": new["command"], "versions": new["versions"]}


def _differ_in_common(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    pairs = [(name, _common(old, name), _common(new, name)) for name in _COMMON]
    return [_told(name, before, now) for name, before, now in pairs if before != now]


def _differ_in_parts(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs in the tasks and methods that both have."""
    told = []
    for kind, name_of, compared in (
        ("tasks", "name", _OF_A_TASK),
        ("methods", "id", ("settings",)),
    ):
        known = {entry[name_of]: entry for entry in old[kind]}
        for entry in new[kind]:
            before = known.get(entry[name_of], entry)
            told += [
                _told(f"{entry[name_of]} {name}", before.get(name), entry.get(name))
                for name in compared
                if before.get(name) != entry.get(name)
            ]
    return told


def _common(manifest: dict[str, Any], name: str) -> Any:
    if name != "pool":
        return manifest.get(name)
    # What a reply may be long depends on the task, and is compared with it.
    return [
        {key: value for key, value in member.items() if key != "max_tokens"}
        for member in manifest["pool"]
    ]


def _told(name: str, before: Any, now: Any) -> str:
    if name == "pool":
        before, now = ([member["name"] for member in pool] for pool in (before, now))
        return (
            f"pool {', '.join(before)}, now {', '.join(now)}"
            if before != now
            else "the pool's models, adapters or temperatures"
        )
    if name.endswith(" fingerprint"):
        return f"other questions or answers of {name.removesuffix(' fingerprint')}"
    return f"{name} {json.dumps(before, ensure_ascii=False)}, now {json.dumps(now, ensure_ascii=False)}"
