"""Characters, numbers and lengths that a question or an answer may hold."""

from __future__ import annotations

import pytest

from dspy_mux import SLMMux
from dspy_mux.adapters.guard import LONGEST_TYPED

from ..support.hostile_texts import NUMBERS, TEXTS
from ..support.scripted import asked, marked, prompt_of, scripted_lm


@pytest.mark.parametrize("name", TEXTS)
def test_any_text_can_be_asked(name):
    lm = scripted_lm("a", lambda prompt, draw: {"reasoning": "So.", "answer": asked(prompt)[:5]})
    pred = SLMMux("question -> answer", [lm], k=1)(question=f"Say {TEXTS[name]}")
    prompt_of(lm.engine.requests[0]).encode()
    assert pred.answer.startswith("Say")


@pytest.mark.parametrize("kind", ["str", "int", "float", "list[str]", "bool"])
@pytest.mark.parametrize("name", TEXTS)
def test_any_answer_ends_in_a_json_verdict(name, kind):
    answer = [
        {"reasoning": TEXTS[name], "answer": TEXTS[name]},
        {"reasoning": "Or:", "answer": '["7"]' if "list" in kind else "7"},
    ]
    with_sure = [
        scripted_lm("a", answer),
        scripted_lm(
            "b",
            [{"reasoning": "Or:", "answer": {"list[str]": '["7"]', "bool": "True"}.get(kind, "7")}],
        ),
    ]
    verdict = SLMMux(f"question -> answer: {kind}", with_sure, k=2)(question="?").verdict
    verdict.model_dump_json().encode()
    verdict._repr_html_().encode()


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - {"a tiny exponent", "a sum", "commas"}))
@pytest.mark.parametrize(
    "length", [LONGEST_TYPED * 9 // 10, None], ids=["short enough to be read", "whole"]
)
def test_a_response_that_hangs_its_reader_abstains(name, length):
    reply = {"reasoning": "So.", "answer": NUMBERS[name][:length]}
    lms = [
        scripted_lm(f"a {name}", [reply]),
        scripted_lm(f"b {name}", [{"reasoning": "So.", "answer": "7"}]),
    ]
    verdict = SLMMux("question -> answer: int", lms, k=1)(question="?").verdict
    assert verdict.answer == 7
    assert sum(verdict.ballots[0].abstentions.values()) == 1


def test_overlong_responses_still_give_their_answer():
    long = marked(reasoning="word " * LONGEST_TYPED, answer="42")
    assert (
        SLMMux("question -> answer: int", [scripted_lm("a", lambda prompt, draw: long)], k=1)(
            question="?"
        ).answer
        == 42
    )
