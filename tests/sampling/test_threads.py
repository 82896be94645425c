"""Threads for draws: as many as are needed at once, used again, ended when nobody needs them."""

from __future__ import annotations

import os
import threading
import time

import pytest

from dspy_mux.sampling import threads as room
from dspy_mux.sampling.threads import Workers

from ..support.wait import until


def ran(workers, jobs, *, at_once):
    """Run copies of a job that ends only when `at_once` of them run at the same time.

    Returns the threads that they ran on.
    """
    barrier, threads, done = threading.Barrier(at_once), [], threading.Semaphore(0)

    def job():
        barrier.wait(30)
        threads.append(threading.current_thread())
        done.release()

    for _ in range(jobs):
        workers.start(job)
    for _ in range(jobs):
        assert done.acquire(timeout=30)
    return threads


def test_all_jobs_run_at_once():
    assert len(set(ran(Workers(), 40, at_once=40))) == 40


def test_a_job_that_hangs_holds_up_no_other():
    workers, hang = Workers(), threading.Event()
    workers.start(lambda: hang.wait(30) and None)
    assert ran(workers, 3, at_once=3)
    hang.set()


def test_threads_are_used_again():
    workers = Workers()
    first = set(ran(workers, 5, at_once=5))
    until(lambda: workers._idle == 5)
    assert set(ran(workers, 5, at_once=5)) == first


def test_threads_that_nobody_needs_end(monkeypatch):
    monkeypatch.setattr(room, "IDLE_S", 0.05)
    workers = Workers()
    threads = ran(workers, 5, at_once=5)
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert len(ran(workers, 2, at_once=2)) == 2, "and new ones take their place"


def test_jobs_keep_coming_while_threads_end(monkeypatch):
    monkeypatch.setattr(room, "IDLE_S", 0.001)
    workers, done = Workers(), threading.Semaphore(0)
    for number in range(300):
        workers.start(done.release)
        if number % 7 == 0:
            time.sleep(0.002)
    for _ in range(300):
        assert done.acquire(timeout=30), "no job may be lost to a thread that ends"


def test_every_thread_ends_despite_jobs_at_its_end(monkeypatch):
    monkeypatch.setattr(room, "IDLE_S", 0.01)
    workers, threads, done = Workers(), set(), threading.Semaphore(0)

    def job():
        threads.add(threading.current_thread())
        until = time.monotonic() + 0.0005
        while time.monotonic() < until:
            pass  # hold the interpreter: a waiting thread learns late that its time is up
        done.release()

    for _ in range(500):
        for _ in range(4):
            workers.start(job)
        time.sleep(0.002)
    for _ in range(2000):
        assert done.acquire(timeout=30)
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def refuse_threads(monkeypatch, *, of=""):
    """Let no thread start that runs a function of this name."""
    start = threading.Thread.start

    def refused(thread):
        if of in thread._target.__name__:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


def test_a_job_without_a_thread_never_runs(monkeypatch):
    monkeypatch.setattr(room, "IDLE_S", 0.05)
    workers, free, made = Workers(), threading.Event(), []
    workers.start(lambda: free.wait(30) and None)
    with monkeypatch.context() as starved:
        refuse_threads(starved)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                workers.start(lambda: made.append("refused"))
    free.set()
    threads = ran(workers, 5, at_once=5)
    assert len(set(threads)) == 5
    assert not made
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_an_idle_thread_takes_the_next_job(monkeypatch):
    workers = Workers()
    first = ran(workers, 1, at_once=1)
    until(lambda: workers._idle == 1)
    refuse_threads(monkeypatch)
    assert ran(workers, 1, at_once=1) == first


def test_idle_threads_end_though_their_watch_started_late(monkeypatch):
    monkeypatch.setattr(room, "IDLE_S", 0.05)
    workers = Workers()
    with monkeypatch.context() as starved:
        refuse_threads(starved, of="_end_spare")
        threads = ran(workers, 3, at_once=3)
    threads += ran(workers, 1, at_once=1)
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_process_starts_its_own():
    ran(room.workers, 1, at_once=1)
    child = os.fork()
    if child == 0:
        finished = threading.Event()
        room.workers.start(finished.set)
        os._exit(0 if finished.wait(10) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
