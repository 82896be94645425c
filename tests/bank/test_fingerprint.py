from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import threading
import uuid
import zoneinfo

import dspy
import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux import ConfigurationError, Member, MuxOptimizer, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.bank.fingerprint import fingerprint_inputs, fingerprint_member
from dspy_mux.baselines import LLMDebate, SelfConsistency
from dspy_mux.redact import is_secret
from dspy_mux.sampling.rollouts import first_seed

from ..support.scripted import ScriptedEngine
from ..support.skilled import a_member, a_mux, calls, metric, questions


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    tags: tuple = ()


class Ticket(pydantic.BaseModel):
    title: str
    prices: dict[str, float] = {}
    due: dt.date | None = None


Pair = collections.namedtuple("Pair", "one two")

#: Values whose fingerprints must stay what they are.
VALUES = {
    "text": "Ünï ☃ \ud800 \x00",
    "numbers": [1, 1.0, -0.0, True, None, 10**30, 0.1, float("inf"), float("nan")],
    "nested": {"b": [1, {"z": "y", "a": ()}], "a": {"1": 2, 3: 4}},
    "tuple": (1, ("a",)),
    "set": {"deep": [{"a", "b", 3, 2.5, None}, frozenset({(1, 2), (1, 10)})]},
    "date": [
        dt.date(2024, 2, 29),
        dt.datetime(2024, 2, 29, 1, 2, 3, 4),
        dt.time(1, 2),
        dt.timedelta(days=1, seconds=2),
    ],
    "zone": [
        dt.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        dt.datetime(2024, 7, 1, tzinfo=dt.timezone.utc),
    ],
    "dates": {dt.date(2024, 10, 1), dt.date(2024, 9, 1)},
    "exact": [decimal.Decimal("1.50"), fractions.Fraction(1, 3), 1 + 2j, uuid.UUID(int=1)],
    "path": pathlib.Path("a/b"),
    "bytes": [b"caf\xc3\xa9", bytearray(b"x")],
    "enum": [Colour.RED],
    "pattern": re.compile("a+"),
    "dataclass": Point(1.5, ("a",)),
    "pair": Pair(1, "b"),
    "model": Ticket(title="t", prices={"EUR": 1.5}, due=dt.date(2024, 1, 2)),
    "models": [{"t": Ticket(title="t")}],
    "image": dspy.Image(url="https://example.org/a.png"),
    "history": dspy.History(messages=[{"question": "a", "n": 1}]),
    "example": dspy.Example(a=1, b=[2]),
    "keys": {1: "a", None: "b", 1.5: "d", dt.date(2024, 1, 1): "e"},
    "float": float.fromhex("0x1.8p1"),
}

#: The start of their fingerprints, of {"question": value, "n": 1}, since the first version.
RECORDED = {
    "text": "cdb3baeced060b54",
    "numbers": "6df79b8a2dd918b7",
    "nested": "621aed032e25d43d",
    "tuple": "3a98e10ed29bcebf",
    "set": "54fd3eeed5ca7b31",
    "date": "2bddd63a7536d17e",
    "zone": "984592869356d503",
    "dates": "df4ac2845f415249",
    "exact": "9784b84740477867",
    "path": "5ac829832227c877",
    "bytes": "4222eca493fdc604",
    "enum": "0f0b4f8661256628",
    "pattern": "6a35de909201d2dc",
    "dataclass": "b7a60f84f05921fa",
    "pair": "eab8f7101a31d4f2",
    "model": "a97a457e36489516",
    "models": "a9612c9cdcd12762",
    "image": "c2a2cb2f9a444148",
    "history": "9fe1fb0205c63702",
    "example": "839181d64aff77e7",
    "keys": "7d12f0f6306e8404",
    "float": "e241cfe0c87a5d90",
}
#: The seeds of a member "a".
SEEDS = {
    "text": 3806158623,
    "numbers": 1022591905,
    "nested": 1134932183,
    "tuple": 4123928885,
    "model": 4055480164,
    "history": 1005727732,
}


@given(
    st.dictionaries(
        st.text(max_size=4), st.one_of(st.text(max_size=4), st.integers(), st.none()), max_size=5
    )
)
@settings(max_examples=50)
def test_a_fingerprint_of_inputs_knows_no_order_and_no_two_inputs_share_one(inputs):
    backwards = dict(reversed(inputs.items()))
    assert fingerprint_inputs(inputs) == fingerprint_inputs(backwards)
    assert (
        fingerprint_inputs({**inputs, "another": 1}) != fingerprint_inputs(inputs)
        or inputs.get("another") == 1
    )


@pytest.mark.parametrize("name", VALUES)
def test_fingerprints_are_those_of_older_banks(name):
    assert fingerprint_inputs({"question": VALUES[name], "n": 1})[:16] == RECORDED[name]


@pytest.mark.real_seeds
@pytest.mark.parametrize("name", SEEDS)
def test_seeds_are_those_of_older_versions(name):
    member = Member(dspy.LM("openai/x", api_key="none"), name="a")
    assert first_seed(member, {"question": VALUES[name], "n": 1}) == SEEDS[name]


def ages(kind):
    """Ten examples that differ in one number, of this type."""
    return [
        dspy.Example(question="Of age?", age=kind(n), answer="right").with_inputs("question", "age")
        for n in range(10)
    ]


def a_mux_of_ages(**settings):
    def reply(prompt, draw):
        prompts[prompt].add(draw)
        return {"answer": "right"}

    prompts = collections.defaultdict(set)
    member = Member(dspy.LM("scripted/a", engine=ScriptedEngine(reply)), name="a")
    mux = SLMMux("question, age: int -> answer", [member], k=2, temperature=0.5, **settings)
    return mux, prompts


@pytest.mark.parametrize("kind", [int, np.int64, lambda n: pd.Timestamp(n), lambda n: {n: b"\xff"}])
def test_inputs_of_any_type_are_questions_of_their_own(bank, kind):
    mux, prompts = a_mux_of_ages()
    done = collect(mux, ages(kind), metric, bank)
    assert (done.drawn, done.calls) == (20, 20)
    assert len(bank.record().questions) == 10
    assert collect(mux, ages(kind), metric, bank).already == 20


@pytest.mark.real_seeds
def test_seeds_are_of_values_too():
    mux, prompts = a_mux_of_ages()
    for kind in (int, np.int64):
        for example in ages(kind):
            mux(**example.inputs())
    assert len(prompts) == 10
    # Seeds s and s + 1 of each question, the same for both types.
    assert {len(drawn) for drawn in prompts.values()} == {2}
    assert len({min(drawn) for drawn in prompts.values()}) == 10


def test_a_gold_answer_of_any_type_scores_anew_when_it_is_corrected(bank):
    def is_gold(example, pred, trace=None):
        return pred.answer == str(example.gold)

    def examples(gold):
        return [dspy.Example(question="2+2?", gold=gold).with_inputs("question")]

    lm = dspy.LM("scripted/a", engine=ScriptedEngine(lambda *_: {"answer": "4"}))
    mux = SLMMux("question -> answer", [Member(lm, name="a")], k=2, temperature=0.5)
    collect(mux, examples(np.int64(5)), is_gold, bank)
    assert bank.record().scores.tolist() == [[[0, 0]]]
    assert collect(mux, examples(np.int64(4)), is_gold, bank).rescored == 2
    assert bank.record().scores.tolist() == [[[1, 1]]]
    assert collect(mux, examples(4), is_gold, bank).rescored == 0


def test_a_function_among_the_labels_counts_by_its_code(bank):
    def checks(example, pred, trace=None):
        return example.check(pred.answer)

    def examples(check):
        return [dspy.Example(question="2+2?", check=check).with_inputs("question")]

    mux, _ = a_mux(a_member("a", skill=1.0)), None
    collect(mux, examples(lambda answer: answer == "right"), checks, bank)
    assert collect(mux, examples(lambda answer: answer == "wrong"), checks, bank).rescored == 3
    with pytest.raises(
        ConfigurationError, match="Example 1 .* label 'check' holds a value of the type object"
    ):
        collect(mux, examples(object()), checks, bank)


def test_numbers_of_arrays_are_recorded_as_what_they_are(bank):
    class Program(dspy.Module):
        def forward(self, question):
            return dspy.Prediction(answer=np.int64(4), parts=np.arange(3))

    mux = SLMMux(Program(), [a_member("a")], k=2, temperature=0.5, answer_field="answer")
    example = dspy.Example(question="?", question_id=np.int64(7), level=np.int64(2))
    collect(mux, [example.with_inputs("question")], lambda *_: 1, bank)
    rows = list(bank.rows())
    assert [(row["answer"], row["outputs"]) for row in rows] == [
        (4, {"answer": 4, "parts": [0, 1, 2]})
    ] * 2
    assert (rows[0]["question_id"], rows[0]["level"]) == ("7", 2)


def demonstrated(value):
    mux = a_mux(a_member("a"))
    for predictor in mux.programs[0].predictors():
        predictor.demos = [dspy.Example(question=value, answer="right")]
    return fingerprint_member(mux, 0)[0]


def test_demos_count_by_their_values():
    assert demonstrated(np.int64(1)) == demonstrated(1) != demonstrated(np.int64(2))


class Answer(pydantic.BaseModel):
    text: str


class Verdict(pydantic.BaseModel):
    right: bool


def test_a_response_format_counts_by_its_schema():
    made = {}
    for kind in (Answer, Verdict):
        lm = dspy.LM("openai/x", api_key="none", response_format=kind)
        made[kind] = fingerprint_member(a_mux(Member(lm, name="a")), 0)[0]
    assert made[Answer] != made[Verdict]


# --- what has no content, at every door

DOORS = {
    "a call": lambda mux, examples, bank: mux(**examples[0].inputs()),
    "an awaited call": lambda mux, examples, bank: asyncio.run(mux.acall(**examples[0].inputs())),
    "collect": lambda mux, examples, bank: collect(mux, examples, metric, bank),
    "the optimizer": lambda mux, examples, bank: MuxOptimizer(metric, bank=bank).compile(
        mux, trainset=examples
    ),
    "the optimizer's valset": lambda mux, examples, bank: MuxOptimizer(metric, bank=bank).compile(
        mux, trainset=questions(2), valset=examples
    ),
    "a debate": lambda mux, examples, bank: LLMDebate(
        mux.programs[0].deepcopy(), mux.members, agents=2, rounds=2
    )(**examples[0].inputs()),
    "self-consistency": lambda mux, examples, bank: SelfConsistency(
        mux.programs[0].deepcopy(), mux.members, k=2
    )(**examples[0].inputs()),
}


@pytest.mark.parametrize("door", DOORS)
def test_an_input_without_content_is_refused_before_the_first_call(bank, door):
    mux = a_mux(a_member("a"))
    example = dspy.Example(question=threading.Lock(), answer="right").with_inputs("question")
    with pytest.raises(ConfigurationError, match="The input 'question' holds .* _thread.lock"):
        DOORS[door](mux, [example, example], bank)
    assert calls(mux) == [0]
    assert not bank.exists()


@pytest.mark.parametrize(
    "name", ["api_key", "OPENAI_API_KEY", "aws_secret_access_key", "extra_headers", "Authorization"]
)
def test_names_of_secrets_are_known(name):
    assert is_secret(name)
    assert not is_secret("temperature")
