"""A user's own rule and equivalence in a saved mux: never replaced, never another's."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from types import SimpleNamespace

import dspy
import pytest

from dspy_mux import (
    AnswerKind,
    Choice,
    ConfigurationError,
    PoolMismatch,
    SLMMux,
    load_program,
)
from dspy_mux.mux.identity import identify
from dspy_mux.voting.rules import Consistency, Pooled

from ..support.pools import QA, mux_of
from ..support.scripted import scripted_lm


def choose_last(ballots):
    return Choice(ballots[-1].plurality, len(ballots) - 1, 1.0)


def choose_first(ballots):
    return Choice(ballots[0].plurality, 0, 1.0)


class Last:
    """A rule of the user's own under a built-in name."""

    name = "consistency"

    def choose(self, ballots):
        return choose_last(ballots)


class LastSubclass(Consistency):
    def choose(self, ballots):
        return choose_last(ballots)


class OtherLast(Last):
    name = "last"


class OtherFirst:
    name = "last"

    def choose(self, ballots):
        return choose_first(ballots)


@dataclass(frozen=True)
class At:
    position: int
    name: str = "at"

    def choose(self, ballots):
        return Choice(ballots[self.position].plurality, self.position, 1.0)


class Fitted:
    name = "fitted"

    def __init__(self, weight):
        self.weight, self.asked = weight, 0

    def choose(self, ballots):
        self.asked += 1
        return choose_last(ballots)

    def dump_state(self):
        return {"weight": self.weight}


def plain_object(choose):
    return SimpleNamespace(name="plain", choose=choose)


OWN = {
    "built-in name": (Last(), Last()),
    "subclass": (LastSubclass(), LastSubclass()),
    "other name": (OtherLast(), OtherLast()),
    "dataclass": (At(1), At(1)),
    "with state": (Fitted(0.5), Fitted(0.5)),
    "no class": (plain_object(choose_last), plain_object(choose_last)),
}
OTHERS = {
    "built-in name": (Last(), LastSubclass()),
    "subclass": (LastSubclass(), Last()),
    "another of the name": (OtherLast(), OtherFirst()),
    "dataclass": (At(1), At(0)),
    "with state": (Fitted(0.5), Fitted(0.25)),
    "no class": (plain_object(choose_last), plain_object(choose_first)),
    "built in instead": (Consistency(), Last()),
    "own instead": (Last(), Consistency()),
}


def lms():
    return {name: scripted_lm(name, [f"{name} says"]) for name in ("a", "b")}


class Pipeline(dspy.Module):
    def __init__(self, rule):
        super().__init__()
        self.mux = SLMMux(QA, lms(), rule=rule)


@pytest.mark.parametrize(("rule", "again"), OWN.values(), ids=OWN)
def test_the_users_own_rule_comes_back_where_it_is_handed_in(tmp_path, rule, again):
    path, whole = tmp_path / "mux.json", tmp_path / "pipeline.json"
    saved = SLMMux(QA, lms(), rule=rule)
    assert saved(question="?").answer == "b says"
    saved.save(path)
    Pipeline(rule).save(whole)

    assert SLMMux.from_file(path, lms(), rule=again).rule is again
    loaded = SLMMux(QA, lms(), rule=again)
    loaded.load(path)
    assert loaded.rule is again
    assert loaded(question="?").answer == "b says"
    assert load_program(Pipeline(again), whole).mux.rule is again
    assert load_program(Pipeline("pooled"), whole, rule=again).mux.rule is again


@pytest.mark.parametrize(("rule", "other"), OTHERS.values(), ids=OTHERS)
def test_another_rule_than_the_saved_one_is_refused(tmp_path, rule, other):
    path, whole = tmp_path / "mux.json", tmp_path / "pipeline.json"
    SLMMux(QA, lms(), rule=rule).save(path)
    Pipeline(rule).save(whole)
    told = rf"The saved mux uses the rule '{rule.name}', which is .*, this one '{other.name}'"
    with pytest.raises(PoolMismatch, match=told):
        SLMMux.from_file(path, lms(), rule=other)
    mux = SLMMux(QA, lms(), rule=other)
    with pytest.raises(PoolMismatch, match=told):
        mux.load(path)
    assert mux.rule is other
    pipeline = Pipeline(other)
    with pytest.raises(PoolMismatch, match=told):
        load_program(pipeline, whole)
    pipeline = Pipeline("pooled")
    mine = pipeline.mux.rule
    with pytest.raises(PoolMismatch, match=told):
        load_program(pipeline, whole, rule=other)
    assert pipeline.mux.rule is mine


@pytest.mark.parametrize("rule", [Last(), LastSubclass(), OtherLast()])
def test_the_users_own_rule_is_not_made_from_the_file(tmp_path, rule):
    SLMMux(QA, lms(), rule=rule).save(tmp_path / "mux.json")
    with pytest.raises(PoolMismatch, match=r"not built in \('tests\.mux\.test_own_rules"):
        SLMMux.from_file(tmp_path / "mux.json", lms())


def test_a_built_in_rule_that_is_handed_in_is_not_replaced(tmp_path):
    path = tmp_path / "mux.json"
    SLMMux(QA, lms(), rule="pooled").save(path)
    assert SLMMux.from_file(path, lms()).rule == Pooled()
    assert SLMMux.from_file(path, lms(), rule="pooled").rule == Pooled()
    with pytest.raises(PoolMismatch, match="'pooled', which is built in, this one 'consistency'"):
        SLMMux.from_file(path, lms(), rule="consistency")


def test_a_rule_that_was_saved_by_its_name_alone_still_loads(tmp_path):
    path = tmp_path / "mux.json"
    SLMMux(QA, lms(), rule=OtherLast()).save(path)
    content = json.loads(path.read_text())
    content["pool"]["rule"] = {"name": "last"}
    del content["pool"]["compares"]
    path.write_text(json.dumps(content))
    assert isinstance(SLMMux.from_file(path, lms(), rule=OtherLast()).rule, OtherLast)
    with pytest.raises(PoolMismatch, match="'of its name alone'"):
        SLMMux.from_file(path, lms())


def test_only_the_muxes_that_were_saved_with_a_rule_get_it(tmp_path):
    class Two(dspy.Module):
        def __init__(self, first="consistency"):
            super().__init__()
            self.first = SLMMux(QA, lms(), rule=first)
            self.second = SLMMux(QA, lms(), rule="pooled")

    Two(OtherLast()).save(tmp_path / "two.json")
    rule = OtherLast()
    loaded = load_program(Two(), tmp_path / "two.json", rule=rule)
    assert (loaded.first.rule, loaded.second.rule) == (rule, Pooled())


def test_a_state_that_json_cannot_hold_is_refused_when_saved(tmp_path):
    with pytest.raises(ConfigurationError, match=r"rule 'fitted' cannot be saved: its dump_state"):
        mux_of(["x"], rule=Fitted(object())).save(tmp_path / "mux.json")


@pytest.mark.parametrize("code", ["os.system", "builtins.exec", 7, None, ["x"], "x\x1b[31m" * 99])
def test_what_a_strangers_file_names_is_never_imported(tmp_path, code):
    path = tmp_path / "mux.json"
    SLMMux(QA, lms(), rule=OtherLast()).save(path)
    content = json.loads(path.read_text())
    content["pool"]["rule"] = {"name": "last", "code": code, "state": {"__reduce__": "os.system"}}
    path.write_text(json.dumps(content))
    for rule in (None, OtherLast(), Fitted(0.5)):
        with pytest.raises(PoolMismatch) as refused:
            SLMMux.from_file(path, lms(), rule=rule)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 1000


# Equivalences.


def first_word(answer):
    return str(answer).split()[0]


def last_word(answer):
    return str(answer).split()[-1]


def starting(count):
    def key(answer):
        return str(answer)[:count]

    return key


class Rounded(AnswerKind):
    name = "number"

    def __init__(self, digits):
        self.digits = digits

    def extract(self, text):
        return text

    def key(self, value):
        return round(float(value), self.digits)


class OtherKind(Rounded):
    pass


def words(answer, count):
    return str(answer).split()[:count]


SAME = {
    "function": (first_word, first_word),
    "lambda": (
        lambda answer: str(answer)[:1],
        (lambda answer: str(answer)[:1]),  # elsewhere, and in other words around it
    ),
    "closure": (starting(2), starting(2)),
    "partial": (functools.partial(words, count=2), functools.partial(words, count=2)),
    "kind": (Rounded(2), Rounded(2)),
    "method": (str.lower, str.lower),
    "cached": (functools.lru_cache(first_word), functools.lru_cache(first_word)),
}
DIFFERENT = {
    "function": (first_word, last_word),
    "lambda": (lambda answer: str(answer)[:1], lambda answer: str(answer)[:2]),
    "closure": (starting(2), starting(3)),
    "partial": (functools.partial(words, count=2), functools.partial(words, count=3)),
    "kind": (Rounded(2), Rounded(3)),
    "kind of the name": (Rounded(2), OtherKind(2)),
    "method": (str.lower, str.upper),
    "cached": (functools.lru_cache(first_word), functools.lru_cache(last_word)),
    "field": ({"answer": first_word, "note": None}, {"answer": last_word, "note": None}),
}


def mux_by(equivalence):
    program = dspy.Predict("question -> answer, note")
    if isinstance(equivalence, dict):
        return SLMMux(program, lms(), answer_field=equivalence)
    return SLMMux(program, lms(), equivalence=equivalence)


@pytest.mark.parametrize(("saved", "ours"), SAME.values(), ids=SAME)
def test_the_saved_equivalence_is_recognised(tmp_path, saved, ours):
    mux_by(saved).save(tmp_path / "mux.json")
    mux_by(ours).load(tmp_path / "mux.json")


@pytest.mark.parametrize(("saved", "ours"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_equivalence_than_the_saved_one_is_refused(tmp_path, saved, ours):
    mux_by(saved).save(tmp_path / "mux.json")
    with pytest.raises(PoolMismatch, match="compares answers by '.*', this one by '.*': build"):
        mux_by(ours).load(tmp_path / "mux.json")


def test_what_a_rule_or_equivalence_is_bound_to_is_not_saved(tmp_path):
    key = "sk-live-0123456789abcdef"
    judge = functools.partial(words, count=key)
    SLMMux(QA, lms(), equivalence=judge, rule=At(key)).save(tmp_path / "mux.json")
    assert key not in (tmp_path / "mux.json").read_text()


SCRIPT = """
    from dspy_mux.mux.identity import identify

    class Mine:
        name = "mine"
        def choose(self, ballots):
            return None

    def key(answer):
        return answer

    if __name__ == "__main__":
        print(identify(key), identify(Mine()), identify(lambda answer: answer))
"""


def test_a_script_goes_by_the_name_under_which_it_is_imported(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "serve.py").write_text(
        "from train import *\nprint(identify(key), identify(Mine()))\n"
    )
    trained, served = (
        subprocess.run(
            [sys.executable, f"{name}.py"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.split()
        for name in ("train", "serve")
    )
    assert trained[:2] == served == ["train.key", "train.Mine"]
    assert trained[2].startswith("train.<lambda>#")
    assert trained[2] == identify(lambda answer: answer).replace(
        f"{__name__}.test_a_script_goes_by_the_name_under_which_it_is_imported.<locals>", "train"
    )
