"""Programs that a mux cannot hold, and what it cannot be called with."""

from __future__ import annotations

import asyncio

import dspy
import pytest

from dspy_mux import ConfigurationError, SLMMux
from dspy_mux.baselines import AgentForest

from ..support.scripted import calls, scripted_lm


def ask(mux, how, **inputs):
    return mux(**inputs) if how == "called" else asyncio.run(mux.acall(**inputs))


@pytest.fixture(params=["called", "awaited"])
def how(request):
    return request.param


class TestRefusals:
    """What would make all members one model, all draws alike, or credit the wrong member."""

    @staticmethod
    def mux(program=None):
        return SLMMux(program or "question -> answer", [scripted_lm(name, ["x"]) for name in "ab"])

    def test_an_lm_at_the_call(self, how):
        mux = self.mux()
        said = r"SLMMux was called with lm=…, which would make all members the same model: build"
        with pytest.raises(ConfigurationError, match=said):
            ask(mux, how, question="?", lm=scripted_lm("c", ["x"]))
        assert [calls(member.lm) for member in mux.members] == [0, 0]

    @pytest.mark.parametrize(
        "program", [dspy.Predict("question -> answer"), None, dspy.ReAct("question -> answer", [])]
    )
    def test_settings_at_the_call(self, how, program):
        mux = self.mux(program)
        said = r"SLMMux was called with config=…, which would override its members' settings"
        with pytest.raises(ConfigurationError, match=said):
            ask(mux, how, question="?", config={"rollout_id": 1})
        assert [calls(member.lm) for member in mux.members] == [0, 0]

    @pytest.mark.parametrize("program", [dspy.Predict("question -> answer"), None])
    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ({"demos": []}, "demos=…, which would replace every member's demos"),
            ({"signature": "question -> answer"}, "signature=…, which would replace the program"),
            ({"temperature": 1.0}, "temperature=…, which is no input"),
            ({"rollout_id": 1}, "rollout_id=…, which is no input"),
        ],
    )
    def test_what_else_a_predictor_takes_at_the_call(self, how, program, setting, said):
        mux = self.mux(program)
        with pytest.raises(ConfigurationError, match=f"SLMMux was called with {said}"):
            ask(mux, how, question="?", **setting)
        assert [calls(member.lm) for member in mux.members] == [0, 0]

    def test_fields_and_inputs_of_the_user_s_own_may_have_these_names(self, how):
        class Own(dspy.Module):
            def __init__(self):
                super().__init__()
                self.step = dspy.Predict("question -> answer")

            def forward(self, question, **more):
                return self.step(question=f"{question} ({more['demos']})")

        assert ask(self.mux(Own()), how, question="?", demos="two").answer == "x"
        mux = self.mux(dspy.Predict("question, temperature -> answer"))
        assert ask(mux, how, question="?", temperature="20 °C").answer == "x"

    def test_an_input_of_the_user_s_own_program_may_be_called_config(self, how):
        class Configured(dspy.Module):
            def __init__(self):
                super().__init__()
                self.step = dspy.Predict("question -> answer")

            def forward(self, question, config):
                return self.step(question=f"{question} ({config})")

        assert ask(self.mux(Configured()), how, question="?", config="brief").answer == "x"

    @pytest.mark.parametrize("method", [SLMMux, AgentForest])
    def test_a_mux_as_the_program(self, method):
        said = r"The program is a mux itself, which asks its own members \(scripted/a, scripted/b\)"
        with pytest.raises(ConfigurationError, match=said):
            method(self.mux(), [scripted_lm("c", ["x"])])

    def test_a_program_that_contains_a_mux(self):
        class Larger(dspy.Module):
            def __init__(self, mux):
                super().__init__()
                self.before, self.steps = dspy.Predict("question -> plain"), {"last": [mux]}

        said = r"The program contains a mux, steps\[last\]\[0\], which asks its own members"
        with pytest.raises(ConfigurationError, match=said):
            SLMMux(Larger(self.mux()), [scripted_lm("c", ["x"])])
        best = dspy.BestOfN(self.mux(), N=2, reward_fn=len, threshold=1.0)
        with pytest.raises(ConfigurationError, match="contains a mux, module, which asks its own"):
            SLMMux(best, [scripted_lm("c", ["x"])])
