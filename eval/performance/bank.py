"""A million draws in and out of a bank; a collection against what its server allows."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dspy

from dspy_mux import SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.bank.import_export import import_file

from .figures import Figure, peak_memory
from .server import model_server

QUESTIONS, MEMBERS, DRAWS = 10_000, 10, 10
LATENCY, AT_ONCE = 0.2, 64


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        _write(rows)
        for what, unit, target in (("write", "rows/s", "≥ 20,000"), ("read", "s", "≤ 10")):
            # In a process of its own: its peak of memory is its own.
            command = [sys.executable, "-m", __name__, what, folder]
            value, peak = map(
                float,
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(),
            )
            title = (
                "a million JSONL rows imported"
                if what == "write"
                else "a million draws read for replay"
            )
            yield Figure.of(f"bank: {title}", [value], unit, target)
            yield Figure.of(f"bank: {title}, peak memory", [peak], "MB", "≤ 1,000")
    yield _collection()


def _write(path: Path) -> None:
    rng = random.Random(0)
    with path.open("w") as file:
        for question in range(QUESTIONS):
            for member in range(MEMBERS):
                for draw in range(DRAWS):
                    row = {
                        "dataset": "d",
                        "question_id": f"q{question}",
                        "model": f"m{member}",
                        "draw": draw,
                    }
                    file.write(
                        json.dumps(
                            {**row, "answer": str(rng.randint(0, 5)), "correct": rng.random() < 0.5}
                        )
                        + "\n"
                    )


def _collection() -> Figure:
    """Collect 200 questions × 3 × 5 draws from a 200 ms server: ideal time over time taken."""
    examples = [
        dspy.Example(question=f"What is {n}?", answer=42).with_inputs("question")
        for n in range(200)
    ]
    with model_server(LATENCY) as address, tempfile.TemporaryDirectory() as folder:
        settings = {"api_base": address, "api_key": "none", "engine": "lm15", "cache": False}
        mux = SLMMux(
            dspy.Predict("question -> answer: int"),
            [dspy.LM(f"openai/{at}", **settings) for at in range(3)],
            k=5,
        )
        mux(question="warm up")
        over = []
        for repeat in range(3):
            began = time.perf_counter()
            done = collect(
                mux,
                examples,
                _right,
                SampleBank(Path(folder) / f"{repeat}.sqlite"),
                num_threads=AT_ONCE,
            )
            over.append(done.drawn / AT_ONCE * LATENCY / (time.perf_counter() - began))
    why = (
        "at 64 in flight the ideal leaves 3.1 ms per draw, about what one call takes of one "
        "interpreter (see latency)"
    )
    return Figure.of(
        "bank: throughput of a collection over the server's", over, target="≥ 0.8", why=why
    )


def _right(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    return bool(prediction.answer == example.answer)


def _measure(what: str, folder: Path) -> None:
    bank = SampleBank(folder / "bank.sqlite")
    began = time.perf_counter()
    if what == "write":
        value = import_file(bank, folder / "rows.jsonl").added / (time.perf_counter() - began)
    else:
        bank.record().of(None, None)
        value = time.perf_counter() - began
    print(value, peak_memory())


if __name__ == "__main__":
    _measure(sys.argv[1], Path(sys.argv[2]))
