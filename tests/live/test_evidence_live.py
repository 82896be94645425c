"""One pool of an embedded model, a server that gives log-probabilities and one that refuses."""

from __future__ import annotations

import dspy
import numpy as np
import pytest

from dspy_mux import Member, PlainAdapter, SampleBank, SLMMux, collect
from dspy_mux.local import local_member
from programs import everyday

from ..support.logprob_server import logprob_server

pytestmark = pytest.mark.live

CITIES = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo"}


def says(prompt):
    """The capital for half of the countries, and Rome otherwise."""
    country = next(country for country in CITIES if country in prompt.splitlines()[-1])
    return CITIES[country] if country < "J" else "Rome"


def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


def test_replay_decides_as_the_pool_did(tmp_path):
    with logprob_server(says) as server:
        server.weigh = lambda position, token: -0.1 * len(token)
        settings = {"api_base": server.address, "api_key": "none", "engine": "lm15"}
        pool = [
            local_member("smollm2-135m", max_tokens=12),
            *(
                Member(dspy.LM(f"openai/{name}", **settings), name=name, adapter=PlainAdapter())
                for name in ("gives", "refuses")
            ),
        ]
        mux = SLMMux(everyday.program(), pool, k=2, temperature=0.5, rule="probability")
        examples = [
            dspy.Example(
                question=f"Which city is the capital of {country}?", category="capital", answer=city
            ).with_inputs("question", "category")
            for country, city in CITIES.items()
        ]
        bank = SampleBank(tmp_path / "bank.sqlite")
        collect(mux, examples, metric, bank)
        verdicts = [mux(**example.inputs()).verdict for example in examples]
    record = bank.record()
    assert record.members == ("smollm2-135m", "gives", "refuses")
    known = ~np.isnan(record.evidence["answer_logprob"])
    assert known[:, :2].all()
    assert not known[:, 2].any()

    picks = mux.rule.pick(record.tally(), range(3))
    for at, verdict in enumerate(verdicts):
        assert verdict.calls == 0  # the bank's draws are the live ones, from DSPy's cache
        local, gives, refuses = verdict.ballots
        assert len(local.probabilities) == len(gives.probabilities) == 2
        assert refuses.probabilities == []
        recorded = np.exp(record.evidence["answer_logprob"][at, :2])
        live = [local.probabilities, gives.probabilities]
        assert recorded == pytest.approx(
            np.array(live), rel=1e-12
        )  # np.exp may differ from math.exp
        assert record.members[picks.member[at]] == verdict.member
        assert picks.confidence[at] == pytest.approx(verdict.confidence, rel=1e-12)
