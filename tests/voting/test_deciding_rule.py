"""A simple rule that decides in the calibrated rule's place: what it draws, and what it says."""

from __future__ import annotations

import dataclasses

import dspy
import numpy as np
import pytest
from hypothesis import given, strategies as st

from dspy_mux import AllMembersFailed, SLMMux
from dspy_mux.replay.decisions import decide
from dspy_mux.replay.replay import pooled_results, replay
from dspy_mux.replay.splits import folds
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.frugal import frugal_draws
from dspy_mux.voting.rules import FirstToAnswer, deciding_rule
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.scripted import calls, scripted_lm
from ..support.votes import batches, draw_as_wanted, drawn, order_of, record_from, tally_of

MEMBERS = ("a", "b", "c")
VOTES, SCORES = drawn(60, rates=(0.5, 0.9, 0.6), k=2)
RULE = dataclasses.replace(
    fit(Training(Tally(VOTES), SCORES, MEMBERS)), instead="self_consistency", scale=None
)
assert RULE.accuracies[1] == max(RULE.accuracies)


def mux_of(replies, schedule="frugal"):
    pool = {name: scripted_lm(name, replies.get(name, ["x"])) for name in MEMBERS}
    mux = SLMMux(dspy.Predict("question -> answer: int"), pool, k=2, rule=RULE, schedule=schedule)
    return mux, [pool[name] for name in MEMBERS]


def test_its_member_alone_draws_and_the_verdict_says_who_decides():
    mux, lms = mux_of({"b": ["7"]})
    verdict = mux(question="?").verdict
    assert [calls(lm) for lm in lms] == [0, 2, 0]
    assert (verdict.answer, verdict.member, verdict.rule) == (7, "b", "calibrated")
    assert verdict.decided_by == verdict.model_dump(mode="json")["decided_by"] == "self_consistency"
    assert "by the rule calibrated, where self_consistency decides" in str(verdict)


@pytest.mark.parametrize("schedule", ["full", "frugal", "hedged"])
def test_where_its_member_abstains_the_next_one_answers(schedule):
    mux, lms = mux_of({"a": ["3"], "b": ["none"], "c": ["5"]}, schedule)
    verdict = mux(question="?").verdict
    known = dict(zip(MEMBERS, RULE.accuracies, strict=True))
    second = max("ac", key=known.__getitem__)
    assert (verdict.member, verdict.answer) == (second, {"a": 3, "c": 5}[second])
    if schedule == "frugal":
        assert {name: calls(lm) for name, lm in zip(MEMBERS, lms, strict=True)} == {
            "a": 2 * (second == "a"),
            "b": 2,
            "c": 2 * (second == "c"),
        }
    silent, _ = mux_of({name: ["none"] for name in MEMBERS}, schedule)
    with pytest.raises(AllMembersFailed, match="b: "):
        silent(question="What else?")


@given(batches())
def test_live_choices_and_draws_match_replay(batch):
    rule, tally, order = FirstToAnswer(), tally_of(batch), order_of(batch)
    picks, made = rule.pick(tally, order), frugal_draws(rule, tally, order)
    for at, ballots in enumerate(batch):
        choice, drawn_of_each = draw_as_wanted(rule, ballots)
        whole = rule.choose(ballots)
        assert drawn_of_each == made[at].tolist()
        assert (choice is None) == (whole is None) == (picks.member[at] < 0)
        if choice is not None:
            assert (choice.answer, choice.ballot) == (whole.answer, whole.ballot)
            assert choice.ballot == picks.member[at]


@given(st.integers(0, 59))
def test_the_calibrated_rule_draws_as_its_replays_count(question):
    votes = VOTES[question].copy()
    votes[1] = ABSTAINED  # the most accurate member
    ballots = [
        Ballot(name, tuple(None if vote < 0 else int(vote) for vote in row))
        for name, row in zip(MEMBERS, votes, strict=True)
    ]
    order = deciding_rule("self_consistency").order_of(MEMBERS, list(RULE.accuracies))
    counted = frugal_draws(deciding_rule("self_consistency"), Tally(votes[None]), order)
    choice, made = draw_as_wanted(RULE, ballots)
    assert made == counted[0].tolist()
    assert (choice is None) == (votes < 0).all()
    assert choice is None or choice.decided_by == "self_consistency"


def test_replays_say_in_how_many_splits_which_rule_decided():
    # One member answers; the others' only abstain: every rule picks the same, and is as good.
    votes = np.full((120, 3, 2), ABSTAINED)
    votes[:, 0] = np.arange(120)[:, None] % 3
    record = record_from(votes, (votes == 0).astype(float))
    parts = folds(120, count=2)
    result = replay(record, "calibrated", splits=parts)
    (name,) = result.decided_by
    assert name != "calibrated"
    assert result.decided_by == {name: 1.0} == result.as_dict()["decided_by"]
    alone = [replay(record, "calibrated", splits=[part]) for part in parts]
    assert pooled_results(alone).decided_by == {name: 1.0}
    assert replay(record, "pooled", splits=parts).decided_by is None
    assert "decided_by" not in replay(record, "pooled", splits=parts).as_dict()
    training = Training(record.tally(), record.scores, record.members)
    assert decide("calibrated", training, record.tally()).decided_by == name
