"""`dspy-mux serve` under load: 64 and 256 clients over models that take 200 ms and fail.

Clients are locust's; the server, the models and the clients run in processes of their own. One
request in ten to a model meets a fault of `tests/faults`, such as a hang, a reset or an error 503.
Takes minutes: run with `--only serve`; `SECONDS=10 python -m eval.performance --only serve` is
shorter. Requires locust, of the `dev` extra.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .figures import Figure
from .server import in_a_process

CLIENTS = (64, 256)
SECONDS = float(os.environ.get("SECONDS", "60"))
MEMBERS, K, LATENCY_S, FAULT_RATE, TIMEOUT_S = 3, 3, 0.2, 0.1, 5
_MEMBER = '[[members]]\nname = "m{at}"\nmodel = "openai/m{at}"\napi_base = "{address}"\n'


def figures() -> Iterator[Figure]:
    faults = ("--rate", str(FAULT_RATE), "--latency", str(LATENCY_S))
    for clients in CLIENTS:
        with (
            tempfile.TemporaryDirectory() as folder,
            in_a_process("tests.support.fault_server", *faults) as address,
        ):
            yield from _figures(clients, Path(folder), address)


def _figures(clients: int, folder: Path, address: str) -> Iterator[Figure]:
    with _server(folder, address, clients) as (url, pid):
        _ask(url)  # what is loaded at the first question
        before = _cpu(pid)
        spans = _load(folder, url, clients)
        cpu, memory = _cpu(pid) - before, _peak_memory(pid)
    answered, asked = spans.pop("answered", []), [one for each in spans.values() for one in each]
    asked += answered
    seconds = max(end for _, end in asked) - min(began for began, _ in asked)
    rate = len(answered) / seconds
    clean = len(spans.pop("failed", [])) + len(spans.pop("refused", []))
    name = f"serve: {clients} clients, {MEMBERS} × k={K}, {FAULT_RATE:.0%} faults: "
    yield Figure.of(
        f"{name}answers a second, over {clients} every 200 ms", [rate / (clients / LATENCY_S)]
    )
    yield Figure.of(f"{name}answers a second", [rate], "1/s")
    taken = [1000 * (end - began) for began, end in answered] or [float("nan")]
    for share in (50, 99):
        yield Figure.of(f"{name}p{share} of an answer", [float(np.percentile(taken, share))], "ms")
    yield Figure.of(f"{name}clean errors, of {len(asked):,} requests", [clean], "")
    lost = "; ".join(f"{len(each)} × {outcome}" for outcome, each in spans.items())
    yield Figure.of(
        f"{name}requests without an answer or a clean error",
        [sum(map(len, spans.values()))],
        "",
        "≤ 0",
        lost,
    )
    yield Figure.of(f"{name}CPU of the server for a request", [1000 * cpu / len(asked)], "ms")
    yield Figure.of(f"{name}peak memory of the server", [memory], "MB")


def _load(folder: Path, url: str, clients: int) -> dict[str, list[tuple[float, float]]]:
    """Return what became of the questions, with when each was asked and had its answer."""
    outcomes = folder / "outcomes.json"
    command = [
        *(sys.executable, "-m", "locust", "--headless", "--host", url),
        *("--locustfile", str(Path(__file__).with_name("clients.py"))),
        *("--users", str(clients), "--spawn-rate", str(clients)),
        # Those under way when it is over have as long as a server takes at most.
        *("--run-time", f"{SECONDS:g}s", "--stop-timeout", "120"),
        *("--skip-log-setup", "--only-summary"),
    ]
    environment = {**os.environ, "OUTCOMES": str(outcomes)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if not outcomes.exists():
        raise RuntimeError(f"Locust did not run: {done.stderr[-2000:]}")
    return json.loads(outcomes.read_text(encoding="utf-8"))


def _ask(url: str) -> None:
    body = {"model": "my-mux", "messages": [{"role": "user", "content": "What is 6 times 7?"}]}
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked) as reply:
        reply.read()


def _cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(folder: Path, address: str, clients: int) -> Iterator[tuple[str, int]]:
    members = [_MEMBER.format(at=at, address=address) for at in range(MEMBERS)]
    head = f"k = {K}\ntimeout = {TIMEOUT_S}\n"
    (folder / "pool.toml").write_text(head + "\n".join(members), encoding="utf-8")
    command = ["serve", "--pool", "pool.toml", "--name", "my-mux", "--port", "0"]
    command += ["--max-concurrency", str(clients)]
    paths = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "DSPY_CACHEDIR": str(folder / "cache")}
    with (
        open(folder / "log", "w", encoding="utf-8") as log,
        subprocess.Popen(
            [sys.executable, "-m", "dspy_mux", *command],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield _address(folder / "log", process), process.pid
        finally:
            process.kill()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return where the server says that it listens, once it is ready."""
    for _ in range(1200):
        if found := re.search(r"Serving .* at (http://\S+)/v1", log.read_text(encoding="utf-8")):
            with urllib.request.urlopen(f"{found[1]}/readyz"):
                return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"The server did not start: {log.read_text(encoding='utf-8')}")


def _peak_memory(pid: int) -> float:
    """Return the megabytes that a process has held at most."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000
