"""Forked children of a test."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

import pytest

from .wait import PATIENCE_S

#: Marks tests of collections that processes share.
forks = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "darwin",
    reason="collections are not shared among processes on this platform",
)


def assert_ended(children: Sequence[BaseProcess]) -> None:
    """Wait for the children; kill those that hang, which would hold the test run's pipes open."""
    for child in children:
        child.join(PATIENCE_S)
    hung = [child for child in children if child.is_alive()]
    for child in hung:
        child.kill()
        child.join()
    assert not hung, f"{len(hung)} of {len(children)} forked children hang"
    assert [child.exitcode for child in children] == [0] * len(children)
