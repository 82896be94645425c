"""Multi-Agent Verification against pools whose right outcome was worked out by hand."""

from __future__ import annotations

import asyncio
from collections import Counter

import dspy
import pytest

from dspy_mux import AllMembersFailed, ConfigurationError, PlainAdapter
from dspy_mux.baselines import ASPECTS, MultiAgentVerification
from dspy_mux.baselines.verification import Verify

from ..support.discussion_pools import QA, after, prompts
from ..support.scripted import calls, everything, scripted_lm

TWO = {"facts": "Is it true?", "form": "Is it short?"}


def judge(name, approves, candidates=("Rome", "Oslo", "Bern", "Oslo")):
    """Draws `candidates`, and approves of what `approves(solution, aspect)` says."""

    def reply(prompt, draw):
        if "[[ ## solution ## ]]" not in prompt:
            value = candidates[min(draw, len(candidates) - 1)]
            return value if isinstance(value, Exception) else {"answer": value}
        told = approves(after(prompt, "solution"), after(prompt, "aspect"))
        return (
            told if isinstance(told, (str, Exception)) else {"reasoning": "Seen.", "correct": told}
        )

    return scripted_lm(name, reply, shown=everything)


def mav(lms, **arguments):
    return MultiAgentVerification(dspy.Predict(QA), lms, **{"n": 4, "aspects": TWO, **arguments})


def test_the_highest_mean_approval_wins_and_calls_are_exact():
    ann = judge("ann", lambda solution, aspect: solution == "Oslo" or aspect == "Is it short?")
    verdict = mav([ann])(question="Where?").verdict
    # 4 candidates, of which Oslo stands twice; 3 wordings × 2 aspects.
    assert (verdict.answer, verdict.confidence, verdict.tie_break, verdict.calls) == (
        "Oslo",
        1.0,
        "nothing",
        4 + 6,
    )
    assert [(turn.answer, turn.approvals) for turn in verdict.turns] == [
        ("Rome", {"facts": False, "form": True}),
        ("Oslo", {"facts": True, "form": True}),
        ("Bern", {"facts": False, "form": True}),
        ("Oslo", {"facts": True, "form": True}),
    ]
    assert verdict.ballots[0].votes == [0, 1, 2, 1]
    assert verdict.rule == "multi_agent_verification"


def test_equal_approvals_go_to_the_candidate_drawn_first():
    verdict = mav([judge("ann", lambda *_: True)])(question="Where?").verdict
    assert (verdict.answer, verdict.tie_break) == ("Rome", "order drawn")


def test_a_missing_or_unreadable_judgement_is_false():
    told = {"Is it true?": "Who knows.", "Is it short?": ValueError("gone")}
    verdict = mav(
        [judge("ann", lambda solution, aspect: True if solution == "Bern" else told[aspect])]
    )(question="Where?").verdict
    assert verdict.answer == "Bern"
    assert verdict.turns[0].approvals == {"facts": False, "form": False}
    assert verdict.turns[0].unjudged == {
        "facts": "unparsable response",
        "form": "LMUnexpectedError: [scripted/ann] gone",
    }
    assert all(not turn.unjudged for turn in verdict.turns if turn.answer == "Bern")


def test_if_nobody_approves_of_anything_the_first_candidate_answers():
    verdict = mav([judge("ann", lambda *_: False)])(question="Where?").verdict
    assert (verdict.answer, verdict.confidence) == ("Rome", 0.0)


def test_one_member_generates_and_verifiers_take_turns():
    lms = {"ann": judge("ann", lambda *_: True), "bob": judge("bob", lambda *_: True)}
    verdict = mav(lms, accuracies={"ann": 0.3, "bob": 0.6})(question="Where?").verdict
    assert {turn.member for turn in verdict.turns} == {"bob"}
    assert (calls(lms["ann"]), calls(lms["bob"])) == (3, 4 + 3)
    assert {after(prompt, "aspect") for prompt in prompts(lms["ann"])} == {"Is it true?"}
    verdict = mav(lms, generator="ann", verifiers=["bob"])(question="Who?").verdict
    assert verdict.member == "ann"


def test_verifiers_answer_at_temperature_0_and_candidates_do_not():
    ann = judge("ann", lambda *_: True)
    mav([ann])(question="Where?")
    assert Counter(request.config.temperature for request in ann.engine.requests) == {
        0.7: 4,
        0.0: 6,
    }


def test_a_candidate_without_an_answer_cannot_win():
    ann = judge("ann", lambda *_: False, candidates=(ValueError("gone"), "Oslo"))
    verdict = mav([ann], n=2)(question="Where?").verdict
    assert (verdict.answer, verdict.calls) == ("Oslo", 2 + 2)
    assert verdict.turns[0].approvals == {}
    with pytest.raises(AllMembersFailed, match="gone"):
        mav([judge("ann", lambda *_: True, candidates=(ValueError("gone"),))])(question="Why?")


def test_the_verifier_sees_what_the_answering_step_was_asked():
    ann = judge("ann", lambda *_: True)
    MultiAgentVerification(dspy.Predict("question, hint -> answer"), [ann], n=1, aspects=["facts"])(
        question="Where?", hint="South"
    )
    assert after(prompts(ann)[-1], "question") == "Question: Where?\nHint: South"
    assert after(prompts(ann)[-1], "aspect") == ASPECTS["facts"]


def test_the_published_choices_are_the_defaults():
    choices = MultiAgentVerification(dspy.Predict(QA), [judge("ann", lambda *_: True)]).choices
    assert (choices.n, choices.aspects) == (16, ASPECTS)
    assert len(ASPECTS) == 9


def test_a_member_that_follows_no_format_can_verify():
    def reply(prompt, draw):
        return (
            "True, I think."
            if "Solution: Rome" in prompt
            else "False."
            if "Solution:" in prompt
            else "Oslo"
            if draw
            else "Rome"
        )

    ann = scripted_lm("ann", reply, shown=everything)
    mux = mav([ann], n=2, adapter=PlainAdapter(), verifier=dspy.Predict(Verify))
    assert mux(question="Where?").verdict.answer == "Rome"


def test_call_and_acall_agree_before_and_after_saving(tmp_path):
    def one():
        return judge("ann", lambda solution, _: solution == "Bern")

    mux = mav([one()])
    mux.verifiers[0].predict.signature = mux.verifiers[0].predict.signature.with_instructions(
        "Judge well."
    )
    mux.save(tmp_path / "mav.json")
    again = MultiAgentVerification(dspy.Predict(QA), [one()])
    again.load(tmp_path / "mav.json")
    assert (again.choices.n, again.choices.aspects) == (4, TWO)
    assert again.verifiers[0].predict.signature.instructions == "Judge well."
    first, second = (
        mux(question="Where?").verdict,
        asyncio.run(again.acall(question="Where?")).verdict,
    )
    assert first.answer == "Bern"
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "MultiAgentVerification is wrong at n"),
        ({"aspects": ["style"]}, "There is no aspect 'style': choose from mathematics"),
        ({"aspects": []}, "MultiAgentVerification is wrong at aspects"),
        ({"verifiers": ["zoe"]}, "'zoe' is not a member of the pool"),
        (
            {"verifier": dspy.Predict("question, solution, aspect -> opinion")},
            "needs an output field named 'correct'",
        ),
        ({"temperature": 0}, "would draw 4 times at temperature 0"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        mav([judge("ann", lambda *_: True)], **arguments)
