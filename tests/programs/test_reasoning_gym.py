"""reasoning-gym: every task by its name, its own gold answers, and answers that are never evaluated."""

from __future__ import annotations

import itertools

import dspy
import pytest

from dspy_mux import ConfigurationError
from programs import reasoning_gym
from programs.tasks import task

#: Tasks that show no gold answer, as many answers are right.
WITHOUT_GOLD = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}


@pytest.mark.parametrize("name", reasoning_gym.names())
def test_every_task_gives_its_gold_answers_full_marks(name):
    found = reasoning_gym.examples(name, "test", limit=2)
    assert found
    for example in found:
        assert (example.answer is None) == (name in WITHOUT_GOLD)
        if example.answer is not None:
            assert reasoning_gym.metric(example, dspy.Prediction(answer=example.answer))
            assert reasoning_gym.metric(example, dspy.Prediction(answer=f" {example.answer}\n"))


@pytest.mark.parametrize("name", ["basic_arithmetic", "chain_sum", "countdown", "spell_backward", "n_queens"])
def test_the_next_different_gold_answer_is_wrong(name):
    found = reasoning_gym.examples(name, "test", limit=12)
    for example, other in itertools.pairwise(found):
        if example.answer != other.answer:
            assert not reasoning_gym.metric(example, dspy.Prediction(answer=other.answer))


def test_an_answer_is_never_evaluated(tmp_path):
    target = tmp_path / "made"
    attack = f"__import__('pathlib').Path({str(target)!r}).touch()"
    nested = "[c for c in ().__class__.__base__.__subclasses__()]"
    for name in (*reasoning_gym._AS_TEXT, *reasoning_gym._PARSED):
        example = reasoning_gym.examples(name, "test", limit=1)[0]
        for answer in (attack, f"[{attack}]", nested, f"x + {attack}", "exit(0)", "9**9**9**9**9", "x**99999999"):
            assert not reasoning_gym.metric(example, dspy.Prediction(answer=answer))
    assert not target.exists()


def test_what_calculates_the_same_is_right_too():
    example = next(e for e in reasoning_gym.examples("countdown", "test", limit=20) if " + " in e.answer)
    assert reasoning_gym.metric(example, dspy.Prediction(answer=f"({example.answer})"))
    example = reasoning_gym.examples("polynomial_multiplication", "test", limit=1)[0]
    assert reasoning_gym.metric(example, dspy.Prediction(answer=f"0 + {example.answer}"))


def test_nothing_text_and_endless_text_are_wrong():
    example = reasoning_gym.examples("basic_arithmetic", "test", limit=1)[0]
    for answer in (None, "", " ", 5, "9" * 10**6, "\0", "[" * 5000):
        assert not reasoning_gym.metric(example, dspy.Prediction(answer=answer))


def test_splits_and_demos_are_of_different_items():
    by_split = {split: reasoning_gym.examples("chain_sum", split, limit=50) for split in reasoning_gym.SIZES}
    ids = [example.question_id for found in by_split.values() for example in found]
    assert len(set(ids)) == len(ids)
    demos = {demo.question for demo in reasoning_gym.program("chain_sum").predict.demos}
    assert len(demos) == 3
    assert not demos & {example.question for found in by_split.values() for example in found}
    again = reasoning_gym.examples("chain_sum", "test", limit=50)
    assert [e.question for e in again] == [e.question for e in by_split["test"]]
    other = reasoning_gym.examples("chain_sum", "test", limit=50, seed=1)
    assert not {e.question for e in other} & {e.question for e in again}


def test_the_mixture_takes_turns():
    found = task("reasoning_gym").examples("validation", limit=16)
    assert [example.task for example in found] == [*reasoning_gym.MIXTURE] * 2
    assert task("reasoning_gym").context == "task"


def test_unknown_names_are_told_what_is_near():
    with pytest.raises(ConfigurationError, match="reasoning-gym has no task 'basic_arithmetik': perhaps basic_arithmetic"):
        task("reasoning_gym:basic_arithmetik")
    with pytest.raises(ConfigurationError, match="reads no file"):
        task("reasoning_gym:gcd", file="x.jsonl")
    with pytest.raises(ConfigurationError, match="has no split 'dev'"):
        reasoning_gym.examples("gcd", "dev")
