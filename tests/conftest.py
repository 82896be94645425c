from __future__ import annotations

import dspy
import pytest
from hypothesis import settings

settings.register_profile("ci", deadline=None, max_examples=100)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path):
    """Every test starts with DSPy's cache empty, on a disk of its own."""
    before = dspy.cache
    dspy.configure_cache(disk_cache_dir=str(tmp_path / "dspy-cache"))
    yield
    dspy.cache = before
