from __future__ import annotations

import pytest

from ..support.printed_tables import watch


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """The tables that are printed in this process, each of them checked."""
    return watch(monkeypatch)
