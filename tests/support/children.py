"""Forked children of a test."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from .wait import PATIENCE_S


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
