"""A model's opinion of discussions, beside the definition."""

from __future__ import annotations

import pytest
from rich.console import Console

from dspy_mux import ConfigurationError
from eval.groupthink.judge import cohens_kappa, judged, load_judge, transcript

from ...support.scripted import asked, calls
from .rows import FIVE, a_judge, by_question, row

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
