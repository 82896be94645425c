"""A busy machine proves nothing of a pair; a pair that used up its own computing time does."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from dspy_mux.answers import math_equal
from dspy_mux.answers.math_equal import MathWorker

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="computing time has no limit here"
)


@pytest.fixture
def worker() -> Iterator[MathWorker]:
    worker = MathWorker(deadline=2.0)
    yield worker
    worker.close()


@pytest.mark.timeout(60)
def test_a_pair_that_a_busy_machine_did_not_finish_is_compared_anew(
    worker: MathWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.same("1+x", "x+1")
    assert worker._process is not None
    worker._process.send_signal(signal.SIGSTOP)  # it gets no time at all
    monkeypatch.setattr(math_equal, "_BUSY", 0.1)
    assert not worker.same("n(n+1)", "n^2+n")
    monkeypatch.undo()
    assert worker.same("n(n+1)", "n^2+n")


@pytest.mark.timeout(60)
def test_a_pair_that_used_up_its_time_is_not_tried_again() -> None:
    worker = MathWorker(deadline=0.5)
    bomb = r"\sum_{n=1}^{10^{9}} n^{7}\sin(n^{x})"
    tower = "9^{9^{9^{9}}}"
    assert worker.same("1+x", "x+1")
    for hard in (tower, bomb):
        worker.same(*sorted((hard, "9+" + hard)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(worker, "_ask", lambda *pair: pytest.fail(f"{pair} was compared again"))
        assert not worker.same(*sorted((tower, "9+" + tower)))
    worker.close()


def test_a_fault_of_a_comparison_is_reported(
    worker: MathWorker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.same("1+x", "x+1")
    assert worker.faults == []
    monkeypatch.setattr(
        worker._replies,
        "get",
        lambda timeout: b'{"same": false, "seconds": 0.1, "faults": ["compile"]}',
    )
    assert not worker.same("2+x", "x+2")
    assert worker.faults == ["compile"]
    assert "met what it should not (compile)" in caplog.text
