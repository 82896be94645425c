"""One small trial for every module and optimizer of DSPy, in a mux and around one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dspy
import numpy as np
from dspy.primitives.local_interpreter import LocalInterpreter

from dspy_mux import SLMMux

from ..support.scripted import everything, scripted_lm

#: What the scripted models give for an output field; any other field gets a sentence.
FIELDS: dict[str, Any] = {
    "answer": "4",
    "next_tool_name": "finish",
    "next_tool_args": "{}",
    "generated_code": "2 + 2",
    "finished": "True",
    "code": "SUBMIT(answer='4')",
    "tool_calls": json.dumps({"tool_calls": [{"name": "submit", "args": {"answer": "4"}}]}),
    "advice": json.dumps({"programs[0]": "Add.", "programs[1]": "Add."}),
    "module_advice": json.dumps({"programs[0]": "Add.", "programs[1]": "Add."}),
    "right": json.dumps({"value": True, "confidence": 0.9, "probability": 0.9}),
}
EXAMPLES = [
    dspy.Example(question=f"{n} + {4 - n}?", answer="4" if n % 2 else "5").with_inputs("question")
    for n in range(8)
]


@dataclass(frozen=True)
class Trial:
    """What is tried, and what the table says of it.

    Attributes:
        run: what a user would write; it returns what came of it. None where nothing can be written.
        note: how it works, or why it does not.
        error: a pattern of the error that it raises; None where it works.
    """

    note: str
    run: Callable[[], Any] | None = None
    error: str | None = None


def works(note: str, run: Callable[[], Any]) -> Trial:
    return Trial(note, run)


def fails(note: str, run: Callable[[], Any], error: str) -> Trial:
    return Trial(note, run, error)


def no_place(note: str) -> Trial:
    return Trial(note)


def any_lm(name: str) -> dspy.LM:
    """A model that fills in every field that it is asked for."""

    def reply(text: str, draw: int) -> Any:
        if "Respond with a JSON object" in text:
            wanted = re.findall(r"`(\w+)`", text.rpartition("Respond with a JSON object")[2])
            return json.dumps({field: FIELDS.get(field, "Add the numbers.") for field in wanted})
        wanted = re.findall(r"`\[\[ ## (\w+) ## \]\]`", text)
        fields = [field for field in dict.fromkeys(wanted) if field != "completed"]
        return {field: FIELDS.get(field, "Add the numbers.") for field in fields} or "Add."

    return scripted_lm(name, reply, shown=everything)


def mux_of(program: Any = "question -> answer", **arguments: Any) -> SLMMux:
    return SLMMux(program, {name: any_lm(name) for name in "ab"}, **{"k": 2, **arguments})


def asked(program: Any, **inputs: Any) -> Any:
    """Ask a program, and see that a mux decided, where it is one."""
    pred = program(**(inputs or {"question": "2 + 2?"}))
    assert pred.answer == "4", pred
    if isinstance(program, SLMMux):
        assert [sum(each.count for each in ballot.answers) for ballot in pred.verdict.ballots] == [
            2,
            2,
        ]
    return pred


def in_a_mux(program: Callable[[], Any], **inputs: Any) -> Callable[[], Any]:
    return lambda: asked(mux_of(program()), **inputs)


def metric(example: Any, pred: Any, trace: Any = None, *_: Any) -> float:
    return float(pred.answer == example.answer)


def reward(inputs: Any, pred: Any) -> float:
    return float(pred.answer == "5")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def embed(texts: list[str]) -> Any:
    return np.array([[float(len(text)), 1.0] for text in texts], dtype=np.float32)


def a_tool(kind: Callable[[list[Any]], Any]) -> Callable[[], Any]:
    """A mux as a tool of an agent."""

    def run() -> Any:
        mux = mux_of()

        def ask(question: str) -> str:
            """Ask a pool of models."""
            return mux(question=question).answer

        return asked(kind([ask]))

    return run


OF_A_SIGNATURE = no_place("it takes a signature, not a module")

MODULES: dict[str, tuple[Trial, Trial]] = {
    "Predict": (
        works("a mux's simplest program", in_a_mux(lambda: dspy.Predict("question -> answer"))),
        OF_A_SIGNATURE,
    ),
    "ChainOfThought": (
        works(
            "what a signature is wrapped in",
            in_a_mux(lambda: dspy.ChainOfThought("question -> answer")),
        ),
        OF_A_SIGNATURE,
    ),
    "ReAct": (
        works(
            "every draw has a trajectory of its own",
            in_a_mux(lambda: dspy.ReAct("question -> answer", tools=[add])),
        ),
        works(
            "as a tool: a function that calls the mux",
            a_tool(lambda tools: dspy.ReAct("question -> answer", tools=tools)),
        ),
    ),
    "ReActV2": (
        works(
            "with tool calls in the text, or native ones by the member's adapter",
            in_a_mux(lambda: dspy.ReActV2("question -> answer", tools=[add])),
        ),
        works(
            "as a tool: a function that calls the mux",
            a_tool(lambda tools: dspy.ReActV2("question -> answer", tools=tools)),
        ),
    ),
    "ProgramOfThought": (
        works(
            "every draw has an interpreter of its own",
            in_a_mux(
                lambda: dspy.ProgramOfThought(
                    "question -> answer", interpreter_factory=LocalInterpreter
                )
            ),
        ),
        OF_A_SIGNATURE,
    ),
    "CodeAct": (
        works(
            "every draw has an interpreter of its own",
            in_a_mux(
                lambda: dspy.CodeAct(
                    "question -> answer", tools=[add], interpreter_factory=LocalInterpreter
                )
            ),
        ),
        fails(
            "its tools run in the interpreter, where the mux is not",
            a_tool(
                lambda tools: dspy.CodeAct(
                    "question -> answer", tools=[mux_of()], interpreter_factory=LocalInterpreter
                )
            ),
            "CodeAct only accepts functions",
        ),
    ),
    "RLM": (
        works(
            "every draw has an interpreter of its own",
            in_a_mux(lambda: dspy.RLM("question -> answer", interpreter_factory=LocalInterpreter)),
        ),
        works(
            "as a tool: a function that calls the mux",
            a_tool(
                lambda tools: dspy.RLM(
                    "question -> answer", tools=tools, interpreter_factory=LocalInterpreter
                )
            ),
        ),
    ),
    "Flex": (
        works(
            "every member runs the module's source",
            in_a_mux(lambda: dspy.Flex("question -> answer", interpreter_factory=LocalInterpreter)),
        ),
        OF_A_SIGNATURE,
    ),
    "MultiChainComparison": (
        works(
            "the draws' temperature is the member's",
            in_a_mux(
                lambda: dspy.MultiChainComparison("question -> answer", M=2),
                question="2 + 2?",
                completions=[{"reasoning": "So", "answer": answer} for answer in "45"],
            ),
        ),
        works(
            "of a mux's predictions: `compare(completions=[mux(…), mux(…)], question=…)`",
            lambda: asked(
                dspy.MultiChainComparison("question -> answer", M=2),
                question="2 + 2?",
                completions=[mux_of()(question="2 + 2?") for _ in range(2)],
            ),
        ),
    ),
    "BestOfN": (
        works(
            "every draw is the best of N attempts",
            in_a_mux(
                lambda: dspy.BestOfN(
                    dspy.Predict("question -> answer"), N=2, reward_fn=reward, threshold=1.0
                )
            ),
        ),
        works(
            "every attempt draws anew from all members",
            lambda: asked(dspy.BestOfN(mux_of(), N=2, reward_fn=reward, threshold=1.0)),
        ),
    ),
    "Refine": (
        works(
            "every draw is refined by its member's advice",
            in_a_mux(
                lambda: dspy.Refine(
                    dspy.Predict("question -> answer"), N=2, reward_fn=reward, threshold=1.0
                )
            ),
        ),
        works(
            "every attempt draws anew from all members, with the configured LM's advice",
            lambda: asked(dspy.Refine(mux_of(), N=2, reward_fn=reward, threshold=1.0)),
        ),
    ),
    "Parallel": (
        no_place("it runs pairs of a module and an example, and is no module"),
        works(
            "muxes run side by side",
            lambda: (
                dspy.Parallel(num_threads=2, disable_progress_bar=True)(
                    [(mux_of(), example.inputs()) for example in EXAMPLES[:2]]
                )[1].verdict
            ),
        ),
    ),
    "majority": (
        no_place("it counts predictions, and is no module; a mux counts by itself"),
        works(
            "of a mux's predictions: it compares the last output field",
            lambda: dspy.majority([mux_of()(question="2 + 2?") for _ in range(2)]).answer,
        ),
    ),
    "KNN": (
        works(
            "in a program that retrieves by it",
            in_a_mux(lambda: Retrieves(dspy.KNN(1, EXAMPLES, dspy.Embedder(embed)))),
        ),
        no_place("it retrieves examples, and calls no module"),
    ),
    "Embeddings": (
        works(
            "in a program that retrieves by it",
            in_a_mux(
                lambda: Retrieves(
                    dspy.Embeddings(embedder=dspy.Embedder(embed), corpus=["2 + 2 is 4."], k=1)
                )
            ),
        ),
        no_place("it retrieves passages, and calls no module"),
    ),
    "EmbeddingsWithScores": (
        works(
            "in a program that retrieves by it",
            in_a_mux(
                lambda: Retrieves(
                    dspy.retrievers.EmbeddingsWithScores(
                        embedder=dspy.Embedder(embed), corpus=["2 + 2 is 4."], k=1
                    )
                )
            ),
        ),
        no_place("it retrieves passages, and calls no module"),
    ),
    "Retrieve": (
        works(
            "in a program that retrieves by it, through the configured `rm`",
            in_a_mux(lambda: Retrieves(dspy.Retrieve(k=1))),
        ),
        no_place("it retrieves passages, and calls no module"),
    ),
}


class Retrieves(dspy.Module):
    """A program that retrieves before it answers."""

    def __init__(self, search: Any):
        super().__init__()
        self.search, self.step = search, dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = (
            self.search(question=question)
            if isinstance(self.search, dspy.KNN)
            else self.search(question)
        )
        return self.step(context=str(found), question=question)
