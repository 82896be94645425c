"""The one sentence that says who won: each rule in its own words."""

from __future__ import annotations

import math

import pytest

from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibrated import Calibrated
from dspy_mux.voting.evidence import Evidence
from dspy_mux.voting.rules import rule_of
from dspy_mux.voting.verdict import Verdict
from dspy_mux.voting.verdict_parts import MemberBallot
from dspy_mux.voting.verdict_sentence import verdict_sentence

ANSWERS = {0: "x", 1: "y", 2: "z"}


def decided(by, ballots, **more):
    """The verdict of a rule on ballots."""
    choice = rule_of(by).choose(ballots)
    shown = [
        MemberBallot.of(ballot, {g: ANSWERS[g] for g in ballot.counts}, []) for ballot in ballots
    ]
    settings = {
        "answer": ANSWERS[choice.answer],
        "member": ballots[choice.ballot].member,
        "confidence": choice.confidence,
        "tie_break": choice.tie_break,
        "rule": by,
        "ballots": shown,
        "calibrated": choice.calibrated,
        "group": choice.answer,
    }
    return Verdict(**{**settings, **more})


@pytest.mark.parametrize(
    ("rule", "votes", "sentence"),
    [
        (
            "consistency",
            {"a": (0, 1, 2), "b": (1, 1, 1)},
            "b won: 3 of its 3 draws agree; confidence 1.00 by the rule consistency.",
        ),
        (
            "consistency",
            {"a": (0, 0, 1), "b": (1, 1, 2), "c": (2, 2, 0)},
            "a won: 2 of its 3 draws agree; b and c agree as often on another answer, and the "
            "order of the pool decided; confidence 0.67 by the rule consistency.",
        ),
        (
            "consistency",
            {"a": (0, 0, 1), "b": (0, 0, 2), "c": (2, 2, 0)},
            "a won: 2 of its 3 draws agree; c agrees as often on another answer, and the order of "
            "the pool decided; confidence 0.67 by the rule consistency.",
        ),
        (
            "consistency",
            {"a": (0, 0, 0), "b": (0, 0, 0)},
            "a won: 3 of its 3 draws agree; b agrees as often on the same answer; confidence 1.00 "
            "by the rule consistency.",
        ),
        (
            "consistency",
            {"a": (0,), "b": (None,)},
            "a won: its one draw gave this answer; confidence 1.00 by the rule consistency.",
        ),
        (
            "self_consistency",
            {"a": (0, None, None)},
            "a won: 1 of its 3 draws gave this answer; confidence 0.33 by the rule "
            "self_consistency.",
        ),
        (
            "pooled",
            {"a": (0, 1, 1), "b": (1, 1, 2)},
            "a won: 4 of all 6 draws gave its answer; confidence 0.67 by the rule pooled.",
        ),
        (
            "pooled",
            {"a": (0, 0), "b": (1, 1)},
            "a won: 2 of all 4 draws gave its answer, a tie in which the order of the pool "
            "decided; confidence 0.50 by the rule pooled.",
        ),
        (
            "probability",
            {"a": (0, 1), "b": (1, 1)},
            "a won: its answer leads by votes, as no model gave a probability; confidence 0.75 by "
            "the rule probability.",
        ),
        (
            "probability",
            {"a": (0, 0), "b": (1, 1)},
            "a won: its answer shares the lead by votes, as no model gave a probability, and the "
            "order of the pool decided; confidence 0.50 by the rule probability.",
        ),
        (
            "pooled",
            {"a": (0,)},
            "a won: the only draw gave its answer; confidence 1.00 by the rule pooled.",
        ),
    ],
)
def test_each_rule_says_what_decided(rule, votes, sentence):
    ballots = [Ballot(name, cast) for name, cast in votes.items()]
    assert verdict_sentence(decided(rule, ballots)) == sentence


def test_probabilities_are_called_so_where_models_gave_them():
    sure, unsure = (Evidence(answer_logprob=math.log(p)) for p in (0.9, 0.3))
    ballots = [Ballot("a", (0,), evidence=(unsure,)), Ballot("b", (1,), evidence=(sure,))]
    told = verdict_sentence(decided("probability", ballots))
    assert "b won: its answer leads by the models' probabilities, added up; confidence" in told
    partly = [Ballot("a", (0,)), ballots[1]]
    assert "probabilities, and votes where there are none" in verdict_sentence(
        decided("probability", partly)
    )


def test_only_a_fitted_confidence_is_a_chance():
    verdict = decided("consistency", [Ballot("a", (0, 0))], confidence=0.8, calibrated=True)
    told = "a won: 2 of its 2 draws agree; calibrated confidence 0.80 by the rule consistency"
    assert verdict_sentence(verdict) == f"{told}, the chance that it is right."


def test_a_rule_without_words_of_its_own_and_one_that_stands_in():
    ballots = [Ballot("a", (0, 0, 1))]
    own = decided("consistency", ballots, rule="mine")
    assert verdict_sentence(own).startswith("a won: 2 of its 3 draws agree; confidence 0.67 by the")
    stands_in = decided("pooled", ballots, rule=Calibrated.name, decided_by="pooled")
    assert verdict_sentence(stands_in).endswith("by the rule calibrated, where pooled decides.")
    assert "2 of all 3 draws" in verdict_sentence(stands_in)


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ({"trusted": True}, "consistency, trusted: it reaches the threshold 0.6."),
        ({"trusted": False}, "consistency, not trusted: it is below the threshold 0.6."),
        (
            {"trusted": False, "escalation_cause": "late\nnow"},
            "below the threshold 0.6; the model asked in its place failed: late now.",
        ),
    ],
)
def test_trust_names_the_threshold(told, end):
    verdict = decided("consistency", [Ballot("a", (0, 0, 1))], **told)
    assert verdict_sentence(verdict, 0.6).endswith(end)


def test_after_an_escalation_the_confidence_is_the_pools():
    told = {"member": "large", "answer": "z", "escalated": True, "trusted": False}
    verdict = decided("consistency", [Ballot("a", (0, 1, 2))], **told)
    assert verdict_sentence(verdict, 0.6) == (
        "large answered in place of the pool, whose answer x had confidence 0.33 by the rule "
        "consistency and was not trusted (threshold 0.6); no confidence is known of large's own "
        "answer."
    )
    silent = verdict.model_copy(update={"confidence": 0.0, "group": None})
    assert verdict_sentence(silent, 0.6) == (
        "large answered in place of the pool, which had no answer; no confidence is known of "
        "large's own answer."
    )
    assert "large, asked in place of the pool, which had no answer" in str(silent)
