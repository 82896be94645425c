"""What the pages' code finds: a pool on a scripted server, a task, files and banks.

A page's blocks run as a reader would run them, top to bottom. Every model that they name, hosted,
on Ollama's port or embedded, is the scripted server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
import pytest

import dspy_mux
import dspy_mux.local
from dspy_mux import Member, SampleBank, SLMMux
from dspy_mux.bank.import_export import import_file
from dspy_mux.optimize.options import StudyOptions

from ..support.choice_server import choice_server
from ..support.rows import a_row, jsonl
from ..support.scripted import marked

FACTS = {"capital of France": "Paris", "capital of Libya": "Tripoli"}
POOL_FILE = """
[[members]]
model = "ollama_chat/qwen2.5:3b"
api_base = "http://localhost:11434/v1"

[[members]]
model = "ollama_chat/gemma3:1b"
api_base = "http://localhost:11434/v1"
"""


def say(prompt: str, number: int) -> str:
    """Answer a question; wrongly now and then, and then not as the last time."""
    question = prompt[prompt.rindex("[[ ## question ## ]]") :].partition("\n\n")[0]
    answer = next((fact for about, fact in FACTS.items() if about in question), None)
    if answer is None:
        numbers = [int(digits) for digits in re.findall(r"\d+", question)] or [0]
        off = numbers[0] % 4 == 0 and number % 2
        answer = str(sum(numbers) + off + (number if off else 0))
    return marked(reasoning="Easy.", answer=answer)


def metric(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
    return bool(prediction.answer == example.answer)


def sums(begin: int, end: int) -> list[dspy.Example]:
    return [
        dspy.Example(question=f"What is {n} + {n + 1}?", answer=str(2 * n + 1)).with_inputs(
            "question"
        )
        for n in range(begin, end)
    ]


def fill_draws(path: str, questions: int = 120) -> None:
    """Record greedy draws of two small members and a big one, which is right nearly always."""
    wrong = {"small": 4, "tiny": 3, "big-model": 20}
    rows = [
        a_row(f"q{q}", model, draw, answer := "x" if q % every else f"y{draw}", answer == "x")
        for q in range(questions)
        for model, every in wrong.items()
        for draw in range(3)
    ]
    jsonl(Path(path), [{**row, "temperature": 0.0, "answer_logprob": -0.1} for row in rows])


def fill_bank(path: str) -> None:
    draws = Path(path).with_suffix(".jsonl")
    fill_draws(str(draws))
    bank = SampleBank(path)
    import_file(bank, draws)
    bank.close()


def _few_trials(options: StudyOptions) -> None:
    """Have the pages' studies try a few settings, not hundreds."""
    object.__setattr__(options, "n_trials", min(options.n_trials, 3))


@contextmanager
def world(
    folder: Path, monkeypatch: pytest.MonkeyPatch, say: Callable[[str, int], str] = say
) -> Iterator[dict[str, Any]]:
    """Yield the names that a page's code finds, with `folder` as the place where it runs.

    Args:
        say: returns what a model replies, given the prompt and how often it replied to it before.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setattr(StudyOptions, "__post_init__", _few_trials)
    Path("runs").mkdir()
    Path("pool.toml").write_text(POOL_FILE)
    with choice_server(say) as server:
        made = dspy.LM.__init__

        def on_the_server(lm: dspy.LM, model: str, *args: Any, **settings: Any) -> None:
            at_server = {"api_base": server.address, "api_key": "none", "engine": "lm15"}
            made(lm, f"openai/{model.partition('/')[2]}", *args, **{**settings, **at_server})

        monkeypatch.setattr(dspy.LM, "__init__", on_the_server)
        monkeypatch.setattr(
            dspy_mux.local,
            "local_member",
            lambda name: Member(dspy.LM(f"local/{name}"), name=name),
        )
        program = dspy.Predict("question -> answer")
        pool = [Member(dspy.LM(f"openai/{name}"), name=name) for name in ("small", "tiny", "third")]
        yield {
            "dspy": dspy,
            **{name: getattr(dspy_mux, name) for name in ("MuxOptimizer", "SampleBank", "SLMMux")},
            "program": program,
            "pool": pool,
            "mux": SLMMux(program, lms=pool, k=3, temperature=0.5),
            "metric": metric,
            "examples": sums(0, 16),
            "train": sums(0, 16),
            "val": sums(30, 42),
        }
