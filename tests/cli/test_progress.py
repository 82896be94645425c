"""What verbs say while they work, on stderr alone."""

from __future__ import annotations

import pytest

from dspy_mux import progress


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("replay", "--k", 1, "--rule", "pooled"), "replaying: "),
        (("search", "--sizes", 2, "--k", 2), "searching: "),
        (("tune", "--k-max", 2, "--trials", 4), "tuning: "),
        (("risk", "--k", 2), "measuring the risk: "),
        (("scale", "--k-max", 2, "--repeats", 2), "measuring: "),
    ],
)
def test_a_log_says_how_far_a_verb_is(verb, said, bank, dspy_mux, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_S", 0.0)
    code, out, err = dspy_mux(verb[0], bank, *verb[1:])
    assert code == 0
    assert f"\n{said}" in f"\n{err}"
    assert said not in out


def test_scale_takes_a_number_of_random_halves(bank, as_json, refused):
    few, many = (as_json("scale", bank, "--k-max", 2, "--repeats", n) for n in (1, 6))
    assert few["by_members"][0]["questions"] == 20
    assert many["by_members"][0]["questions"] > 30
    assert "number of repeats" in refused("scale", bank, "--k-max", 2, "--repeats", 0)
