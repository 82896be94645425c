"""Status messages of a user's own, beside those of a mux."""

from __future__ import annotations

import logging

import dspy
from dspy.streaming import StatusMessageProvider
from dspy.streaming.messages import StatusStreamingCallback

from dspy_mux import MuxStatusMessageProvider

from ..support.pools import mux_of
from .streams import WAYS, read, texts


class Percent(StatusMessageProvider):
    def draw_settled_status_message(self, instance, progress):
        return f"{type(instance).__name__} {progress.settled / progress.total:.0%}"

    def module_end_status_message(self, outputs):
        return "done"


class Silent(MuxStatusMessageProvider):
    def draw_settled_status_message(self, instance, progress):
        return None


class Faulty(MuxStatusMessageProvider):
    def draw_settled_status_message(self, instance, progress):
        raise KeyError("percent")


class Plain(StatusMessageProvider):
    def module_start_status_message(self, instance, inputs):
        return "begun"


class TestProvider:
    @WAYS
    def test_a_users_own_decides(self, way):
        mux = mux_of(["Paris"] * 2, k=2, num_threads=1)
        given = texts(read(mux, way=way, status_message_provider=Percent()))
        assert given == ["SLMMux 50%", "SLMMux 100%", "done"]

    @WAYS
    def test_none_silences(self, way):
        (only,) = read(mux_of(["Paris"]), way=way, status_message_provider=Silent())
        assert only.answer == "Paris"

    def test_one_that_knows_no_draws_keeps_its_own_messages(self):
        mux = mux_of(["Paris"], k=1)
        given = texts(read(mux, status_message_provider=Plain()))
        assert given == ["begun", "1 of 1 draws, leading: Paris"]

    def test_a_configured_callback_comes_first(self):
        with dspy.context(callbacks=[StatusStreamingCallback(Percent())]):
            given = texts(read(mux_of(["Paris"], k=1), status_message_provider=Silent()))
        assert given == ["SLMMux 100%", "done"]

    @WAYS
    def test_a_mistake_in_it_costs_the_message_alone(self, way, caplog):
        with caplog.at_level(logging.WARNING, "dspy_mux"):
            (only,) = read(mux_of(["Paris"], k=1), way=way, status_message_provider=Faulty())
        assert only.answer == "Paris"
        assert "KeyError('percent')" in caplog.text
