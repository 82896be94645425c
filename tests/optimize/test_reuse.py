"""A compilation on a bank pays for nothing that a collection has recorded there."""

from __future__ import annotations

import re
from dataclasses import replace

import dspy
import numpy as np
import pytest

from dspy_mux import Member, MuxOptimizer, SampleBank, SLMMux, collect
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.reuse import reuse_draws

from ..support.http_models import model_server
from ..support.scripted import marked

QA = "question -> answer: float"


def examples(begin, end):
    return [
        dspy.Example(question=f"What is {n} + {n}?", answer=2 * n).with_inputs("question")
        for n in range(begin, end)
    ]


def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


@pytest.fixture
def server():
    def reply(wrong):
        def say(prompt):
            n = int(re.findall(r"What is (\d+)", prompt)[-1])
            said = 2 * n + (n % wrong == 0)
            # The same number in two ways: one class of answers.
            return marked(
                reasoning="Easy.", answer=f"{said}" if len(server.bodies) % 2 else f"{said}.0"
            )

        return say

    with model_server() as server:
        server.texts.update({"a": reply(3), "b": reply(4)})
        yield server


@pytest.fixture
def mux(server):
    members = [
        Member(dspy.LM(f"openai/{name}", api_base=server.address + "/v1", api_key="x"), name=name)
        for name in "ab"
    ]
    return SLMMux(dspy.Predict(QA), members, k=2, temperature=0.5, group=False)


def compiled(mux, bank, trainset, **options):
    return MuxOptimizer(metric, bank=bank, n_trials=2, **options).compile(mux, trainset=trainset)


def test_what_was_collected_is_not_asked_again(mux, bank, server):
    collect(mux, examples(0, 12), metric, bank, dataset="sums", fields={"split": "train"})
    assert len(server.bodies) == 12 * 2 * 2
    best = compiled(mux, bank, examples(0, 12), greedy=False)
    assert len(server.bodies) == 12 * 2 * 2
    assert [done.calls for done in best.report.collected] == [0]
    there, here = (bank.record(dataset=name) for name in ("sums", "mux_split"))
    assert here.members == there.members
    assert np.array_equal(here.votes, there.votes)
    assert np.array_equal(here.scores, there.scores)
    assert here.scores.mean() < 1
    compiled(mux, bank, examples(0, 12), greedy=False)  # nor copied twice
    assert bank.datasets() == {"mux_split": 12, "sums": 12}


def test_only_what_is_lacking_is_asked(mux, bank, server):
    collect(mux, examples(0, 8), None, bank, dataset="sums")
    server.bodies.clear()
    compiled(mux, bank, examples(4, 12), k_max=3)
    # The third draws of four questions, all of four others, and a greedy one of each.
    assert len(server.bodies) == 2 * (4 * 1 + 4 * 3 + 8)
    assert bank.record(dataset="mux_split", temperature=0.5).votes.shape == (8, 2, 3)
    assert bank.datasets() == {"mux_split": 8, "sums": 8}
    assert bank.temperatures(dataset="sums") == {"a": [0.5], "b": [0.5]}


def test_draws_of_another_program_or_temperature_are_not_taken(mux, bank, server):
    collect(mux, examples(0, 6), metric, bank, dataset="sums")
    hot = SLMMux(
        dspy.Predict(QA), [replace(m, temperature=0.9) for m in mux.members], k=2, group=False
    )
    typed = SLMMux(dspy.Predict("question -> answer: int"), mux.members, k=2, group=False)
    for other in (hot, typed):
        server.bodies.clear()
        reuse_draws(other, examples(0, 6), bank, dataset="mux_split", k=2)
        assert collect(other, examples(0, 6), metric, bank, dataset="mux_split").already == 0
        assert len(server.bodies) == 6 * 2 * 2


def by_question(record):
    """Return question → member → the score of its first draw: imports keep no order."""
    return {
        question: dict(zip(record.members, scores[:, 0].tolist(), strict=True))
        for question, scores in zip(record.questions, record.scores, strict=True)
    }


def test_imported_scores_are_not_taken_over(mux, bank, server, tmp_path):
    """By which metric an imported draw was scored is not known."""
    collect(mux, examples(0, 8), metric, bank, dataset="sums")
    export_file(bank, tmp_path / "draws.jsonl")
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / "draws.jsonl")
    server.bodies.clear()
    MuxOptimizer(
        lambda example, prediction, trace=None: prediction.answer != example.answer,
        bank=other,
        n_trials=2,
        greedy=False,
    ).compile(mux, trainset=examples(0, 8))
    assert server.bodies == []
    there, here = (by_question(other.record(dataset=name)) for name in ("sums", "mux_split"))
    assert {0.0, 1.0} == {score for scores in there.values() for score in scores.values()}
    assert here == {
        question: {member: 1 - score for member, score in scores.items()}
        for question, scores in there.items()
    }
