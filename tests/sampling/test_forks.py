"""A mux that was called before a fork: its children have connections of their own."""

from __future__ import annotations

import multiprocessing
import os

import dspy
import pytest

from dspy_mux import SLMMux

from ..support.fault_server import fault_server

CHILDREN, QUESTIONS = 3, 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_no_child_reads_the_answers_to_another(engine, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with fault_server(lambda _: None, lambda request: request.question) as server:
        lm = dspy.LM(
            "openai/a", api_base=server.address, api_key="none", engine=engine, num_retries=0
        )
        mux = SLMMux("question -> answer", [lm], k=4, temperature=0.5)
        fork = multiprocessing.get_context("fork")
        found = fork.SimpleQueue()

        def ask(name, count):
            for number in range(count):
                question = f"{name} asks {number}"
                [ballot] = mux(question=question).verdict.ballots
                answers = {each.answer: each.count for each in ballot.answers}
                if (answers, ballot.abstentions) != ({question: 4}, {}):
                    found.put(f"{question}: {answers}, {ballot.abstentions}")
            found.put("done")

        ask("parent before", 1)
        children = [fork.Process(target=ask, args=(n, QUESTIONS)) for n in range(CHILDREN)]
        for child in children:
            child.start()
        ask("parent", QUESTIONS)
        for child in children:
            child.join()
        assert [found.get() for _ in range(CHILDREN + 2)] == ["done"] * (CHILDREN + 2)
        lm.close()
