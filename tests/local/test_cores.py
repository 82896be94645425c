"""How many threads a model gets."""

from __future__ import annotations

import os

import pytest

from dspy_mux.errors import ConfigurationError
from dspy_mux.local import LlamaEngine, cores


class TestThreads:
    @pytest.fixture(autouse=True)
    def _afresh(self, monkeypatch):
        monkeypatch.delenv("DSPY_MUX_THREADS", raising=False)
        cores.default_threads.cache_clear()
        yield
        cores.default_threads.cache_clear()

    @pytest.mark.parametrize(
        ("machine", "usable", "busy", "threads"),
        [(8, 8, 0, 8), (8, 8, 3, 5), (64, 4, 30, 4), (2, 2, 9, 1)],
    )
    def test_the_default_is_the_cores_that_are_free(
        self, monkeypatch, machine, usable, busy, threads
    ):
        monkeypatch.setattr(cores.os, "cpu_count", lambda: machine)
        monkeypatch.setattr(cores, "usable_cores", lambda: usable)
        monkeypatch.setattr(cores, "busy_cores", lambda: busy)

        assert cores.default_threads() == threads

    def test_the_environment_decides(self, monkeypatch):
        monkeypatch.setenv("DSPY_MUX_THREADS", "3")
        assert cores.default_threads() == 3

    @pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
    def test_a_senseless_number_is_refused(self, monkeypatch, number):
        monkeypatch.setenv("DSPY_MUX_THREADS", number)
        with pytest.raises(ConfigurationError, match="DSPY_MUX_THREADS must be a whole number"):
            cores.default_threads()

    @pytest.mark.parametrize(
        ("quota", "cores_"),
        [("max 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("300000 100000", 3)],
    )
    def test_a_container_s_quota_counts(self, monkeypatch, tmp_path, quota, cores_):
        (tmp_path / "cpu.max").write_text(quota)
        monkeypatch.setattr(cores, "_CGROUP_QUOTA", tmp_path / "cpu.max")
        monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(4)), raising=False)

        assert cores.usable_cores() == cores_

    def test_busy_cores_are_never_negative(self):
        assert cores.busy_cores() >= 0

    def test_openmp_s_settings_do_not_stay_in_the_environment(self, xllamacpp, chat_file):
        before = dict(os.environ)
        LlamaEngine(chat_file).load()

        assert dict(os.environ) == before
