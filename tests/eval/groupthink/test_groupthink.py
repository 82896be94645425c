"""What discussions did to answers, on transcripts with figures worked out by hand."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given, strategies as st

from dspy_mux import Member
from dspy_mux.baselines import LLMDebate, MixtureOfAgents
from eval.compare.live import answered
from eval.groupthink.measure import CAUSES, DIRECTIONS, cause_of, discussion, discussions, steps_of

from ...support.scripted import scripted_lm
from .rows import FIVE, row

# --- the definition ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounds", "cause"),
    [
        (("RRR", "RRR"), None),
        (("RXX", "RRX"), None),
        (("RXX", "XXX"), "given up"),  # a right answer left for one that two others showed
        (("RRX", "XRX"), "given up"),
        (("RXY", "YXX"), "given up"),  # for a wrong one that is not the final one
        (("XXY", "XXX"), "followed"),  # nobody right: the failing answer gained the third agent
        (("XXR", "XXR"), "lost otherwise"),  # outvoted, but nobody moved
        (("XXR", "XXY"), "lost otherwise"),  # left for what nobody had shown
        (("XX-", "XXX"), "followed"),  # no answer of its own, then the others'
        (("XXX", "XXX"), "never right"),  # wrong together from the beginning
        (("XYZ", "XYZ"), "never right"),
        (("XYZ", "XXZ"), "followed"),
        (("XYZ", "WWV"), "never right"),  # new errors that nobody had shown
        (
            ("XYZ", "YWW"),
            "never right",
        ),  # Y was shown and taken over, but the failing answer was not
        (("R--", "---"), "no answer"),
        ((), "no answer"),
        (("RXX", "RXY", "XXY"), "given up"),  # in a later round
        (("RXX", "XXX", "RXX"), "given up"),  # in any round, whether or not it came back
        (("RYY", "YRX", "XXX"), "given up"),
    ],
)
def test_failures_have_the_causes_found_by_hand(rounds, cause):
    assert cause_of(row(*rounds)) == cause


def test_only_the_round_before_is_shown():
    # X is in the first round only: nobody shows it in the second, so the third round's X is the
    # agent's own.
    assert cause_of(row("RXY", "RYY", "XYY", final="Y")) == "followed"  # agent 2 took Y over
    assert cause_of(row("RXY", "RZY", "XZY", final="X")) == "lost otherwise"


def test_an_equal_answer_graded_wrong_is_not_given_up():
    # Two draws of one answer, graded differently: the agent did not change its answer.
    failed = row("RXX", "RXX", final="X")
    failed["turns"][3]["score"] = 0.0
    assert cause_of(failed) == "lost otherwise"


def test_an_aggregator_continues_its_members_first_seat():
    # Mixture-of-Agents: b aggregates as agent 1 of the last layer and was agent 2 before.
    failed = row("XRX", "X", final="X", method="mixture_of_agents")
    failed["turns"][3]["member"] = "b"
    (step,) = steps_of(failed)
    assert step.before is failed["turns"][1]
    assert cause_of(failed) == "given up"
    failed["turns"][3]["member"] = "a"
    assert cause_of(failed) == "lost otherwise"  # a said X before as well


answers = st.text("RXYZ-", min_size=3, max_size=3)


@given(st.lists(answers, min_size=1, max_size=4))
def test_failures_have_one_cause_and_turns_one_direction(rounds):
    failed = row(*rounds)
    figures = discussion("sums", "llm_debate", [failed])
    assert sum(figures.failures.values()) == (failed["score"] < 1)
    flips = sum(sum(counted.values()) for counted in figures.flips.values())
    assert flips == 3 * (len(rounds) - 1)
    assert set(figures.failures) == set(CAUSES)
    assert all(tuple(counted) == DIRECTIONS for counted in figures.flips.values())


@given(st.lists(answers, min_size=2, max_size=4), st.permutations([0, 1, 2]))
def test_the_cause_ignores_the_agents_order(rounds, order):
    final = "X"
    turned = ["".join(letters[at] for at in order) for letters in rounds]
    if all("X" not in letters for letters in rounds):
        return
    assert cause_of(row(*rounds, final=final)) == cause_of(row(*turned, final=final))


# --- the figures ---------------------------------------------------------------------------------


def test_turns_ended_by_errors_fail_as_errors():
    down = row("RRX", "--X", question="q5")
    for turn in down["turns"]:
        if turn["group"] is None:
            turn["cause"] = "LMTimeoutError: too late"
    unreadable = row("RRX", "---", question="q6")
    for turn in unreadable["turns"]:
        turn["cause"] = "unparsable response" if turn["group"] is None else None
    figures, without = (
        discussion("sums", "llm_debate", [*FIVE, down]),
        discussion("sums", "llm_debate", FIVE),
    )
    assert (figures.left_out, figures.failures["error"], figures.failed) == (2, 1, 4)
    assert (figures.rounds, figures.flips, figures.given_up, figures.change) == (
        without.rounds,
        without.flips,
        without.given_up,
        without.change,
    )
    assert (cause_of(down), cause_of(unreadable)) == ("error", "no answer")
    right = row("RRX", "R-R", question="q7")
    right["turns"][4]["cause"] = "LMTimeoutError: too late"
    assert cause_of(right) is None
    assert discussion("sums", "llm_debate", [*FIVE, right]).left_out == 2


def test_the_figures_are_those_worked_out_by_hand():
    figures = discussion("sums", "llm_debate", FIVE)
    assert (figures.questions, figures.left_out, figures.failed) == (5, 1, 3)
    assert figures.failures == {
        "given up": 1,
        "followed": 1,
        "lost otherwise": 0,
        "never right": 0,
        "no answer": 1,
        "error": 0,
    }
    assert (figures.groupthink.mean, figures.groupthink.n) == (pytest.approx(2 / 3), 3)
    # Right at first: 1 + 2 + 0 + 2 agents in three questions; given up: q0's, and one of q3's.
    assert (figures.given_up.hits, figures.given_up.chances, figures.given_up.questions) == (
        2,
        5,
        3,
    )
    # Wrong majorities: q0 (one agent did not share it, and followed), q2 (one, followed).
    # Right: q1 and q3 (one each, followed).
    assert (figures.wrong_majority.hits, figures.wrong_majority.chances) == (2, 2)
    assert (figures.right_majority.hits, figures.right_majority.chances) == (2, 2)
    assert figures.flips["a"] == dict.fromkeys(DIRECTIONS, 0) | {
        "right → wrong": 1,
        "right → right": 1,
        "wrong → same wrong": 1,
        "wrong → right": 1,
    }
    assert figures.flips["c"] == dict.fromkeys(DIRECTIONS, 0) | {
        "wrong → same wrong": 1,
        "wrong → right": 1,
        "wrong → other wrong": 1,
        "right → wrong": 1,
    }
    first, last = figures.rounds
    assert first.agents.mean == pytest.approx((1 / 3 + 2 / 3 + 0 + 2 / 3) / 4)
    assert last.agents.mean == pytest.approx((0 + 1 + 0 + 2 / 3) / 4)
    assert (first.plurality.mean, last.plurality.mean, first.plurality.n) == (0.5, 0.5, 4)
    assert (figures.change.mean, figures.turned_wrong, figures.turned_right) == (0, 0, 0)


def test_intervals_of_shares_count_questions_and_not_agents():
    rate = discussion("sums", "llm_debate", FIVE).given_up.estimate()
    assert (rate.mean, rate.n) == (pytest.approx(2 / 5), 3)
    assert 0 < rate.low < rate.mean < rate.high < 1


def test_what_never_could_happen_has_no_rate():
    figures = discussion("sums", "llm_debate", [row("XYZ", "XYZ")])
    assert figures.given_up.estimate().n == figures.wrong_majority.estimate().n == 0


def test_abstentions_are_a_direction_of_their_own():
    figures = discussion("sums", "llm_debate", [row("R-X", "-R-")])
    ways = {
        name: next(way for way, count in counted.items() if count)
        for name, counted in figures.flips.items()
    }
    assert ways == {"a": "right → none", "b": "none → right", "c": "wrong → none"}


def test_methods_without_a_second_round_are_no_discussion():
    several = [
        row("RXX", "XXX"),
        row("RXX", method="multi_agent_verification"),
        row(method="slm_mux"),
        row("XX", "XX", task="other"),
    ]
    assert [(each.task, each.method) for each in discussions(several)] == [
        ("sums", "llm_debate"),
        ("other", "llm_debate"),
    ]


# --- of real discussions -------------------------------------------------------------------------


def turning(first, later):
    """A member that says `first`, and `later` once it is shown what others wrote."""
    return lambda prompt, draw: {
        "answer": later if "other_answers" in prompt or "previous_answers" in prompt else first
    }


def discussed(method, **choices):
    """A question to three scripted agents: a is right and gives way, b and c are equally wrong."""
    pool = [
        Member(scripted_lm(f"{method.__name__}-{name}", turning(*said)), name=name)
        for name, said in {"a": (2, 3), "b": (3, 3), "c": (3, 3)}.items()
    ]
    example = dspy.Example(question="1 + 1", answer=2).with_inputs("question")
    reply = answered(
        method("question -> answer: int", pool, **choices),
        example,
        lambda example, pred: pred.answer == example.answer,
    )
    return {
        "task": "sums",
        "method": method.method,
        "question_id": "q0",
        "inputs": {"question": "1 + 1"},
        "gold": 2,
        **reply,
    }


@pytest.mark.parametrize(
    ("method", "choices"), [(LLMDebate, {}), (MixtureOfAgents, {"layers": 2, "aggregator": "a"})]
)
def test_a_right_agent_that_gives_way_is_given_up(method, choices):
    discussed_row = discussed(method, **choices)
    assert (discussed_row["score"], discussed_row["answer"]) == (0.0, 3)
    assert cause_of(discussed_row) == "given up"
