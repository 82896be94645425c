"""Draws of a group begin together where there is room, or in parts rather than wait long."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import SLMMux

from ..support.choice_server import choice_server
from ..support.group_draws import an_lm, numbered

K = 9


@pytest.mark.parametrize(("threads", "largest"), [(13, [9, 9]), (14, [9, 5]), (18, [9, 9])])
def test_a_group_waits_for_room_for_more_than_half_of_it(threads, largest):
    with choice_server(numbered) as server:
        members = [an_lm(server, name) for name in ("a", "b")]
        mux = SLMMux(dspy.Predict("question -> answer"), members, k=K, num_threads=threads)
        assert mux(question="?").verdict.calls == 2 * K
        sizes = sorted(server.sizes(), reverse=True)
        assert (sizes[:2], sum(sizes)) == (largest, 2 * K)
