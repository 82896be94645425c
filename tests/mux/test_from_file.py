"""A mux from its file and a pool, in Python: what `dspy-mux ask --mux --pool` does."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import dspy
import pytest
from dspy.utils import DummyLM

from dspy_mux import (
    ConfigurationError,
    DataError,
    Member,
    PlainAdapter,
    PoolMismatch,
    SLMMux,
    load_pool,
    load_program,
)
from dspy_mux.baselines import AgentForest, LLMDebate
from tests.support.scripted import scripted_lm

POOL = """
k = 2
temperature = 0.8
adapter = "plain"

[[members]]
name = "a"
model = "openai/one"
api_base = "http://localhost:1/v1"

[[members]]
name = "b"
model = "openai/two"
api_base = "http://localhost:1/v1"
api_key_env = "KEY_OF_B"
k = 5
adapter = "chat"
"""


def lms(*names):
    return {name: scripted_lm(name, [f"{name} says"]) for name in names}


@pytest.fixture
def saved(tmp_path):
    """A mux of two out of three members, each with a demo of its own."""
    mux = SLMMux("question -> answer", lms("a", "b", "c"), k=2, temperature=0.7, timeout=9.0)
    mux = mux.subset(["c", "a"])
    for name, program in zip(mux.pool.names, mux.programs, strict=True):
        program.predict.demos = [dspy.Example(question="?", answer=f"demo of {name}")]
    mux.pool.accuracies = {"a": 0.25, "c": 0.75}
    mux.save(tmp_path / "mux.json")
    return tmp_path / "mux.json"


def described(mux):
    return [
        (member.label, member.k, member.temperature, program.predict.demos[0]["answer"])
        for member, program in zip(mux.members, mux.programs, strict=True)
    ]


WHOLE = [("c", 2, 0.7, "demo of c"), ("a", 2, 0.7, "demo of a")]


@pytest.mark.parametrize(
    "pool",
    [
        lms("a", "b", "c"),
        lms("c", "b", "a"),
        lms("a", "c"),
        [Member(lm, name=name) for name, lm in lms("b", "a", "c").items()],
        # Without names, members go by their models.
        list(lms("b", "a", "c").values()),
    ],
    ids=["more", "in another order", "fewer", "a list", "unnamed"],
)
def test_a_mux_comes_back_whatever_the_pools_order(saved, pool):
    if isinstance(pool, list) and not isinstance(pool[0], Member):
        pool = [dspy.LM(lm.model, engine=lm.engine) for lm in pool]
    mux = SLMMux.from_file(saved, lms=pool)
    assert described(mux) == WHOLE
    assert (mux.accuracies, mux.timeout) == ({"a": 0.25, "c": 0.75}, 9.0)
    assert mux(question="?").answer == "c says"


def test_what_differs_from_the_file_is_said(saved):
    with pytest.raises(PoolMismatch, match=r"and the pool has a, b: add 'c' \(scripted/c\) to"):
        SLMMux.from_file(saved, lms=lms("a", "b"))
    with pytest.raises(
        PoolMismatch, match="^'c' was scripted/c when the mux was saved and is other/c here: load"
    ):
        SLMMux.from_file(saved, lms={**lms("a"), "c": dspy.LM("other/c")})
    with pytest.raises(PoolMismatch, match="is of the method 'slm_mux', not 'agent_forest'"):
        AgentForest.from_file(saved, lms=lms("a", "c"))
    with pytest.raises(DataError, match=r"There is no saved mux .*other\.json"):
        SLMMux.from_file(saved.with_name("other.json"))
    with pytest.raises(ConfigurationError, match="lms must be a list or a dict"):
        SLMMux.from_file(saved, lms=scripted_lm("a", ["x"]))


def test_the_saved_k_and_temperature_hold(saved):
    pool = {name: Member(lm, k=5, temperature=0.1) for name, lm in lms("a", "c").items()}
    assert described(SLMMux.from_file(saved, lms=pool)) == WHOLE


def test_a_model_stands_for_one_saved_member_alone(tmp_path):
    twins = [
        Member(scripted_lm("m", ["x"]), name=name, temperature=temperature)
        for name, temperature in {"a": 0.3, "b": 0.6}.items()
    ]
    SLMMux("question -> answer", twins).save(tmp_path / "mux.json")
    with pytest.raises(PoolMismatch, match=r"add 'b' \(scripted/m\)"):
        SLMMux.from_file(tmp_path / "mux.json", lms=[scripted_lm("m", ["x"])])
    with pytest.raises(PoolMismatch, match=r"add 'a' \(scripted/m\)"):
        SLMMux.from_file(tmp_path / "mux.json", lms=[scripted_lm("m", ["x"]) for _ in "ab"])


def test_arguments_replace_what_was_saved(saved):
    mux = SLMMux.from_file(
        str(saved), lms("a", "c"), k=4, timeout=3.0, on_error="abstain", accuracies={"a": 0.5}
    )
    assert [member.k for member in mux.members] == [4, 4]
    assert (mux.timeout, mux.pool.settings.on_error, mux.accuracies) == (3.0, "abstain", {"a": 0.5})


def test_a_saved_adapter_need_not_be_named_again(tmp_path):
    pool = [Member(scripted_lm("a", lambda *_: "It is 4."), adapter=PlainAdapter())]
    SLMMux("question -> answer: int", pool).save(tmp_path / "mux.json")
    mux = SLMMux.from_file(tmp_path / "mux.json", [pool[0].lm])
    assert isinstance(mux.members[0].adapter, PlainAdapter)
    assert mux(question="2 + 2?").answer == 4


def test_what_a_file_cannot_hold_is_given_again(tmp_path):
    class First:
        name = "first"

        def choose(self, ballots):
            return None

    class Steps(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> title, score: float")

        def forward(self, question):
            return self.step(question=question)

    path, pool = tmp_path / "mux.json", lms("a")
    both = {"title": len, "score": None}
    SLMMux(Steps(), pool, rule=First(), answer_field=both).save(path)
    with pytest.raises(ConfigurationError, match="is not a plain signature.*program=…"):
        SLMMux.from_file(path, pool)
    with pytest.raises(PoolMismatch, match="the rule 'first', which is not built in"):
        SLMMux.from_file(path, pool, program=Steps(), answer_field=both)
    with pytest.raises(PoolMismatch, match="key function"):
        SLMMux.from_file(path, pool, program=Steps(), rule=First())
    mux = SLMMux.from_file(path, pool, program=Steps(), rule=First(), answer_field=both)
    assert mux.rule.name == "first"


def test_several_answer_fields_come_back(tmp_path):
    program, both = dspy.Predict("question -> title, score: float"), ["title", "score"]
    SLMMux(program, lms("a"), answer_field=both).save(tmp_path / "mux.json")
    assert SLMMux.from_file(tmp_path / "mux.json", lms("a")).answer_field == "title, score"


def test_a_baseline_comes_back_too(tmp_path):
    debate = LLMDebate("question -> answer", lms("a", "b"), rounds=3)
    debate.save(tmp_path / "debate.json")
    again = LLMDebate.from_file(tmp_path / "debate.json", lms("b", "a"))
    assert (again.pool.names, again.pool.choices) == (["a", "b"], debate.pool.choices)


def test_a_pool_file_as_members(tmp_path, monkeypatch):
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    with pytest.raises(ConfigurationError, match="environment variable KEY_OF_B, which is not set"):
        load_pool(path)
    monkeypatch.setenv("KEY_OF_B", "a-made-up-key")
    pool = load_pool(str(path))
    assert [
        (member.name, member.k, member.temperature, type(member.adapter).__name__)
        for member in pool
    ] == [("a", 2, 0.8, "PlainAdapter"), ("b", 5, 0.8, "ChatAdapter")]
    assert pool[1].lm.kwargs["api_key"] == "a-made-up-key"
    path.write_text(POOL.replace("k = 2\ntemperature = 0.8\n", ""))
    assert [(member.k, member.temperature) for member in load_pool(path)] == [
        (None, None),
        (5, None),
    ]


def test_a_saved_mux_opens_with_a_pool_file_of_another_order(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_OF_B", "a-made-up-key")
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    mux = SLMMux("question -> answer", list(reversed(load_pool(path))))
    mux.save(tmp_path / "mux.json")
    again = SLMMux.from_file(tmp_path / "mux.json", lms=load_pool(path))
    assert [(member.label, member.k) for member in again.members] == [("b", 5), ("a", 2)]
    assert "a-made-up-key" not in (tmp_path / "mux.json").read_text()


# A larger program.


class Pipeline(dspy.Module):
    def __init__(self, pool, **options):
        super().__init__()
        self.ask = dspy.Predict("question -> query")
        self.steps = {"answer": SLMMux("query -> answer", pool, **options)}

    def forward(self, question):
        return self.steps["answer"](query=self.ask(question=question).query)


@pytest.fixture
def pipeline_file(tmp_path):
    pipeline = Pipeline(lms("a", "b", "c"), k=2, temperature=0.7)
    mux = pipeline.steps["answer"] = pipeline.steps["answer"].subset(["c", "a"])
    pipeline.ask.demos = [dspy.Example(question="?", query="!")]
    for name, program in zip(mux.pool.names, mux.programs, strict=True):
        program.predict.demos = [dspy.Example(query="?", answer=f"demo of {name}")]
    pipeline.save(tmp_path / "pipeline.json")
    return tmp_path / "pipeline.json"


@pytest.mark.parametrize("names", ["abc", "cba", "ac"])
def test_a_larger_program_loads_whatever_the_pools_order(pipeline_file, names):
    pipeline = Pipeline(lms(*names))
    assert load_program(pipeline, pipeline_file) is pipeline
    assert described(pipeline.steps["answer"]) == WHOLE
    assert pipeline.ask.demos[0]["query"] == "!"
    with dspy.context(lm=DummyLM([{"query": "?"}] * 2)):
        assert pipeline(question="?").answer in ("c says", "a says")


def test_a_larger_program_takes_its_members_from_a_pool(pipeline_file):
    pipeline = load_program(Pipeline(lms("z")), pipeline_file, lms=lms("b", "a", "c"))
    assert described(pipeline.steps["answer"]) == WHOLE


def test_a_larger_program_that_does_not_fit_stays_as_it_was(pipeline_file):
    pipeline = Pipeline(lms("a", "b"))
    mux = pipeline.steps["answer"]
    before = (mux.members, mux.programs)
    with pytest.raises(PoolMismatch, match="add 'c'"):
        load_program(pipeline, pipeline_file)
    state = json.loads(pipeline_file.read_text())
    del state["ask"]
    pipeline_file.write_text(json.dumps(state))
    with pytest.raises(DataError, match="is a damaged saved mux"):
        load_program(pipeline, pipeline_file, lms=lms("a", "c"))
    assert (mux.members, mux.programs) == before
    first, second = (program.predict.signature for program in mux.programs)
    assert not first.equals(second)


@pytest.mark.parametrize("program", [None, "pipeline.json", SLMMux])
def test_load_program_asks_for_a_program_first(program, pipeline_file):
    with pytest.raises(ConfigurationError, match="load_program takes a program first"):
        load_program(program, pipeline_file)


def test_the_file_of_another_module_is_no_saved_mux(tmp_path):
    dspy.Predict("question -> answer").save(tmp_path / "predict.json")
    with pytest.raises(DataError, match="not the state of a saved mux"):
        SLMMux("question -> answer", lms("a")).load(tmp_path / "predict.json")


def test_each_function_names_the_other(saved, pipeline_file):
    with pytest.raises(ConfigurationError, match=r"contains a mux at .*load_program\(program"):
        SLMMux.from_file(pipeline_file, lms("a"))
    with pytest.raises(ConfigurationError, match="have no mux in common"):
        load_program(dspy.Predict("question -> answer"), saved)
    mux = load_program(SLMMux("question -> answer", lms("a", "b", "c")), saved)
    assert described(mux) == WHOLE


def test_a_new_process_opens_what_this_one_saved(tmp_path, monkeypatch):
    """As the README shows it."""
    monkeypatch.setenv("KEY_OF_B", "a-made-up-key")
    (tmp_path / "pool.toml").write_text(POOL)
    mux = SLMMux("question -> answer", lms=load_pool(tmp_path / "pool.toml"))
    mux.subset(["b"]).save(tmp_path / "mux.json")
    code = """
        from dspy_mux import SLMMux, load_pool
        mux = SLMMux.from_file("mux.json", lms=load_pool("pool.toml"))
        print(mux.pool.names, mux.members[0].lm.kwargs["api_key"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['b'] a-made-up-key"
