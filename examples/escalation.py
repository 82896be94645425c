"""Small models answer what they can be trusted with; a large model answers the rest.

    export OPENAI_API_KEY=…              # for the large model; the small ones are on Ollama
    python examples/escalation.py        # in the clone: the labelled questions are in programs/

Draws of labelled questions tell from which confidence on at most 20 % of the small models' answers
are wrong, with 90 % confidence, if other questions are like these. Below it, the large model is
asked in their place. Where there is no such confidence, it says why.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import dspy

from dspy_mux import SampleBank, SLMMux, collect, risk

CAPITALS = Path(__file__).parents[1] / "programs" / "everyday.csv"
SMALL = ("qwen2.5:3b", "gemma3:1b")
LARGE = "openai/gpt-5-mini"


def examples() -> list[dspy.Example]:
    with CAPITALS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == "capital"]
    return [
        dspy.Example(
            question=f"What is the capital of {row['subject']}?", answer=row["answer"]
        ).with_inputs("question")
        for row in rows
    ]


def metric(example, pred, trace=None):
    return pred.answer.strip(" .").casefold() == example.answer.casefold()


def main() -> None:
    pool = [dspy.LM(f"ollama_chat/{model}") for model in SMALL]
    program = dspy.Predict("question -> answer")
    labelled = examples()
    known, new = labelled[:-10], labelled[-10:]

    bank = SampleBank("capitals.sqlite")  # stopped and started again, it goes on where it was
    pooled = SLMMux(program, lms=pool, k=3, temperature=0.7, rule="pooled")
    collect(pooled, known, metric, bank)
    found = risk(bank.record(), "pooled", max_risk=0.2, confidence=0.9)
    print(found.promise)
    if found.threshold is None:
        sys.exit()

    careful = SLMMux(
        program,
        lms=pool,
        k=3,
        temperature=0.7,
        rule="pooled",
        threshold=found.threshold,
        otherwise="escalate",
        escalate=dspy.LM(LARGE),
    )
    predictions = [careful(**example.inputs()) for example in new]
    right = sum(metric(*pair) for pair in zip(new, predictions, strict=True))
    escalated = sum(pred.verdict.escalated for pred in predictions)
    print(f"{right} of {len(new)} right, {escalated} by the large model")


if __name__ == "__main__":
    main()
