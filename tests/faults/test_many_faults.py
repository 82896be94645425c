"""Two hundred questions, of whose requests 30 % fail: live accuracy is that of a replay."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import dspy
import numpy as np
import pytest

from dspy_mux import AllMembersFailed, Member, SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import Split
from dspy_mux.voting.tally import Tally

from ..support.fault_server import Fault, Plan, at_random, fault_server

QUESTIONS, K = 200, 2
SKILL = {"a": 0.7, "b": 0.55, "c": 0.4}
#: Stalls take the whole deadline: a tenth as frequent as the others. 10 MB have their own test.
STALLS = (Fault.HANG, Fault.TRICKLE)
FAULTS = [fault for fault in Fault if fault not in (*STALLS, Fault.HUGE)] * 10 + [*STALLS]
RATE, SEED, TIMEOUT = 0.3, 7, 6.0  # seconds; on a machine under load no sound draw may take as long


class Numbered(dspy.ChatAdapter):
    """Names the draw in the prompt, so that it meets the same fault whenever it is made."""

    def format(self, signature, demos, inputs):
        messages = super().format(signature, demos, inputs)
        messages[-1]["content"] += f"\n\n[draw {dspy.settings.lm.kwargs['rollout_id']}]"
        return messages


def answers(request):
    luck = random.Random(f"{request.model} {request.question} {request.draw}")
    return (
        "right"
        if luck.random() < SKILL[request.model]
        else luck.choice(["wrong", "worse", "none of these"])
    )


def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


def a_mux(server, **settings):
    adapter = Numbered(use_json_adapter_fallback=False)
    lms = [
        dspy.LM(f"openai/{name}", api_base=server.address, api_key="none", cache=False)
        for name in SKILL
    ]
    members = [Member(lm, name=name, adapter=adapter) for name, lm in zip(SKILL, lms, strict=True)]
    return SLMMux(dspy.Predict("question -> answer"), members, k=K, timeout=TIMEOUT, **settings)


def closed(mux):
    for member in mux.members:
        member.lm.close()


@pytest.fixture(scope="module")
def plan() -> Plan:
    return at_random(RATE, SEED, FAULTS)


def test_live_accuracy_under_faults_is_what_replay_says(plan, tmp_path, nothing_left):
    examples = [
        dspy.Example(question=f"q{n}?", answer="right").with_inputs("question")
        for n in range(QUESTIONS)
    ]
    bank = SampleBank(tmp_path / "bank.sqlite")
    with fault_server(plan, answers) as server:
        mux = a_mux(server)
        collect(mux, examples, metric, bank, num_threads=64)
        met = sum(plan(request) is not None for request in server.requests)
        assert 0.25 < met / len(server.requests) < 0.35
        closed(mux)
    record = bank.record()
    bank.close()
    assert record.votes.shape == (QUESTIONS, len(SKILL), K)
    assert 0 < (record.votes == -1).sum() < record.votes.size / 2
    accuracies = dict(
        zip(SKILL, Tally(record.votes).plurality_scores(record.scores).mean(axis=0), strict=True)
    )

    def ask(example):
        try:
            return float(metric(example, live(**example.inputs())))
        except AllMembersFailed:
            return 0.0

    with fault_server(plan, answers) as server, ThreadPoolExecutor(16) as threads:
        live = a_mux(server, accuracies=accuracies)
        right = list(threads.map(ask, examples))
        closed(live)
    everything = np.arange(QUESTIONS)
    replayed = replay(record, "consistency", splits=[Split(everything, everything)])
    assert replayed.per_question.tolist() == right
    assert replayed.accuracy == pytest.approx(sum(right) / QUESTIONS)
    nothing_left()
