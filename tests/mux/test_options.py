"""The options that every method shares: checked at construction, and known to type checkers."""

from __future__ import annotations

import dataclasses

import dspy
import pytest

from dspy_mux import ConfigurationError, SLMMux
from dspy_mux.baselines import AgentForest, LLMDebate, MixtureOfAgents, SelfConsistency
from dspy_mux.mux.options import MuxOptions, SharedOptions

from ..support.pools import QA
from ..support.scripted import scripted_lm


def test_keywords_and_options_have_the_same_names():
    fields = [field.name for field in dataclasses.fields(MuxOptions)]
    assert fields == list(SharedOptions.__annotations__)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"extract": "regex"}, "extract must be None or 'lm', not 'regex'"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0, or None, not 0"),
        ({"timeout": "5"}, "timeout must be a number of seconds above 0, or None, not '5'"),
        ({"num_threads": 0}, "num_threads must be 1 or more, or None, not 0"),
        ({"adapter": "chat"}, "adapter must be a dspy.Adapter instance, not str"),
    ],
)
@pytest.mark.parametrize(
    "method", [SLMMux, AgentForest, LLMDebate, MixtureOfAgents, SelfConsistency]
)
def test_every_method_checks_its_options(method, option, message):
    with pytest.raises(ConfigurationError, match=message):
        method(dspy.Predict(QA), [scripted_lm("a", ["x"])], **option)


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        SLMMux(dspy.Predict(QA), [scripted_lm("a", ["x"])], colour="red")
