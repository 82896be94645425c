"""Schedules in a live mux: the same answer for fewer calls, whatever the members say."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from pathlib import Path

import dspy
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux import AllMembersFailed, ConfigurationError, SLMMux
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.frugal import completions, frugal_draws
from dspy_mux.voting.rules import Consistency, Pooled, SelfConsistencyRule
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.scripted import calls, scripted_lm
from ..support.votes import batches, draw_as_they_arrive, draw_as_wanted, order_of, tally_of

QA = dspy.Signature("question -> answer")
BANKS = Path(__file__).parents[3] / "shared" / "data"


@settings(max_examples=300)
@given(batches())
def test_consistency_gives_the_choice_of_all_draws(batch):
    spent = frugal_draws(Consistency(), tally_of(batch), order_of(batch))
    for row, ballots in enumerate(batch):
        short, made = draw_as_wanted(Consistency(), ballots)
        full = Consistency().choose(ballots)
        assert (short is None) == (full is None)
        if short is not None:
            assert (short.answer, short.ballot, short.confidence) == (
                full.answer,
                full.ballot,
                full.confidence,
            )
        assert made == spent[row].tolist(), "replay counts the draws that a live mux makes"


@settings(max_examples=300)
@given(batches())
def test_pooled_gives_the_answer_of_all_draws(batch):
    spent = frugal_draws(Pooled(), tally_of(batch), [])
    for row, ballots in enumerate(batch):
        short, made = draw_as_wanted(Pooled(), ballots)
        assert made == spent[row].tolist(), "replay counts the draws that a live mux makes"
        full = Pooled().choose(ballots)
        assert (short and (short.answer, short.ballot)) == (full and (full.answer, full.ballot))
        assert short is None or short.confidence <= full.confidence


@settings(max_examples=300)
@given(batches(), st.data())
def test_draws_that_arrive_in_any_order_give_the_answer_of_all_draws(batch, data):
    for ballots in batch:
        members = [at for at, ballot in enumerate(ballots) for _ in ballot.votes]
        arrivals = data.draw(st.permutations(members))
        short, _ = draw_as_they_arrive(Consistency(), ballots, arrivals)
        full = Consistency().choose(ballots)
        assert (short and (short.answer, short.ballot, short.confidence)) == (
            full and (full.answer, full.ballot, full.confidence)
        )
        short, made = draw_as_they_arrive(Pooled(), ballots, arrivals)
        full = Pooled().choose(ballots)
        assert (short and short.answer) == (full and full.answer)
        if short is not None:
            # Another member may get the credit: the first to have drawn the answer by then.
            drawn = [ballot.votes[:n] for ballot, n in zip(ballots, made, strict=True)]
            assert short.ballot == next(at for at, own in enumerate(drawn) if full.answer in own)
            assert short.ballot >= full.ballot
            assert short.confidence <= full.confidence


def test_pooled_credits_whoever_has_drawn_the_answer_by_then():
    ballots = [Ballot("a", (0,)), Ballot("b", (0, 0)), Ballot("c", (0,))]
    assert Pooled().choose(ballots).ballot == 0
    short, made = draw_as_they_arrive(Pooled(), ballots, [1, 1, 2, 0])
    assert (short.answer, short.ballot, made) == (0, 1, [0, 2, 1])


@given(batches())
def test_self_consistency_draws_from_its_member_alone(batch):
    for ballots in batch:
        short, made = draw_as_wanted(SelfConsistencyRule(), ballots)
        assert short == SelfConsistencyRule().choose(ballots)
        assert sum(n > 0 for n in made) == 1


def fitted(seed, questions=60, members=3, k=2):
    random = np.random.default_rng(seed)
    votes = random.integers(ABSTAINED, 3, (questions, members, k))
    scores = ((votes == 0) & (random.random((questions, 1, 1)) < 0.8)).astype(float)
    return fit(Training(Tally(votes), scores, [f"m{at}" for at in range(members)]))


RULES = [
    dataclasses.replace(fitted(seed), instead=instead)
    for seed in range(3)
    for instead in (None, "consistency", "pooled")
]


@settings(max_examples=150)
@given(
    st.sampled_from(RULES),
    st.lists(st.tuples(*[st.sampled_from([None, 0, 1, 2])] * 2), min_size=3, max_size=3),
)
def test_calibrated_gives_the_answer_of_all_draws(rule, votes):
    ballots = [Ballot(f"m{at}", member) for at, member in enumerate(votes)]
    short, made = draw_as_wanted(rule, ballots)
    full = rule.choose(ballots)
    assert (short and short.answer) == (full and full.answer)
    assert max(made) <= 2


def test_completions_are_all_ways_that_differ():
    ways = completions([Ballot("a", (0,), asked=1), Ballot("b", (), asked=2)])
    told = [tuple(way[1]) for way in ways.tolist()]
    # Nothing, the answer seen already, or a new one; after that also the new one again, or another.
    assert sorted(told) == [
        (-1, -1),
        (-1, 0),
        (-1, 1),
        (0, -1),
        (0, 0),
        (0, 1),
        (1, -1),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    assert completions([Ballot("a", (), asked=9)]) is None
    assert len(completions([Ballot("b", (), asked=2)], most=5)) == 5
    assert completions([Ballot("b", (), asked=2)], most=4) is None


def lms(**drawn):
    return {name: scripted_lm(name, list(answers)) for name, answers in drawn.items()}


def test_a_unanimous_best_member_spares_all_others():
    pool = lms(a=["x"], b=["y"], c=["z"])
    verdict = SLMMux(dspy.Predict(QA), pool, accuracies={"b": 0.9, "a": 0.5}, schedule="frugal")(
        question="?"
    ).verdict
    assert (verdict.answer, verdict.member, verdict.confidence, verdict.calls) == ("y", "b", 1.0, 3)
    assert [calls(lm) for lm in pool.values()] == [0, 3, 0]
    assert [(ballot.member, ballot.votes, ballot.spared) for ballot in verdict.ballots] == [
        ("a", [], 3),
        ("b", [0, 0, 0], 0),
        ("c", [], 3),
    ]


def test_a_member_stops_once_it_cannot_win():
    pool = lms(a=["x", "x", "x", "u"], b=["y", "z", "y", "y"])
    verdict = SLMMux(dspy.Predict(QA), pool, k=4, schedule="frugal")(question="?").verdict
    # The bar is 3/4: two different answers leave b at 3/4 at the best, which does not beat it.
    assert (verdict.answer, verdict.calls, calls(pool["b"])) == ("x", 6, 2)
    assert verdict.ballots[1].confidence == 1 / 4


def test_failing_members_change_nothing():
    down = ValueError("down")
    for schedule in ("frugal", "hedged"):
        pool = lms(a=[down], b=["y", down, "y"], c=["z", "z", "u"])
        verdict = SLMMux(dspy.Predict(QA), pool, schedule=schedule, accuracies={"a": 0.9})(
            question=schedule
        ).verdict
        assert (verdict.answer, verdict.member, verdict.confidence) == (
            "y",
            "b",
            pytest.approx(2 / 3),
        )
        with pytest.raises(AllMembersFailed, match="a: .*down; b: .*down"):
            SLMMux(dspy.Predict(QA), lms(a=[down], b=[down]), schedule=schedule)(
                question=f"{schedule}?"
            )


@pytest.mark.parametrize("schedule", ["full", "frugal", "hedged"])
@pytest.mark.parametrize("rule", ["consistency", "pooled", "self_consistency"])
def test_schedules_answer_alike_sync_and_async(schedule, rule):
    random = np.random.default_rng(0)
    for question in range(8):
        drawn = {name: [str(answer) for answer in random.integers(0, 3, 3)] for name in "abc"}
        known = {"accuracies": {"a": 0.5, "c": 0.7}, "rule": rule}
        full = SLMMux(dspy.Predict(QA), lms(**drawn), **known)(question=f"{question}").verdict
        mux = SLMMux(dspy.Predict(QA), lms(**drawn), schedule=schedule, **known)
        short = mux(question=f"{question}").verdict
        again = asyncio.run(mux.acall(question=f"{question}")).verdict
        assert (
            (full.answer, full.member)
            == (short.answer, short.member)
            == (again.answer, again.member)
        )
        assert short.calls + short.cached_calls <= 9


def test_hedged_withdraws_what_is_no_longer_needed():
    replied = []
    slow = scripted_lm("slow", lambda *asked: replied.append(asked) or "y", latency=30)
    pool = {"fast": scripted_lm("fast", ["x"]), "slow": slow, "third": scripted_lm("third", ["z"])}
    mux = SLMMux(
        dspy.Predict(QA),
        pool,
        accuracies={"fast": 0.9, "slow": 0.8, "third": 0.1},
        schedule="hedged",
    )
    verdict = mux(question="?").verdict
    assert asyncio.run(mux.acall(question="async?")).answer == "x"
    assert not replied, "nobody waited for the slow member"
    assert (verdict.answer, [ballot.spared for ballot in verdict.ballots]) == ("x", [0, 3, 3])
    assert calls(pool["third"]) == 0
    # What was begun was paid for.
    assert 3 <= verdict.calls <= 6


def test_an_engine_that_can_stop_is_stopped():
    from dspy_mux.sampling.deadline import offer

    stopped = threading.Event()

    class Stoppable(type(scripted_lm("any", ["x"]).engine)):
        def complete(self, request):
            offer(stopped.set)
            assert stopped.wait(30)
            raise ValueError("stopped")

    hanging = dspy.LM("scripted/hanging", engine=Stoppable(lambda *_: "x"))
    SLMMux(dspy.Predict(QA), {"a": scripted_lm("a", ["x"]), "hanging": hanging}, schedule="hedged")(
        question="?"
    )
    assert stopped.wait(5)


def test_a_schedule_is_saved_and_checked(tmp_path):
    SLMMux(dspy.Predict(QA), lms(a=["x"], b=["x"]), schedule="frugal").save(tmp_path / "mux.json")
    again = SLMMux(dspy.Predict(QA), lms(a=["x"], b=["x"]))
    again.load(tmp_path / "mux.json")
    assert (again.schedule, again(question="?").verdict.calls) == ("frugal", 3)

    class Own:
        name = "own"

        def choose(self, ballots):
            return Consistency().choose(ballots)

    with pytest.raises(ConfigurationError, match="the rule 'own' has no method wants"):
        SLMMux(dspy.Predict(QA), lms(a=["x"]), rule=Own(), schedule="frugal")
    with pytest.raises(
        ConfigurationError, match="schedule must be one of full, frugal, hedged, not 'lazy'"
    ):
        SLMMux(dspy.Predict(QA), lms(a=["x"]), schedule="lazy")


@pytest.mark.skipif(not BANKS.is_dir(), reason="the shared banks are not beside the checkout")
@pytest.mark.parametrize(
    ("file", "dataset"),
    [
        ("tiny_slms_everyday", None),
        ("rgym_short_dev", None),
        ("faithful_cot_gsm8k_aqua", "GSM8K"),
        ("faithful_cot_gsm8k_aqua", "AQUA"),
    ],
)
def test_on_recorded_draws_no_answer_changes(file, dataset):
    record, _ = read_jsonl(BANKS / f"{file}.jsonl.gz", dataset=dataset).of(None, 3)
    a_i = Tally(record.votes).plurality_scores(record.scores).mean(axis=0).tolist()
    for question in record.votes[:, :, :3]:
        ballots = [
            Ballot(
                name, tuple(None if vote == ABSTAINED else int(vote) for vote in votes), accuracy
            )
            for name, votes, accuracy in zip(record.members, question, a_i, strict=True)
        ]
        for rule in (Consistency(), Pooled()):
            short, full = draw_as_wanted(rule, ballots)[0], rule.choose(ballots)
            assert (short and (short.answer, short.ballot)) == (full and (full.answer, full.ballot))


def test_a_withdrawn_draw_never_starts_again():
    """A rule may want more after a late draw; what was stopped stays stopped."""

    class Fickle:
        name = "fickle"

        def choose(self, ballots):
            return Consistency().choose(ballots)

        def wants(self, ballots):
            made = sum(len(ballot.votes) for ballot in ballots)
            return (
                [] if made == 2 else [(at, 1) for at, ballot in enumerate(ballots) if ballot.left]
            )

    for run in range(5):
        pool = {
            name: scripted_lm(f"{name}{run}", ["x"], latency=0.01 * (at + 1))
            for at, name in enumerate("ab")
        }
        mux = SLMMux(dspy.Predict(QA), pool, k=4, rule=Fickle(), schedule="hedged")
        verdict = mux(question=f"{run}").verdict
        assert sum(calls(lm) for lm in pool.values()) <= 8
        assert not any(ballot.abstentions for ballot in verdict.ballots)


def test_a_rule_wanting_absent_draws_is_named():
    class Greedy:
        name = "greedy"

        def choose(self, ballots):
            return Consistency().choose(ballots)

        def wants(self, ballots):
            return [(0, 1)]

    with pytest.raises(
        ConfigurationError, match=r"The rule 'greedy' wants draws that do not exist: \[\(0, 1\)\]"
    ):
        SLMMux(dspy.Predict(QA), lms(a=["x"]), k=1, rule=Greedy(), schedule="frugal")(question="?")
