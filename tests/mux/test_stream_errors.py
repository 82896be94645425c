"""Status messages that cannot be made: the answer comes all the same."""

from __future__ import annotations

import logging

import dspy
from dspy.streaming import StreamListener, StreamResponse

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


def test_a_listener_on_a_mux_outside_the_streamed_program_is_told_of_once(caplog):
    mux = mux_of(["x"] * 3)
    listener = StreamListener("answer", predict=mux, allow_reuse=True)
    with caplog.at_level(logging.WARNING, logger="dspy_mux"):
        for program in (mux.deepcopy(), Pipeline(mux.deepcopy())) * 2:
            *sent, last = dspy.streamify(
                program, stream_listeners=[listener], async_streaming=False
            )(question="?")
            assert last.answer == "x"
            assert not any(isinstance(item, StreamResponse) for item in sent)
    assert caplog.text.count("StreamListener('answer') listens to a mux that is not a module") == 1


def test_a_listener_on_another_mux_of_the_program_is_right(caplog):
    both = Pipeline(mux_of(["x"] * 3))
    both.second = mux_of(["y"] * 3)
    listener = StreamListener("answer", predict=both.second)
    with caplog.at_level(logging.WARNING, logger="dspy_mux"):
        list(dspy.streamify(both, stream_listeners=[listener], async_streaming=False)(question="?"))
    assert "listens to" not in caplog.text


class Pipeline(dspy.Module):
    def __init__(self, mux):
        super().__init__()
        self.first = mux

    def forward(self, question):
        return self.first(question=question)
