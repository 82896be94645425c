"""reasoning-gym: every task by name, its own gold answers, and answers that are not evaluated."""

from __future__ import annotations

import itertools

import dspy
import pytest

from dspy_mux import ConfigurationError, PlainAdapter
from dspy_mux.adapters.formats import default_adapter
from dspy_mux.answers.choose import answer_kind
from programs import reasoning_gym
from programs.tasks import task

from ..support.scripted import marked

#: Tasks that show no gold answer, as many answers are right.
WITHOUT_GOLD = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}


def ways(name, gold):
    """What becomes of a gold answer on its way through a kind or an adapter, and as models dress
    it.
    """
    program = reasoning_gym.program(name)
    signature = program.predict.signature
    yield gold
    yield f" {gold}\n"
    yield answer_kind(signature.output_fields["answer"]).extract(gold)
    yield f"The answer is $\\boxed{{{gold}}}$."
    if "**" not in gold:
        yield f"**{gold}**"
    for text in (
        f"So, of 3, it is this.\nAnswer: {gold}",
        f"So it is.\n\n**Answer:**\n{gold}",
        f"So.\nAnswer:\n```\n{gold}\n```",
    ):
        yield PlainAdapter().parse(signature, text)["answer"]
    yield default_adapter().parse(signature, marked(reasoning="So it is.", answer=gold))["answer"]


@pytest.mark.parametrize("name", reasoning_gym.names())
def test_only_gold_answers_get_full_marks(name):
    found = reasoning_gym.examples("test", name=name, limit=2)
    assert found
    for example in found:
        assert (example.answer is None) == (name in WITHOUT_GOLD)
        for way in ways(name, example.answer) if example.answer is not None else ():
            assert reasoning_gym.metric(example, dspy.Prediction(answer=way)), way
        for other in ("I cannot tell.", "nan", "inf", "?", "9" * 30 + "7", "True or False"):
            assert not reasoning_gym.metric(example, dspy.Prediction(answer=other)), other


@pytest.mark.parametrize(
    "name", ["basic_arithmetic", "chain_sum", "countdown", "spell_backward", "n_queens"]
)
def test_the_next_different_gold_answer_is_wrong(name):
    found = reasoning_gym.examples("test", name=name, limit=12)
    for example, other in itertools.pairwise(found):
        if example.answer != other.answer:
            assert not reasoning_gym.metric(example, dspy.Prediction(answer=other.answer))


def test_an_answer_is_never_evaluated(tmp_path):
    target = tmp_path / "made"
    attack = f"__import__('pathlib').Path({str(target)!r}).touch()"
    nested = "[c for c in ().__class__.__base__.__subclasses__()]"
    for name in (*reasoning_gym._AS_TEXT, *reasoning_gym._FORMS):
        example = reasoning_gym.examples("test", name=name, limit=1)[0]
        for answer in (attack, f"[{attack}]", nested, f"x + {attack}", "exit(0)"):
            assert not reasoning_gym.metric(example, dspy.Prediction(answer=answer))
    assert not target.exists()


@pytest.mark.parametrize("name", sorted(reasoning_gym._FORMS))
def test_an_endless_calculation_is_wrong(name):
    example = reasoning_gym.examples("test", name=name, limit=1)[0]
    endless = [
        "9**9**9**9",
        "(\n9**9**9**9)",
        "((((9**99)**99)**99)**99)**99",
        "9 * * 9",
        "x**99999999",
        "x**9**9**9**9",
        "(\nx**9**9**9**9)",
    ]
    endless += [
        "1e999999999",
        "1e-999999999",
        "1/1e999999999",
        "x" + "*(x+1)" * 90,
        "(" * 150 + "x" + ")" * 150,
        "¬" * 9000,
    ]
    for answer in endless:
        assert not reasoning_gym.metric(example, dspy.Prediction(answer=answer)), answer


@pytest.mark.parametrize("name", sorted(reasoning_gym.REFUSED))
def test_tasks_that_are_refused_say_why(name):
    assert name not in reasoning_gym.names()
    with pytest.raises(ConfigurationError, match=f"reasoning-gym's '{name}' is refused: it "):
        task(f"reasoning_gym:{name}")


def test_what_calculates_the_same_is_right_too():
    example = next(
        e for e in reasoning_gym.examples("test", name="countdown", limit=20) if " + " in e.answer
    )
    assert reasoning_gym.metric(example, dspy.Prediction(answer=f"({example.answer})"))
    example = reasoning_gym.examples("test", name="polynomial_multiplication", limit=1)[0]
    assert reasoning_gym.metric(example, dspy.Prediction(answer=f"0 + {example.answer}"))


def test_nothing_text_and_endless_text_are_wrong():
    example = reasoning_gym.examples("test", name="basic_arithmetic", limit=1)[0]
    for answer in (None, "", " ", 5, "9" * 10**6, "\0", "[" * 5000):
        assert not reasoning_gym.metric(example, dspy.Prediction(answer=answer))


@pytest.mark.parametrize("name", ["chain_sum", "coin_flip", "string_splitting", "tower_of_hanoi"])
def test_every_question_is_in_one_place_only(name):
    """Some tasks know few different questions."""
    by_split = {
        split: reasoning_gym.examples(split, name=name, limit=50) for split in reasoning_gym.SIZES
    }
    found = [example for part in by_split.values() for example in part]
    assert all(by_split.values())
    assert (
        len({example.question for example in found})
        == len({example.question_id for example in found})
        == len(found)
    )
    demos = {demo.question for demo in reasoning_gym.program(name).predict.demos}
    assert len(demos) == 3
    assert not demos & {example.question for example in found}


def test_items_depend_on_the_seed_alone():
    first, again = (reasoning_gym.examples("test", name="chain_sum", limit=50) for _ in range(2))
    assert [e.question for e in again] == [e.question for e in first]
    other = reasoning_gym.examples("test", name="chain_sum", limit=50, seed=1)
    assert not {e.question for e in other} & {e.question for e in first}


def test_splits_have_their_sizes():
    found = reasoning_gym.examples(name="chain_sum")
    assert len(found) == sum(reasoning_gym.SIZES.values())


def test_the_mixture_takes_turns():
    found = task("reasoning_gym").examples("validation", limit=16)
    assert [e.question_id for e in found] == [
        e.question_id for e in reasoning_gym.examples("validation", limit=16)
    ]
    assert [example.task for example in found] == [*reasoning_gym.MIXTURE] * 2
    assert task("reasoning_gym").context == "task"


def test_unknown_names_are_told_what_is_near():
    with pytest.raises(
        ConfigurationError,
        match="reasoning-gym has no task 'basic_arithmetik': did you mean basic_arithmetic",
    ):
        task("reasoning_gym:basic_arithmetik")
    with pytest.raises(ConfigurationError, match="reads no file"):
        task("reasoning_gym:gcd", file="x.jsonl")
    with pytest.raises(ConfigurationError, match="has no split 'dev'"):
        reasoning_gym.examples("dev", name="gcd")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "propositional_logic",
            "P" + "".join(f"∨{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
        ),
        ("rubiks_cube", "R999999999"),
        ("rush_hour", "F+99999999999999"),
    ],
)
def test_answers_that_keep_rules_busy_are_wrong_at_once(name, answer):
    example = reasoning_gym.examples("test", name=name, limit=1)[0]
    assert not reasoning_gym.metric(example, dspy.Prediction(answer=answer))
