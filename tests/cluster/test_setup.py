"""What travels to a cluster's workers: no key, and nothing that cannot."""

from __future__ import annotations

import sys
import threading

import dspy
import pytest

from dspy_mux import ConfigurationError, MissingExtra, SampleBank, SLMMux
from dspy_mux.bank.collect import CollectOptions, _Collection, collect
from dspy_mux.cluster import RayCluster
from dspy_mux.cluster.place import Place
from dspy_mux.cluster.setup import Setup, key_variables

pytest.importorskip("ray")

KEY = "planted-4711-key"
#: Of a worker, wherever it is.
HERE = {"num_threads": 4}


def a_mux(**settings):
    lm = dspy.LM("openai/a", api_base="http://localhost:1/v1", engine="lm15", **settings)
    return SLMMux(dspy.Predict("question -> answer"), {"a": lm}, k=3, temperature=0.5)


def metric(example, prediction, trace=None):
    return True


def setup(tmp_path, mux, judge=metric):
    examples = [dspy.Example(question="q", answer="x").with_inputs("question")]
    bank = SampleBank(tmp_path / "bank.sqlite")
    session = _Collection(mux, examples, judge, bank, CollectOptions()).session
    return Setup.of(session, dict.fromkeys(session.programs, 3))


@pytest.fixture(autouse=True)
def settings_stay():
    before = dspy.settings.adapter
    yield
    dspy.configure(adapter=before)


def test_a_key_travels_as_the_name_of_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("GPU_KEY", KEY)
    packed = setup(tmp_path, a_mux(api_key=KEY)).pickled()
    assert KEY.encode() not in packed
    assert b"GPU_KEY" in packed
    monkeypatch.setenv("GPU_KEY", "another-key-of-4712")
    [member] = Setup.loaded(packed).session(**HERE).mux.members
    assert member.lm.kwargs["api_key"] == "another-key-of-4712"


def test_a_machine_without_the_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GPU_KEY", KEY)
    packed = setup(tmp_path, a_mux(api_key=KEY)).pickled()
    monkeypatch.delenv("GPU_KEY")
    with pytest.raises(ConfigurationError, match="machine .* lacks .* variable GPU_KEY"):
        Setup.loaded(packed).session(**HERE)


@pytest.mark.parametrize(
    "settings", [{"api_key": KEY}, {"api_key": "none", "extra_headers": {"X-Api-Key": KEY}}]
)
def test_a_key_that_no_variable_holds_is_refused(settings):
    with pytest.raises(ConfigurationError, match="'a' has a key that no environment variable"):
        key_variables(a_mux(**settings))


def test_a_key_in_the_metric_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_API_KEY", "sk-abcdef1234567890")

    def judge(example, prediction, trace=None, key="sk-abcdef1234567890"):
        return True

    with pytest.raises(ConfigurationError, match="^The metric holds a key"):
        setup(tmp_path, a_mux(api_key="none"), judge)


def test_what_escalation_needs_stays_behind(tmp_path):
    large = dspy.LM("openai/large", api_key=KEY)
    program, small = dspy.Predict("question -> answer"), a_mux(api_key="none").members[0].lm
    mux = SLMMux(program, {"a": small}, threshold=0.5, otherwise="escalate", escalate=large)
    packed = setup(tmp_path, mux).pickled()
    assert KEY.encode() not in packed
    assert mux.escalation is not None


def test_a_metric_that_cannot_travel_is_named(tmp_path):
    lock = threading.Lock()

    def judge(example, prediction, trace=None):
        with lock:
            return True

    with pytest.raises(ConfigurationError, match="^The metric cannot travel .* pickled .*lock"):
        setup(tmp_path, a_mux(api_key="none"), judge)


def test_a_worker_asks_as_the_driver_would(tmp_path):
    dspy.configure(adapter=dspy.JSONAdapter())
    mux = a_mux(api_key="none")
    packed = setup(tmp_path, mux).pickled()
    dspy.configure(adapter=None)
    session = Setup.loaded(packed).session(**HERE)
    assert isinstance(dspy.settings.adapter, dspy.JSONAdapter)
    assert session.mux.compares == mux.compares
    assert session.bank.path == tmp_path / "bank.sqlite"


def test_another_version_is_refused(tmp_path, monkeypatch):
    packed = setup(tmp_path, a_mux(api_key="none")).pickled()
    monkeypatch.setattr("dspy_mux.cluster.setup.__version__", "99")
    with pytest.raises(ConfigurationError, match="has dspy-mux 99, and the collection was started"):
        Setup.loaded(packed).session(**HERE)


@pytest.mark.parametrize("value", ["s3cret", "postgresql://me:s3cret@other/db"])
def test_a_banks_password_travels_as_the_name_of_its_variable(value, monkeypatch):
    monkeypatch.setenv("BANK_ACCESS", value)
    place = Place.of(SampleBank("postgresql://me:s3cret@host/db"))
    assert "s3cret" not in repr(place)
    assert place.password == "BANK_ACCESS"
    assert place.bank().database.url.password == "s3cret"
    monkeypatch.delenv("BANK_ACCESS")
    with pytest.raises(ConfigurationError, match="variable BANK_ACCESS, which holds the bank's"):
        place.bank()


@pytest.mark.parametrize(
    "names",
    [
        ["PGUSER", "A_THING", "DB_PASSWORD", "PGPASSWORD"],
        ["PGUSER", "A_THING", "DB_PASSWORD"],
        ["PGUSER", "A_THING"],
    ],
)
def test_a_simple_password_is_looked_up_where_passwords_are(names, monkeypatch):
    for name in names:
        monkeypatch.setenv(name, "s3cret")
    assert Place.of(SampleBank("postgresql://me:s3cret@host/db")).password == names[-1]


def test_a_password_that_only_a_user_name_equals_is_refused(monkeypatch):
    monkeypatch.setenv("PGUSER", "s3cret")
    with pytest.raises(ConfigurationError, match="is in no environment variable"):
        Place.of(SampleBank("postgresql://me:s3cret@host/db"))


@pytest.mark.parametrize(
    "url", ["postgresql://me:s3cret@host/db", "postgresql://me@host/db?password=s3cret"]
)
def test_a_banks_password_that_no_variable_holds_is_refused(url):
    with pytest.raises(ConfigurationError, match="set PGPASSWORD on all") as caught:
        Place.of(SampleBank(url))
    assert "s3cret" not in str(caught.value)


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    mux, bank = a_mux(api_key="none"), tmp_path / "bank.sqlite"
    examples = [dspy.Example(question="q").with_inputs("question")]
    with pytest.raises(ConfigurationError, match="workers must be at most num_threads"):
        collect(mux, examples, None, bank, num_threads=2, cluster=RayCluster(workers=3))
    with pytest.raises(ConfigurationError, match="leave processes out"):
        collect(mux, examples, None, bank, processes=2, cluster=RayCluster())
    with pytest.raises(ConfigurationError, match="workers must be 1 or more, or None, not 0"):
        RayCluster(workers=0)
    with pytest.raises(ConfigurationError, match="no Ray cluster to join at localhost:1 "):
        collect(mux, examples, None, bank, cluster=RayCluster("localhost:1"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dspy-mux\[ray\]'"):
        collect(mux, examples, None, bank, cluster=RayCluster())
    assert not bank.exists()
