"""Archives that claim to be logs: bombs, lies, paths outside, links. Nothing is written."""

from __future__ import annotations

import json
import random
import stat
import struct
import tracemalloc
import zipfile

import pytest

from dspy_mux import DataError, SampleBank
from dspy_mux.bank.formats import archive as archives
from dspy_mux.bank.import_export import import_file

from ..bank.formats.files import SMALL_LOG

HEAD = {"version": 2, "eval": {"model": "a", "task": "t"}, "status": "success"}
SAMPLE = {"id": "q0", "epoch": 1, "input": "?", "target": "x", "output": {"completion": "x"}}


def log(path, members, mode=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("header.json", json.dumps(HEAD))
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            made.writestr(info, content if isinstance(content, bytes) else json.dumps(content))
    return path


def refused(folder, path, told):
    bank = SampleBank(folder / "bank.sqlite")
    before = sorted(folder.iterdir())
    with pytest.raises(DataError, match=told):
        import_file(bank, path)
    assert sorted(folder.iterdir()) == before
    assert not bank.exists()


@pytest.mark.parametrize(
    "name", ["../samples/a.json", "/samples/a.json", "samples/../../a.json", "C:\\a.json", "..\\a"]
)
def test_a_path_outside_is_refused(tmp_path, name):
    refused(tmp_path, log(tmp_path / "log.eval", {name: SAMPLE}), "outside of it: it is refused")


def test_a_link_is_refused(tmp_path):
    path = log(tmp_path / "log.eval", {"samples/a.json": b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    refused(tmp_path, path, "holds a link")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = log(tmp_path / "log.eval", {"samples/a.json": bytes(2**26)})
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        refused(tmp_path, path, "would unpack 'samples/a.json' from")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("claimed", [10, 2**24])
def test_a_member_of_another_size_than_it_says_is_refused(tmp_path, claimed):
    true = 2**26 - 2**20
    path = log(
        tmp_path / "log.eval",
        {"samples/a.json": random.Random(1).randbytes(2**17) + bytes(true - 2**17)},
    )
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", true), struct.pack("<L", claimed)))
    tracemalloc.start()
    try:
        refused(tmp_path, path, "cannot be read|is not JSON")
        assert tracemalloc.get_traced_memory()[1] < 2 * claimed + 2**20
    finally:
        tracemalloc.stop()


def test_zstandard_of_a_false_size_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    with zipfile.ZipFile(SMALL_LOG) as whole:
        true = whole.getinfo("header.json").file_size
    path = tmp_path / "log.eval"
    claimed = struct.pack("<L", true - 5)
    path.write_bytes(SMALL_LOG.read_bytes().replace(struct.pack("<L", true), claimed))
    refused(tmp_path, path, "cannot be read|is not JSON")


@pytest.mark.parametrize("at", range(40, 9000, 431))
def test_any_flipped_byte_is_told_or_changes_nothing(tmp_path, at):
    pytest.importorskip("pyarrow")
    damaged = bytearray(SMALL_LOG.read_bytes())
    damaged[at] ^= 0xFF
    (tmp_path / "log.eval").write_bytes(damaged)
    bank, told = SampleBank(tmp_path / "bank.sqlite"), ""
    try:
        added = import_file(bank, tmp_path / "log.eval").added
    except DataError as error:
        added, told = 0, str(error)
    assert added == 9 or ("log.eval" in told and not bank.exists())


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"samples/a.json": b"{"}, r"samples/a\.json in .* is not JSON"),
        ({"samples/a.json": b"[" * 100_000}, r"samples/a\.json in .* is not JSON"),
        ({"samples/a.json": [1]}, "Sample 1 of .* has list for the sample"),
        ({"samples/a.json": {**SAMPLE, "id": {"a": 1}, "output": 3}}, "Sample"),
        ({"samples/a.json": {**SAMPLE, "epoch": -1}}, "Sample 'q0', epoch -1 .* draw -2"),
        ({"samples/a.json": {**SAMPLE, "epoch": 10**30}}, "Sample 'q0', epoch 1000"),
        ({"summaries.json": []}, "holds no draws"),
    ],
)
def test_a_log_that_is_none_is_told_by_its_sample(tmp_path, members, told):
    refused(tmp_path, log(tmp_path / "log.eval", members), told)


def test_an_archive_that_is_no_log_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as made:
        made.writestr("word/document.xml", "<w/>")
    refused(tmp_path, tmp_path / "log.eval", "is an archive, but not a log of Inspect")


def test_what_is_random_is_refused(tmp_path):
    (tmp_path / "log.eval").write_bytes(b"PK\x03\x04" + random.Random(1).randbytes(5000))
    refused(tmp_path, tmp_path / "log.eval", "is not a zip archive")


def test_the_bounds_leave_room_for_real_logs():
    # JSON of many equal replies packs to a hundredth; one sample of a long agent to some 100 MB.
    assert archives.MOST_RATIO >= 200
    assert archives.MOST_BYTES >= 2**29
