"""Two collections on one bank for an hour, one of them killed, interrupted and begun again, the
other forking; then count what was lost, what was paid twice, and what has grown.

    python -m tests.fuzz.soak --minutes 60 --seed 1 [--bank URL] [--at-once 64] [--latency 1.5]

A server of its own process counts each answer that it gave. A process that is killed loses what is
under way, and what it has not yet written: that is the bound on what may be paid twice.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import dspy

from dspy_mux import SampleBank, SLMMux
from dspy_mux.bank.collect import Collected, collect

from ..support.fault_server import Asked, Fault, FaultServer, at_random

QUESTIONS, MEMBERS, K = 500, 2, 2  # of each round; draws: 2,000
#: The share of the requests that fail and are made again.
FAULT_RATE = 0.02
#: Seconds between two looks at the processes; share of the looks that are warming up.
EVERY_S, WARM = 10.0, 0.2
_fork = multiprocessing.get_context("fork")
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Plan:
    """What all processes are told."""

    bank: str
    folder: Path
    port: int
    at_once: int
    seed: int

    @property
    def stop(self) -> Path:
        return self.folder / "stop"

    @property
    def round(self) -> Path:
        """A file with the number of the round under way."""
        return self.folder / "round"


def serve(port: multiprocessing.SimpleQueue, answered: Path, latency: float, seed: int) -> None:
    """Answer until SIGTERM, then write how often each member answered each question."""
    counts: Counter[str] = Counter()

    def answer(request: Asked) -> str:
        counts[f"{request.model} {request.question}"] += 1
        return f"{request.model} to {request.question}"

    async def run() -> None:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        faults = [Fault.SERVER_ERROR, Fault.UNAVAILABLE]
        server = FaultServer(at_random(FAULT_RATE, seed, faults), answer, latency=latency)
        await server.serve(lambda: port.put(server.port), stopped)

    asyncio.run(run())
    answered.write_text(json.dumps(counts))


def questions(number: int) -> list[dspy.Example]:
    return [
        dspy.Example(question=f"r{number}q{n}?").with_inputs("question") for n in range(QUESTIONS)
    ]


def metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    """Right is who was asked: an answer to another's question would be wrong."""
    return str(prediction.answer).endswith(f" to {example.question}")


def a_mux(plan: Plan) -> SLMMux:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    url = f"http://127.0.0.1:{plan.port}/v1"
    lms = {
        f"m{n}": dspy.LM(f"openai/m{n}", api_base=url, api_key="none", cache=False)
        for n in range(MEMBERS)
    }
    return SLMMux(dspy.Predict("question -> answer"), lms, k=K, timeout=120)


def draw(plan: Plan, mux: SLMMux, bank: SampleBank, number: int) -> Collected:
    examples = questions(number)
    # Two collections that begin at different questions meet at the end.
    random.Random(os.getpid()).shuffle(examples)
    return collect(mux, examples, metric, bank, dataset=f"round {number}", num_threads=plan.at_once)


def work(plan: Plan, leads: bool) -> None:
    """Draw round after round; the one that leads says which, and forks now and then."""
    os.setpgrp()  # Ctrl-C is for the one that is meant
    signal.signal(signal.SIGINT, signal.default_int_handler)
    mux, bank = a_mux(plan), SampleBank(plan.bank)
    over = threading.Event()
    if leads:
        forking = threading.Thread(target=_fork_at_times, args=(plan, mux, bank, over))
        forking.start()
    number = int(plan.round.read_text())
    try:
        while not plan.stop.exists():
            while draw(plan, mux, bank, number).missing:
                time.sleep(0.5)  # the rest is another's, who is at work
            number += 1
            if leads:
                _replace(plan.round, str(number))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        over.set()
        if leads:
            forking.join()


def _fork_at_times(plan: Plan, mux: SLMMux, bank: SampleBank, over: threading.Event) -> None:
    luck = random.Random(plan.seed)
    while not over.wait(luck.uniform(15, 45)):
        child = _fork.Process(target=_in_child, args=(plan, mux, bank))
        child.start()
        child.join()
        if child.exitcode:
            _replace(plan.folder / f"forked {child.pid}", str(child.exitcode))


def _in_child(plan: Plan, mux: SLMMux, bank: SampleBank) -> None:
    """What a forked child does with what it inherits."""
    # It takes seconds. Where it waits for what no thread of its own will give, this shows for what.
    faulthandler.dump_traceback_later(90)
    number = int(plan.round.read_text())
    collect(
        mux,
        questions(number)[-40:],
        metric,
        bank,
        dataset=f"round {number}",
        num_threads=plan.at_once,
    )


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


@dataclass
class Looks:
    """What was seen of a process: resident memory in MB, open files, threads."""

    memory: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, pid: int) -> None:
        here = Path(f"/proc/{pid}")
        status = (here / "status").read_text().split("VmRSS:")[1]
        self.memory.append(int(status.split()[0]) / 1000)
        self.files.append(len(os.listdir(here / "fd")))
        self.threads.append(len(os.listdir(here / "task")))

    def report(self) -> None:
        warm = int(len(self.memory) * WARM)
        for name, unit in (("memory", " MB"), ("files", ""), ("threads", "")):
            seen = getattr(self, name)[warm:]
            half = len(seen) // 2
            if half:
                first, last = (sum(part) / len(part) for part in (seen[:half], seen[half:]))
                print(
                    f"  {name}: {min(seen):.0f} to {max(seen):.0f}{unit}; mean of the first half "
                    f"{first:.1f}, of the second {last:.1f}"
                )


def disturb(plan: Plan, minutes: float, luck: random.Random) -> tuple[Counter[str], Looks]:
    """Let both collections run, and end the second one over and over; return how it was ended."""
    ended: Counter[str] = Counter()
    looks, until = Looks(), time.monotonic() + 60 * minutes
    first = _spawn.Process(target=work, args=(plan, True))
    first.start()
    second, due = None, 0.0
    while time.monotonic() < until and first.is_alive():
        if second is None or not second.is_alive():
            second = _spawn.Process(target=work, args=(plan, False))
            second.start()
            due = time.monotonic() + luck.uniform(20, 120)
        elif time.monotonic() >= due:
            how = luck.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT])
            os.kill(second.pid, how)
            second.join()
            ended[how.name] += 1
        looks.look(first.pid)
        time.sleep(EVERY_S)
    plan.stop.touch()
    for process in (first, second):
        process.join()
    ended["exit code of the first"] = first.exitcode
    return ended, looks


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bank", help="a path or URL where no bank is yet")
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--latency", type=float, default=1.5, help="seconds that an answer takes")
    given = parser.parse_args()
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with tempfile.TemporaryDirectory() as name:
        return soak(given, Path(name))


def soak(given: argparse.Namespace, folder: Path) -> int:
    port, answered = _spawn.SimpleQueue(), folder / "answered"
    server = _spawn.Process(target=serve, args=(port, answered, given.latency, given.seed))
    server.start()
    plan = Plan(
        given.bank or str(folder / "bank.sqlite"), folder, port.get(), given.at_once, given.seed
    )
    plan.round.write_text("0")
    began = time.monotonic()
    ended, looks = disturb(plan, given.minutes, random.Random(given.seed))
    seconds = time.monotonic() - began
    rounds = int(plan.round.read_text())
    bank = SampleBank(plan.bank)
    # A round that only the second one reached is of no interest: all that it paid is recorded, too.
    again = [draw(plan, a_mux(plan), bank, number) for number in range(rounds)]
    server.terminate()
    server.join()
    counts = Counter(json.loads(answered.read_text()))
    recorded = Counter(
        f"{row['model'].partition('/')[2] or row['model']} {row['question']}"
        for row in bank.rows()
        if row["cause"] is None
    )
    wrong = sum(row["score"] != 1.0 for row in bank.rows())
    twice = {asked: paid - recorded[asked] for asked, paid in counts.items()}
    disturbed = ended[signal.SIGKILL.name] + ended[signal.SIGINT.name]
    problems = [
        *(f"round {n}: {done.drawn} draws were lost" for n, done in enumerate(again) if done.drawn),
        *([f"{wrong} draws are failures or answers to other questions"] if wrong else []),
        *(f"a forked child ended with {path.read_text()}" for path in folder.glob("forked *")),
        *(
            [f"the first one ended with {ended['exit code of the first']}"]
            if ended["exit code of the first"]
            else []
        ),
        *(
            [f"{sum(twice.values())} answers paid twice"]
            if sum(twice.values()) > disturbed * 2 * given.at_once
            else []
        ),
    ]
    print(f"{seconds / 60:.1f} minutes on {bank.name}, {rounds} rounds, {given.at_once} in flight")
    print(f"  draws recorded: {sum(recorded.values())}, {sum(recorded.values()) / seconds:.0f}/s")
    print(
        f"  answers paid for beyond that: {sum(twice.values())}, in {disturbed} endings "
        f"{dict(ended)}"
    )
    print("the first collection, never ended:")
    looks.report()
    print("\n".join(problems) or "nothing lost, nothing paid twice but what was under way")
    bank.close()
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
