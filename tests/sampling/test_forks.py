"""A mux that was called before a fork: its children have connections of their own."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading

import dspy
import litellm
import pytest
from dspy.clients import model_metadata
from litellm.litellm_core_utils.thread_pool_executor import executor

from dspy_mux import SLMMux

from ..support.children import assert_ended
from ..support.fault_server import fault_server
from ..support.scripted import scripted_lm
from ..support.wait import PATIENCE_S

CHILDREN, QUESTIONS = 3, 6

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


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
        assert_ended(children)
        assert [found.get() for _ in range(CHILDREN + 2)] == ["done"] * (CHILDREN + 2)
        lm.close()


def test_no_child_waits_for_a_lock_that_a_thread_of_its_parent_holds():
    mux = SLMMux("question -> answer", [scripted_lm("a", ["x"])])
    locks = [dspy.cache._lock, model_metadata._lock, dspy.settings.lock]
    held, over = threading.Event(), threading.Event()

    def hold():
        for lock in locks:
            lock.acquire()
        held.set()
        over.wait(PATIENCE_S)
        for lock in reversed(locks):
            lock.release()

    def ask():
        assert mux(question="?").answer == "x"
        for lock in locks:
            assert lock.acquire(timeout=0)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE_S)
    child = multiprocessing.get_context("fork").Process(target=ask)
    child.start()
    over.set()
    holder.join()
    assert_ended([child])


def test_no_child_waits_for_an_import_that_a_thread_of_its_parent_is_in(tmp_path, monkeypatch):
    """LiteLLM imports much in a thread after a process's first call."""
    (tmp_path / "slow_part.py").write_text(
        "import sys, time\nsys.modules['litellm'].begun.set()\ntime.sleep(0.5)\n"
    )
    monkeypatch.setattr(litellm, "__path__", [*litellm.__path__, str(tmp_path)])
    monkeypatch.setattr(litellm, "begun", threading.Event(), raising=False)
    slow = "litellm.slow_part"
    importer = threading.Thread(target=importlib.import_module, args=(slow,))
    importer.start()
    assert litellm.begun.wait(PATIENCE_S)
    child = multiprocessing.get_context("fork").Process(
        target=importlib.import_module, args=(slow,)
    )
    child.start()
    importer.join()
    assert_ended([child])
    sys.modules.pop(slow)


def test_no_child_waits_for_what_its_parent_had_litellm_log():
    """A pool's queue lets nobody wait where a thread was about to take a job as the fork came."""
    over = threading.Event()

    def log():
        while not over.wait(0.0002):
            executor.submit(int)

    def log_in_child():
        for _ in range(3):
            assert executor.submit(int, "3").result(timeout=PATIENCE_S / 2) == 3

    loggers = [threading.Thread(target=log) for _ in range(2)]
    for logger in loggers:
        logger.start()
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=log_in_child) for _ in range(8)]
    try:
        for child in children:
            child.start()
        assert_ended(children)
    finally:
        over.set()
    for logger in loggers:
        logger.join()
