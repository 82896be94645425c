"""LLM-Debate against pools whose right outcome was worked out by hand."""

from __future__ import annotations

import asyncio

import dspy
import pytest

from dspy_mux import AllMembersFailed, ConfigurationError, DataError
from dspy_mux.baselines import LLMDebate

from ..support.discussion_pools import QA, after, drawing, prompts, speaker
from ..support.scripted import everything, scripted_lm


def pool(**last):
    """Three agents that begin with Rome, Oslo and Rome, and then say `last`."""
    said = {"ann": "Rome", "bob": "Oslo", "cid": "Rome"}
    return {
        name: speaker(name, alone, last.get(name), "other_answers") for name, alone in said.items()
    }


def test_the_plurality_of_the_last_round_answers():
    verdict = LLMDebate(dspy.Predict(QA), pool(ann="Oslo", cid="Oslo"))(question="Where?").verdict
    # Two of three were for Rome; both let themselves be talked out of it.
    assert (verdict.answer, verdict.confidence, verdict.rule, verdict.calls) == (
        "Oslo",
        1.0,
        "llm_debate",
        6,
    )
    assert [(t.round, t.agent, t.member, t.answer, t.group) for t in verdict.turns] == [
        (1, 1, "ann", "Rome", 0),
        (1, 2, "bob", "Oslo", 1),
        (1, 3, "cid", "Rome", 0),
        (2, 1, "ann", "Oslo", 1),
        (2, 2, "bob", "Oslo", 1),
        (2, 3, "cid", "Oslo", 1),
    ]
    assert [ballot.votes for ballot in verdict.ballots] == [[1], [1], [1]]


def test_agents_see_last_answers_and_their_own_history():
    lms = pool(ann="Bern", bob="Kyiv", cid="Lima")
    LLMDebate(dspy.Predict(QA), lms, rounds=3)(question="Where?")
    first, second, third = prompts(lms["ann"])
    assert "other_answers" not in first
    assert after(second, "other_answers") == "1. Oslo\n2. Rome"
    assert after(third, "other_answers") == "1. Kyiv\n2. Lima"
    turns = [(message.role, message.text) for message in lms["ann"].engine.requests[-1].messages]
    assert [role for role, _ in turns] == ["user", "assistant", "user", "assistant", "user"]
    # The second round's turn stands in the history with what it was shown then.
    assert "1. Oslo\n2. Rome" in turns[2][1]
    assert [text for role, text in turns if role == "assistant" and "Rome" in text] == [turns[1][1]]
    assert [text for role, text in turns if role == "assistant" and "Bern" in text] == [turns[3][1]]
    assert "Bern" not in turns[4][1]


def test_ties_go_to_the_answer_seen_first():
    verdict = LLMDebate(dspy.Predict(QA), pool(ann="Bern", bob="Kyiv", cid="Lima"))(
        question="Where?"
    ).verdict
    assert (verdict.answer, verdict.member, verdict.tie_break) == ("Bern", "ann", "order drawn")
    assert verdict.confidence == pytest.approx(1 / 3)


def test_an_unreadable_answer_counts_for_nothing():
    lms = {**pool(bob="Oslo"), "cid": scripted_lm("cid", lambda *_: "Hm.")}
    verdict = LLMDebate(dspy.Predict(QA), lms)(question="Where?").verdict
    assert after(prompts(lms["ann"])[-1], "other_answers") == "1. Oslo\n2. Hm."
    assert (verdict.answer, verdict.confidence) == ("Rome", pytest.approx(1 / 3))
    assert verdict.turns[-1].group is None


def test_others_see_a_turn_without_an_extracted_answer():
    cid = scripted_lm(
        "cid",
        lambda prompt, _: "I cannot tell." if prompt.startswith("Copy") else "Hm.",
        shown=everything,
    )
    lms = {**pool(bob="Oslo"), "cid": cid}
    verdict = LLMDebate(
        dspy.Predict("question -> answer: Literal['Rome', 'Oslo']"), lms, extract="lm"
    )(question="Where?").verdict
    assert after(prompts(lms["ann"])[-1], "other_answers") == "1. Oslo\n2. Hm."
    assert [turn.text for turn in verdict.turns if turn.member == "cid"] == ["Hm.", "Hm."]


def test_a_failed_agent_continues_without_history():
    lms = {**pool(), "cid": speaker("cid", ValueError("gone"), "Oslo", "other_answers")}
    verdict = LLMDebate(dspy.Predict(QA), lms)(question="Where?").verdict
    # ann: Rome, bob: Oslo, cid: Oslo
    assert (verdict.answer, verdict.confidence, verdict.calls) == ("Oslo", pytest.approx(2 / 3), 6)
    assert len(lms["cid"].engine.requests[-1].messages) == 1
    assert after(prompts(lms["ann"])[-1], "other_answers") == "1. Oslo"


def test_a_lone_agent_is_asked_to_check_itself():
    lm = scripted_lm("ann", lambda prompt, draw: {"answer": "Rome" if draw == 0 else "Oslo"})
    verdict = LLMDebate(dspy.Predict(QA), [lm], agents=1)(question="Where?").verdict
    assert (verdict.answer, verdict.calls) == ("Oslo", 2)
    assert "Check your answer" in prompts(lm)[-1]
    assert "other_answers" not in prompts(lm)[-1]


def test_one_member_can_debate_with_itself():
    lm = speaker(
        "ann",
        drawing("Rome", "Oslo", "Oslo"),
        drawing(None, None, None, "Oslo", "Oslo", "Rome"),
        "other_answers",
    )
    verdict = LLMDebate(dspy.Predict(QA), [lm])(question="Where?").verdict
    assert (verdict.answer, verdict.calls) == ("Oslo", 6)
    assert [turn.answer for turn in verdict.turns] == [
        "Rome",
        "Oslo",
        "Oslo",
        "Oslo",
        "Oslo",
        "Rome",
    ]
    assert verdict.ballots[0].votes == [1, 1, 0]


def test_more_members_than_the_published_three_all_take_part():
    lms = {name: speaker(name, "Rome", None, "other_answers") for name in "abcd"}
    assert LLMDebate(dspy.Predict(QA), lms)(question="Where?").verdict.calls == 8
    with pytest.raises(
        ConfigurationError, match="A debate of 2 agents leaves out some of the pool's 4 members"
    ):
        LLMDebate(dspy.Predict(QA), lms, agents=2)


def test_nobody_left_to_answer_is_one_error():
    lms = {name: scripted_lm(name, [ValueError(f"{name} is gone")]) for name in ("ann", "bob")}
    with pytest.raises(AllMembersFailed, match="ann: .*ann is gone; bob: .*bob is gone"):
        LLMDebate(dspy.Predict(QA), lms)(question="Where?")


def test_call_and_acall_agree_before_and_after_saving(tmp_path):
    debate = LLMDebate(dspy.Predict(QA), pool(ann="Oslo"), rounds=3)
    debate.save(tmp_path / "debate.json")
    again = LLMDebate(dspy.Predict(QA), pool(ann="Oslo"))
    again.load(tmp_path / "debate.json")
    verdicts = [
        debate(question="Where?").verdict,
        asyncio.run(again.acall(question="Where?")).verdict,
    ]
    assert verdicts[0].calls == 9
    assert verdicts[0].model_dump(exclude={"cached_calls"}) == verdicts[1].model_dump(
        exclude={"cached_calls"}
    )


def test_a_damaged_state_is_refused(tmp_path):
    debate = LLMDebate(dspy.Predict(QA), pool())
    state = debate.dump_state()
    state["pool"]["choices"]["rounds"] = "many"
    with pytest.raises(DataError, match="The saved state is wrong at rounds"):
        debate.load_state(state)


class DraftAndRefine(dspy.Module):
    """Two steps with the same output: only the second one produces the answer of the program."""

    def __init__(self):
        super().__init__()
        self.draft, self.refine = (
            dspy.Predict("question -> answer"),
            dspy.Predict("question, draft -> answer"),
        )

    def forward(self, question):
        return self.refine(question=question, draft=self.draft(question=question).answer)


def test_only_the_last_of_two_equal_steps_is_briefed():
    def lm(name):
        def reply(prompt, draw):
            if "[[ ## draft ## ]]" in prompt:
                return {"answer": f"{name} refined"}
            assert "other_answers" not in prompt
            return {"answer": f"{name} drafted"}

        return scripted_lm(name, reply, shown=everything)

    lms = {name: lm(name) for name in ("ann", "bob", "cid")}
    verdict = LLMDebate(DraftAndRefine(), lms)(question="Where?").verdict
    assert [turn.cause for turn in verdict.turns] == [None] * 6
    assert after(prompts(lms["ann"])[-1], "other_answers") == "1. bob refined\n2. cid refined"
