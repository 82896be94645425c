"""A log against a bank: the same figures from live muxes and from replay, and few false alarms."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from datetime import datetime, timezone

import dspy
import numpy as np
import pytest

from dspy_mux import (
    AllMembersFailed,
    ConfigurationError,
    DataError,
    Record,
    SLMMux,
    VerdictLog,
    drift,
    read_verdicts,
)
from dspy_mux.mux.verdict_log import LoggedBallot, LoggedVerdict
from dspy_mux.replay.live import Policy
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.confidence import RuleScale, Scale
from dspy_mux.voting.early_stopping import fit_early_stopping
from dspy_mux.voting.rules import Consistency, SelfConsistencyRule, rule_of

from ..support.scripted import asked, scripted_lm

numbers = itertools.count()


def a_record(questions=60, members="abc", k=4, seed=0, abstains=0.1, skill=0.6):
    """Members of different steadiness; class 0 is right, and draws abstain now and then."""
    random = np.random.default_rng(seed)
    shape = (questions, len(members), k)
    hard = random.beta(2, 2, questions)[:, None, None]
    right = random.random(shape) < skill + 0.3 - 0.6 * hard
    votes = np.where(right, 0, random.integers(1, 4, shape))
    votes = np.where(random.random(shape) < abstains, -1, votes)
    return Record(
        tuple(members),
        tuple(f"q{at}" for at in range(questions)),
        votes,
        (votes == 0).astype(float),
        {"question": tuple(f"q{at}" for at in range(questions))},
    )


def live_mux(record, **settings):
    """A mux whose members draw what is recorded."""
    run = next(numbers)

    def member(at, name):
        def reply(prompt, draw):
            vote = record.votes[int(asked(prompt)[1:]), at, draw]
            return "" if vote < 0 else {"answer": f"answer {vote}"}

        return scripted_lm(f"{name}{run}", reply)

    lms = {name: member(at, name) for at, name in enumerate(record.members)}
    return SLMMux(dspy.Predict("question -> answer"), lms, **settings)


def logged(mux, record, path):
    with dspy.context(callbacks=[VerdictLog(path)], disable_history=True):
        for question in record.questions:
            with contextlib.suppress(AllMembersFailed):
                mux(question=question)
    return path


def replayed_log(record, policy):
    """The log of a mux with this policy, without a mux."""
    polls, _ = policy.decide(record)
    return [
        LoggedVerdict(
            at=datetime.now(timezone.utc),
            rule=policy.rule.name,
            schedule=policy.schedule,
            member=policy.members[0],
            confidence=poll.confidence,
            group=poll.group,
            ballots=[
                LoggedBallot(member=name, votes=list(votes), k=k)
                for name, votes, k in zip(policy.members, poll.votes, policy.k, strict=True)
            ],
        )
        for poll in polls
    ]


def a_policy(record, k=3, rule="consistency"):
    count = len(record.members)
    return Policy(rule_of(rule), record.members, (k,) * count, (None,) * count)


def rule_called(name, record):
    part = record.of(None, 3)[0].first(3)
    training = Training(part.tally(), part.scores, part.members)
    if name == "calibrated":
        return fit(training)
    return fit_early_stopping(training, 0.15) if name == "budgeted" else name


@pytest.mark.parametrize(
    ("rule", "schedule", "threshold"),
    [
        ("consistency", "full", None),
        ("consistency", "frugal", 0.6),
        ("pooled", "full", None),
        ("pooled", "frugal", None),
        ("self_consistency", "full", None),
        ("self_consistency", "frugal", None),
        ("calibrated", "full", 0.6),
        ("budgeted", "frugal", 0.5),
    ],
)
def test_a_mux_in_service_and_its_bank_agree_to_the_last_figure(
    rule, schedule, threshold, tmp_path
):
    record = a_record(abstains=0.3)
    settings = {"k": 3, "accuracies": {"a": 0.5, "b": 0.7, "c": 0.6}, "threshold": threshold}
    mux = live_mux(record, rule=rule_called(rule, record), schedule=schedule, **settings)
    log = logged(mux, record, tmp_path / "log.jsonl")
    lines = read_verdicts(log)
    assert len(lines) == 60
    assert {line.answered for line in lines} == {True, False} or rule != "self_consistency"
    mux.save(tmp_path / "mux.json")
    plain = [] if rule in ("calibrated", "budgeted") else [None]
    for way in (mux, tmp_path / "mux.json", *plain):
        found = drift(record, log, mux=way)
        assert (found.bank_questions, found.log_questions, found.left_out) == (60, 60, 0)
        assert [(each.figure, each.change) for each in found.comparisons if each.change] == []
        assert {each.p_corrected for each in found.comparisons} == {1.0}
        assert not found.drifted
        figures = {each.figure for each in found.comparisons}
        assert ("trusted" in figures) == (way is not None and threshold is not None)
    if schedule == "frugal":
        assert sum(len(ballot.votes) for line in lines for ballot in line.ballots) < 60 * 9


@pytest.mark.parametrize("schedule", ["full", "frugal"])
def test_calibrated_confidences_are_compared_on_the_muxs_scale(schedule, tmp_path):
    record = a_record(abstains=0.3)
    mux = live_mux(record, k=3, schedule=schedule, threshold=0.6)
    mux.pool.scale = RuleScale(
        "consistency", record.members, (3, 3, 3), Scale(0.7, -0.3), stays=True
    )
    log = logged(mux, record, tmp_path / "log.jsonl")
    mux.save(tmp_path / "mux.json")
    raw = drift(record, replayed_log(record, a_policy(record)))
    for way in (mux, tmp_path / "mux.json"):
        found = drift(record, log, mux=way)
        assert {each.change for each in found.comparisons} == {0.0}
        assert found.comparisons[1].bank < raw.comparisons[1].bank - 0.05
    with pytest.raises(ConfigurationError, match="calibrated on labels, and the log does not say"):
        drift(record, log)


def test_the_figures_are_what_they_are_called():
    votes = np.array([[[0, 0, -1], [0, 1, 1]], [[2, 2, 2], [-1, -1, -1]], [[-1] * 3] * 2])
    record = Record(("a", "b"), ("q0", "q1", "q2"), votes, (votes == 0).astype(float), {})
    found = drift(record, replayed_log(record, a_policy(record)))
    values = {(each.member, each.figure): each.bank for each in found.comparisons}
    assert values == pytest.approx(
        {
            (None, "abstention"): 1 / 3,
            (None, "confidence"): (2 / 3 + 1) / 2,
            ("a", "abstention"): (1 / 3 + 0 + 1) / 3,
            ("a", "agreement"): 1.0,
            ("a", "confidence"): (2 / 3 + 1 + 0) / 3,
            ("b", "abstention"): 2 / 3,
            ("b", "agreement"): 0.0,
            ("b", "confidence"): (2 / 3 + 0 + 0) / 3,
        }
    )
    assert {(each.member, each.log_questions) for each in found.comparisons} == {
        *((None, 3), (None, 2), ("a", 3), ("a", 2), ("b", 3), ("b", 1))
    }


def test_agreement_is_of_questions_that_both_answer():
    votes = np.array([[[-1, -1, -1], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]]])
    record = Record(("a", "b"), ("q0", "q1"), votes, (votes == 0).astype(float), {})
    policy = dataclasses.replace(a_policy(record), rule=SelfConsistencyRule("a"))
    found = drift(record, replayed_log(record, policy))
    agreement = {
        e.member: (e.bank, e.log_questions) for e in found.comparisons if e.figure == "agreement"
    }
    assert agreement == {"a": (1.0, 1), "b": (1.0, 1)}


def test_nothing_but_chance_drifts_at_most_as_often_as_is_said():
    """150 pairs of log and bank from one pool, at a level of 20 %: at most 3 standard errors more.

    Figures of one pool depend on each other, so the share is lower than the level.
    """
    runs, level = 150, 0.2
    alarms = 0
    for run in range(runs):
        record = a_record(100, members="ab", k=3, seed=run)
        log = replayed_log(record.rows(np.arange(50)), a_policy(record))
        alarms += drift(record.rows(np.arange(50, 100)), log, level=level, seed=run).drifted
    assert alarms / runs <= level + 3 * np.sqrt(level * (1 - level) / runs)


@pytest.mark.parametrize(
    ("change", "figures"),
    [
        ({"abstains": 0.35}, {(None, "confidence"), ("a", "abstention"), ("b", "abstention")}),
        ({"skill": 0.2}, {("a", "confidence"), ("b", "confidence")}),
    ],
)
def test_a_pool_that_has_changed_is_seen(change, figures):
    bank = a_record(400, members="ab", k=3)
    service = a_record(300, members="ab", k=3, seed=1, **change)
    found = drift(bank, replayed_log(service, a_policy(service)))
    seen = {(each.member, each.figure) for each in found.comparisons if each.drifted}
    assert figures <= seen
    for each in found.comparisons:
        assert each.low < each.change < each.high
        assert each.p <= each.p_corrected
    assert found.as_dict()["drifted"]


def test_needed_questions_are_those_that_see_the_change():
    bank = a_record(800, members="ab", k=3, abstains=0.02)
    first = drift(bank, replayed_log(bank.rows(np.arange(50)), a_policy(bank)), change=0.08)
    (row,) = [
        each for each in first.comparisons if (each.member, each.figure) == ("a", "abstention")
    ]
    seen = 0
    for run in range(20):
        service = a_record(row.questions_needed, members="ab", k=3, seed=run, abstains=0.1)
        found = drift(bank, replayed_log(service, a_policy(service)), seed=run)
        seen += any(
            e.drifted for e in found.comparisons if (e.member, e.figure) == ("a", "abstention")
        )
    assert seen >= 11  # 16 are expected; the chance of fewer than 11 is below 1 in 300


def test_the_same_seed_gives_the_same_figures():
    record = a_record(100)
    log = replayed_log(record.rows(np.arange(30)), a_policy(record))
    bank = record.rows(np.arange(30, 100))
    assert drift(bank, log, seed=3) == drift(bank, log, seed=3)


def test_members_of_different_k_are_compared_by_their_own():
    record = a_record(50, members="ab")
    policy = dataclasses.replace(a_policy(record), k=(1, 4))
    found = drift(record, replayed_log(record, policy))
    assert found.k == (1, 4)
    members = [each.member for each in found.comparisons if each.figure == "confidence"]
    assert members == [None, "b"]  # of one draw, the confidence is whether it abstained
    assert not found.drifted


def test_questions_with_too_few_draws_are_left_out():
    record = a_record(30)
    votes = record.votes.copy()
    votes[:5, 1, 2:] = -2
    found = drift(dataclasses.replace(record, votes=votes), replayed_log(record, a_policy(record)))
    assert (found.bank_questions, found.left_out) == (25, 5)


def refusals():
    record = a_record(20)
    policy = a_policy(record)
    log = replayed_log(record, policy)
    other = Record(("a", "x"), record.questions, record.votes[:, :2], record.scores[:, :2], {})
    yield other, log, {}, r"members a, b, c, and the bank has a, x: compare"
    few = dataclasses.replace(record, votes=record.votes[..., :2])
    yield few, log, {}, r"k=3 draws of 'a', and the bank has at most 2"
    longer = replayed_log(record, a_policy(record, k=4))
    yield record, [*log, *longer], {}, r"several muxes \(a \(k=3\), .*; a \(k=4\)"
    pooled = replayed_log(record, a_policy(record, rule="pooled"))
    yield record, [*log, *pooled], {}, r"several muxes \(consistency; pooled\)"
    frugal = replayed_log(record, dataclasses.replace(policy, schedule="frugal"))
    yield record, [*log, *frugal], {}, r"several muxes \(frugal; full\)"
    hedged = [line.model_copy(update={"schedule": "hedged"}) for line in log]
    yield record, hedged, {}, "a bank does not say that"
    own = [line.model_copy(update={"rule": "calibrated"}) for line in log]
    yield record, own, {}, r"'calibrated', which its name alone does not determine"
    wrong = [line.model_copy(update={"confidence": 0.123}) for line in log]
    yield record, wrong, {}, r"confidence 0.123 where the rule 'consistency' of the mux gives"
    yield record, log, {"mux": live_mux(record, k=4)}, r"the mux decides by consistency over .*k=4"
    yield record, log, {"mux": live_mux(record, rule="pooled")}, "the mux decides by pooled"
    frugal_mux = live_mux(record, schedule="frugal")
    yield record, log, {"mux": frugal_mux}, "schedule 'frugal': pass"
    yield record, [], {}, "no verdict to compare"
    yield record, log, {"level": 0.0}, "level must lie between 0 and 1"
    yield record, log, {"change": 1.0}, "change must lie between 0 and 1"


@pytest.mark.parametrize(("record", "log", "settings", "message"), list(refusals()))
def test_what_cannot_be_compared_is_refused(record, log, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        drift(record, log, **settings)


def test_a_rule_of_the_users_own_needs_the_mux_itself(tmp_path):
    class First:
        name = "first"

        def choose(self, ballots):
            return Consistency().choose(ballots[:1])

    record = a_record(20, abstains=0.0)
    mux = live_mux(record, rule=First())
    log = logged(mux, record, tmp_path / "log.jsonl")
    assert not drift(record, log, mux=mux).drifted
    mux.save(tmp_path / "mux.json")
    with pytest.raises(ConfigurationError, match="is not built in: build the mux in Python"):
        drift(record, log, mux=tmp_path / "mux.json")
    with pytest.raises(DataError, match="There is no saved mux"):
        drift(record, log, mux=tmp_path / "other.json")
