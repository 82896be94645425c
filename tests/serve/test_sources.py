"""The files that muxes are served from, and the names that they get."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import ConfigurationError, PoolMismatch, SLMMux, chat_mux, load_pool
from dspy_mux.answers.number_kind import NumberKind
from dspy_mux.serve.chat import Chat
from dspy_mux.serve.models import alone, served_models
from dspy_mux.serve.sources import Sources
from dspy_mux.voting.confidence import RuleScale, Scale
from dspy_mux.voting.rules import SelfConsistencyRule

from ..support.pools import mux_of

POOL = """
k = 2
{more}
[[members]]
name = "a"
model = "openai/a"
[[members]]
name = "b"
model = "openai/b"
"""


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def pool(more="", name="team.toml"):
        path = tmp_path / name
        path.write_text(POOL.format(more=more))
        return path

    return pool


@pytest.fixture
def saved(pool, tmp_path):
    mux = SLMMux("question -> answer: float", load_pool(pool()), k=2)
    mux.save(tmp_path / "sums.json")
    return tmp_path / "sums.json"


def is_chat(mux):
    return isinstance(mux.programs[0], Chat)


def test_a_pool_file_alone_is_for_chat(pool):
    ((name, mux),) = Sources.of([], pool(), None).load().items()
    assert (name, is_chat(mux), mux.members[0].k) == ("team", True, 2)


def test_a_pool_file_with_a_program_is_not(pool):
    path = pool('program = "question -> answer: float"')
    assert not is_chat(Sources.of([], path, None).load()["team"])
    mux = Sources.of([], path, "km", chat=True, timeout=3.0).load()["km"]
    assert is_chat(mux)
    assert (mux.kind.base, mux.timeout) == (NumberKind(float), 3.0)


def test_settings_of_the_file_are_those_of_the_chat(pool):
    path = pool('rule = "pooled"\nschedule = "frugal"\nthreshold = 0.4\naccuracies = {a = 0.5}')
    mux = Sources.of([], path, None).load()["team"]
    assert (mux.rule.name, mux.schedule, mux.accuracies) == ("pooled", "frugal", {"a": 0.5})
    assert mux.pool.settings.threshold == 0.4


def test_saved_muxes_are_called_by_their_files_or_by_name(pool, saved):
    muxes = Sources.of([str(saved), f"other={saved}"], pool(), None).load()
    assert list(muxes) == ["sums", "other"]
    assert not any(map(is_chat, muxes.values()))
    assert list(Sources.of([str(saved)], pool(), "mine").load()) == ["mine"]


def test_a_saved_mux_of_other_members_is_refused(saved, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(POOL.format(more="").replace('"a"', '"c"'))
    with pytest.raises(PoolMismatch):
        Sources.of([str(saved)], other, None).load()


def test_what_was_learned_of_a_program_says_nothing_of_chats(pool, saved):
    mux = SLMMux.from_file(saved, load_pool(pool()))
    mux.pool.scale = RuleScale("consistency", ("a", "b"), (2, 2), Scale(answers=20))
    mux.save(saved)
    assert Sources.of([str(saved)], pool(), None).load()
    with pytest.raises(ConfigurationError, match="conversations. Leave --mux out"):
        Sources.of([str(saved)], pool(), None, chat=True).load()
    assert is_chat(Sources.of([], pool(), None, chat=True).load()["team"])


def test_a_member_alone_has_its_draws_and_no_threshold():
    mux = mux_of(["1", "2", "2"], ["3"] * 3, k=3, threshold=0.9, rule=SelfConsistencyRule("b"))
    verdict = alone(mux, "a")(question="?").verdict
    assert (verdict.answer, verdict.confidence, verdict.trusted) == ("2", 2 / 3, None)
    assert mux.pool.settings.threshold == 0.9


def test_two_models_of_one_name_are_refused():
    first = mux_of(["1"], k=1)
    with pytest.raises(ConfigurationError, match="would be called 'x/a'"):
        served_models({"x": first, "x/a": first})


@pytest.mark.parametrize("name", ["", "a b", "a?b", "a\n", "a%2fb"])
def test_names_that_no_address_can_hold_are_refused(name):
    with pytest.raises(ConfigurationError, match="cannot be a model's name"):
        served_models({name: mux_of(["1"], k=1)})


def test_what_is_no_mux_is_refused():
    with pytest.raises(ConfigurationError, match="Only muxes"):
        served_models({"x": dspy.Predict("question -> answer")})


def test_a_chat_mux_takes_what_a_mux_takes():
    with pytest.raises(TypeError, match="did you mean 'schedule'"):
        chat_mux({"a": dspy.utils.DummyLM([])}, scheduel="frugal")
