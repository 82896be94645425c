from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import dspy
import pytest
from dspy.clients import base_lm
from hypothesis import HealthCheck, Phase, settings

from .support.databases import bank, bank_url, pytest_report_header  # noqa: F401

# `ci` tries the same examples at each run, so that nobody's build fails by luck; `deep` (`make
# fuzz`) tries new ones at each.
# Neither has hypothesis's deadline, which a busy machine breaks: where time is bounded, the test
# says how.
# Without shrinking, which can take longer than a test may: what fails is told as it was found.
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    derandomize=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=200,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("ci")

#: Files that take longest. They come first, so that no worker is left alone with one at the end.
SLOWEST = (
    "live/test_local_models.py",
    "live/test_baselines_live.py",
    "live/test_mux_live.py",
    "faults/test_many_faults.py",
    "cluster/test_ray.py",
    "hostile/test_numbers.py",
    "docs/test_pages.py",
    "fuzz/test_extraction.py",
    "fuzz/test_equivalence.py",
    "faults/test_faults.py",
    "answers/test_math_guard.py",
    "cli/test_decide.py",
    "bank/test_processes.py",
    "bank/test_kills.py",
    "compatibility/test_old_files.py",
    "bank/test_collect.py",
    "answers/test_math_equal.py",
    "hostile/test_terminal.py",
    "faults/test_interrupts.py",
    "fuzz/test_bank_files.py",
    "local/test_weights.py",
    "programs/test_reasoning_gym.py",
    "fuzz/test_command_line.py",
    "faults/test_preload.py",
    "eval/compare/test_escalated.py",
    "mux/test_larger_program.py",
    "eval/report/test_report.py",
    "hostile/test_keys.py",
    "eval/compare/test_command.py",
    "serve/test_clients.py",
    "serve/test_page.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    places = {root / name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    # A million objects of modules and collected tests, which no test leaves: searching them anew
    # takes half a second at each collection of garbage.
    gc.collect()
    gc.freeze()


# Readline sets it for the processes that a test run starts, and commands print in its width.
os.environ.pop("COLUMNS", None)

# A shell that runs the tests in the background has them ignore Ctrl-C, and with them the
# processes that they send one to.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def priced_here(monkeypatch):
    """Servers of this machine cost what a model of their name costs: they stand for hosted ones."""
    monkeypatch.setattr("dspy_mux.sampling.usage.is_loopback", lambda address: False)


@pytest.fixture(autouse=True)
def fresh_cache():
    """Every test starts with an empty DSPy cache, in memory, and leaves no history of its calls:
    DSPy keeps ten thousand, and some are of 10 MB."""
    before = dspy.cache
    dspy.configure_cache(enable_disk_cache=False)
    yield
    dspy.cache = before
    base_lm.GLOBAL_HISTORY.clear()


@pytest.fixture(autouse=True)
def unknown_servers(tmp_path_factory, monkeypatch):
    """No test learns from another one what servers give."""
    from dspy_mux.sampling.group_limits import server_limits

    server_limits.forget()
    monkeypatch.setattr(
        server_limits, "_file", lambda: tmp_path_factory.getbasetemp() / "choices.json"
    )


@pytest.fixture
def unhurried_batches(monkeypatch):
    """Draws of one prompt are waited for long enough that they meet in one request, however busy
    the machine is."""
    monkeypatch.setattr("dspy_mux.local.batch.GAP_S", 1.0)
    monkeypatch.setattr("dspy_mux.local.batch.WINDOW_S", 5.0)


@pytest.fixture(autouse=True)
def draws_are_numbered(request, monkeypatch):
    """Scripted models know a draw by its seed: count seeds from 0, except in tests of the seeds
    themselves."""
    live = request.path.is_relative_to(Path(__file__).parent / "live")
    if "real_seeds" not in request.keywords and not live:
        monkeypatch.setattr("dspy_mux.sampling.draw.first_seed", lambda member, inputs: 0)
