"""`dspy-mux ask`: how sure the draws and the verdict are."""

from __future__ import annotations

import json
import math

import pytest

from ..support.http_server import running
from ..support.logprob_server import LogprobServer


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A pool file of a member with log-probabilities and one without."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "cache"))
    with running(LogprobServer(lambda prompt: "[[ ## answer ## ]]\n42")) as server:
        server.weigh = lambda position, token: math.log(0.25) if token.strip() == b"42" else -0.5
        path = tmp_path / "pool.toml"
        members = "".join(
            f'[[members]]\nname = "{n}"\nmodel = "openai/{n}"\napi_base = "{server.address}"\n'
            for n in ("gives", "refuses")
        )
        path.write_text(f"k = 2\ntemperature = 0.5\nlogprobs = true\n{members}")
        yield path


def test_ask_shows_how_sure_the_draws_and_the_verdict_are(pool, dspy_mux):
    code, out, err = dspy_mux("ask", "--pool", pool, "What is 6 × 7?")
    assert code == 0, err
    cells = {row[0]: row for line in out.splitlines() if (row := split(line))}
    assert cells["member"] == ["member", "answers", "confidence", "probability", "abstained"]
    assert cells["gives"][2:4] == ["1.00", "0.25 0.25"]
    assert cells["refuses"][2:4] == ["1.00", ""]
    assert "consistency, confidence 1.00, tie broken by pool order;" in out


def test_ask_has_no_column_for_probabilities_that_nobody_knows(pool, dspy_mux):
    pool.write_text(pool.read_text().replace("logprobs = true", "logprobs = false"))
    out = dspy_mux("ask", "--pool", pool, "What is 6 × 7?")[1]
    assert "probability" not in out
    assert "confidence 1.00" in out


def test_ask_json_holds_both(pool, dspy_mux):
    verdict = json.loads(dspy_mux("ask", "--pool", pool, "--json", "What is 6 × 7?")[1])
    assert verdict["confidence"] == 1.0
    gives, refuses = verdict["ballots"]
    assert gives["probabilities"] == pytest.approx([0.25, 0.25])
    assert refuses["probabilities"] == []


def split(line):
    return [cell.strip() for cell in line.replace("┃", "│").split("│")[1:-1]]
