"""`--timeout` of the command line, loading before a draw's time, and bounded threads and files."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import dspy
import pytest
from dspy.clients import model_metadata

from dspy_mux import SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.cli.main import main

from ..support.fault_server import Fault, always, at_random, fault_server
from ..support.http_server import running
from .conftest import open_files

TASK = """
import dspy
program = lambda: dspy.Predict("question -> answer")
examples = lambda split=None, limit=None: [
    dspy.Example(question=f"q{n}?").with_inputs("question") for n in range(3)
]
metric = lambda example, prediction, trace=None: True
"""


def metric(example, prediction, trace=None):
    return True


def questions(count):
    return [dspy.Example(question=f"q{n}?").with_inputs("question") for n in range(count)]


@pytest.fixture
def dspy_mux(tmp_path, monkeypatch, capsys):
    """The command in this process, on a pool of a sound and a hung member.

    Returns the exit code, stdout and stderr.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(server, *arguments, timeout="timeout = 300"):
        members = [
            f'[[members]]\nmodel = "openai/{name}"\napi_base = "{server.address}"\n'
            for name in ("sound", "hung")
        ]
        (tmp_path / "pool.toml").write_text("\n".join(["k = 2", timeout, *members]))
        (tmp_path / "a_task.py").write_text(TASK)
        monkeypatch.setattr(sys, "argv", ["dspy-mux", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        return caught.value.code or 0, shown.out, shown.err

    return run


def test_ask_gives_up_after_its_timeout(dspy_mux):
    with fault_server(always(Fault.HANG, model="hung")) as server:
        code, out, err = dspy_mux(
            server, "ask", "--pool", "pool.toml", "--timeout", 2, "--json", "?"
        )
        assert code == 0, err
        assert json.loads(out)["ballots"][1]["abstentions"] == {"no answer within 2 s": 2}


def test_ask_gives_up_on_a_saved_mux_too(dspy_mux, tmp_path):
    with fault_server(always(Fault.HANG, model="hung")) as server:
        lms = [
            dspy.LM(f"openai/{name}", api_base=server.address, api_key="none")
            for name in ("sound", "hung")
        ]
        SLMMux("question -> answer", lms, k=2, timeout=300).save(tmp_path / "mux.json")
        options = ("--pool", "pool.toml", "--mux", "mux.json", "--timeout", 2)
        code, out, err = dspy_mux(server, "ask", *options, "--json", "?")
        assert code == 0, err
        assert json.loads(out)["ballots"][1]["abstentions"] == {"no answer within 2 s": 2}


def test_collect_records_abstentions_after_its_timeout(dspy_mux):
    with fault_server(always(Fault.HANG, model="hung")) as server:
        options = ("--pool", "pool.toml", "--bank", "bank.sqlite", "--timeout", 2)
        code, out, err = dspy_mux(server, "collect", "a_task", *options, "--json")
        assert code == 0, err
        assert json.loads(out)["abstained"] == 6
        bank = SampleBank("bank.sqlite")
        causes = {row["cause"] for row in bank.rows() if row["model"] == "openai/hung"}
        assert causes == {"no answer within 2 s"}
        bank.close()


@pytest.mark.parametrize(
    "verb",
    [
        ("ask", "--pool", "pool.toml", "?"),
        ("collect", "a_task", "--pool", "pool.toml", "--bank", "b"),
    ],
)
@pytest.mark.parametrize("timeout", ["0", "-1", "nan"])
def test_an_impossible_timeout_is_refused(dspy_mux, verb, timeout):
    with fault_server(lambda _: None) as server:
        code, _, err = dspy_mux(server, *verb, "--timeout", timeout, timeout="")
        assert code == 2
        assert "timeout must be a number of seconds above 0" in " ".join(err.split())
        assert not server.requests


@contextmanager
def slow_prices(seconds):
    """Where DSPy fetches its prices from, at the first call of a process."""

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(seconds)
            self.send_error(503)

        def log_message(self, *_):
            """Quiet."""

    with running(HTTPServer(("127.0.0.1", 0), Slow)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("how", ["call", "acall"])
async def test_loading_does_not_count_as_draw_time(how, monkeypatch):
    with slow_prices(2.5) as url, fault_server(lambda _: None) as server:
        monkeypatch.setattr(model_metadata, "_data", None)
        monkeypatch.setattr(model_metadata, "_source", {})
        monkeypatch.setenv("LITELLM_MODEL_COST_MAP_URL", url)
        monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP")
        lm = dspy.LM("openai/a", api_base=server.address, api_key="none")
        mux = SLMMux(dspy.Predict("question -> answer"), [lm], timeout=2)
        verdict = (mux(question="?") if how == "call" else await mux.acall(question="?")).verdict
        assert verdict.confidence == 1
        assert model_metadata.source_info()["fallback_reason"] == "HTTPError"
        await lm.aclose()


def test_threads_and_files_of_long_collections_stay_bounded(tmp_path, nothing_left):
    """A short version of `eval/performance/endurance.py`; a fifth of the requests meet a fault."""
    threads, members, seen = 16, 5, []
    before = threading.active_count(), open_files()

    def watch(example, prediction, trace=None):
        seen.append((threading.active_count() - before[0], open_files() - before[1]))
        return True

    faults = [
        fault for fault in Fault if fault not in (Fault.HANG, Fault.TRICKLE, Fault.HUGE)
    ] * 8 + [Fault.HANG, Fault.TRICKLE]
    with fault_server(at_random(0.2, 3, faults)) as server:
        lms = [
            dspy.LM(f"openai/{n}", api_base=server.address, api_key="none", cache=False)
            for n in range(members)
        ]
        bank = SampleBank(tmp_path / "bank.sqlite")
        mux = SLMMux(dspy.Predict("question -> answer"), lms, k=1, timeout=2)
        done = collect(mux, questions(300), watch, bank, num_threads=threads)
        assert (done.missing, done.drawn) == (0, 300 * members)
        # A thread for each draw, one more while its call is ended, the bank's writer, the server.
        assert max(used for used, _ in seen) <= 2 * threads + 4
        # A member keeps as many connections as it had calls at once; both ends are in this process.
        assert server.most_open <= members * threads
        assert max(files for _, files in seen) <= 2 * members * threads + 16
        for lm in lms:
            lm.close()
            assert len(lm.history) <= 256
        bank.close()
    nothing_left()


def test_many_threads_do_not_keep_cache_files_open(tmp_path, monkeypatch, nothing_left):
    monkeypatch.setattr("dspy_mux.sampling.threads.most_with_files", lambda: 4)
    k, before, most = 32, open_files(), []

    class Watched(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> answer")

        def forward(self, question):
            prediction = self.step(question=question)
            most.append(open_files() - before)
            return prediction

    with fault_server(lambda _: None, latency=0.1) as server:
        lm = dspy.LM("openai/a", api_base=server.address, api_key="none")
        mux = SLMMux(Watched(), [lm], k=k)
        dspy.configure_cache(disk_cache_dir=str(tmp_path / "cache"))
        for question in range(8):  # each of a thread's calls would open two more files
            assert mux(question=f"{question}?").verdict.calls == k
        assert mux(question="0?").verdict.cached_calls == k
        # Both ends of each connection, a database and its log for each thread, and what four
        # threads may keep.
        assert max(most) <= 2 * k + 2 * k + 4 * 32 + 40
        lm.close()
        dspy.cache.disk_cache.close()
    nothing_left()
