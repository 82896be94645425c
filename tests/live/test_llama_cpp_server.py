"""`dspy-mux init` beside llama.cpp's own HTTP server: found, named by its file, and answering."""

from __future__ import annotations

import pytest

from dspy_mux.cli.start.offers import found_models
from dspy_mux.cli.start.servers import find_servers, given_place
from dspy_mux.local import fetch

pytestmark = pytest.mark.live


@pytest.fixture
def server(monkeypatch):
    """llama.cpp's server on a free port, which wants a key."""
    import xllamacpp

    monkeypatch.setenv("LLAMA_KEY", "key-of-mine-1")
    params = xllamacpp.CommonParams()
    params.model.path = str(fetch("smollm2-135m"))
    params.n_ctx, params.n_parallel = 512, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames, params.api_keys = ["127.0.0.1"], ["key-of-mine-1"]
    params.verbosity = -1
    yield (llama := xllamacpp.Server(params))
    llama.handle_completions({"prompt": "a", "max_tokens": 1})


def test_llama_cpp_is_found_and_its_model_answers(server):
    (found,), silences = find_servers([given_place(server.listening_address, "LLAMA_KEY")])
    assert silences == []
    assert found.kind == "llama.cpp"
    offer = found_models([found]).offers[0]
    assert offer.name == "SmolLM2-135M-Instruct.Q4_1"
    assert offer.about.startswith("135M, Q4_1, 97 MB")
    (text,) = offer.entry.member().lm("Say yes.", max_tokens=4)
    assert text


def test_a_key_is_wanted_though_the_list_is_open(server):
    found, (silence,) = find_servers([given_place(server.listening_address, None)])
    assert (found, silence.wants_key) == ([], True)
