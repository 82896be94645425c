"""The pool, questions and programs of the old files; make_data.py and the tests share them.

The hashes of the code between `fmt: off` and `fmt: on` are in the files: leave it as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import dspy

from dspy_mux import (
    CompletionAdapter,
    FewShotAdapter,
    JSONSchemaAdapter,
    MathAnswer,
    Member,
    Percent,
    PlainAdapter,
)
from dspy_mux.baselines import (
    AgentForest,
    LLMDebate,
    MixtureOfAgents,
    MultiAgentVerification,
    SelfConsistency,
    SingleModel,
)
from programs.tasks import Task

KINDS = ("sum", "rhyme", "capital")
QUESTIONS = 24
#: How often each member is right, kind by kind, and how often it abstains.
STRENGTHS = {"ann": (0.95, 0.3, 0.6, 0.1), "bob": (0.3, 0.9, 0.5, 0.02), "cid": (0.5, 0.4, 0.8, 0)}
#: US dollars a draw; the scripted models report none.
COSTS = {"ann": 0.0003, "bob": 0.0002, "cid": 0.0001}
SIGNATURE = "question, kind -> answer: int"

#: `reply(prompt, seed)` by name → an LM.
MakeLM = Callable[..., dspy.LM]


# fmt: off
def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


class TwoSteps(dspy.Module):
    def __init__(self, rounds=2):
        super().__init__()
        self.first, self.second = dspy.Predict("question -> idea"), dspy.Predict("idea -> answer")
        self.rounds, self.kind = rounds, Percent

    def forward(self, question):
        return self.second(idea=self.first(question=question).idea)


class Grade(dspy.Signature):
    """Grade the essay."""

    essay: str = dspy.InputField()
    share: Percent = dspy.OutputField(desc="the share of right sentences")


class Grades(dspy.Signature):
    """Grade the essays."""

    essays: list[str] = dspy.InputField()
    shares: list[Percent] = dspy.OutputField()


class Formula(dspy.Signature):
    """Solve."""

    problem: str = dspy.InputField()
    answer: MathAnswer = dspy.OutputField()


class Pick(dspy.Signature):
    """Pick one."""

    question: str = dspy.InputField()
    answer: Literal["a", "b", "c"] = dspy.OutputField()


def two_letters(answer):
    return str(answer)[:2]


def alike(one, other):
    return str(one) == str(other)
# fmt: on


def example(number: int, letter: str = "q") -> dspy.Example:
    name, kind = f"{letter}{number}", KINDS[number % len(KINDS)]
    made = dspy.Example(question=f"{name}?", kind=kind, answer=number, question_id=name)
    return made.with_inputs("question", "kind")


def examples() -> list[dspy.Example]:
    return [example(number) for number in range(QUESTIONS)]


def _reply(name: str, shown: str, seed: int) -> Any:
    """Answer by the question, its kind and the seed, so that the same draw is the same answer."""
    if "[[ ## solution ## ]]" in shown:
        return {"correct": str(random.Random(f"{name} {shown}").random() < 0.6)}
    *strengths, abstains = STRENGTHS[name]
    question = shown.rpartition("[[ ## question ## ]]")[2].split()[0]
    number = int(question[1:-1])
    chance = random.Random(f"{name} {question} {seed}")
    if chance.random() < abstains:
        return "I do not know."
    own = random.Random(f"{name} {question}").random()
    right = 0.7 * own + 0.3 * chance.random() < strengths[number % len(KINDS)]
    return {"answer": number if right else 100 + int(3 * own) + (chance.random() > 0.8)}


def pool(make_lm: MakeLM) -> dict[str, Member]:
    def member(name: str) -> Member:
        lm = make_lm(name, lambda shown, seed: _reply(name, shown, seed), max_tokens=64)
        return Member(lm, name=name)

    return {name: member(name) for name in STRENGTHS}


#: A baseline by name: its class, what it cannot be built without, and settings that are saved.
BASELINES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "single_model": (SingleModel, {"member": "cid"}, {"temperature": 0.9}),
    "self_consistency": (SelfConsistency, {"member": "bob"}, {"k": 4}),
    "agent_forest": (AgentForest, {}, {"k": 5}),
    "mixture_of_agents": (MixtureOfAgents, {}, {"layers": 2, "aggregator": "cid"}),
    "llm_debate": (LLMDebate, {}, {"agents": 3, "rounds": 3}),
    "verification": (MultiAgentVerification, {}, {"n": 2, "aspects": ["facts", "logic"]}),
}


def programs() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Programs of many sorts and the settings of their mux, for their fingerprints."""
    qa = "question -> answer"
    return {
        "text": (qa, {}),
        "float": (dspy.Predict("question -> answer: float"), {}),
        "list": (dspy.Predict("question -> answer: list[str]"), {}),
        "literal": (Pick, {}),
        "formula": (Formula, {}),
        "percent": (Grade, {}),
        "percents": (dspy.Predict(Grades), {}),
        "two steps": (TwoSteps(rounds=3), {}),
        "key": (dspy.Predict(qa), {"equivalence": two_letters}),
        "relation": (dspy.Predict(qa), {"equivalence": alike}),
        "as mathematics": (dspy.Predict(qa), {"equivalence": MathAnswer}),
        "extraction": (dspy.Predict("question -> answer: int"), {"extract": "lm"}),
        "plain": (qa, {"adapter": PlainAdapter()}),
        "completion": (qa, {"adapter": CompletionAdapter()}),
        "few shots": (qa, {"adapter": FewShotAdapter()}),
        "schema": (qa, {"adapter": JSONSchemaAdapter()}),
        "chat": (qa, {"adapter": dspy.ChatAdapter()}),
        "json": (qa, {"adapter": dspy.JSONAdapter()}),
    }


def lm_of_a_server() -> dspy.LM:
    """An LM that is never called, with settings that count and a key that does not."""
    where = {"api_base": "http://127.0.0.1:9/v1", "api_key": "sk-never-saved"}
    return dspy.LM("openai/model", max_tokens=33, stop=["\n"], **where)


def task() -> Task:
    """A task for `eval compare`, of four validation and five test questions."""

    def of_split(split: str | None = None, *, seed: int = 0, limit: int | None = None):
        count = {"validation": 4, "test": 5}[str(split)]
        made = [example(number, str(split)[0]) for number in range(count)]
        return made[:limit]

    return Task("small", lambda: dspy.Predict(SIGNATURE), of_split, metric, context="kind")
