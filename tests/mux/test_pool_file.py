"""Pool files: what they describe, and one sentence for everything that is wrong with one."""

from __future__ import annotations

import json

import dspy
import pytest

from dspy_mux import (
    AllMembersFailed,
    ConfigurationError,
    DataError,
    JSONSchemaAdapter,
    Member,
    PlainAdapter,
    SLMMux,
    load_pool,
)
from dspy_mux.bank.fingerprint import fingerprint_member
from dspy_mux.cluster import Resources
from dspy_mux.mux.open import open_mux
from dspy_mux.mux.pool_file import PoolFile

from ..support.http_models import model_server
from ..support.scripted import scripted_lm


@pytest.fixture(scope="module")
def server():
    with model_server() as running:
        yield running


def written(tmp_path, text):
    path = tmp_path / "pool.toml"
    path.write_text(text)
    return path


def test_a_pool_file_describes_a_mux(tmp_path, server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-of-mine")
    path = written(
        tmp_path,
        f"""
        program = "question -> answer: int"
        k = 2
        temperature = 0.7
        rule = "pooled"
        adapter = "plain"
        timeout = 20
        accuracies = {{ a = 0.6 }}

        [[members]]
        name = "a"
        model = "openai/a"
        api_base = "{server.address}/v1"
        api_key_env = "MY_KEY"
        adapter = "json_schema"
        max_tokens = 99
        k = 4
        options = {{ top_p = 0.9 }}

        [[members]]
        model = "openai/b"
        api_base = "{server.address}/v1"
        engine = "lm15"
        """,
    )
    mux = PoolFile.load(path).mux()
    a, b = mux.members
    assert (a.name, a.k, a.temperature, type(a.adapter)) == ("a", 4, 0.7, JSONSchemaAdapter)
    assert (a.lm.kwargs["max_tokens"], a.lm.kwargs["top_p"]) == (99, 0.9)
    assert (b.name, b.k, type(b.adapter)) == ("openai/b", 2, PlainAdapter)
    assert (mux.rule.name, mux.accuracies, mux.timeout) == ("pooled", {"a": 0.6}, 20)
    assert mux(question="?").answer == 42
    assert "Bearer sk-of-mine" in server.keys


def test_a_pool_file_says_who_is_asked_for_log_probabilities(tmp_path):
    path = written(
        tmp_path,
        """
        logprobs = true
        [[members]]
        model = "openai/a"
        [[members]]
        model = "openai/b"
        logprobs = false
        """,
    )
    assert [member.logprobs for member in load_pool(path)] == [True, False]
    mux = PoolFile.load(path).mux()
    assert mux.pool.settings.logprobs is True
    assert [member.logprobs for member in mux.members] == [None, False]
    with pytest.raises(ConfigurationError, match="logprobs"):
        PoolFile.load(written(tmp_path, 'logprobs = "yes"\n[[members]]\nmodel = "openai/a"\n'))


def test_ollamas_usual_address_gets_its_openai_path(tmp_path, server):
    path = written(
        tmp_path, f'[[members]]\nmodel = "ollama_chat/known"\napi_base = "{server.address}"\n'
    )
    assert PoolFile.load(path).mux()(question="?").answer == "42"
    assert set(server.paths) == {"/v1/chat/completions"}


PROVIDERS = ["hosted_vllm/known", "together_ai/known", "openai/known", "ollama_chat/known"]


@pytest.mark.parametrize("model", PROVIDERS)
def test_provider_strings_work_through_litellm_and_carry_their_tokens(tmp_path, server, model):
    base = server.address if model.startswith("ollama") else f"{server.address}/v1"
    path = written(
        tmp_path, f'[[members]]\nmodel = "{model}"\napi_base = "{base}"\nengine = "litellm"\n'
    )
    pred = PoolFile.load(path).mux()(question="?")
    assert pred.answer == "42"
    assert (pred.verdict.prompt_tokens, pred.verdict.completion_tokens, pred.verdict.calls) == (
        30,
        6,
        3,
    )


def test_a_price_that_litellm_knows_is_in_the_verdict(tmp_path, server, priced_here):
    path = written(
        tmp_path,
        '[[members]]\nmodel = "openai/gpt-4o-mini"\nengine = "litellm"\n'
        f'api_base = "{server.address}/v1"\n',
    )
    mux = PoolFile.load(path).mux()
    first, again = mux(question="?").verdict, mux(question="?").verdict
    price = 3 * (10 * 0.15 + 2 * 0.60) / 1e6
    assert first.cost == pytest.approx(price)
    assert (again.cost, again.cached_calls) == (None, 3)
    with dspy.context(max_history_size=1):  # DSPy forgets old calls, a verdict must not
        assert mux(question="another?").verdict.cost == pytest.approx(price)


def test_an_unknown_model_is_an_abstention_with_its_cause(tmp_path, server):
    path = written(
        tmp_path,
        '[[members]]\nmodel = "openai/unknown"\nengine = "lm15"\n'
        f'api_base = "{server.address}/v1"\n',
    )
    with pytest.raises(AllMembersFailed, match="not found"):
        PoolFile.load(path).mux()(question="?")


def test_an_address_of_another_path_is_an_abstention_with_its_status(tmp_path, server):
    server.strict = True
    path = written(
        tmp_path, f'[[members]]\nmodel = "openai/known"\napi_base = "{server.address}/v2"\n'
    )
    told = "LMInvalidRequestError: HTTP 404 at /v2/chat/completions: is api_base right"
    with pytest.raises(AllMembersFailed, match=told):
        PoolFile.load(path).mux()(question="?")


MEMBER = '[[members]]\nmodel = "openai/x"\n'
LOCAL = '[[members]]\nlocal = "smollm2-135m"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("k = 3", "is wrong at members: Field required"),
        ("members = []", "is wrong at members: write each member as a table of its own"),
        ('[members]\nmodel = "openai/a"', "write each member as a table of its own, [[members]]"),
        ("k = 0\n" + MEMBER, "is wrong at k: Input should be greater than or equal to 1"),
        ("colour = 1\n" + MEMBER, "has an unknown setting colour."),
        (
            LOCAL + "[members.resources]\nnum_gpu = 1",
            "members[1].resources.num_gpu (smollm2-135m): did you mean num_gpus?",
        ),
        (LOCAL + "[members.resources]\nnum_cpus = 0", "members[1].resources.num_cpus"),
        (
            MEMBER + "[members.resources]\nnum_cpus = 1",
            "has resources, which only local takes: its server has its own",
        ),
        (
            MEMBER + "modle = 1",
            "has an unknown setting members[1].modle (openai/x): did you mean model?",
        ),
        (
            MEMBER.replace("[[members]]", "[[member]]"),
            "has an unknown setting member: did you mean members?",
        ),
        (
            "[[members]]\nmodel = 'smollm2-135m'",
            "which runs in this process: write local = 'smollm2-135m'",
        ),
        (
            MEMBER + 'api_base = "localhost:8000/v1"',
            'is wrong at members[1] (openai/x): has the api_base "localhost:8000/v1", without '
            'http:// or https://: write api_base = "http://localhost:8000/v1".',
        ),
        (
            MEMBER + 'api_base = "api.example.com/v1"',
            'write api_base = "https://api.example.com/v1".',
        ),
        (MEMBER + 'api_base = "htp://gpu:1/v1"', 'write api_base = "http://gpu:1/v1".'),
        ("[[members]]\nname = 'x'", "is wrong at members[1] (x): needs either model"),
        (MEMBER + "local = 'smollm2-135m'", "is wrong at members[1] (smollm2-135m): needs either"),
        ('group = "yes"\n' + MEMBER, 'is wrong at group: write "auto", true or false.'),
        (
            MEMBER + MEMBER + 'name = "small"\ngroup = "yes"',
            'is wrong at members[2].group (small): write "auto", true or false.',
        ),
        (MEMBER + "logprobs = 1", 'members[1].logprobs (openai/x): write "auto", true or false.'),
        (
            '[[members]]\nname = "sk-abcdef1234567890"\ngroup = "yes"',
            "is wrong at members[1]: holds a key or a password in its 'name'",
        ),
        (
            MEMBER + 'api_key = "sk-literal-secret"',
            "put the key in an environment variable and name that with api_key_env",
        ),
        (
            MEMBER + 'options = { api_key = "sk-literal-secret" }',
            "put the key in an environment variable",
        ),
        (MEMBER + "adapter = 'xml'", "is wrong at members[1].adapter (openai/x): Input should be"),
        (
            "[[members]]\nlocal = 'smollm2-135m'\napi_base = 'http://x'",
            "has local, which takes no api_base",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(ConfigurationError) as refusal:
        PoolFile.load(written(tmp_path, text))
    assert sentence in str(refusal.value)
    assert "pool.toml" in str(refusal.value)
    assert "sk-literal-secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_resources_are_for_a_cluster_and_shape_no_draw(tmp_path):
    text = LOCAL + "[members.resources]\nnum_cpus = 4\nnum_gpus = 0.5\n"
    [entry] = PoolFile.load(written(tmp_path, text)).members
    resources = Resources(**entry.resources.model_dump())
    assert (resources.num_cpus, resources.num_gpus) == (4, 0.5)
    lm = scripted_lm("x", lambda prompt, draw: {"answer": "4"})
    plain, placed = (
        SLMMux("question -> answer", [Member(lm, name="x", resources=taken)], k=2)
        for taken in (None, resources)
    )
    assert placed.members[0].resources == resources
    assert fingerprint_member(placed, 0) == fingerprint_member(plain, 0)
    placed.save(tmp_path / "mux.json")
    assert "resources" not in (tmp_path / "mux.json").read_text()


def test_a_file_that_is_not_toml_is_unreadable_data(tmp_path):
    with pytest.raises(DataError, match=r"pool\.toml' is not valid TOML"):
        PoolFile.load(written(tmp_path, "k = "))


def test_missing_keys_and_files_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(
        ConfigurationError,
        match="from the environment variable NOT_SET, which is not set: export NOT_SET",
    ):
        PoolFile.load(written(tmp_path, MEMBER + "api_key_env = 'NOT_SET'")).mux()
    with pytest.raises(DataError, match="There is no pool file"):
        PoolFile.load(tmp_path / "missing.toml")
    with pytest.raises(ConfigurationError, match="uses the type 'os.system'"):
        PoolFile.load(written(tmp_path, "program = 'q -> a: os.system'\n" + MEMBER)).mux()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        PoolFile.load(tmp_path / "binary.toml")


# --- saved muxes ---------------------------------------------------------------------------------


def test_a_saved_mux_opens_with_its_pool_file(tmp_path, server):
    pool = written(
        tmp_path, f'[[members]]\nname = "a"\nmodel = "openai/a"\napi_base = "{server.address}/v1"\n'
    )
    mux = SLMMux(
        "question -> answer: int", PoolFile.load(pool).mux().members, accuracies={"a": 0.9}
    )
    mux.programs[0].predict.demos = [dspy.Example(question="1 + 1?", reasoning="Two.", answer=2)]
    mux.save(tmp_path / "mux.json")
    opened = open_mux(pool, tmp_path / "mux.json", k=5)
    assert (opened.accuracies, opened.members[0].k) == ({"a": 0.9}, 5)
    assert opened.programs[0].predict.demos[0]["answer"] == 2
    assert opened(question="?").answer == 42


def test_a_saved_subset_opens_with_the_whole_pool_file(tmp_path, server):
    members = "".join(
        f'[[members]]\nname = "{n}"\nmodel = "openai/{n}"\napi_base = "{server.address}/v1"\n'
        for n in "abc"
    )
    pool = written(tmp_path, members)
    PoolFile.load(pool).mux().subset(["a", "c"]).save(tmp_path / "mux.json")
    assert [member.name for member in open_mux(pool, tmp_path / "mux.json").members] == ["a", "c"]


def test_a_saved_mux_alone_keeps_what_shapes_its_draws(tmp_path):
    lm = dspy.LM("openai/gpt-4o-mini", max_tokens=77, temperature=0.2, api_key="sk-mine")
    SLMMux(dspy.Predict("question -> answer"), [lm], extract="lm", timeout=9).save(
        tmp_path / "mux.json"
    )
    opened = open_mux(None, tmp_path / "mux.json")
    assert (opened.members[0].lm.kwargs["max_tokens"], opened.extract, opened.timeout) == (
        77,
        "lm",
        9,
    )
    assert "sk-mine" not in (tmp_path / "mux.json").read_text()


def test_a_saved_adapter_is_not_changed_in_silence(tmp_path):
    lm = dspy.LM("openai/gpt-4o-mini")
    SLMMux(dspy.Predict("question -> answer"), [lm], adapter=PlainAdapter()).save(
        tmp_path / "mux.json"
    )
    with pytest.raises(
        ConfigurationError, match="through the adapter 'plain', this one through 'default'"
    ):
        SLMMux(dspy.Predict("question -> answer"), [lm]).load(tmp_path / "mux.json")


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        ({"members": [{"name": "a"}]}, r"members\[1\].model"),
        ({"accuracies": {"openai/gpt-4o-mini": "high"}}, "accuracies"),
        ({"rule": 3}, "rule"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_a_damaged_saved_mux_says_where(tmp_path, damage, where):
    SLMMux(dspy.Predict("question -> answer"), [dspy.LM("openai/gpt-4o-mini")]).save(
        tmp_path / "mux.json"
    )
    state = json.loads((tmp_path / "mux.json").read_text())
    state["pool"].update(damage)
    (tmp_path / "mux.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match=where):
        open_mux(None, tmp_path / "mux.json")


def test_a_saved_mux_alone_opens_where_the_provider_is_known(tmp_path):
    SLMMux(dspy.Predict("question -> answer"), [dspy.LM("openai/gpt-4o-mini")]).save(
        tmp_path / "mux.json"
    )
    opened = open_mux(None, tmp_path / "mux.json")
    assert [member.lm.model for member in opened.members] == ["openai/gpt-4o-mini"]


def test_a_saved_mux_needs_a_pool_for_own_servers(tmp_path):
    SLMMux("question -> answer", [dspy.LM("openai/mine", api_base="http://127.0.0.1:9/v1")]).save(
        tmp_path / "mux.json"
    )
    with pytest.raises(
        ConfigurationError,
        match="does not say where its member 'openai/mine' runs: pass --pool too",
    ):
        open_mux(None, tmp_path / "mux.json")


def test_a_larger_program_must_be_loaded_in_python(tmp_path):
    class Steps(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> answer")

        def forward(self, question):
            return self.step(question=question)

    SLMMux(Steps(), [scripted_lm("a", ["x"])]).save(tmp_path / "mux.json")
    with pytest.raises(ConfigurationError, match="is not a plain signature: load it in Python"):
        open_mux(written(tmp_path, MEMBER), tmp_path / "mux.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pool": 3}', "not json"])
def test_another_file_is_not_a_saved_mux(tmp_path, text):
    (tmp_path / "mux.json").write_text(text)
    with pytest.raises(
        DataError, match="is not a saved mux|The saved mux is wrong at its top level"
    ):
        open_mux(None, tmp_path / "mux.json")
