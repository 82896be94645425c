"""Answer from a manual with a pool of small models, and let GEPA write each member's instructions.

    export OPENAI_API_KEY=…              # for the model that reflects; the pool is on Ollama
    python examples/rag_gepa.py

The program finds passages, then a mux answers from them. `by_member` has GEPA judge every member
by its own answer, so that each gets instructions for its own mistakes. What was learnt is saved in
desk.json, without keys or addresses.
"""

from __future__ import annotations

import re

import dspy

from dspy_mux import SLMMux, by_member

PARTS = {
    **{"pump": "green", "valve": "red", "filter": "blue", "hose": "black"},
    **{"tank": "white", "seal": "brown", "lamp": "yellow", "fan": "grey"},
}
PASSAGES = [f"The {part} is {colour}. Clean it once a year." for part, colour in PARTS.items()]
MODELS = ("qwen2.5:3b", "gemma3:1b")


def search(question: str, count: int = 2) -> list[str]:
    """Return the passages that share most words with the question; use your own index here."""
    words = set(re.findall(r"\w+", question.lower()))
    shared = [len(words & set(re.findall(r"\w+", passage.lower()))) for passage in PASSAGES]
    best = sorted(range(len(PASSAGES)), key=lambda at: -shared[at])
    return [PASSAGES[at] for at in best[:count]]


class Desk(dspy.Module):
    """Find the passages that matter, then let the pool answer."""

    def __init__(self) -> None:
        super().__init__()
        pool = [dspy.LM(f"ollama_chat/{model}") for model in MODELS]
        self.answer = SLMMux("passages: list[str], question -> answer", pool, k=3, temperature=0.5)

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(passages=search(question), question=question)


def metric(example, pred, trace=None, pred_name=None, pred_trace=None):
    if pred.answer == example.answer:
        return dspy.Prediction(score=1.0, feedback="Right.")
    return dspy.Prediction(score=0.0, feedback=f"Not {pred.answer}, but {example.answer}.")


def examples() -> list[dspy.Example]:
    asked = [(f"What is the colour of the {part}?", colour) for part, colour in PARTS.items()]
    return [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in asked]


def main() -> None:
    labelled = examples()
    train, val = labelled[:4], labelled[4:]
    score = dspy.Evaluate(devset=val, metric=metric)
    before = score(Desk()).score
    teacher = dspy.LM("openai/gpt-5-mini")
    gepa = dspy.GEPA(by_member(metric), reflection_lm=teacher, max_metric_calls=60)
    compiled = gepa.compile(Desk(), trainset=train, valset=val)
    print(f"{before:.0f} % right before, {score(compiled).score:.0f} % after, n = {len(val)}")
    compiled.save("desk.json")


if __name__ == "__main__":
    main()
