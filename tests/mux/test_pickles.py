"""Pickled programs hold no key of a member; it is looked up again where they are loaded."""

from __future__ import annotations

import copy
import logging
import pickle

import cloudpickle
import dspy
import pytest

from dspy_mux import Member, SLMMux

KEY = "sk-secret-123456"
VARIABLE = "MY_PROVIDER_API_KEY"


class Pipeline(dspy.Module):
    def __init__(self, *members):
        super().__init__()
        self.mux, self.after = SLMMux("question -> answer", members), dspy.Predict("answer -> note")


def lm(name="openai/x", **settings):
    return dspy.LM(name, **settings)


def reloaded(program):
    content = cloudpickle.dumps(program)
    assert KEY.encode() not in content
    return pickle.loads(content)


def settings_of(program):
    return program.mux.members[0].lm.kwargs


def test_a_saved_larger_program_holds_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    program = Pipeline(lm(api_key=KEY, api_base="http://127.0.0.1:9/v1", max_tokens=7))
    program.save(tmp_path / "whole", save_program=True)
    files = list((tmp_path / "whole").iterdir())
    assert not any(KEY.encode() in file.read_bytes() for file in files)
    loaded = dspy.load(str(tmp_path / "whole"), allow_pickle=True)
    assert settings_of(loaded) == settings_of(program)
    assert settings_of(program)["api_key"] == KEY


def test_the_key_is_the_variables_at_the_time_of_loading(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    content = cloudpickle.dumps(Pipeline(lm(api_key=KEY)))
    monkeypatch.setenv(VARIABLE, "sk-another-654321")
    assert settings_of(pickle.loads(content))["api_key"] == "sk-another-654321"


def test_a_variable_that_is_gone_is_named(monkeypatch, caplog):
    monkeypatch.setenv(VARIABLE, KEY)
    content = cloudpickle.dumps(Pipeline(lm(api_key=KEY)))
    monkeypatch.delenv(VARIABLE)
    with caplog.at_level(logging.WARNING, logger="dspy_mux"):
        assert "api_key" not in settings_of(pickle.loads(content))
    assert (
        f"openai/x was pickled without its key, which was in the environment variable {VARIABLE}"
        in caplog.text
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": KEY},
        {"extra_headers": {"Authorization": f"Bearer {KEY}"}},
        {"api_base": f"http://me:{KEY}@127.0.0.1:9/v1"},
    ],
)
def test_keys_in_no_variable_are_left_out_and_said_to_be(settings, caplog):
    with caplog.at_level(logging.WARNING, logger="dspy_mux"):
        loaded = reloaded(Pipeline(lm(**settings)))
    assert "was pickled without its keys or headers" in caplog.text
    assert KEY not in str(settings_of(loaded))


def test_a_placeholder_is_no_key(caplog):
    program = Pipeline(lm(api_key="none"))
    with caplog.at_level(logging.WARNING, logger="dspy_mux"):
        assert settings_of(reloaded(program)) == settings_of(program)
    assert caplog.text == ""


def test_an_adapters_own_model_loses_its_key_too():
    adapter = dspy.TwoStepAdapter(extraction_model=lm("openai/reader", api_key=KEY))
    program = Pipeline(Member(lm(api_key="none"), adapter=adapter))
    loaded = reloaded(program).mux.members[0].adapter
    assert isinstance(loaded.extraction_model, dspy.LM)
    assert loaded.extraction_model.model == "openai/reader"
    assert adapter.extraction_model.kwargs["api_key"] == KEY


def test_so_does_that_of_an_adapter_around_it():
    class Around(dspy.ChatAdapter):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

    adapter = Around(dspy.TwoStepAdapter(extraction_model=lm("openai/reader", api_key=KEY)))
    loaded = reloaded(Pipeline(Member(lm(api_key="none"), adapter=adapter))).mux.members[0].adapter
    assert loaded.inner.extraction_model.model == "openai/reader"


def test_a_pickle_holds_no_history():
    program = Pipeline(lm(api_key="none"))
    program.mux.members[0].lm.history.append({"prompt": KEY})
    assert reloaded(program).mux.members[0].lm.history == []


def test_a_loaded_mux_answers():
    mux = SLMMux(dspy.Predict("question -> answer"), [dspy.utils.DummyLM([{"answer": "4"}] * 3)])
    assert pickle.loads(cloudpickle.dumps(mux))(question="2 + 2?").answer == "4"


def test_copies_in_the_process_keep_the_key():
    program = Pipeline(lm(api_key=KEY))
    for twin in (copy.deepcopy(program), copy.copy(program), program.deepcopy()):
        assert twin.mux.members[0].lm is program.mux.members[0].lm
    assert copy.copy(program.mux.members[0]) is program.mux.members[0]


def test_a_rollout_loses_its_key_in_a_pickle_alone():
    configured = lm("openai/configured", api_key=KEY)
    program = Pipeline(lm(api_key="none"))
    with dspy.context(lm=configured):
        program.set_lm(rollout := configured.copy(rollout_id=5, temperature=1.0))
    loaded = reloaded(program.mux)
    assert loaded.pool.rollout.kwargs["rollout_id"] == 5
    for twin in (copy.deepcopy(program), copy.copy(program), program.deepcopy()):
        assert twin.mux.pool.rollout is rollout
    assert copy.copy(program.mux.pool).rollout is rollout
