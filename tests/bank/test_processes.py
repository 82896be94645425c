"""Collections that forked processes share: all is drawn once, within one limit, and nothing is left
behind."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing, suppress

import dspy
import pytest
from rich.console import Console

from dspy_mux import (
    BankError,
    ConfigurationError,
    Member,
    MetricFailed,
    MuxError,
    SampleBank,
    SLMMux,
    collect,
)
from dspy_mux.local import LlamaEngine

from ..support.children import forks
from ..support.fault_server import Fault, always, fault_server

pytestmark = forks

K, QUESTIONS = 3, 24
ALL = {f"q{n}?": 2 * K for n in range(QUESTIONS)}


def a_mux(server, *names, group=False, cache=False):
    """Members on a server that counts what it is asked."""
    where = {"api_base": server.address, "api_key": "none", "engine": "lm15", "cache": cache}
    lms = {name: dspy.LM(f"openai/{name}", **where) for name in names or "ab"}
    return SLMMux(dspy.Predict("question -> answer"), lms, k=K, temperature=0.5, group=group)


def questions():
    return [
        dspy.Example(question=f"q{n}?", answer="42").with_inputs("question")
        for n in range(QUESTIONS)
    ]


def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


def recorded(bank):
    return Counter(row["question"] for row in bank.rows())


def asked(server):
    """Question → the choices asked for."""
    return sum((Counter({request.question: request.n}) for request in server.requests), Counter())


def kills_once(killed):
    """A metric that kills the first process that calls it."""

    def judge(example, prediction, trace=None):
        with suppress(FileExistsError):
            killed.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        return metric(example, prediction)

    return judge


@pytest.fixture(autouse=True)
def no_child_is_left():
    yield
    assert multiprocessing.active_children() == []


def test_processes_draw_all_once_within_one_limit_of_draws_in_flight(bank, tmp_path):
    judges = tmp_path / "judges"

    def noting(example, prediction, trace=None):
        with judges.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return metric(example, prediction)

    screen = io.StringIO()
    with fault_server(lambda _: None, latency=0.02) as server:
        done = collect(
            a_mux(server, "a"),
            questions(),
            noting,
            bank,
            num_threads=7,
            processes=3,
            console=Console(file=screen),
        )
        assert (done.drawn, done.calls, done.already, done.missing) == (72, 72, 0, 0)
        assert (done.abstained, done.failed, done.stopped) == (0, 0, None)
        assert recorded(bank) == asked(server) == dict.fromkeys(ALL, K)
        assert server.most_open <= 7
        again = collect(a_mux(server, "a"), questions(), metric, bank, processes=2)
        assert (again.drawn, again.already, server.draws) == (0, 72, 72)
    pids = set(judges.read_text().split())
    assert len(pids) == 3
    assert str(os.getpid()) not in pids
    [line] = screen.getvalue().splitlines()
    assert "72 of 72 draws (100 %)" in line
    assert "72 calls" in line


def test_processes_ask_for_several_choices_at_once(bank):
    with fault_server(lambda _: None, latency=0.02) as server:
        mux = a_mux(server, group="auto")
        done = collect(mux, questions(), metric, bank, num_threads=12, processes=2)
        assert (done.drawn, done.missing, done.abstained) == (144, 0, 0)
        assert recorded(bank) == ALL
        assert len(server.requests) < 144


def test_what_processes_draw_is_in_dspys_cache_on_disk(bank, tmp_path):
    cache = tmp_path / "cache"
    dspy.configure_cache(enable_memory_cache=False, disk_cache_dir=str(cache))
    with fault_server(lambda _: None) as server:
        mux = a_mux(server, cache=True)
        mux(question="begin")  # opens the cache, in threads of this process
        collect(mux, questions(), metric, bank, processes=3)
        before = server.draws
        again = collect(mux, questions(), metric, tmp_path / "another.sqlite", processes=3)
        assert (again.drawn, again.calls, server.draws) == (144, 0, before)
    dspy.cache.disk_cache.close()
    shards = list(cache.glob("*/cache.db"))
    assert len(shards) == 16
    for shard in shards:
        with closing(sqlite3.connect(shard)) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_others_make_the_draws_of_a_process_that_is_killed(bank, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("dspy_mux.bank.claims.BEAT_S", 600.0)  # no claim lapses
    killed = tmp_path / "killed"
    with fault_server(lambda _: None, latency=0.01) as server:
        done = collect(
            a_mux(server), questions(), kills_once(killed), bank, num_threads=6, processes=2
        )
        assert killed.exists()
        assert (done.missing, done.drawn + done.already) == (0, 144)
        assert recorded(bank) == ALL
        # What was under way or not yet recorded is asked for again: a process claims little.
        assert 144 <= server.draws < 144 + 2 * 3 * K
    assert (
        "A process of the collection was ended by SIGKILL. The others make its draws."
        in caplog.text
    )


@pytest.mark.parametrize("retried", [False, True])
@pytest.mark.parametrize("at", [1, 20])
def test_totals_are_what_the_bank_holds_after_a_kill(bank, tmp_path, at, retried):
    judged = tmp_path / "judged"

    def kills_at(example, prediction, trace=None):
        if judged.exists():
            with judged.open("a") as file:
                file.write("x")
            if judged.stat().st_size == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return metric(example, prediction)

    def half_fails(request):
        later = int(request.question[1:-1]) >= QUESTIONS // 2
        return Fault.TOO_LONG if later and not judged.exists() else None

    with fault_server(half_fails) as server:
        mux = a_mux(server, "a")
        if retried:
            collect(mux, questions(), kills_at, bank, num_threads=6)
        judged.touch()
        recorded_before = K * QUESTIONS // 2 if retried else 0
        before = server.draws
        done = collect(
            mux, questions(), kills_at, bank, num_threads=6, processes=2, retry_failed=retried
        )
        assert judged.stat().st_size > at
        assert (done.missing, done.abstained, done.failed) == (0, 0, 0)
        assert recorded(bank) == dict.fromkeys(ALL, K)
        assert (done.already, done.drawn) == (recorded_before, K * QUESTIONS - recorded_before)
        # The calls of draws under way in a process that is killed are not known.
        assert server.draws - before - 3 <= done.calls <= server.draws - before


def test_a_limit_counts_the_calls_of_a_process_that_is_killed(bank, tmp_path):
    killed = tmp_path / "killed"
    with fault_server(lambda _: None, latency=0.01) as server:
        done = collect(
            a_mux(server),
            questions(),
            kills_once(killed),
            bank,
            num_threads=6,
            processes=2,
            max_calls=60,
        )
        assert killed.exists()
        assert (done.stopped, server.draws) == ("max_calls", 60)
        assert sum(recorded(bank).values()) > 60 - 2 * 3 * K


def test_where_all_are_killed_it_ends_with_an_error_and_goes_on_later(bank):
    def deadly(example, prediction, trace=None):
        if example.question in ("q5?", "q20?"):
            os.kill(os.getpid(), signal.SIGKILL)
        return metric(example, prediction)

    with fault_server(lambda _: None) as server:
        with pytest.raises(MuxError, match="All 2 processes of the collection were ended"):
            collect(a_mux(server), questions(), deadly, bank, num_threads=2, processes=2)
        before = recorded(bank)
        assert before
        done = collect(a_mux(server), questions(), metric, bank, num_threads=2, processes=2)
        assert (done.missing, done.already) == (0, sum(before.values()))
        assert recorded(bank) == ALL


def test_an_error_of_one_process_ends_all_and_is_raised_once(bank, caplog):
    def broken(example, prediction, trace=None):
        if example.question == "q20?":
            raise KeyError("gold")
        return metric(example, prediction)

    with fault_server(lambda _: None, latency=0.01) as server:
        with pytest.raises(MetricFailed, match=r"KeyError: 'gold' on the example .*q20\?"):
            collect(a_mux(server), questions(), broken, bank, num_threads=4, processes=2)
        assert recorded(bank) == asked(server)  # what was paid for is kept
        assert sum(recorded(bank).values()) < 144
        done = collect(a_mux(server), questions(), metric, bank, num_threads=4, processes=2)
        assert (done.missing, server.draws) == (0, 144)
    assert "killed" not in caplog.text


def test_an_error_counts_what_all_processes_could_not_record(tmp_path):
    bank = SampleBank(tmp_path / "bank.sqlite")
    with fault_server(lambda _: None, latency=0.05) as server:
        collect(a_mux(server), questions()[:1], metric, bank)
        bank.close()
        with closing(sqlite3.connect(bank.path)) as file:
            file.execute(
                "CREATE TRIGGER full BEFORE INSERT ON mux_draws "
                "BEGIN SELECT RAISE(ABORT, 'no more'); END"
            )
        with pytest.raises(BankError, match=r"no more.* Lost: \d+ draws") as caught:
            collect(a_mux(server), questions(), metric, bank, num_threads=4, processes=2)
        lost = server.draws - 2 * K
        assert f"Lost: {lost} draws" in str(caught.value)
        assert lost > 2  # the threads of one process


def test_a_member_that_is_down_is_named_once(bank, caplog):
    with (
        fault_server(always(Fault.UNAUTHORIZED)) as server,
        pytest.raises(MuxError, match="first 12 draws of 'b' all failed .*Incorrect API key"),
    ):
        collect(a_mux(server, "b"), questions(), metric, bank, num_threads=4, processes=2)
    warnings = [record.getMessage() for record in caplog.records if record.name == "dspy_mux"]
    assert sum(text.startswith("Member 'b' abstains") for text in warnings) == 1


def test_a_failure_is_retried_once_by_all_processes_together(bank):
    def too_long(request):
        return Fault.TOO_LONG if request.model == "b" and request.question > "q3?" else None

    with fault_server(too_long) as server:
        collect(a_mux(server), questions()[:8], metric, bank, num_threads=4)
        before = server.draws
        done = collect(
            a_mux(server),
            questions()[:8],
            metric,
            bank,
            num_threads=4,
            processes=2,
            retry_failed=True,
        )
        assert (done.drawn, done.failed) == (4 * K, 4 * K)
        assert server.draws - before == 4 * K


def test_a_member_that_is_up_for_one_process_is_up_for_all(bank):
    """Half of the questions are too long for a member, and one process begins with these."""

    def too_long(request):
        return Fault.TOO_LONG if int(request.question[1:-1]) >= QUESTIONS // 2 else None

    with fault_server(too_long, latency=0.05) as server:
        done = collect(a_mux(server, "b"), questions(), metric, bank, num_threads=2, processes=2)
        assert (done.missing, done.failed) == (0, QUESTIONS // 2 * K)


def test_processes_go_on_where_a_collection_elsewhere_died(bank, monkeypatch):
    monkeypatch.setattr("dspy_mux.bank.claims.BEAT_S", 0.4)
    with fault_server(lambda _: None) as server:
        collect(a_mux(server), questions()[:1], metric, bank)
        program = next(iter(bank.drawn([1, 2], [1])))[0]
        added = bank.add_questions("default", [("f", "f", {})])
        bank.claims.take([(added[0], program)], "an owner that died")
        held = [(question, program) for question in range(2, 6)]
        bank.claims.take(held, "an owner that died")
        done = collect(a_mux(server), questions(), metric, bank, processes=2)
        assert done.missing == 0
        assert recorded(bank) == ALL


@pytest.mark.parametrize("processes", [0, 5])
def test_there_is_a_process_for_each_draw_in_flight_at_most(bank, processes):
    with (
        fault_server(lambda _: None) as server,
        pytest.raises(ConfigurationError, match=r"from 1 to num_threads \(4\).* not "),
    ):
        collect(a_mux(server), questions(), metric, bank, num_threads=4, processes=processes)


def test_embedded_models_are_not_loaded_by_every_process(bank):
    lm = dspy.LM("local/small", engine=LlamaEngine("smollm2-135m"))
    mux = SLMMux("question -> answer", [Member(lm, name="small")], k=K)
    with pytest.raises(
        ConfigurationError, match="^small: embedded models .* each of 2 processes would load"
    ):
        collect(mux, questions(), metric, bank, processes=2)
    assert not bank.exists()


def test_a_platform_that_does_not_fork_is_told_what_to_do(bank, monkeypatch):
    monkeypatch.delattr(os, "fork")
    with (
        fault_server(lambda _: None) as server,
        pytest.raises(ConfigurationError, match="start the collection several times instead"),
    ):
        collect(a_mux(server), questions(), metric, bank, processes=2)
