"""Status messages that cannot be made: the answer comes all the same."""

from __future__ import annotations

import logging

import dspy

from dspy_mux import Choice

from ..support.pools import mux_of


class WantsAll:
    """A rule that says which draws it wants, and cannot choose before it has them."""

    name = "wants all"

    def wants(self, ballots):
        return [(at, ballot.k - len(ballot.votes)) for at, ballot in enumerate(ballots)]

    def choose(self, ballots):
        if any(len(ballot.votes) < ballot.k for ballot in ballots):
            raise ValueError("some are missing")
        return Choice(0, ballots[0].votes[0], 1.0, "nothing")


def test_a_rule_that_raises_before_the_end_costs_its_messages_alone(caplog):
    mux = mux_of(["x"] * 3, rule=WantsAll(), num_threads=1)
    with caplog.at_level(logging.WARNING, logger="dspy_mux"):
        items = list(dspy.streamify(mux, async_streaming=False)(question="?"))
    assert items[-1].answer == "x"
    assert [type(item).__name__ for item in items[:-1]] == ["StatusMessage"]
    assert "No status message: ValueError('some are missing') raised by" in caplog.text
