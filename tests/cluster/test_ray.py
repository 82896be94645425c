"""Collections on a Ray cluster of several nodes: all is drawn once, within one limit, whatever is
killed meanwhile.

One file, as its tests share a cluster that takes seconds to start.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from pathlib import Path

import dspy
import pytest
import sqlalchemy as sa
from rich.console import Console

from dspy_mux import ConfigurationError, MuxError, SampleBank, SLMMux, collect
from dspy_mux.bank.collect import CollectOptions, _Collection
from dspy_mux.bank.storage import schema
from dspy_mux.bank.units import Units
from dspy_mux.cluster import RayCluster
from dspy_mux.cluster.kinds import Kind, RayWorker
from dspy_mux.sampling.interrupt import Interrupt
from dspy_mux.sampling.members import Resources

from ..support.cluster_run import (
    ALL,
    THREADS,
    CountsLoads,
    Impatient,
    K,
    Kills,
    KillsOnce,
    LoadsSlowly,
    a_mux,
    metric,
    questions,
    run,
)
from ..support.databases import SERVER, a_place
from ..support.fault_server import Fault, always, fault_server
from ..support.postgres_server import needs_postgres, postgres_server
from ..support.wait import until

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(not SERVER, reason="no PostgreSQL server")

from ..support.ray_clusters import NODE, ray_cluster  # noqa: E402

#: The variable of a key that all nodes know.
KEY = "RAY_TEST_MEMBER_KEY"
TOTAL = sum(ALL.values())
#: Draws that a worker of three threads may have under way, or not yet recorded.
UNDER_WAY = 2 * K


@pytest.fixture(scope="module")
def cluster():
    os.environ[KEY] = "planted-4711-key"
    with ray_cluster(nodes=2) as started:
        yield started
    del os.environ[KEY]


@pytest.fixture
def bank(tmp_path):
    with a_place("postgresql", tmp_path) as url:
        made = SampleBank(url)
        yield made
        made.close()


def recorded(bank):
    return Counter(row["question"] for row in bank.rows())


def asked(server):
    """Question → the choices asked for."""
    return sum((Counter({request.question: request.n}) for request in server.requests), Counter())


def claimed(bank):
    with bank.writing() as connection:
        return connection.execute(sa.select(schema.claims)).all()


def test_workers_draw_all_once_within_one_limit_of_draws_in_flight(cluster, bank):
    screen = io.StringIO()
    with fault_server(lambda _: None, latency=0.02) as server:
        done = run(bank, server, num_threads=7, console=Console(file=screen))
        assert (done.drawn, done.calls, done.already, done.missing) == (TOTAL, TOTAL, 0, 0)
        assert (done.abstained, done.failed, done.stopped) == (0, 0, None)
        assert recorded(bank) == asked(server) == ALL
        assert server.most_open <= 2 * 7  # a connection for each member
        again = run(bank, server)
        assert (again.drawn, again.already, server.draws) == (0, TOTAL, TOTAL)
    assert claimed(bank) == []
    [line] = screen.getvalue().splitlines()
    assert f"{TOTAL} of {TOTAL} draws" in line
    assert f"{TOTAL} calls" in line


def test_a_bank_goes_from_one_machine_to_a_cluster_and_back(cluster, bank):
    """The draws are the same wherever they are made: no fingerprint differs, none is made again."""
    with fault_server(lambda _: None) as server:
        mux = a_mux(server.address)
        collect(mux, questions(8), metric, bank)
        done = collect(mux, questions(16), metric, bank, cluster=RayCluster(workers=2))
        assert (done.drawn, done.already, done.rescored) == (8 * 2 * K, 8 * 2 * K, 0)
        last = collect(mux, questions(), metric, bank)
        assert (last.drawn, last.already, last.rescored) == (8 * 2 * K, 16 * 2 * K, 0)
        assert recorded(bank) == asked(server) == ALL
    record = bank.record()
    assert record.scores.min() == 1.0
    assert record.votes.shape == (24, 2, K)


def test_a_questions_draws_share_a_request(cluster, bank):
    with fault_server(lambda _: None, latency=0.02) as server:
        mux = a_mux(server.address, group=True)
        done = run(bank, server, mux=mux, num_threads=4 * K)
        assert (done.drawn, done.missing, server.draws) == (TOTAL, 0, TOTAL)
        assert len(server.requests) == TOTAL / K


def test_a_limit_holds_to_the_call(cluster, bank):
    with fault_server(lambda _: None, latency=0.01) as server:
        done = run(bank, server, max_calls=60)
        assert (done.stopped, done.calls, server.draws) == ("max_calls", 60, 60)
        assert sum(recorded(bank).values()) == 60


def test_the_budget_is_on_the_drivers_machine(cluster, bank):
    """Else the machine that had it would take it along, and all others wait for ever."""
    import ray

    driver, places = ray.get_runtime_context().get_node_id(), set()

    def look(_):
        for actor in ray._private.state.actors().values():
            if actor["ActorClassName"].endswith("BudgetKeeper") and actor["State"] == "ALIVE":
                places.add(actor["Address"]["NodeID"])

    with fault_server(look, latency=0.01) as server:
        run(bank, server, max_calls=12)
    assert places == {driver}


def test_a_budget_whose_process_is_killed_ends_the_collection(cluster, bank):
    import ray

    def kill(request):
        if len(server.requests) == 12:
            for actor in ray._private.state.actors().values():
                if actor["ActorClassName"].endswith("BudgetKeeper") and actor["State"] == "ALIVE":
                    os.kill(actor["Pid"], signal.SIGKILL)

    with fault_server(kill, latency=0.05) as server:
        with pytest.raises(MuxError, match="collection's limits has ended, or .* recorded"):
            run(bank, server, max_calls=10**6)
        assert recorded(bank) == asked(server)
        assert 12 <= server.draws < TOTAL
    assert claimed(bank) == []


def test_failures_are_retried(cluster, bank):
    def too_long(request):
        return Fault.TOO_LONG if request.model == "b" and request.question > "q3?" else None

    with fault_server(too_long) as server:
        mux = a_mux(server.address)
        collect(mux, questions(8), metric, bank)
        before, server.plan = server.draws, lambda _: None
        cluster = RayCluster(workers=2)
        done = collect(mux, questions(8), metric, bank, retry_failed=True, cluster=cluster)
        assert (done.drawn, done.failed, server.draws - before) == (4 * K, 0, 4 * K)


def test_a_member_that_is_down_ends_the_collection(cluster, bank, caplog):
    with (
        fault_server(always(Fault.UNAUTHORIZED)) as server,
        pytest.raises(MuxError, match="first 12 draws of 'b' all failed .*Incorrect API key"),
    ):
        run(bank, server, mux=a_mux(server.address, "b"))
    warnings = [record.getMessage() for record in caplog.records if record.name == "dspy_mux"]
    assert sum(text.startswith("Member 'b' abstains") for text in warnings) == 1


def test_a_member_whose_server_is_down_is_given_up_by_each_worker(cluster, bank):
    with fault_server(always(Fault.UNAVAILABLE, model="b")) as server:
        mux = a_mux(server.address)
        for member in mux.members:
            member.lm.num_retries = 0
        done = collect(mux, questions(40), metric, bank, cluster=RayCluster(workers=2))
        [b] = done.given_up
        of_a, of_b = done.members
        assert (b.member, of_a.draws, of_a.abstained) == ("b", 40 * K, 0)
        assert 12 <= of_b.draws == of_b.abstained < 40 * K
        assert done.missing == b.missing == 40 * K - of_b.draws


def test_a_worker_that_is_long_in_setting_up_hears_its_driver(
    cluster, bank, tmp_path, monkeypatch, caplog
):
    """Each member that is up is an order to it, more than it has threads."""
    monkeypatch.setattr("dspy_mux.cluster.workers.SILENCE_S", 2.0)
    with fault_server(lambda _: None, latency=0.05) as server:
        mux = a_mux(server.address, *"abcdefghij")
        done = run(bank, server, LoadsSlowly(tmp_path / "loaded"), mux=mux)
        assert (done.drawn, done.missing) == (10 * K * 24, 0)
    assert "has ended" not in caplog.text


def test_a_key_stays_in_the_environment(cluster, bank, monkeypatch):
    """The workers look it up; where it is not set for them, they say so."""
    with fault_server(lambda _: None) as server:
        mux = a_mux(server.address, key=os.environ[KEY])
        assert run(bank, server, mux=mux, max_calls=10**6).drawn == TOTAL
        monkeypatch.setenv("LATE_KEY", "a-key-of-0815-letters")
        mux = a_mux(server.address, "late", key=os.environ["LATE_KEY"])
        with pytest.raises(ConfigurationError, match="machine .* lacks .* variable LATE_KEY"):
            run(bank, server, mux=mux)
    session = Path(cluster.head_node.get_session_dir_path())
    written = [path for path in session.rglob("*") if path.is_file()]
    assert len(written) > 10
    for secret in (os.environ[KEY], os.environ["LATE_KEY"]):
        assert not [path for path in written if secret.encode() in path.read_bytes()]


def test_others_make_the_draws_of_a_worker_that_is_killed(cluster, bank, tmp_path, caplog):
    killed = tmp_path / "killed"
    with fault_server(lambda _: None, latency=0.02) as server:
        done = run(bank, server, KillsOnce(killed))
        assert killed.exists()
        assert (done.missing, done.drawn + done.already) == (0, TOTAL)
        assert recorded(bank) == ALL
        # What was under way is asked for again, and nothing else.
        assert TOTAL < server.draws <= TOTAL + UNDER_WAY
        assert asked(server) >= Counter(ALL)
    assert "The process of a worker of the collection has ended." in caplog.text


def test_questions_that_kill_their_workers_end_the_collection(cluster, bank):
    with fault_server(lambda _: None) as server:
        with pytest.raises(MuxError, match="3 workers .* have died with the same questions"):
            run(bank, server, Kills(), workers=1)
        assert server.draws <= 3 * (THREADS + UNDER_WAY)
        collect(a_mux(server.address), questions(), metric, bank)
        assert recorded(bank) == ALL


def test_a_driver_that_is_killed_loses_nothing_and_nothing_is_paid_twice(cluster, bank):
    with fault_server(lambda _: None, latency=0.3) as server:
        command = [sys.executable, "-m", "tests.support.cluster_run", cluster.address]
        where = bank.database.url.render_as_string(hide_password=False)
        driver = subprocess.Popen([*command, where, server.address])
        until(lambda: len(server.requests) > 12)
        driver.kill()
        driver.wait()
        # The workers record what is under way, and end.
        until(lambda: not claimed(bank))
        assert recorded(bank) == asked(server)
        assert 12 < server.draws < TOTAL
        done = collect(a_mux(server.address), questions(), metric, bank)
        assert (done.missing, done.already) == (0, TOTAL - done.drawn)
        assert recorded(bank) == asked(server) == ALL


def test_ctrl_c_ends_it_with_all_that_has_arrived_recorded(cluster, bank):
    with fault_server(lambda _: None, latency=0.2) as server:
        command = [sys.executable, "-m", "tests.support.cluster_run", cluster.address]
        where = bank.database.url.render_as_string(hide_password=False)
        driver = subprocess.Popen([*command, where, server.address], stderr=subprocess.PIPE)
        until(lambda: len(server.requests) > 12)
        driver.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in driver.communicate()[1]
        assert claimed(bank) == []
        begun = sum(recorded(bank).values())
        assert server.draws - THREADS <= begun <= server.draws < TOTAL
        done = collect(a_mux(server.address), questions(), metric, bank)
        assert (done.missing, done.already) == (0, begun)
        assert recorded(bank) == ALL


@needs_postgres
def test_a_database_that_crashes_and_comes_back_costs_no_draw(cluster, caplog):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        place = Path(folder) / "pg"
        place.mkdir()
        with (
            postgres_server(place) as database,
            fault_server(lambda _: None, latency=0.1) as server,
        ):
            bank = SampleBank(database.url)
            until_half = threading.Thread(target=_crash, args=(database, server))
            until_half.start()
            done = run(bank, server)
            until_half.join()
            assert (done.drawn, done.calls, done.missing) == (TOTAL, TOTAL, 0)
            assert recorded(bank) == asked(server) == ALL
            bank.close()


def _crash(database, server):
    until(lambda: len(server.requests) > TOTAL / 3)
    database.stop()
    database.start()


def test_others_make_the_draws_of_a_machine_that_is_gone(cluster, bank, caplog):
    """Its claims lapse: it may only be cut off."""
    node = cluster.add_node(num_cpus=1, **NODE)
    with fault_server(lambda _: None, latency=0.2) as server:

        def lose() -> None:
            until(lambda: len(server.requests) > TOTAL / 3)
            cluster.remove_node(node, allow_graceful=False)

        loses = threading.Thread(target=lose)
        loses.start()
        done = run(bank, server, Impatient(), workers=3)
        loses.join()
        assert (done.missing, done.drawn + done.already) == (0, TOTAL)
        assert recorded(bank) == ALL
        assert TOTAL <= server.draws <= TOTAL + UNDER_WAY


@pytest.mark.live
def test_embedded_models_are_loaded_once_each_on_machines_of_their_own(cluster, bank, tmp_path):
    pytest.importorskip("xllamacpp")
    from dspy_mux.local import local_member

    names, loads = ("smollm2-135m", "gemma3-270m"), tmp_path / "loads"
    pool = [local_member(name, max_tokens=8, threads=1) for name in names]
    mux = SLMMux(dspy.Predict("question -> answer"), pool, k=2, temperature=0.5)
    done = collect(mux, questions(6), CountsLoads(loads), bank, cluster=RayCluster())
    assert (done.drawn, done.missing) == (2 * 2 * 6, 0)
    files, nodes = zip(*(line.split() for line in loads.read_text().splitlines()), strict=True)
    assert len(files) == len(set(files)) == len(set(nodes)) == 2


@pytest.mark.live
def test_an_embedded_model_is_loaded_once_on_each_machine_with_room(
    cluster, bank, tmp_path, monkeypatch
):
    pytest.importorskip("xllamacpp")
    from dspy_mux.local import local_member

    monkeypatch.setattr("dspy_mux.cluster.workers.GROW_S", 0.0)
    member, loads = local_member("smollm2-135m", max_tokens=4, threads=1), tmp_path / "loads"
    mux = SLMMux(dspy.Predict("question -> answer"), [member], k=8, temperature=0.5)

    def stop() -> None:
        until(lambda: loads.exists() and loads.read_text().count("\n") == 2)
        os.kill(os.getpid(), signal.SIGINT)

    stops = threading.Thread(target=stop)
    stops.start()
    with pytest.raises(KeyboardInterrupt):  # there is more to draw than anybody waits for
        collect(mux, questions(5000), CountsLoads(loads), bank, cluster=RayCluster())
    stops.join()
    nodes = [line.split()[1] for line in loads.read_text().splitlines()]
    assert len(set(nodes)) == 2


def test_a_bank_in_a_file_is_refused(cluster, tmp_path):
    with (
        fault_server(lambda _: None) as server,
        pytest.raises(ConfigurationError, match=r"is a file on one machine, .* name a PostgreSQL"),
    ):
        run(tmp_path / "bank.sqlite", server)
    assert not (tmp_path / "bank.sqlite").exists()


def test_a_bank_in_a_file_keeps_all_workers_on_its_drivers_machine(
    cluster, bank, tmp_path, monkeypatch
):
    """Also where machines join later, and have room for weights."""
    import ray

    here, nodes = ray.get_runtime_context().get_node_id(), ray.nodes()
    nodes.sort(key=lambda node: node["NodeID"] == here)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr("dspy_mux.cluster.workers.GROW_S", 0.0)
    started = []

    def replicate(place):
        mux = a_mux("http://localhost:1/v1")
        session = _Collection(mux, questions(), metric, place, CollectOptions()).session
        units = Units(place, [], {}, retry_failed=False)
        conducts = RayCluster().conductor(session, units, Interrupt())
        kind = Kind("weights", frozenset(), Resources(), [1], 1, True, deque([(1, 1)] * 9))
        kind.workers.append(RayWorker(1, None, kind, 0, node=here))
        monkeypatch.setattr(conducts, "_start", lambda kind, node: started.append(node))
        conducts._replicate(kind)
        return conducts._only_node

    until(lambda: replicate(bank) or started)  # once the workers of other tests have ended
    assert here not in started
    started.clear()
    assert replicate(SampleBank(tmp_path / "bank.sqlite")) == here
    assert not started
