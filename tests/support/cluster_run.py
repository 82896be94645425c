"""A collection on a Ray cluster, as tests start it: in their own process, or in one that is killed.

`python -m tests.support.cluster_run RAY_ADDRESS BANK SERVER` collects in a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import dspy

from dspy_mux import SLMMux, collect
from dspy_mux.bank import claims
from dspy_mux.bank.collect import Collected
from dspy_mux.cluster import RayCluster

K, QUESTIONS = 3, 24
THREADS = 6
#: Question → the draws of both members.
ALL = {f"q{n}?": 2 * K for n in range(QUESTIONS)}


def a_mux(address: str, *names: str, key: str = "none", **settings: object) -> SLMMux:
    """Members on a server that counts what it is asked."""
    where = {"api_base": address, "api_key": key, "engine": "lm15", "cache": False}
    lms = {name: dspy.LM(f"openai/{name}", **where) for name in names or "ab"}
    options = {"group": False, **settings}
    return SLMMux(dspy.Predict("question -> answer"), lms, k=K, temperature=0.5, **options)


def questions(count: int = QUESTIONS) -> list[dspy.Example]:
    return [
        dspy.Example(question=f"q{n}?", answer="42").with_inputs("question") for n in range(count)
    ]


def metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    return bool(prediction.answer == example.answer)


class Impatient:
    """A metric in whose process claims lapse after a few seconds."""

    def __reduce__(self) -> tuple:
        return _impatient, ()

    def __call__(self, example, prediction, trace=None):
        return metric(example, prediction)


def _impatient() -> Impatient:
    claims.BEAT_S = 0.4
    return Impatient()


class LoadsSlowly:
    """A metric that takes seconds to load, in all processes but the first."""

    def __init__(self, loaded: Path):
        self.loaded = loaded

    def __reduce__(self) -> tuple:
        return _loads_slowly, (self.loaded,)

    def __call__(self, example, prediction, trace=None):
        return metric(example, prediction)


def _loads_slowly(loaded: Path) -> LoadsSlowly:
    try:
        loaded.touch(exist_ok=False)
    except FileExistsError:
        time.sleep(6)
    return LoadsSlowly(loaded)


class KillsOnce:
    """A metric that kills the first process that calls it."""

    def __init__(self, killed: Path):
        self.killed = killed

    def __call__(self, example, prediction, trace=None):
        with suppress(FileExistsError):
            self.killed.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        return metric(example, prediction)


class Kills:
    """A metric that kills every process that calls it."""

    def __call__(self, example, prediction, trace=None):
        os.kill(os.getpid(), signal.SIGKILL)


class CountsLoads:
    """A metric in whose process each loading of weights adds a line, "file node", to a file."""

    def __init__(self, loads: Path):
        self.loads = loads

    def __reduce__(self) -> tuple:
        return _counts_loads, (self.loads,)

    def __call__(self, example, prediction, trace=None):
        return metric(example, prediction)


def _counts_loads(loads: Path) -> CountsLoads:
    import ray

    from dspy_mux.local import server

    load, node = server._load, ray.get_runtime_context().get_node_id()

    def and_note(settings, *more):
        with loads.open("a") as file:
            file.write(f"{settings.path.name} {node}\n")
        return load(settings, *more)

    server._load = and_note
    return CountsLoads(loads)


def run(bank, server, judge=metric, *, mux=None, workers=2, **options) -> Collected:
    settings = {"num_threads": THREADS, "cluster": RayCluster(workers=workers), **options}
    return collect(mux or a_mux(server.address), questions(), judge, bank, **settings)


def main() -> None:
    from dspy_mux.cluster import workers

    workers.SILENCE_S = 2.0
    address, bank, server = sys.argv[1:]
    cluster = RayCluster(address, workers=2)
    collect(a_mux(server), questions(), metric, bank, num_threads=THREADS, cluster=cluster)


if __name__ == "__main__":
    main()
