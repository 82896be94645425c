"""A file of recorded draws."""

from __future__ import annotations

import gzip
import json

import pytest


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows, name="bank.jsonl"):
        text = "".join(
            (told if isinstance(told, str) else json.dumps(told)) + "\n" for told in rows
        )
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write_rows
