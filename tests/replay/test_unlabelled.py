"""Accuracies estimated from draws without scores."""

from __future__ import annotations

import numpy as np
import pytest

from dspy_mux import (
    ConfigurationError,
    DataError,
    Record,
    SampleBank,
    collect,
    estimate_accuracies,
    read_jsonl,
)
from dspy_mux.bank.import_export import import_file
from dspy_mux.replay.unlabelled import accuracies_by_agreement
from dspy_mux.voting.tally import Tally

from ..support.rows import a_row, jsonl
from ..support.skilled import a_member, a_mux, calls, metric, questions


def a_pool(accuracies, questions=400, k=2, wrong=30, seed=0):
    """Votes [Q, M, K] of members that err alone; class 0 is right."""
    random = np.random.default_rng(seed)
    shape = (questions, len(accuracies), k)
    right = random.random(shape[:2]) < np.array(accuracies)
    given = np.where(right, 0, random.integers(1, wrong + 1, shape[:2]))
    steady = random.random(shape) < 0.8
    return np.where(steady, given[..., None], random.integers(1, wrong + 1, shape))


def plurality_accuracies(votes):
    return Tally(votes).plurality_scores((votes == 0).astype(float)).mean(axis=0)


def a_record(votes, **more):
    names = tuple("abcdef"[: votes.shape[1]])
    questions = tuple(f"q{at}" for at in range(len(votes)))
    scores = np.full(votes.shape, np.nan)
    return Record(names, questions, votes, scores, {}, **more)


@pytest.mark.parametrize("seed", range(5))
def test_members_that_err_alone_are_measured_without_a_score(seed):
    votes = a_pool((0.4, 0.8, 0.6), questions=1000, seed=seed)
    found = accuracies_by_agreement(Tally(votes))
    np.testing.assert_allclose(found, plurality_accuracies(votes), atol=0.08)
    assert np.argsort(found).tolist() == [0, 2, 1]


def test_a_weak_member_is_not_lifted_by_agreeing_with_itself():
    votes = a_pool((0.05, 0.7, 0.7), k=8)
    votes[:, 0] = np.where(votes[:, 0, :1] > 0, votes[:, 0, :1], 0)  # always unanimous
    assert accuracies_by_agreement(Tally(votes))[0] < 0.15


def test_more_draws_of_the_same_answers_change_nothing():
    votes = a_pool((0.5, 0.8, 0.6), k=1)
    once, thrice = Tally(votes), Tally(np.repeat(votes, 3, axis=2))
    np.testing.assert_allclose(
        accuracies_by_agreement(thrice), accuracies_by_agreement(once), atol=1e-9
    )


def test_the_order_of_members_does_not_matter():
    votes = a_pool((0.5, 0.8, 0.6, 0.3))
    found = accuracies_by_agreement(Tally(votes))
    turned = accuracies_by_agreement(Tally(votes[:, [2, 0, 3, 1]]))
    np.testing.assert_allclose(turned, found[[2, 0, 3, 1]], atol=1e-9)


def test_a_member_that_never_answers_is_never_right():
    votes = a_pool((0.5, 0.8, 0.6))
    votes[:, 1] = -1
    found = accuracies_by_agreement(Tally(votes))
    assert found[1] == 0
    assert found.max() > 0.2
    assert accuracies_by_agreement(Tally(np.full((3, 2, 2), -1))).tolist() == [0, 0]


def with_probabilities(votes, *, unknown_of=()):
    """Right answers are more probable; of some members every second figure is missing."""
    random = np.random.default_rng(1)
    probable = np.where(votes == 0, 0.9, 0.3) + random.uniform(-0.1, 0.1, votes.shape)
    logprobs = np.log(probable)
    logprobs[::2, list(unknown_of)] = np.nan
    return {"answer_logprob": logprobs}


def test_the_probability_of_answers_tells_more_than_two_members_votes():
    votes = a_pool((0.4, 0.8), k=1)
    by_votes = accuracies_by_agreement(Tally(votes))
    found = accuracies_by_agreement(Tally(votes, evidence=with_probabilities(votes)))
    assert abs(by_votes[1] - by_votes[0]) < 0.01
    assert found[1] - found[0] > 0.2


def test_probabilities_count_only_where_each_member_has_them():
    votes = a_pool((0.4, 0.8, 0.6))
    plain = accuracies_by_agreement(Tally(votes))
    partly = Tally(votes, evidence=with_probabilities(votes, unknown_of=[2]))
    assert accuracies_by_agreement(partly).tolist() == plain.tolist()


def test_a_record_without_scores_is_enough():
    votes = a_pool((0.4, 0.8, 0.6))
    found = estimate_accuracies(a_record(votes))
    assert list(found) == ["a", "b", "c"]
    assert max(found, key=found.__getitem__) == "b"


def test_one_member_alone_cannot_be_judged():
    with pytest.raises(ConfigurationError, match="at least two members"):
        estimate_accuracies(a_record(a_pool((0.5,))))
    with pytest.raises(ConfigurationError, match="A Record is needed"):
        estimate_accuracies("draws.jsonl")


@pytest.fixture
def unscored(tmp_path):
    """A file of draws that nobody has scored."""
    rows = [
        {**a_row(f"q{at}", member, draw, f"w{vote}"), "correct": None}
        for at, of_members in enumerate(a_pool((0.4, 0.8, 0.6), questions=40))
        for member, draws in zip("abc", of_members.tolist(), strict=True)
        for draw, vote in enumerate(draws)
    ]
    return jsonl(tmp_path / "draws.jsonl", rows)


def test_files_and_banks_give_the_same_estimate(tmp_path, unscored):
    by_file = estimate_accuracies(read_jsonl(unscored))
    bank = SampleBank(tmp_path / "draws.db")
    import_file(bank, unscored, dataset="d")
    assert estimate_accuracies(bank.record()) == pytest.approx(by_file)


def test_draws_collected_without_a_metric_are_scored_later_without_a_call(tmp_path):
    mux = a_mux(*(a_member(name) for name in "abc"))
    path = tmp_path / "draws.db"
    collect(mux, questions(20), None, path, k=2)
    made = calls(mux)
    assert estimate_accuracies(SampleBank(path).record()).keys() == {"a", "b", "c"}
    with pytest.raises(DataError, match="without a score"):
        SampleBank(path).record().of(None, None)
    done = collect(mux, questions(20), metric, path, k=2)
    assert (done.drawn, done.rescored) == (0, 120)
    assert calls(mux) == made
    SampleBank(path).record().of(None, None)
