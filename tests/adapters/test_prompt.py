"""A prompt is written once for draws that begin with the same, and anew for whatever differs."""

from __future__ import annotations

from unittest.mock import patch

import dspy
import pytest

from ..support.choice_server import choice_server
from ..support.group_draws import a_mux, numbered
from ..support.logprob_server import prompt_of


class Twice(dspy.Module):
    """Asks twice, and changes something in between."""

    def __init__(self, change):
        super().__init__()
        self.step, self.change = dspy.Predict("question, strict -> answer"), change

    def forward(self, question):
        self.step(question=question, strict=1)
        return self.step(question=question, strict=self.change(self.step.signature))


def with_instructions(signature):
    signature.instructions = "Another."
    return 1


def with_description(signature):
    signature.input_fields["question"].json_schema_extra["desc"] = "Another."
    return 1


@pytest.mark.parametrize(
    "change",
    [with_instructions, with_description, lambda _: True, lambda _: 1.0],
    ids=["instructions", "description", "True", "1.0"],
)
def test_whatever_differs_is_in_the_prompt(change):
    with choice_server(numbered) as server:
        a_mux(server, program=Twice(change), k=1, temperature=0.5)(question="?")
        assert len({prompt_of(body) for body in server.bodies}) == 2


def test_a_format_of_an_adapters_own_is_used():
    with choice_server(numbered) as server:
        adapter = dspy.ChatAdapter()
        adapter.format = lambda *_: [{"role": "user", "content": "mine"}]
        a_mux(server, k=3, adapter=adapter)(question="?")
        assert [prompt_of(body) for body in server.bodies] == ["mine"]


def test_draws_of_one_question_begin_with_a_prompt_that_is_written_once():
    with (
        choice_server(numbered) as server,
        patch.object(
            dspy.ChatAdapter,
            "format_user_message_content",
            autospec=True,
            side_effect=dspy.ChatAdapter.format_user_message_content,
        ) as written,
    ):
        a_mux(server, k=5, num_threads=1)(question="?")
        assert written.call_count == 1
