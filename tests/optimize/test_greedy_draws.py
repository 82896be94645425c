"""`MuxOptimizer` on real servers: greedy draws, log-probabilities, and one budget for all of it."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace

import dspy
import numpy as np
import pytest

from dspy_mux import ConfigurationError, Member, MetricFailed, MuxOptimizer, SampleBank, SLMMux
from dspy_mux.adapters.formats import PlainAdapter
from dspy_mux.optimize.drawing import Drawing, DrawOptions

from ..support.logprob_server import logprob_server
from ..support.scripted import ScriptedEngine, prompt_of
from ..support.skilled import QA, a_member, a_mux, calls, metric, questions

RULES = ["pooled", "probability"]


def knowing(rest):
    """Say the right answer to every second question, and a wrong one to the others."""

    def say(prompt):
        number = int(re.findall(r"q(\d+)\?", prompt)[-1])
        return "right" if number % 2 == rest else f"wrong{rest}"

    return say


@pytest.fixture
def pool():
    """Two members on servers of their own, which are sure where they are right."""
    with ExitStack() as stack:
        servers = [stack.enter_context(logprob_server(knowing(rest))) for rest in (0, 1)]
        for server in servers:
            server.weigh = lambda position, token: -0.05 if token == b"right" else -2.0
        members = [
            Member(
                dspy.LM(
                    f"openai/greedy-test-{at}", api_base=server.address, api_key="x", engine="lm15"
                ),
                name=f"m{at}",
                adapter=PlainAdapter(),
            )
            for at, server in enumerate(servers)
        ]
        yield members, servers


def test_one_greedy_draw_by_probability_is_compiled_saved_and_loaded(tmp_path, pool):
    members, servers = pool
    student = SLMMux(dspy.Predict(QA), members, k=2, temperature=0.7)
    bank = SampleBank(tmp_path / "bank.sqlite")
    optimizer = MuxOptimizer(metric, bank=bank, n_trials=10, rules=RULES)
    best = optimizer.compile(student, trainset=questions(22))
    setting = best.report.tuned.best
    assert (setting.rule, setting.greedy, setting.temperature, setting.value) == (
        "probability",
        True,
        0.0,
        1.0,
    )
    assert [(member.k, member.temperature) for member in best.members] == [(1, 0.0)] * 2
    assert [(member.k, member.temperature) for member in student.members] == [(2, 0.7)] * 2
    assert best.report.tuned.baseline.value <= 0.5
    assert sum(done.calls for done in best.report.collected) == 22 * 2 * (2 + 1)
    assert set(map(tuple, bank.temperatures(dataset="mux_split").values())) == {(0.0, 0.7)}
    assert "| compiled | m0, m1 | 1 greedy | probability | 100.0 | 22 |" in (
        best.report.to_markdown()
    )
    best.save(tmp_path / "mux.json")
    loaded = SLMMux.from_file(tmp_path / "mux.json", lms=members)
    assert [(member.k, member.temperature) for member in loaded.members] == [(1, 0.0)] * 2
    before = [len(server.bodies) for server in servers]
    for mux in (best, loaded):
        for question in questions(4):
            pred = mux(**question.inputs())
            assert (pred.answer, pred.verdict.rule) == ("right", "probability")
    # What was drawn for the compilation is in DSPy's cache.
    assert [len(server.bodies) for server in servers] == before
    assert loaded(question="q101?").verdict.member == "m1"
    assert servers[0].bodies[-1]["temperature"] == 0
    assert servers[0].bodies[-1]["logprobs"]


def test_recorded_evidence_that_the_student_will_not_ask_for_is_not_read(tmp_path, pool):
    members, servers = pool
    bank, train = SampleBank(tmp_path / "bank.sqlite"), questions(22)
    options = {"bank": bank, "n_trials": 12}
    student = SLMMux(dspy.Predict(QA), members, k=2, temperature=0.7)
    best = MuxOptimizer(metric, **options, rules=RULES).compile(student, trainset=train)
    assert best.report.tuned.best.evidence
    silent = SLMMux(dspy.Predict(QA), members, k=2, temperature=0.7, logprobs=False)
    before = [len(server.bodies) for server in servers]
    best = MuxOptimizer(metric, **options).compile(silent, trainset=train)
    assert [len(server.bodies) for server in servers] == before  # both read the same draws
    tuned = best.report.tuned
    assert not any(trial.get("evidence") for trial in tuned.trials)
    assert "probability" not in {trial["rule"] for trial in tuned.trials}
    assert not any(point.plan.evidence for point in tuned.curve.points)
    assert tuned.baseline.temperature == 0.7  # what is no log-probability is known as before
    assert {point.plan.draws for point in tuned.curve.points} == {"1 greedy", "1", "2"}
    best.save(tmp_path / "mux.json")
    loaded = SLMMux.from_file(tmp_path / "mux.json", lms=members)
    assert loaded(question="q1?").answer == best(question="q1?").answer
    before = [len(server.bodies) for server in servers]
    with pytest.raises(ConfigurationError, match="'probability' reads log-probabilities, and"):
        MuxOptimizer(metric, **options, rules=RULES).compile(silent, trainset=train)
    assert [len(server.bodies) for server in servers] == before


def test_evidence_is_read_of_the_members_alone_that_are_asked(tmp_path, pool):
    members, _ = pool
    bank, train = SampleBank(tmp_path / "bank.sqlite"), questions(22)
    for pool_of in (members, [members[0], replace(members[1], logprobs=False)]):
        student = SLMMux(dspy.Predict(QA), pool_of, k=2, temperature=0.7)
        drawing = Drawing(student, metric, bank, DrawOptions(greedy=False), k_max=None)
        draws = drawing.draw({"train": train}).sampled
        if pool_of is members:
            assert not np.isnan(draws.evidence["answer_logprob"]).any()
    assert drawing.collected[0].drawn == 0
    assert not np.isnan(draws.evidence["answer_logprob"][:, 0]).any()
    for name, values in draws.evidence.items():
        assert np.isnan(values[:, 1]).all() == (name != "temperature"), name


@pytest.mark.parametrize(("max_calls", "train"), [(88, 22), (100, 11), (131, 22)])
def test_greedy_draws_that_do_not_fit_the_budget_are_left_out(pool, max_calls, train, caplog):
    members, servers = pool
    student = SLMMux(dspy.Predict(QA), members, k=2, temperature=0.7)
    optimizer = MuxOptimizer(metric, n_trials=6, rules=RULES, max_calls=max_calls)
    best = optimizer.compile(
        student, trainset=questions(22)[:train], valset=questions(22)[train:] or None
    )
    assert sum(len(server.bodies) for server in servers) <= max_calls
    assert "Greedy draws were left out: " in best.report.note
    assert "draws of the train split are missing, as max_calls was reached" in caplog.text
    assert not best.report.tuned.best.greedy
    assert best.report.tuned.best.rule == "probability"


def test_a_budget_holds_for_all_splits_together(pool):
    members, servers = pool
    student = SLMMux(dspy.Predict(QA), members, k=2, temperature=0.7)
    optimizer = MuxOptimizer(metric, n_trials=4, rules=RULES, max_calls=60)
    with pytest.raises(ConfigurationError, match="draws of the validation split are missing"):
        optimizer.compile(student, trainset=questions(32)[:12], valset=questions(32)[12:])
    assert sum(len(server.bodies) for server in servers) == 60


def test_splits_have_greedy_draws_too(pool):
    members, _ = pool
    student = SLMMux(dspy.Predict(QA), members, k=2, temperature=0.7)
    optimizer = MuxOptimizer(metric, n_trials=8, rules=RULES, max_calls=22 * 2 * 3)
    best = optimizer.compile(student, trainset=questions(22)[:11], valset=questions(22)[11:])
    assert (best.report.tuned.best.greedy, best.report.tuned.questions) == (True, 11)
    assert [done.calls for done in best.report.collected] == [44, 44, 22, 22]


def test_a_server_that_refuses_temperature_0_costs_the_greedy_draws_alone(caplog):
    def shown(request):
        return f"{request.config.temperature} {prompt_of(request)}"

    def reply(prompt, draw):
        cold = prompt.startswith("0.0 ")
        return ValueError("temperature must be above 0") if cold else {"answer": "right"}

    engine = ScriptedEngine(reply, shown=shown)
    member = Member(dspy.LM("scripted/warm", engine=engine), name="warm")
    best = MuxOptimizer(metric, n_trials=4, rules=RULES[:1]).compile(
        a_mux(member, a_member("b", 0.2), k=2), trainset=questions(22)
    )
    assert "Greedy draws were left out: The first 12 draws of 'warm' all failed" in caplog.text
    assert "temperature must be above 0" in best.report.note
    assert best(question="q1?").answer == "right"


def test_a_metric_that_fails_on_greedy_draws_is_not_passed_over():
    def shown(request):
        return f"{request.config.temperature} {prompt_of(request)}"

    def reply(prompt, draw):
        return {"answer": "odd" if prompt.startswith("0.0 ") else "right"}

    def strict(example, pred, trace=None):
        return {"right": 1.0, "wrong": 0.0}[pred.answer]

    engine = ScriptedEngine(reply, shown=shown)
    student = a_mux(Member(dspy.LM("scripted/warm", engine=engine), name="warm"), k=2)
    with pytest.raises(MetricFailed, match="KeyError: 'odd'"):
        MuxOptimizer(strict, n_trials=2, rules=RULES[:1]).compile(student, trainset=questions(3))


def test_no_greedy_draws_are_made_where_they_are_not_wanted_or_already_there():
    student = a_mux(a_member("a", 0.8), a_member("b", 0.2), k=2)
    best = MuxOptimizer(metric, n_trials=4, rules=RULES[:1], greedy=False).compile(
        student, trainset=questions(22)
    )
    assert (sum(calls(student)), best.report.greedy_left_out) == (88, None)
    cold = SLMMux(dspy.Predict(QA), [a_member("c"), a_member("d")], k=1, temperature=0)
    best = MuxOptimizer(metric, n_trials=4, rules=RULES[:1]).compile(cold, trainset=questions(22))
    assert (sum(calls(cold)), best.members[0].temperature) == (44, 0)
    with pytest.raises(ConfigurationError, match="'c' would draw 3 times at temperature 0"):
        MuxOptimizer(metric, n_trials=4, k_max=3).compile(cold, trainset=questions(22))


def test_members_that_differ_in_temperature_alone_have_no_greedy_draws(caplog):
    lm = a_member("a", 0.8).lm
    members = [Member(lm, name=f"at {heat}", temperature=heat) for heat in (0.3, 0.9)]
    student = SLMMux(dspy.Predict(QA), members, k=2)
    best = MuxOptimizer(metric, n_trials=4, rules=RULES[:1]).compile(
        student, trainset=questions(22)
    )
    assert "have the same model string" in best.report.greedy_left_out
    assert lm.engine.calls == 88


def test_the_fewest_calls_are_compiled_on_request():
    def reply(prompt, draw):
        number = int(re.findall(r"q(\d+)\?", prompt)[-1])
        # The first draw is wrong on two questions where the others are right, on one it is not.
        right = draw > 0 if number < 2 else draw == 0 if number == 2 else True
        return {"answer": "right" if right else "wrong"}

    member = Member(dspy.LM("scripted/first", engine=ScriptedEngine(reply)), name="first")
    settings = {"n_trials": 10, "rules": RULES[:1], "greedy": False}
    student, train = a_mux(member, k=3), questions(30)
    best = MuxOptimizer(metric, **settings).compile(student, trainset=train)
    fewer = MuxOptimizer(metric, **settings, fewer_calls=True).compile(student, trainset=train)
    tuned = best.report.tuned
    assert (tuned.best.value, tuned.fewer.value) == (29 / 30, 28 / 30)
    assert (tuned.best.k, best.members[0].k, tuned.fewer.k, fewer.members[0].k) == (3, 3, 1, 1)
    assert [row["what"] for row in best.report.rows()][2:] == [
        "compiled",
        "fewer calls, within one standard error",
    ]
    assert [(row["what"], row["k"]) for row in fewer.report.rows()][2:] == [
        ("compiled", 1),
        ("most accurate", 3),
    ]
    assert "Most accurate − paper's defaults" in fewer.report.note
