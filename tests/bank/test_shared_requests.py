"""Collections whose draws share requests record what separate requests would."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import SampleBank
from dspy_mux.bank.collect import collect

from ..support.choice_server import choice_server
from ..support.group_draws import a_mux, numbered

K, QUESTIONS = 4, 6
#: What is billed and when, and classes, which are numbered as answers arrive.
DIFFERS = {"seconds", "prompt_tokens", "cost", "created", "answer_class"}


def metric(example, prediction, trace=None):
    return prediction.answer == "1"


@pytest.fixture
def questions():
    return [
        dspy.Example(question=f"q{n}?", answer="1").with_inputs("question")
        for n in range(QUESTIONS)
    ]


def collected(path, server, questions, **settings):
    """The rows of a collection, and the requests that it took."""
    server._numbers.clear()
    server.bodies.clear()
    dspy.configure_cache(enable_disk_cache=False)
    bank = SampleBank(path)
    threads = settings.pop("num_threads")
    done = collect(a_mux(server, k=K, **settings), questions, metric, bank, num_threads=threads)
    assert (done.missing, done.abstained, done.calls) == (0, 0, QUESTIONS * K)
    rows = sorted(bank.rows(), key=lambda row: (row["question"], row["draw"]))
    bank.close()
    return rows


def test_banks_are_those_of_separate_requests(tmp_path, questions):
    with choice_server(numbered) as server:
        # One by one, so that the server's numbers are the draws'.
        apart = collected(tmp_path / "a", server, questions, group=False, num_threads=1)
        assert server.sizes() == [1] * (QUESTIONS * K)
        together = collected(tmp_path / "b", server, questions, num_threads=K)
        requests = len(server.sizes())
        # One each; a group is split only where a thread is late by more than its head start.
        assert sum(server.sizes()) == QUESTIONS * K
        assert QUESTIONS <= requests < QUESTIONS * K / 2
    assert len(apart) == QUESTIONS * K
    assert [compared(row) for row in together] == [compared(row) for row in apart]
    billed = [sum(row["prompt_tokens"] for row in rows) for rows in (apart, together)]
    assert billed == [QUESTIONS * K * server.prompt_tokens, requests * server.prompt_tokens]


def compared(row):
    return {name: value for name, value in row.items() if name not in DIFFERS}
