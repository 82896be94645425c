"""A saved mux, a study and a run from a stranger: read as data. Nothing in them is imported,
evaluated or unpickled, and no key or
question goes to where they say."""

from __future__ import annotations

import json
import pickle
import sys

import dspy
import pytest
from dspy.clients.base_lm import LM_CLASS_STATE_KEY

from dspy_mux import ConfigurationError, DataError, MuxError, PoolMismatch, SLMMux
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.mux.open import open_mux
from dspy_mux.mux.signature_text import parse_signature
from dspy_mux.optimize.options import STUDY_NAME
from dspy_mux.optimize.tune import tune
from eval.report import write
from eval.runs.folder import Run

from ..support.echo import echo_server
from ..support.hostile_texts import RED, obeyed
from ..support.run_files import manifest
from ..support.scripted import scripted_lm

MODEL = "openai/gpt-4o-mini"


@pytest.fixture
def saved(tmp_path):
    """A saved mux with some of its state changed."""

    def save(change=lambda state: None, text=None):
        path = tmp_path / "mux.json"
        SLMMux(dspy.Predict("question -> answer"), [dspy.LM(MODEL)]).save(path)
        state = json.loads(path.read_text())
        change(state)
        path.write_text(json.dumps(state) if text is None else text)
        return path

    return save


# --- signatures


@pytest.mark.parametrize(
    "type_",
    [
        "list[{0}]",
        "Optional[{0}]",
        "dict[str, {0}]",
        "{0}",
        "tuple[int, {0}]",
        "str | {0}",
        "list[list[{0}]]",
        "Union[{0}, int]",
        "list[Literal[{0}] | {0}]",
    ],
)
def test_code_in_signature_types_never_runs(tmp_path, saved, type_):
    ran = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(ran)!r}).touch()"
    text = f"question -> answer: {type_.format(json.dumps(code))}"
    with pytest.raises(ConfigurationError, match="uses the type"):
        parse_signature(text)
    with pytest.raises(ConfigurationError, match="uses the type"):
        open_mux(None, saved(lambda state: state["pool"]["program"].update(signature=text)))
    (tmp_path / "pool.toml").write_text(
        f"program = {json.dumps(text)}\n[[members]]\nmodel = 'openai/x'\n"
    )
    with pytest.raises(ConfigurationError, match="uses the type"):
        open_mux(tmp_path / "pool.toml", None)
    assert not ran.exists()


@pytest.mark.parametrize(
    "text",
    [
        "a, /, b: antigravity -> c", "*a: antigravity -> c", "a, *, b: antigravity -> c",
        "**a: antigravity -> c",
        "a=antigravity -> c", "q): pass\nimport antigravity\ndef g(x -> a",
        "q -> a: antigravity.x", "q -> a: list[antigravity]",
        "q -> a: f()", "q -> a: Literal[antigravity]", "q -> a: Literal[f'{antigravity}']",
        "q -> a: " + "-" * 1900 + "1",
        "q -> a: " + "list[" * 50 + "int" + "]" * 50, "_q -> a", "model_config -> a", "q -> q",
        "q -> __class__",
        "q -> a: (lambda: 1)", "q -> a: list[...]", "q -> a: Any[int]",
    ],
)  # fmt: skip
def test_no_other_trick_of_a_signature_works(text):
    with pytest.raises(ConfigurationError):
        parse_signature(text)
    assert "antigravity" not in sys.modules


def test_the_options_of_a_literal_stay_text():
    code = "__import__('os').abort()"
    assert parse_signature(f'q -> a: Literal["{code}", "b"]').output_fields[
        "a"
    ].annotation.__args__ == (code, "b")


# --- saved muxes


def another_server(address):
    return {
        "a language model": lambda s: s["predict"].update(
            lm={"model": "openai/evil", "api_base": address, "cache": False}
        ),
        "one by its class": lambda s: s["predict"].update(
            lm={"model": "openai/evil", LM_CLASS_STATE_KEY: "antigravity.LM"}
        ),
        "settings of calls": lambda s: s["predict"].update(
            config={"api_base": address, "extra_headers": {"a": "b"}}
        ),
        "an attribute": lambda s: s["predict"].update(forward="x"),
        "an address for a member": lambda s: s["pool"]["members"][0].update(
            model=f"huggingface/{address}"
        ),
        "a control in a model": lambda s: s["pool"]["members"][0].update(model=f"openai/x{RED}"),
    }  # fmt: skip


def predictors_of(state):
    """The saved state, its one predictor under `predict`."""
    return {"predict": state["programs[0]"], "pool": state["pool"]}


@pytest.mark.parametrize("trick", another_server(""))
def test_a_strangers_mux_cannot_choose_the_server(saved, monkeypatch, trick):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-users-own-123456")
    monkeypatch.setenv("HF_TOKEN", "hf-users-own-123456")
    with echo_server() as server:
        path = saved(
            lambda state: another_server(f"{server.address}/v1")[trick](predictors_of(state))
        )
        with pytest.raises((ConfigurationError, DataError)):
            open_mux(None, path)(question="?")
        ours = SLMMux(dspy.Predict("question -> answer"), {MODEL: scripted_lm("a", ["x"])})
        with pytest.raises((PoolMismatch, DataError)):
            ours.load(path)
        assert ours(question="?").answer == "x"
        assert server.sent == []
    assert "antigravity" not in sys.modules


def test_an_address_beside_a_model_is_not_taken(saved):
    path = saved(
        lambda state: state["pool"]["members"][0].update(
            api_base="http://evil/v1", options={"api_base": "http://evil/v1", "top_p": 0.5}
        )
    )
    settings = open_mux(None, path).members[0].lm.kwargs
    assert settings["top_p"] == 0.5
    assert "api_base" not in settings


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (
            {"members": [{"name": "a", "model": "openai/x", "k": 10**9, "temperature": 0.5}]},
            r"members\[1\].k",
        ),
        ({"timeout": 1e300}, "timeout"),
        ({"program": {"module": "os", "signature": "q -> a"}}, "program.module"),
        ({"rule": {"name": "calibrated", "members": [RED]}}, "The rule of the saved mux"),
        ({"rule": {"name": "__import__('os')"}}, "is not built in"),
        (
            {"rule": {"name": "budgeted", "stages": [[[]]], "bound": "nan"}},
            "The rule of the saved mux",
        ),
        ({"choices": {"__class__": "os"}}, "unknown setting __class__"),
        ({"accuracies": {RED: 1}}, "not a member of the pool"),
        ({"members": []}, "members"),
    ],
)
def test_a_strangers_settings_are_checked_first(saved, damage, where):
    with pytest.raises((PoolMismatch, DataError), match=where):
        open_mux(None, saved(lambda state: state["pool"].update(damage)))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**5 + "]" * 10**5,
        '{"pool": ' + '{"a":' * 10**5 + "1" + "}" * 10**5 + "}",
        '{"pool": {"k": ' + "1" * 10**5 + "}}",
        '{"pool": {}, "metadata": {"dependency_versions": {"python": "' + "\\u001b[31m" + '"}}}',
        '{"pool": {}, "metadata": 3}',
        '{"pool": {"a": "\\ud800"}}',
        " " * (2**26 + 1),
    ],
    ids=range(7),
)
@pytest.mark.timeout(60)
def test_an_oversized_saved_mux_is_one_sentence(saved, text):
    with pytest.raises(DataError) as refusal:
        open_mux(None, saved(text=text))
    assert len(str(refusal.value)) < 1000


class Runs:
    def __reduce__(self):
        return exec, ("import builtins; builtins.ran = True",)


@pytest.mark.parametrize("name", ["mux.pkl", "mux.json", "mux"])
def test_a_pickle_is_never_loaded(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Runs()))
    with pytest.raises((ConfigurationError, DataError)):
        open_mux(None, path)
    with pytest.raises((MuxError, ValueError)):
        SLMMux("question -> answer", [scripted_lm("a", ["x"])]).load(path)
    assert not hasattr(__builtins__, "ran")
    assert "ran" not in vars(sys.modules["builtins"])


# --- studies


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "bank.jsonl"
    rows = [
        {
            "question_id": f"q{q}", "model": m, "draw": d,
            "answer": "r" if (q + d) % 3 else "w", "correct": bool((q + d) % 3),
        }
        for q in range(12) for m in "ab" for d in range(2)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_jsonl(path)


PARAMS = {"k": 2, "rule": "pooled", "size": 2, "penalty": 1.0}
TOLD = {"members": ["a", "b"], "calls_per_question": 4}


def strange_trial(
    study, params=PARAMS, told=TOLD, value=0.5, rules=("consistency", "pooled", "calibrated")
):
    import optuna

    choices = {
        "k": optuna.distributions.IntDistribution(1, 99),
        "rule": optuna.distributions.CategoricalDistribution(rules),
        "size": optuna.distributions.IntDistribution(1, 2),
        "penalty": optuna.distributions.FloatDistribution(0, 2, step=0.05),
    }  # fmt: skip
    used = {name: choices[name] for name in params}
    study.add_trial(
        optuna.trial.create_trial(params=params, distributions=used, value=value, user_attrs=told)
    )


@pytest.mark.parametrize(
    "strange",
    [
        lambda study: study.set_user_attr("data", RED),
        lambda study: study.set_user_attr("data", {"members": 3}),
        lambda study: strange_trial(study, told={}),
        lambda study: strange_trial(study, told={**TOLD, "members": [RED]}),
        lambda study: strange_trial(study, told={**TOLD, "members": 5}),
        lambda study: strange_trial(study, told={**TOLD, "members": []}),
        lambda study: strange_trial(study, told={**TOLD, "members": ["a", "a"]}),
        lambda study: strange_trial(study, told={**TOLD, "calls_per_question": "many"}),
        lambda study: strange_trial(study, params={}),
        lambda study: strange_trial(study, params={**PARAMS, "k": 99}),
        lambda study: strange_trial(study, value=float("inf")),
        lambda study: strange_trial(
            study, params={**PARAMS, "rule": "os.system"}, rules=("os.system",)
        ),
    ],
    ids=range(12),
)
def test_a_strangers_study_is_refused_in_a_sentence(tmp_path, record, strange):
    import optuna

    # One of them from a file, as a stranger would send it; the others are read in the same way.
    storage = (
        f"sqlite:///{tmp_path}/study.db"
        if strange.__code__.co_names[0] == "set_user_attr"
        else None
    )
    study = optuna.create_study(storage=storage, study_name=STUDY_NAME, directions=["maximize"])
    if strange.__code__.co_names[0] != "set_user_attr":
        tune(record, study=study, n_trials=1)  # so that its trials are all there is to refuse
    strange(study)
    with pytest.raises(ConfigurationError, match="name another study") as refusal:
        tune(record, study=study if storage is None else None, storage=storage, n_trials=1)
    assert obeyed(str(refusal.value)) == set()


@pytest.mark.parametrize(
    "storage", ["study.log", "journal.pkl", "redis://evil/0", "nosuch://u:p4ssw0rd@host/db"]
)
def test_a_storage_is_a_database_and_nothing_else(tmp_path, record, monkeypatch, storage):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.log").write_bytes(pickle.dumps(Runs()))
    (tmp_path / "journal.pkl").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(ConfigurationError, match="storage cannot be used") as refusal:
        tune(record, storage=storage, n_trials=1)
    assert "p4ssw0rd" not in str(refusal.value)
    assert "ran" not in vars(sys.modules["builtins"])


# --- runs


@pytest.mark.parametrize(
    "damaged", ["[" * 10**5, '{"version": 1, "tasks": ' + "[" * 10**5, "3", '{"version": "x"}', ""]
)
def test_a_strangers_run_is_refused_in_a_sentence(tmp_path, damaged):
    (tmp_path / "run.json").write_text(damaged)
    with pytest.raises(DataError, match="is not a run folder"):
        write(tmp_path, tmp_path / "report.html")


def test_an_incomplete_row_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(manifest()))
    (tmp_path / "results.jsonl").write_text(
        '{"task": "t", "method": "x", "settings": "s", "question_id": "q", "score": 1}\n'
    )
    with pytest.raises(
        DataError,
        match="Line 1 of .* is not a row of a run .it is wrong at inputs: Field required",
    ):
        write(tmp_path, tmp_path / "report.html")


def test_too_deeply_nested_rows_are_named_by_line(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(manifest()))
    (tmp_path / "results.jsonl").write_text("[" * 10**5 + "\n")
    with pytest.raises(DataError, match="Line 1 of"):
        list(Run.open(tmp_path).rows())
