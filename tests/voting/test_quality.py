"""How likely a draw is right by its evidence, and what the calibrated rule makes of it."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pydantic
import pytest

from dspy_mux.errors import DataError
from dspy_mux.voting.ballot import Ballot, by_accuracy, reads_evidence
from dspy_mux.voting.calibrated import Calibrated
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.early_stopping import fit_early_stopping
from dspy_mux.voting.evidence import FIGURES, Evidence
from dspy_mux.voting.frugal import frugal_draws
from dspy_mux.voting.probability import Probability
from dspy_mux.voting.quality import Quality, fit_quality, short_share
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.votes import drawn

MEMBERS = ("a", "b", "c")
ADAPTER = pydantic.TypeAdapter(Calibrated)


def with_evidence(questions=150, k=1, seed=0, tells=2.0, without=()):
    """Draws of members that are about as often right, whose log-probabilities tell when."""
    votes, scores = drawn(questions, rates=(0.4, 0.4, 0.4), k=k, seed=seed)
    noise = np.random.default_rng(seed).normal(size=votes.shape)
    answer = -np.exp(0.5 - tells * scores / 2 + 0.5 * noise)
    answer[votes == ABSTAINED] = np.nan
    answer[:, list(without)] = np.nan
    evidence = {"answer_logprob": answer, "answer_tokens": np.ones(votes.shape)}
    return Tally(votes, None, evidence), scores


def reasoned(questions=200, k=3, seed=0):
    """Draws whose text alone tells whether they are right, and its length as well."""
    votes, scores = drawn(questions, rates=(0.4, 0.4, 0.4), k=k, seed=seed)
    noise = np.random.default_rng(seed).normal(size=votes.shape)
    text = -30.0 + 15.0 * scores + 5.0 * noise
    tokens = 100.0 - 40.0 * scores
    return Tally(votes, None, {"text_logprob": text, "completion_tokens": tokens}), scores


def half_told(questions=200, k=3, seed=0):
    """As `reasoned`, but of some questions nothing is known but how long the texts are."""
    tally, scores = reasoned(questions, k, seed)
    tally.evidence["text_logprob"][::3] = np.nan
    return tally, scores


def learned(tally, scores):
    return fit(Training(tally, scores, MEMBERS))


def accuracy(rule, tally, scores):
    return float(rule.pick(tally).scores(scores).mean())


def ballots_of(tally, at):
    """One question's ballots, as a live mux makes them."""
    ballots = []
    for member, name in enumerate(MEMBERS):
        figures = {each: values[at, member] for each, values in tally.evidence.items()}
        evidence = tuple(
            Evidence(
                **{
                    each: None if np.isnan(values[draw]) else float(values[draw])
                    for each, values in figures.items()
                }
            )
            for draw in range(tally.shape[2])
        )
        votes = tally.votes[at, member].tolist()
        ballots.append(Ballot(name, tuple(None if v < 0 else v for v in votes), evidence=evidence))
    return ballots


@pytest.fixture(scope="module")
def rule():
    found = learned(*with_evidence())
    assert found.evidence
    return found


@pytest.mark.parametrize(("made", "k"), [(with_evidence, 1), (with_evidence, 3), (reasoned, 3)])
def test_evidence_that_tells_is_read_and_pays(made, k):
    tally, scores = made(k=k)
    fresh, right = made(k=k, seed=1)
    told, blind = learned(tally, scores), learned(Tally(tally.votes), scores)
    assert (told.evidence, blind.evidence) == (True, False)
    assert reads_evidence(told)
    assert not reads_evidence(blind)
    assert accuracy(told, fresh, right) > accuracy(blind, Tally(fresh.votes), right) + 0.05


def test_evidence_of_nothing_changes_little():
    votes, scores = drawn(150, rates=(0.9, 0.3, 0.2), k=3)
    fresh, right = drawn(300, rates=(0.9, 0.3, 0.2), k=3, seed=1)
    noise = np.random.default_rng(0).normal(-1, 0.3, votes.shape)
    told = learned(Tally(votes, None, {"text_logprob": noise}), scores)
    more = np.random.default_rng(1).normal(-1, 0.3, fresh.shape)
    blind = accuracy(learned(Tally(votes), scores), Tally(fresh), right)
    assert accuracy(told, Tally(fresh, None, {"text_logprob": more}), right) > blind - 0.02


def test_without_evidence_the_rule_is_the_same():
    votes, scores = drawn(150)
    plain = learned(Tally(votes), scores)
    unknown = {name: np.full(votes.shape, np.nan) for name in FIGURES}
    lengths = {"completion_tokens": np.full(votes.shape, 9.0), "temperature": np.ones(votes.shape)}
    assert learned(Tally(votes, None, lengths), scores) == plain
    assert (plain.quality, plain.evidence_weights) == (None, ())
    assert np.isfinite(learned(Tally(votes, None, unknown), scores).weights).all()


@pytest.mark.parametrize("without", [(0,), (1, 2), (0, 1, 2)])
def test_members_without_log_probabilities_are_no_nan(without):
    tally, scores = with_evidence(without=without)
    found = learned(tally, scores)
    picks = found.pick(with_evidence(seed=3, without=without)[0])
    assert np.isfinite(picks.confidence).all()
    assert (picks.member >= 0).any()


def test_a_question_whose_evidence_is_missing_is_decided(rule):
    tally, _ = with_evidence(40, seed=4)
    bare = rule.pick(Tally(tally.votes))
    assert ((bare.member >= 0) == (tally.votes >= 0).any(axis=(1, 2))).all()
    assert np.isfinite(bare.confidence).all()


@pytest.mark.parametrize("made", [with_evidence, reasoned, half_told])
def test_one_question_is_decided_as_in_a_batch(made):
    found = learned(*made())
    tally, _ = made(60, seed=6)
    picks = found.pick(tally)
    for at in range(60):
        choice = found.choose(ballots_of(tally, at))
        if choice is None:
            assert picks.member[at] == -1
            continue
        assert choice.ballot == picks.member[at]
        assert choice.answer == tally.votes[at, picks.member[at], picks.draw[at]]
        assert choice.confidence == pytest.approx(picks.confidence[at], abs=1e-12)


def test_a_rule_that_reads_evidence_makes_all_draws_at_once():
    rule = learned(*with_evidence(k=2))
    ballots = ballots_of(with_evidence(1, k=2, seed=6)[0], 0)
    assert rule.evidence
    begun = [so_far(ballot, 0) for ballot in ballots]
    assert sorted(rule.wants(begun)) == [(0, 2), (1, 2), (2, 2)]
    assert rule.wants([so_far(ballots[0], 1), *ballots[1:]]) == [(0, 1)]
    assert rule.wants(ballots) == []


def test_where_probability_chooses_instead_drawing_ends_as_it_would_and_as_replays_count(rule):
    settled = dataclasses.replace(rule, instead="probability")
    tally, _ = with_evidence(40, k=1, seed=6, tells=6.0)
    counted = frugal_draws(Probability(), tally, by_accuracy(rule.accuracies))
    assert 0 < counted.sum() < tally.votes.size
    for at in range(40):
        ballots, made = ballots_of(tally, at), [0, 0, 0]
        while wanted := settled.wants([so_far(*each) for each in zip(ballots, made, strict=True)]):
            for member, count in wanted:
                made[member] += count
        assert made == counted[at].tolist()


def so_far(ballot, made):
    return dataclasses.replace(
        ballot, votes=ballot.votes[:made], evidence=ballot.evidence[:made], asked=ballot.k
    )


def test_a_saved_rule_with_evidence_picks_the_same(rule):
    kept = json.loads(json.dumps(dataclasses.asdict(rule)))
    assert kept.pop("name") == "calibrated"
    assert kept["evidence"] is True
    assert ADAPTER.validate_python(kept) == rule
    for older in ("evidence", "quality", "evidence_weights"):
        kept.pop(older)
    assert not ADAPTER.validate_python(kept).evidence


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": False},
        {"quality": None},
        {"evidence_weights": ()},
        {"evidence_weights": (0.0,) * 4},
        {"evidence_weights": (float("nan"),) * 5},
    ],
)
def test_evidence_that_does_not_fit_is_refused(rule, change):
    with pytest.raises(DataError, match="damaged, fit it again"):
        dataclasses.replace(rule, **change)


@pytest.mark.parametrize(
    "change",
    [{"weights": (1.0,)}, {"scales": ((0.0,) * 3,) * 2}, {"centers": ()}, {"figures": ("p",)}],
)
def test_a_damaged_quality_is_refused(rule, change):
    damaged = dataclasses.replace(rule.quality, **change)
    with pytest.raises(DataError, match="evidence does not fit its members"):
        dataclasses.replace(rule, quality=damaged)


def test_a_rule_that_reads_evidence_makes_every_draw(rule):
    tally, _ = with_evidence(5)
    ballots = ballots_of(tally, 0)
    begun = [*ballots[:2], dataclasses.replace(ballots[2], votes=(), evidence=(), asked=1)]
    if rule.instead is None:
        assert rule.wants(begun) == [(2, 1)]
    assert rule.wants(ballots) == []


def test_a_draws_chance_rises_with_its_log_probability():
    tally, scores = with_evidence(400)
    chance = fit_quality(tally, scores).of(tally)
    right, wrong = chance[scores > 0], chance[(scores == 0) & (tally.votes >= 0)]
    assert right.mean() > wrong.mean() + 0.15
    assert (chance[tally.votes < 0] == 0).all()
    assert (chance <= 1).all()


def test_a_draws_chance_by_hand():
    # Intercepts of a and b; shared weight; weight of a missing figure; a's and b's own weights.
    weights = (0.5, -0.2, 1.0, -0.7, 0.3, -0.4)
    quality = Quality(("answer_logprob",), ((-1.0, -2.0),), ((0.5, 1.0),), weights)
    logprobs = np.array([[[-1.25], [-2.5]], [[np.nan], [-9.0]]])
    chance = quality.of(
        Tally(np.array([[[0], [1]], [[0], [1]]]), None, {"answer_logprob": logprobs})
    )
    margins = [0.5 - 0.5 * 1.3, -0.2 - 0.5 * 0.6, 0.5 - 0.7, -0.2 - 3 * 0.6]  # −7 counts as −3
    expected = [1 / (1 + math.exp(-margin)) for margin in margins]
    assert chance.ravel().tolist() == pytest.approx(expected, abs=1e-9)


def test_answers_of_unknown_probability_are_neither_short_nor_long():
    logprobs = np.array([[[-1.0], [np.nan]], [[-0.5], [-0.1]]])
    tally = Tally(np.array([[[0], [0]], [[1], [ABSTAINED]]]), None, {"answer_logprob": logprobs})
    assert short_share(tally) == 1.0
    text = logprobs - np.array([[[0.0], [0.0]], [[20.0], [20.0]]])
    assert short_share(Tally(tally.votes, None, {**tally.evidence, "text_logprob": text})) == 0.5


def test_answers_behind_reasoning_are_not_short():
    tally, _ = with_evidence(20)
    assert short_share(tally) == 1.0
    text = tally.evidence["answer_logprob"] - 10.0
    assert short_share(Tally(tally.votes, None, {**tally.evidence, "text_logprob": text})) == 0.0
    assert short_share(Tally(tally.votes)) == 0.0


@pytest.mark.parametrize("bound", [0.0, 0.2])
def test_early_stopping_reads_evidence_live_as_in_replay(bound):
    tally, scores = with_evidence(60, k=2)
    found = fit_early_stopping(Training(tally, scores, MEMBERS), bound)
    assert found.reads_evidence
    fresh, _ = with_evidence(20, k=2, seed=8)
    picks, spent = found.pick(fresh)
    for at in range(20):
        whole = ballots_of(fresh, at)
        drawn_so_far = [dataclasses.replace(each, votes=(), evidence=(), asked=2) for each in whole]
        while wanted := found.wants(drawn_so_far):
            for member, count in wanted:
                made = len(drawn_so_far[member].votes) + count
                drawn_so_far[member] = dataclasses.replace(
                    whole[member],
                    votes=whole[member].votes[:made],
                    evidence=whole[member].evidence[:made],
                    asked=2,
                )
        assert [len(each.votes) for each in drawn_so_far] == spent[at].tolist()
        choice = found.choose(drawn_so_far)
        assert (-1 if choice is None else choice.ballot) == picks.member[at]
