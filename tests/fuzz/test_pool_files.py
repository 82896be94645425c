"""Any pool file describes a pool, or one sentence without a key says what is wrong."""

from __future__ import annotations

import datetime
import json

import dspy
import pytest
from hypothesis import given, strategies as st

from dspy_mux import SLMMux
from dspy_mux.errors import ConfigurationError, DataError, MuxError
from dspy_mux.mux.open import open_mux
from dspy_mux.mux.pool_file import MemberEntry, PoolFile

from ..support.limits import within
from .strategies import ANY_TEXT, FRAGMENTS, damaged, damaged_json

SECRET = "sk-fuzz-2c9f41d07ab3"
WHOLE = [piece for piece in FRAGMENTS if piece.isprintable()]
VALID = """
program = "question -> answer: int"
k = 2
temperature = 0.7
rule = "pooled"
adapter = "plain"
timeout = 20
schedule = "frugal"
accuracies = { a = 0.6 }

[[members]]
name = "a"
model = "openai/a"
api_base = "http://127.0.0.1:9/v1"
adapter = "json_schema"
max_tokens = 99
k = 4
options = { top_p = 0.9, stop = ["a", "b"] }

[[members]]
model = "openai/b"
api_base = "http://127.0.0.1:9/v1"
engine = "lm15"
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("pool") / "pool.toml"


def open_it(path):
    """The pool file, and the mux where it makes one."""
    try:
        with within(20):
            pool = PoolFile.load(path)
    except (ConfigurationError, DataError) as error:
        one_sentence(error)
        return
    try:
        with within(20):
            mux = pool.mux()
    except MuxError as error:
        one_sentence(error)
        return
    assert [member.name for member in mux.members]


def one_sentence(error):
    told = str(error)
    assert told.isprintable()
    assert len(told) < 1_000
    assert SECRET not in told


# --------------------------------------------------------------------------------------------------
# TOML of any tree


def toml(value):
    """A tree as TOML, tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return (
            '"'
            + "".join(
                c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in value
            )
            + '"'
        )
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return (
        value.isoformat()
        if isinstance(value, (datetime.datetime, datetime.date, datetime.time))
        else repr(value)
    )


TEXT = st.one_of(st.text(max_size=12), st.sampled_from(WHOLE))
PLAIN = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-2, 3),
    st.floats(),
    TEXT,
    st.datetimes(),
    st.dates(),
    st.times(),
    st.sampled_from([10**30, 1e308]),
)
TREE = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=5,
)
MODELS = [
    "openai/a",
    "openai/b",
    "ollama_chat/x",
    "a",
    "/",
    "openai/",
    "mistral/é",
    " ",
    "huggingface/x/y",
]
SETTINGS = [
    "temperature", "max_tokens", "n", "seed", "stop", "cache", "engine", "model", "model_type",
    "callbacks", "num_retries", "provider", "api_base", "rollout_id", "launch_kwargs",
    "train_kwargs", "finetuning_model", "use_developer_role", "async_engine", "top_p", "timeout",
    "base_url",
]  # fmt: skip


def table(names, always, **likely):
    """A table that is likely to be understood, and at times has another setting, or another value
    of one.
    """
    known = st.fixed_dictionaries(
        {name: likely[name] for name in always},
        optional={n: v for n, v in likely.items() if n not in always},
    )
    odd = st.dictionaries(
        st.one_of(st.sampled_from(sorted(names)), TEXT), TREE, min_size=1, max_size=1
    )
    return st.builds(
        lambda one, other: {**one, **other},
        known,
        st.one_of(st.just({}), st.just({}), st.just({}), odd),
    )


OPTIONS = st.one_of(
    st.dictionaries(st.sampled_from(SETTINGS), PLAIN, max_size=2),
    table(
        SETTINGS,
        [],
        top_p=st.floats(0, 1),
        stop=st.lists(TEXT, max_size=2),
        api_key=st.just(SECRET),
        extra_headers=st.just({"X-Key": SECRET}),
    ),
)
MEMBER = st.one_of(
    table(
        MemberEntry.model_fields,
        ["name", "model"],
        name=st.one_of(st.sampled_from("abcdef"), TEXT),
        model=st.one_of(st.sampled_from(MODELS), TEXT),
        api_base=st.one_of(
            st.sampled_from(
                [
                    "http://127.0.0.1:9/v1",
                    "http://127.0.0.1:9",
                    f"http://u:{SECRET}@127.0.0.1:9",
                    "http://[",
                    "x",
                    "::",
                ]
            ),
            TEXT,
        ),
        api_key_env=st.sampled_from(
            ["PATH", "PATH", "NOT_SET", SECRET, SECRET.replace("-", "_"), "", "A=B", "a\nb"]
        ),
        adapter=st.sampled_from(["chat", "json", "plain", "xml"]),
        engine=st.sampled_from(["auto", "lm15"]),
        k=st.integers(1, 3),
        temperature=st.floats(0, 2),
        max_tokens=st.integers(1, 99),
        options=OPTIONS,
    ),
    table(
        MemberEntry.model_fields,
        ["local"],
        local=st.sampled_from(["nowhere.gguf", "no model", "", "../x.gguf", "/dev/null"]),
        options=OPTIONS,
    ),
)
POOLS = table(
    PoolFile.model_fields,
    ["members"],
    program=st.one_of(
        st.sampled_from(["question -> answer: int", "q -> a: os.system", "->", "a, b -> c, d"]),
        TEXT,
    ),
    k=st.integers(1, 4),
    temperature=st.floats(0, 2),
    rule=st.sampled_from(["consistency", "pooled", "calibrated", "none"]),
    adapter=st.sampled_from(["chat", "few_shot"]),
    timeout=st.floats(0, 99),
    schedule=st.sampled_from(["full", "frugal", "hedged"]),
    accuracies=st.dictionaries(st.sampled_from("ab"), st.floats(0, 1), max_size=2),
    members=st.lists(MEMBER, min_size=1, max_size=3),
)


@given(st.one_of(POOLS, st.dictionaries(TEXT, TREE, max_size=4)))
def test_any_tree_is_a_pool_or_one_sentence(path, tree):
    path.write_text(
        "".join(f"{toml(key)} = {toml(value)}\n" for key, value in tree.items()), encoding="utf-8"
    )
    open_it(path)


@given(damaged(st.just(VALID)))
def test_a_damaged_pool_file_is_a_pool_or_one_sentence(path, text):
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    open_it(path)


@given(
    st.one_of(
        st.binary(max_size=200),
        ANY_TEXT.map(lambda text: text.encode("utf-16", "surrogatepass")),
        st.just(VALID.encode("utf-16")),
    )
)
def test_any_bytes_are_a_pool_or_one_sentence(path, content):
    path.write_bytes(content)
    open_it(path)


# --------------------------------------------------------------------------------------------------
# Saved muxes


@pytest.fixture(scope="module")
def saved(path):
    """The state of a mux as it is saved, with a demo and a fitted rule's worth of settings."""
    lms = [dspy.LM(f"openai/{name}", max_tokens=9, api_key="none") for name in "ab"]
    mux = SLMMux(
        "question -> answer: int", lms, accuracies={"openai/a": 0.5}, timeout=9, schedule="frugal"
    )
    mux.programs[0].predict.demos = [dspy.Example(question="1 + 1?", reasoning="Two.", answer=2)]
    mux.save(path.with_name("mux.json"))
    return json.loads(path.with_name("mux.json").read_text())


@given(st.data())
def test_a_damaged_saved_mux_is_a_mux_or_one_sentence(path, saved, data):
    state, mux_file = data.draw(damaged_json(saved)), path.with_name("damaged.json")
    mux_file.write_text(json.dumps(state))
    try:
        with within(20):
            mux = open_mux(None, mux_file)
    except MuxError as error:
        one_sentence(error)
        return
    assert len(mux.members) > 0


# --------------------------------------------------------------------------------------------------
# What was found

FOUND = {
    "an unknown setting that does not print": (
        {"members": [{"model": "openai/a"}], "\x1b\n[31m": 1},
        r"unknown setting '\\x1b\\n\[31m'",
    ),
    "an unknown setting without a name": (
        {"members": [{"model": "openai/a", "": 1}]},
        r"unknown setting members\[1\]\.''",
    ),
    "a name that does not print": (
        {"members": [{"model": "openai/a", "name": "\x1b"}]},
        "has control characters in a name",
    ),
    "a setting of its own among the options": (
        {"members": [{"model": "openai/a", "options": {"temperature": 1}}]},
        "has temperature among its options: it has a setting of its own",
    ),
    "the licence accepted by a file": (
        {"members": [{"local": "gemma3-270m", "options": {"accept_license": True}}]},
        "has accept_license among its options: a pool file cannot set it",
    ),
    "what is no data": (
        {"members": [{"model": "openai/a", "options": {"callbacks": ["x"]}}]},
        "has callbacks among its options",
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_one_sentence_says_what_is_wrong(path, what):
    tree, told = FOUND[what]
    path.write_text(
        "".join(f"{toml(key)} = {toml(value)}\n" for key, value in tree.items()), encoding="utf-8"
    )
    with pytest.raises(ConfigurationError, match=told) as caught:
        PoolFile.load(path)
    one_sentence(caught.value)


def test_a_doubtful_signature_is_refused_without_a_warning(path, recwarn):
    path.write_text('program = "question -> answer: 1or 2"\n' + VALID.partition("\n\n")[2])
    with pytest.raises(ConfigurationError, match="is not a signature|uses the type"):
        PoolFile.load(path).mux()
    assert not list(recwarn)


def test_unknown_options_of_embedded_models_are_named(path):
    path.write_text(
        '[[members]]\nlocal = "nowhere.gguf"\noptions = { slots = "many", unheard_of = 1 }\n'
    )
    with pytest.raises(MuxError):
        PoolFile.load(path).mux()
