"""Draws of one prompt are gathered into one request, in order and within the slots."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest
from hypothesis import given, strategies as st

from dspy_mux.local.batch import Batcher


class FakeLlama:
    """Counts requests; each waits until `open` is set, and choice i of seed s says "s+i".

    Attributes:
        requests: (payload's prompt, n, seed) in the order they came.
        most: the highest number of draws that ran at once.
    """

    def __init__(self, *, open_: bool = True) -> None:
        self.requests: list[tuple[str, int, int | None]] = []
        self.open = threading.Event()
        self.stopped: list[str] = []
        self.most = self._now = 0
        self._lock = threading.Lock()
        if open_:
            self.open.set()

    def __call__(self, payload, n, seed, wanted):
        with self._lock:
            self.requests.append((payload["prompt"], n, seed))
            self._now += n
            self.most = max(self.most, self._now)
        try:
            while not self.open.wait(0.005):
                if not wanted():
                    self.stopped.append(payload["prompt"])
                    raise RuntimeError("stopped")
            if payload["prompt"] == "broken":
                raise ValueError("a broken prompt")
            return [
                {"text": f"{payload['prompt']} {'any' if seed is None else seed + i}"}
                for i in range(n)
            ]
        finally:
            with self._lock:
                self._now -= n


def ask(batcher: Batcher, prompt: str, seed: int | None = None) -> Future:
    return batcher.submit({"prompt": prompt}, seed=seed)


def texts(futures: list[Future]) -> list[str]:
    return [future.result(timeout=10)["text"] for future in futures]


def waited_for(condition) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


@pytest.fixture
def llama():
    return FakeLlama()


@pytest.fixture
def gate():
    """A llama that lets nothing through until it is opened."""
    fake = FakeLlama(open_=False)
    yield fake
    fake.open.set()


def test_draws_differing_in_seed_are_one_request(llama, unhurried_batches):
    batcher = Batcher(llama, slots=8)

    assert texts([ask(batcher, "q", seed) for seed in (4, 2, 3, 5, 1)]) == [
        "q 4",
        "q 2",
        "q 3",
        "q 5",
        "q 1",
    ]
    assert llama.requests == [("q", 5, 1)]


def test_draws_without_a_seed_are_one_request_too(llama, unhurried_batches):
    batcher = Batcher(llama, slots=8)

    assert texts([ask(batcher, "q") for _ in range(3)]) == ["q any"] * 3
    assert llama.requests == [("q", 3, None)]


def test_draws_of_one_seed_are_drawn_once(llama, unhurried_batches):
    batcher = Batcher(llama, slots=8)

    assert texts([ask(batcher, "q", seed) for seed in (1, 1, 2, 1)]) == ["q 1", "q 1", "q 2", "q 1"]
    assert llama.requests == [("q", 2, 1)]


def test_gaps_in_seeds_and_other_prompts_split_requests(llama, unhurried_batches):
    batcher = Batcher(llama, slots=8)
    futures = [
        ask(batcher, "q", 1),
        ask(batcher, "q", 3),
        ask(batcher, "r", 2),
        ask(batcher, "q"),
        ask(batcher, "q", 2),
    ]

    assert texts(futures) == ["q 1", "q 3", "r 2", "q any", "q 2"]
    assert sorted(llama.requests, key=str) == sorted(
        [("q", 3, 1), ("r", 1, 2), ("q", 1, None)], key=str
    )


def test_a_group_larger_than_the_slots_is_split(llama, unhurried_batches):
    batcher = Batcher(llama, slots=4)

    assert texts([ask(batcher, "q", seed) for seed in range(10)]) == [
        f"q {seed}" for seed in range(10)
    ]
    assert sorted(n for _, n, _ in llama.requests) == [2, 4, 4]
    assert llama.most <= 4


def test_draws_gather_while_the_slots_are_busy(gate, unhurried_batches, monkeypatch):
    batcher = Batcher(gate, slots=4)
    first = [ask(batcher, "first", seed) for seed in range(4)]
    assert waited_for(lambda: gate.requests)
    monkeypatch.setattr("dspy_mux.local.batch.GAP_S", 0.004)
    monkeypatch.setattr("dspy_mux.local.batch.WINDOW_S", 0.03)
    late = []
    for seed in range(4):
        late.append(ask(batcher, "late", seed))
        time.sleep(0.02)  # longer than the gathering window
    gate.open.set()

    assert texts(first + late) == [f"first {s}" for s in range(4)] + [f"late {s}" for s in range(4)]
    assert gate.requests == [("first", 4, 0), ("late", 4, 0)]


@pytest.fixture
def unhurried(monkeypatch):
    """Gathers draws for longer: a busy machine may take its time between two of one group."""
    monkeypatch.setattr("dspy_mux.local.batch.GAP_S", 0.5)
    monkeypatch.setattr("dspy_mux.local.batch.WINDOW_S", 1.0)


@pytest.mark.usefixtures("unhurried")
def test_a_small_group_does_not_overtake_a_large_one(gate):
    batcher = Batcher(gate, slots=4)
    futures = [ask(batcher, "a", seed) for seed in range(3)]
    assert waited_for(lambda: gate.requests)
    futures += [ask(batcher, "b", seed) for seed in range(3)] + [ask(batcher, "c", 0)]
    time.sleep(0.1)
    assert gate.requests == [("a", 3, 0)]
    gate.open.set()
    texts(futures)

    assert [prompt for prompt, *_ in gate.requests] == ["a", "b", "c"]


def test_an_error_reaches_only_its_requests_draws(llama):
    batcher = Batcher(llama, slots=8)
    broken, fine = [ask(batcher, "broken", seed) for seed in (1, 2)], ask(batcher, "fine", 1)

    for future in broken:
        with pytest.raises(ValueError, match="a broken prompt"):
            future.result(timeout=10)
    assert texts([fine, ask(batcher, "after", 1)]) == ["fine 1", "after 1"]


def test_a_cancelled_draw_leaves_the_others_alone(gate):
    batcher = Batcher(gate, slots=8)
    running = [ask(batcher, "q", seed) for seed in (1, 2)]
    assert waited_for(lambda: gate.requests)
    waiting = [ask(batcher, "r", seed) for seed in (1, 2)]
    assert running[0].cancel()
    assert waiting[0].cancel()
    gate.open.set()

    assert texts([running[1], waiting[1]]) == ["q 2", "r 2"]


def test_an_unwanted_request_is_stopped(gate, unhurried_batches):
    batcher = Batcher(gate, slots=2)
    futures = [ask(batcher, "q", seed) for seed in (1, 2)]
    assert waited_for(lambda: gate.requests)
    for future in futures:
        future.cancel()

    assert waited_for(lambda: gate.stopped == ["q"])
    gate.open.set()
    assert texts([ask(batcher, "next", 1)]) == ["next 1"]


@pytest.fixture
def starved(monkeypatch):
    """Told the names of threads that cannot be started any more."""
    names: set[str] = set()
    start = threading.Thread.start

    def refused(thread):
        if thread.name in names:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    return names


def test_draws_fail_only_while_no_thread_starts(llama, starved, unhurried_batches):
    batcher = Batcher(llama, slots=3)
    starved.add("dspy-mux-draws")
    for prompt in ("q", "r"):
        refused = [ask(batcher, prompt, seed) for seed in (1, 2, 2, 3)]
        for future in refused:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                future.result(timeout=10)
    starved.clear()

    assert texts([ask(batcher, "q", seed) for seed in (1, 2, 3)]) == ["q 1", "q 2", "q 3"]
    assert llama.requests == [("q", 3, 1)]
    assert batcher.close(timeout=10)


def test_a_refused_draw_is_not_made_later(llama, starved):
    batcher = Batcher(llama, slots=3)
    starved.add("dspy-mux-batcher")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        ask(batcher, "q", 1)
    starved.clear()

    assert texts([ask(batcher, "r", 1)]) == ["r 1"]
    assert llama.requests == [("r", 1, 1)]


def test_closing_stops_what_runs_and_wakes_nobody(gate):
    batcher = Batcher(gate, slots=1)
    running = ask(batcher, "q", 1)
    assert waited_for(lambda: gate.requests)
    waiting = ask(batcher, "r", 1)

    assert batcher.close(timeout=10)
    assert gate.stopped == ["q"]
    assert (
        not running.done()
    )  # a thread that woke up while the interpreter is taken apart could crash it
    assert not waiting.done()
    with pytest.raises(RuntimeError, match="closed"):
        ask(batcher, "s", 1)


@given(
    draws=st.lists(
        st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 12))), max_size=40
    ),
    slots=st.integers(1, 6),
)
def test_every_draw_gets_its_own_answer_within_the_slots(draws, slots):
    llama = FakeLlama()
    batcher = Batcher(llama, slots=slots)
    futures = [ask(batcher, prompt, seed) for prompt, seed in draws]

    assert texts(futures) == [
        f"{prompt} {'any' if seed is None else seed}" for prompt, seed in draws
    ]
    assert llama.most <= slots
    assert sum(n for _, n, _ in llama.requests) <= len(draws)
    batcher.close(timeout=10)
