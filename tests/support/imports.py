"""Banks that files are imported into, and what such a bank and its export hold."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from dspy_mux import SampleBank
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.errors import BankError, ConfigurationError

from .limits import within
from .records import same, spent


@contextmanager
def a_bank():
    """An empty bank in a folder of its own.

    In memory where the system has such folders, for a bank waits for its disk.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        bank = SampleBank(Path(name) / "bank.sqlite")
        yield bank, Path(name)
        bank.close()


def imported(bank, path):
    """Whether the file was.

    Where it was not, one sentence says so and nothing is there that was not there before.
    """
    before = contents(bank)
    try:
        with within(30):
            count = import_file(bank, path).added
    except (ConfigurationError, BankError) as error:
        told = str(error)
        assert len(told.splitlines()) == 1, told
        assert len(told) < 1_000
        assert contents(bank) == before
        return False
    after = contents(bank)
    assert len(after["draws"]) - len(before["draws"]) == count
    return True


def contents(bank):
    if not bank.exists():
        return {"draws": [], "datasets": {}, "programs": []}
    programs = sorted({(row["member"], row["program"]) for row in bank.info()})
    return {"draws": written(bank), "datasets": bank.datasets(), "programs": programs}


def round_trip(bank, folder):
    """Out and in again: the same draws, and the same records."""
    for name in ("out.jsonl", "out.parquet"):
        other = SampleBank(folder / f"{name}.sqlite")
        export_file(bank, folder / name)
        import_file(other, folder / name)
        if name == "out.jsonl":
            assert written(other) == written(bank)
        for dataset in bank.datasets():
            one, two = (record_of(each, dataset) for each in (bank, other))
            if one is None or two is None:
                assert one is two is None
                continue
            same(one, two, fields=name == "out.jsonl")
            assert str(spent(one)) == str(spent(two))  # as texts: a NaN equals itself
        other.close()


def written(bank):
    return [json.dumps(row, sort_keys=True) for row in bank.rows()]


def record_of(bank, dataset):
    try:
        return bank.record(dataset=dataset)
    except (BankError, ConfigurationError):
        assert len({(row["member"], row["program"]) for row in bank.info()}) > len(
            {row["member"] for row in bank.info()}
        )
        return None


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
