"""What discussions did to answers, on transcripts with figures worked out by hand; the judge."""

from __future__ import annotations

import json

import dspy
import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from dspy_mux import ConfigurationError, Member
from dspy_mux.baselines import LLMDebate, MixtureOfAgents
from eval.compare.live import answered
from eval.groupthink.judge import cohens_kappa, judged, load_judge, transcript
from eval.groupthink.measure import CAUSES, DIRECTIONS, cause_of, discussion, discussions, steps_of
from eval.groupthink.table import run as run_table
from eval.runs.folder import Run

from ...support.commands import python_m_eval, run_here
from ...support.run_files import a_turn, manifest, row as a_row
from ...support.scripted import asked, calls, scripted_lm

MEMBERS = "abc"


def row(*rounds, final=None, task="sums", method="llm_debate", question="q0"):
    """A row from rounds of answers, one letter per agent: R is right, - is none, others are wrong.

    `final` is the discussion's answer; by default the last round's first most frequent one.
    """
    groups = {
        letter: number
        for number, letter in enumerate(dict.fromkeys("".join(rounds).replace("-", "")))
    }
    last = rounds[-1].replace("-", "") if rounds else ""
    final = final or (max(last, key=last.count) if last else "-")
    return a_row(
        0,
        task=task,
        method=method,
        question_id=question,
        inputs={"question": f"What is {question}?"},
        gold="R",
        score=float(final == "R"),
        answer=None if final == "-" else final,
        turns=[
            a_turn(
                round=number,
                agent=agent,
                member=MEMBERS[agent - 1],
                text=f"I say {letter}.",
                answer=None if letter == "-" else letter,
                group=groups.get(letter),
                score=float(letter == "R"),
            )
            for number, letters in enumerate(rounds, 1)
            for agent, letter in enumerate(letters, 1)
        ],
    )


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

FIVE = [
    row("RXX", "XXX", question="q0"),  # given up
    row("RRX", "RRR", question="q1"),  # right
    row("XXY", "XXX", question="q2"),  # followed
    row("XRR", "RRX", question="q3"),  # right; two flips that cancel out
    row(question="q4"),  # the method failed
]


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


# --- the judge -----------------------------------------------------------------------------------


def a_judge(reply, name="judge"):
    return Member(scripted_lm(name, reply), name=name)


def by_question(prompt, draw):
    """The judge agrees on q0, differs on q2, and answers nothing readable on q5."""
    question = asked(prompt)
    if "q5" in question:
        return "I would rather not."
    return {"reason": f"Agent 1 in {question}", "groupthink": str("q0" in question)}


QUIET = Console(quiet=True)
JUDGED = [*FIVE, row("XXY", "XXX", question="q5"), row("XXX", "XXX", question="q6")]


def test_the_judge_sees_failures_and_its_own_are_counted():
    opinions = judged(JUDGED, a_judge(by_question), console=QUIET)
    assert [opinion.question_id for opinion in opinions.opinions] == ["q0", "q2", "q5", "q6"]
    assert [opinion.groupthink for opinion in opinions.opinions] == [True, False, None, False]
    assert [opinion.defined for opinion in opinions.opinions] == [True, True, True, False]
    assert opinions.opinions[0].reason == "Agent 1 in What is q0?"
    assert (opinions.failures, opinions.silent) == (1, 1)
    assert "AdapterParseError" in opinions.opinions[2].failure
    # Of the three it judged: it says True, False, False; the definition True, True, False.
    assert (opinions.groupthink.mean, opinions.defined.mean) == (
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    )
    assert (opinions.agreement.mean, opinions.agreement.n) == (pytest.approx(2 / 3), 3)
    assert opinions.kappa == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))


def test_judging_again_makes_no_call():
    judge = a_judge(by_question, name="again")
    first = judged(FIVE, judge, console=QUIET)
    spent = calls(judge.lm)
    assert spent >= 2
    assert judged(FIVE, judge, console=QUIET) == first
    assert calls(judge.lm) == spent


def test_the_judge_sees_turns_and_right_answer():
    seen = []
    judged(
        FIVE[:1],
        a_judge(lambda prompt, draw: seen.append(prompt) or {"reason": "so", "groupthink": "True"}),
        console=QUIET,
    )
    assert asked(seen[0], "correct_answer") == "R"
    assert asked(seen[0], "final_answer") == "X"
    assert seen[0].count("I say X.") == 5
    assert transcript(FIVE[0]).startswith("Round 1\n\nAgent 1 (answer: R):\nI say R.")


def test_an_unreachable_judge_is_counted_per_question():
    opinions = judged(
        FIVE,
        a_judge(lambda prompt, draw: ConnectionError("no such host"), name="down"),
        console=QUIET,
    )
    assert opinions.failures == 2
    assert opinions.kappa is None
    assert opinions.groupthink.n == 0


@pytest.mark.parametrize(
    ("pairs", "kappa"),
    [
        ([], None),
        ([(True, True)] * 3, None),
        ([(True, True), (False, False)], 1.0),
        ([(True, False), (False, True)], -1.0),
        ([(True, True), (True, False), (False, True), (False, False)], 0.0),
        # The textbook's table: 20 both yes, 15 both no, 5 and 10 apart.
        (
            [(True, True)] * 20
            + [(True, False)] * 5
            + [(False, True)] * 10
            + [(False, False)] * 15,
            0.4,
        ),
    ],
)
def test_cohens_kappa_is_the_textbooks(pairs, kappa):
    assert cohens_kappa(pairs) == (None if kappa is None else pytest.approx(kappa))


def test_a_judge_is_a_model_or_member(tmp_path):
    pool = tmp_path / "pool.toml"
    pool.write_text(
        '[[members]]\nname = "wise"\nmodel = "openai/some-model"\napi_base = "http://127.0.0.1:9/v1"\n',
        encoding="utf-8",
    )
    assert load_judge("wise", pool, accept_license=False).lm.model == "openai/some-model"
    assert load_judge("openai/other", None, accept_license=False).label == "openai/other"
    with pytest.raises(ConfigurationError, match="no member 'unwise'"):
        load_judge("unwise", pool, accept_license=False)


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A run folder with the rows of FIVE."""
    with Run.start(tmp_path / "run", manifest()) as run:
        for each in FIVE:
            run.append(each)
    return tmp_path / "run"


def command(*arguments):
    return run_here(python_m_eval, *arguments)


def test_the_command_prints_the_figures_and_the_definition(folder):
    ran = command("groupthink", folder, "--markdown")
    assert ran.returncode == 0, ran.stderr
    assert "| sums | llm\\_debate | 5 | 3 | 66.7 (" in ran.stdout
    assert "A failed question is groupthink where" in ran.stdout
    assert "on 1 of 5 questions an error ended a turn, or none is recorded" in ran.stdout


def test_the_command_gives_one_json_object(folder):
    ran = command("groupthink", folder, "--json")
    assert ran.returncode == 0, ran.stderr
    printed = json.loads(ran.stdout)
    (found,) = printed["discussions"]
    assert found["failures"]["given up"] == 1
    assert found["given_up"]["hits"] == 2
    assert found["judged"] is None


def test_the_table_compares_judge_and_definition(folder, capsys):
    shown = {"task": None, "method": None, "as_markdown": True}
    run_table(folder, **shown, as_json=False, judge=a_judge(by_question, name="beside"))
    printed = capsys.readouterr().out
    assert "by the judge beside, beside the definition" in printed
    run_table(
        folder,
        **shown,
        as_json=False,
        judge=a_judge(lambda prompt, draw: "I would rather not.", name="shy"),
    )
    assert "The judge gave no opinion 2 times: AdapterParseError" in capsys.readouterr().out
    run_table(folder, **shown, as_json=True, judge=a_judge(by_question, name="beside"))
    found = json.loads(capsys.readouterr().out)["discussions"][0]["judged"]
    assert [opinion["groupthink"] for opinion in found["opinions"]] == [True, False]
    assert (found["judge"], found["silent"]) == ("beside", 1)


def test_a_run_without_that_discussion_is_refused(folder):
    ran = command("groupthink", folder, "--method", "slm_mux")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no discussion of method 'slm_mux'" in ran.stderr
