"""`python -m eval evidence --task`: greedy and sampled draws in one bank."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from dspy_mux import ConfigurationError
from eval.compare.pools import PoolOptions
from eval.evidence.draw import DrawOptions, _questions, draw
from eval.evidence.measure import Options
from eval.evidence.sources import read_source
from eval.evidence.table import EvidenceTables, run
from programs.tasks import task

from ...support.http_server import running
from ...support.logprob_server import LogprobServer

QUIET = Console(quiet=True)


@pytest.fixture
def server():
    with running(LogprobServer(lambda prompt: "[[ ## answer ## ]]\nParis")) as server:
        yield server


def options(server, folder):
    file = folder / "pool.toml"
    file.write_text(
        f'[[members]]\nmodel = "openai/small"\napi_base = "{server.address}"\n'
        'api_key_env = "NONE"\n'
    )
    return DrawOptions("everyday", None, PoolOptions(file), limit=6, k=2, temperature=0.5)


def test_draws_are_made_once_and_read_by_temperature(server, tmp_path, monkeypatch):
    monkeypatch.setenv("NONE", "none")
    bank, wanted = str(tmp_path / "draws.sqlite"), options(server, tmp_path)
    draw(wanted, bank, QUIET)
    source = read_source(bank)
    assert source.greedy is not None
    assert source.greedy.votes.shape == (6, 1, 1)
    assert source.sampled.votes.shape == (6, 1, 2)
    assert source.greedy.questions == source.sampled.questions
    assert set(source.sampled.field("split")) == {"validation"}
    assert np.isclose(source.greedy.evidence["answer_logprob"], -0.5).all()
    made = len(server.bodies)
    draw(wanted, bank, QUIET)
    assert len(server.bodies) == made


def test_the_limit_takes_validation_questions_first():
    parts = dict(_questions(task("everyday"), 123))
    assert {split: len(examples) for split, examples in parts.items()} == {
        "validation": 120,
        "test": 3,
    }


def test_draws_go_into_one_bank(server, tmp_path):
    asked = EvidenceTables(
        ["a.sqlite", "b.sqlite"],
        Options(),
        options(server, tmp_path),
        as_json=False,
        as_markdown=False,
    )
    with pytest.raises(ConfigurationError, match="into one bank: name one"):
        run(asked)
    assert server.bodies == []
