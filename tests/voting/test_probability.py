"""The rule `probability`: by hand, live against arrays, frugal against all draws, and fitted."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.errors import ConfigurationError, DataError
from dspy_mux.voting.ballot import Ballot, Choice
from dspy_mux.voting.calibration import LEAST_QUESTIONS, Training
from dspy_mux.voting.confidence import Scale as ConfidenceScale
from dspy_mux.voting.evidence import Evidence
from dspy_mux.voting.probability import Probability
from dspy_mux.voting.probability_fit import fit_probability
from dspy_mux.voting.probability_sums import Scale, first_draws
from dspy_mux.voting.tally import Tally

from ..support.votes import draw_as_they_arrive, draw_as_wanted

RULE = Probability()
SCALES = (Scale(-0.7, 0.05, 0.3, 0.3), Scale(0.0, 0.0, -1.0, 0.6), Scale(0.4, 0.2, 2.0, 0.9))


def short(p):
    return Evidence(answer_logprob=math.log(p))


def after_reasoning(p, text=-30.0):
    return Evidence(answer_logprob=math.log(p), text_logprob=text)


def ballot(name, *draws, accuracy=None, asked=None):
    """A ballot of (answer, evidence) pairs."""
    votes, evidence = zip(*draws, strict=True) if draws else ((), ())
    return Ballot(name, votes, accuracy, asked, evidence)


# --- by hand -------------------------------------------------------------------------------------


def test_members_probabilities_of_an_answer_add_up():
    ballots = [
        ballot("a", (0, short(0.5))),
        ballot("b", (0, short(0.4))),
        ballot("c", (1, short(0.8))),
    ]
    choice = RULE.choose(ballots)
    assert (choice.answer, choice.ballot, choice.tie_break) == (0, 0, "nothing")
    assert choice.confidence == pytest.approx(0.9 / 3)


def test_what_broke_a_tie_is_told():
    alone = ballot("a", (0, short(0.4)), (1, short(0.4)), accuracy=0.7)
    assert RULE.choose([alone]).tie_break == "order drawn"
    pair = [ballot("a", (0, short(0.4)), accuracy=0.6), ballot("b", (1, short(0.4)), accuracy=0.7)]
    assert (RULE.choose(pair).ballot, RULE.choose(pair).tie_break) == (1, "accuracy")
    alike = [dataclasses.replace(each, accuracy=0.7) for each in pair]
    assert (RULE.choose(alike).ballot, RULE.choose(alike).tie_break) == (0, "pool order")


def test_one_wording_counts_once_and_two_add_up():
    once = ballot("a", (0, short(0.3)), (0, short(0.3005)), (1, short(0.2)), (1, short(0.11)))
    choice = RULE.choose([once])
    assert (choice.answer, choice.confidence) == (1, pytest.approx(0.31))


def test_wordings_together_have_no_more_than_probability_one():
    ballots = [ballot("a", (0, short(0.9)), (0, short(0.7))), ballot("b", (1, short(0.4)))]
    assert RULE.choose(ballots).confidence == pytest.approx(1 / 2)


def test_a_draw_that_reasoned_counts_half_its_vote_share():
    ballots = [
        ballot("a", (0, after_reasoning(0.99)), (0, after_reasoning(0.9)), (1, None), (2, None)),
        ballot("b", (1, short(0.2))),
    ]
    # a: 0 has 2/4 halved; 1 has 1/4 halved and 0.2 of b.
    assert RULE.choose(ballots).answer == 1
    assert RULE.choose(ballots).confidence == pytest.approx((0.125 + 0.2) / 2)


def test_an_answer_in_a_frame_of_sure_words_is_none_that_reasoned():
    framed = Evidence(answer_logprob=math.log(0.6), text_logprob=math.log(0.6) - 1.0)
    assert RULE.choose([ballot("a", (0, framed))]).confidence == pytest.approx(0.6)


def test_a_member_without_evidence_counts_half_its_vote_share():
    none = Ballot("n", (0, 0, 1, None))
    assert RULE.choose([none, ballot("b", (1, short(0.2)))]).answer == 1
    assert RULE.choose([none, ballot("b", (1, short(0.1)))]).answer == 0


def test_without_any_evidence_the_most_votes_win():
    ballots = [Ballot("a", (0, 0, 1)), Ballot("b", (1, 1, 1)), Ballot("c", (2, None, 0))]
    choice = RULE.choose(ballots)
    assert (choice.answer, choice.confidence) == (1, pytest.approx(4 / 9))


def test_evidence_of_an_abstention_counts_for_nothing():
    ballots = [Ballot("a", (None,), evidence=(short(0.9),)), ballot("b", (0, short(0.1)))]
    assert RULE.choose(ballots).confidence == pytest.approx(0.05)
    assert RULE.choose(ballots[:1]) is None


@pytest.mark.parametrize(
    ("accuracies", "choice"),
    [
        ((0.5, 0.7), Choice(1, 1, 0.2, "accuracy")),
        ((0.5, 0.5), Choice(0, 0, 0.2, "pool order")),
        ((None, None), Choice(0, 0, 0.2, "pool order")),
        ((None, 0.1), Choice(1, 1, 0.2, "accuracy")),
    ],
)
def test_ties_go_to_the_most_accurate_member(accuracies, choice):
    ballots = [
        ballot(name, (at, short(0.4)), accuracy=known)
        for at, (name, known) in enumerate(zip("ab", accuracies, strict=True))
    ]
    chosen = RULE.choose(ballots)
    assert dataclasses.replace(chosen, confidence=round(chosen.confidence, 9)) == choice


def test_the_most_accurate_member_that_gave_the_answer_gets_the_credit():
    ballots = [
        ballot("a", (0, short(0.9)), accuracy=0.1),
        ballot("b", (1, short(0.1)), (0, short(0.2)), accuracy=0.9),
    ]
    assert (RULE.choose(ballots).answer, RULE.choose(ballots).ballot) == (0, 1)


def test_improbable_answers_underflow_to_no_error():
    deep = Evidence(answer_logprob=-2000.0)
    assert RULE.choose([ballot("a", (0, deep)), ballot("b", (1, deep))]).answer == 0


# --- live against arrays, frugal against all draws -----------------------------------------------

figures = st.one_of(
    st.none(),
    st.builds(short, st.sampled_from([0.05, 0.3, 0.301, 0.6, 0.95, 1.0])),
    st.builds(after_reasoning, st.sampled_from([0.5, 0.9]), st.sampled_from([-5.0, -40.0])),
    st.builds(Evidence, text_logprob=st.sampled_from([-2.0, -20.0])),
)
draws = st.tuples(st.one_of(st.none(), st.integers(0, 3)), figures)


@st.composite
def questions(draw):
    """The rule, fitted or not, and some questions' ballots of the same members."""
    ks = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    known = [draw(st.sampled_from([None, 0.25, 0.5])) for _ in ks]
    names = tuple(f"m{at}" for at in range(len(ks)))
    fitted = Probability(names, tuple(ks), SCALES[: len(ks)], 1.5, 0.2)
    return draw(st.sampled_from([RULE, fitted])), [
        [
            ballot(name, *(draw(draws) for _ in range(k)), accuracy=accuracy, asked=k)
            for name, k, accuracy in zip(names, ks, known, strict=True)
        ]
        for _ in range(draw(st.integers(1, 3)))
    ]


def together(asked):
    """One tally of several questions."""
    tallies = [Tally.of(ballots) for ballots in asked]
    names = {name for tally in tallies for name in tally.evidence}
    nothing = np.full(tallies[0].shape, np.nan)
    return Tally(
        np.concatenate([tally.votes for tally in tallies]),
        tallies[0].k,
        {n: np.concatenate([tally.evidence.get(n, nothing) for tally in tallies]) for n in names},
    )


@settings(max_examples=50)
@given(questions())
def test_many_questions_are_decided_as_each_alone(drawn):
    rule, asked = drawn
    order = rule.order_of([], [one.accuracy for one in asked[0]])
    tally = together(asked)
    picks, spent = rule.pick(tally, order), rule.frugal_draws(tally, order)
    for row, ballots in enumerate(asked):
        choice = rule.choose(ballots)
        assert (choice is None) == (picks.member[row] < 0)
        if choice is not None:
            assert choice.ballot == picks.member[row]
            assert choice.answer == tally.votes[row, picks.member[row], picks.draw[row]]
            assert ballots[choice.ballot].votes.index(choice.answer) == picks.draw[row]
            assert choice.confidence == picks.confidence[row]
            assert 0 <= choice.confidence <= 1
        assert draw_as_wanted(rule, ballots)[1] == spent[row].tolist()


@settings(max_examples=60)
@given(questions(), st.data())
def test_frugal_and_hedged_give_the_answer_of_all_draws(drawn, data):
    rule, asked = drawn
    for ballots in asked:
        full = rule.choose(ballots)
        frugal, _ = draw_as_wanted(rule, ballots)
        assert (frugal and (frugal.answer, frugal.ballot)) == (full and (full.answer, full.ballot))
        members = [at for at, one in enumerate(ballots) for _ in one.votes]
        arrivals = data.draw(st.permutations(members))
        hedged, _ = draw_as_they_arrive(rule, ballots, arrivals)
        assert (hedged and hedged.answer) == (full and full.answer)


@settings(max_examples=60)
@given(questions(), st.data())
def test_what_was_not_drawn_could_have_been_anything(drawn, data):
    """Stronger than lossless: the answer stands whatever the saved draws hold."""
    rule, [ballots, *_] = drawn
    choice, made = draw_as_wanted(rule, ballots)
    other = []
    for one, count in zip(ballots, made, strict=True):
        pairs = list(zip(one.votes, one.evidence, strict=True))[:count]
        pairs += [data.draw(draws) for _ in range(one.k - count)]
        other.append(ballot(one.member, *pairs, accuracy=one.accuracy, asked=one.k))
    full = rule.choose(other)
    assert (choice and choice.answer) == (full and full.answer)


def test_two_sure_members_that_agree_spare_the_third():
    ballots = [ballot(name, (0, short(0.9)), asked=1) for name in "abc"]
    assert draw_as_wanted(RULE, ballots)[1] == [1, 1, 0]
    unsure = [ballot(name, (0, short(0.4)), asked=1) for name in "abc"]
    assert draw_as_wanted(RULE, unsure)[1] == [1, 1, 1]


def test_a_rival_may_still_catch_up_with_what_it_has():
    a, b, c = ("a", (0, short(0.65)), (1, short(0.3))), ("b", (0, short(0.5))), ("c", (1, short(1)))
    ballots = [ballot(*a), ballot(*b), ballot(*c)]
    assert draw_as_wanted(RULE, ballots)[1] == [2, 1, 1]
    assert RULE.choose(ballots).answer == 1


# --- fitted --------------------------------------------------------------------------------------


def simulated(questions, shifts=(0.0, -1.5), k=1, seed=0):
    """Training draws of members whose log-odds of being right are their own plus a shift."""
    random = np.random.default_rng(seed)
    odds = random.normal(0.5, 1.5, (questions, len(shifts), 1)) + np.zeros((1, 1, k))
    right = random.random(odds.shape[:2]) < 1 / (1 + np.exp(-odds[..., 0] - np.array(shifts)))
    right = np.broadcast_to(right[..., None], odds.shape)
    wrong = np.arange(1, 1 + len(shifts))[None, :, None]
    votes = np.where(right, 0, wrong)
    evidence = {"answer_logprob": -np.log1p(np.exp(-odds))}
    names = [f"m{at}" for at in range(len(shifts))]
    return Training(Tally(votes, evidence=evidence), right.astype(float), names)


def test_a_member_that_is_too_sure_of_itself_is_lowered():
    rule = fit_probability(simulated(2000))
    assert [scale.shift for scale in rule.scales] == [0.0, pytest.approx(-1.5, abs=0.2)]


def test_fitting_gains_where_scales_differ():
    rule, test = fit_probability(simulated(100, (0, -3))), simulated(4000, (0, -3), seed=1)
    order = [0, 1]
    fitted, plain = (
        each.pick(test.tally, order).scores(test.scores).mean() for each in (rule, RULE)
    )
    assert fitted > plain + 0.03


@pytest.mark.parametrize("seed", range(3))
def test_the_fitted_confidence_is_a_probability(seed):
    rule, test = fit_probability(simulated(400, seed=seed)), simulated(4000, seed=seed + 10)
    picks = rule.pick(test.tally, [0, 1])
    right = picks.scores(test.scores)
    for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 0.9), (0.9, 1.0)):
        within = (picks.confidence >= low) & (picks.confidence <= high)
        if within.sum() > 200:
            assert right[within].mean() == pytest.approx(picks.confidence[within].mean(), abs=0.08)


def test_the_scale_of_spared_draws_is_for_spared_draws_alone():
    even = (Scale(0.0, 0.0, 0.0, 0.5),) * 2
    stopped = ConfidenceScale(levels=(0.0, 1.0), chances=(0.6, 0.8))
    rule = Probability(("a", "b"), (1, 1), even, 2.0, 0.5, 50, stopped)
    every = [ballot("a", (0, short(0.9))), ballot("b", (0, short(0.7)))]
    odds = 0.5 + 2 * math.log(0.8 / 0.2)
    assert rule.choose(every).confidence == pytest.approx(1 / (1 + math.exp(-odds)))
    early = [every[0], ballot("b", asked=1)]
    # One draw of two gave 0.9 / 2, which is 0.9 of what was drawn.
    assert rule.choose(early).confidence == pytest.approx(0.6 + 0.9 * 0.2)
    assert rule.choose(every).calibrated
    assert rule.choose(early).calibrated
    assert not dataclasses.replace(rule, stopped=None).choose(early).calibrated


def test_the_confidence_of_spared_draws_is_a_probability_too():
    rule, test = fit_probability(simulated(400, (0, 0, 0))), simulated(4000, (0, 0, 0), seed=1)
    order = [0, 1, 2]
    drawn = rule.frugal_draws(test.tally, order)
    plain = dataclasses.replace(rule, slope=1.0, intercept=0.0)
    picks = plain.pick(first_draws(test.tally, drawn), order)
    early = drawn.sum(axis=1) < 3
    assert early.sum() > 500
    means = np.minimum(picks.confidence * 3 / drawn.sum(axis=1), 1.0)[early]
    right, chance = picks.scores(test.scores)[early], rule.stopped.of(means)
    assert chance.mean() == pytest.approx(right.mean(), abs=0.04)
    sure = means > np.median(means)
    assert chance[sure].mean() == pytest.approx(right[sure].mean(), abs=0.04)


def test_draws_that_reasoned_count_by_their_text():
    random = np.random.default_rng(0)
    text = random.normal(-30.0, 10.0, (400, 1, 4))
    right = random.random(text.shape) < 1 / (1 + np.exp(-0.2 * (text + 30)))
    votes = np.where(right, 0, random.integers(1, 3, text.shape))
    training = Training(Tally(votes, evidence={"text_logprob": text}), right.astype(float), ["m"])
    rule = fit_probability(training)
    assert rule.scales[0].slope == pytest.approx(0.2, abs=0.05)
    unsure, sure = (Evidence(text_logprob=value) for value in (-50.0, -10.0))
    drawn = ballot("m", (1, unsure), (1, unsure), (0, sure), (2, unsure))
    assert (RULE.choose([drawn]).answer, rule.choose([drawn]).answer) == (1, 0)


def test_few_questions_or_no_evidence_leave_the_rule_as_it_is():
    assert fit_probability(simulated(LEAST_QUESTIONS - 1)) == RULE
    training = simulated(100)
    bare = dataclasses.replace(training, tally=Tally(training.tally.votes))
    assert fit_probability(bare) == RULE
    close = fit_probability(simulated(LEAST_QUESTIONS, (0, -3)))
    far = fit_probability(simulated(1000, (0, -3)))
    assert far.scales[1].shift < close.scales[1].shift <= 0


def test_a_fitted_rule_refuses_other_members_and_other_draws():
    rule = fit_probability(simulated(50))
    rule.check_members([("m0", 1), ("m1", 1)])
    for drawn in ([("m1", 1), ("m0", 1)], [("m0", 2), ("m1", 2)], [("m0", 1)]):
        with pytest.raises(ConfigurationError, match="The probability rule was fitted for m0"):
            rule.check_members(drawn)
    RULE.check_members([("anyone", 7)])


def test_a_fitted_rule_is_plain_numbers():
    rule = fit_probability(simulated(50))
    adapter = pydantic.TypeAdapter(Probability)
    assert adapter.validate_json(adapter.dump_json(rule, exclude={"name"})) == rule
    with pytest.raises(DataError, match="damaged"):
        dataclasses.replace(rule, scales=rule.scales[:1])
    with pytest.raises(DataError, match="damaged"):
        dataclasses.replace(rule, slope=math.nan)
