r"""MATH-500: gold answers pass in every form a model writes them in, other answers in none.

A file's rows become examples.

The golds are those of our own rows, and of the whole release where it lies beside the checkout.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import dspy
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.adapters.formats import PlainAdapter, default_adapter
from dspy_mux.errors import DataError
from programs.math500 import demos, examples, metric, program, task

RELEASE = Path(__file__).parents[3] / "shared" / "data" / "math500_test.jsonl.gz"

OWN = [
    "7", "-12", r"\frac{5}{8}", r"\dfrac{7}{3}", r"\frac 47", r"2\frac{1}{3}", "0.375", ".0025",
    "12,\\!600", "40,500", r"\$7.50", r"\$18", r"135^\circ", r"60\%", r"14 \text{ feet}",
    r"9\mbox{ m}^2", r"\frac{45}7\text{ degrees}", r"5\sqrt{3}", r"9\sqrt5", r"\frac{\sqrt{7}}{4}",
    r"-\frac{\pi}{3}", r"12 + 5\pi", r"\frac{300}{\pi}", r"\tan x", "4 - 7i", "3k^2", "(b-2)(c+9)",
    "x^4 - 5x + 1", r"\frac{3+8a}{15}", "z=9", "y = 4x - 7", "3x - 8y + 2z + 6 = 0", "(4,-9)",
    "(3,8,-5)", r"\left( 5, \frac{\pi}{4} \right)", r"\left(\frac{1}{4},\frac{9}{2}\right]",
    "[-6,8)", r"(-\infty, 5]", r"(4,\infty)", r"(-\infty, 1) \cup (6, \infty)", r"x \in [-8,5]",
    "4,-6", "2, 6, 11", r"2 \pm \sqrt{11}", r"\{3\pm\sqrt{2},-4\}", "31_7", "2103_{4}",
    r"\text{Marisol}", r"\text{west}", r"\text{(D)}",
    r"\begin{pmatrix} 3/5 \\ -2 \\ 8 \end{pmatrix}",
    r"\begin{pmatrix} 2 & 0 \\ -3 & 1 \end{pmatrix}",
]  # fmt: skip

REASONED = "We set up $2x + 4 = 10$ and solve it. First, $2x = 6$.\n\n"
FORMS = [
    "GOLD", "$GOLD$", "$$GOLD$$", r"\(GOLD\)", r"\[GOLD\]", "\\[\nGOLD\n\\]", "= GOLD",
    r"$\displaystyle GOLD$", r"\mathbf{GOLD}", r"\boxed{GOLD}", r"\boxed{ GOLD }",
    r"\boxed{$GOLD$}", r"\fbox{GOLD}", "**GOLD**", "**$GOLD$**", "**$GOLD$**.", "`GOLD`",
    "```\nGOLD\n```", r"The answer is $\boxed{GOLD}$.", "The answer is GOLD.", "Answer: $GOLD$",
    "The final answer is \\(GOLD\\).",
    *(
        REASONED + ending
        for ending in (
            r"So \[ \boxed{GOLD} \]", r"Therefore, $x = \boxed{GOLD}$.",
            r"So it is $\boxed{GOLD}$. We check: $2\cdot 3=6$.", r"Therefore \[ GOLD \]",
            "Hence we get\n\\[\nGOLD\n\\]\n", "Hence\n\n$$\nGOLD.\n$$",
            "Therefore the value is $GOLD$.",
            "Thus, the value of the expression is $GOLD$ exactly.", "**GOLD**",
            "So it is **$GOLD$**.", "#### GOLD", "#### $GOLD$", "Final Answer: GOLD",
            "**Final Answer:** $GOLD$", "**Final Answer: GOLD**", "### Final Answer\n\n$GOLD$",
            "**Final Answer**\n\n\\[\nGOLD\n\\]", "### Final Answer:\n\n\\[\n\\boxed{GOLD}\n\\]",
            "Final Answer: The final answer is $GOLD$. I hope it is correct.", "Answer: GOLD",
            "Answer:\n```\nGOLD\n```", "Therefore, the answer is GOLD.",
            "The answer is:\n\\[ GOLD \\]", "The answer is the value $GOLD$.",
            "The answer is $GOLD$, since $2x=6$.",
        )
    ),
]  # fmt: skip
SIGNATURE = program().predict.signature


@pytest.fixture(params=["own", "release"])
def golds(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "own":
        return OWN
    if not RELEASE.is_file():
        pytest.skip("the release is not beside the checkout")
    return [example.answer for example in examples(file=RELEASE)]


def judged(gold: str, answer: object) -> bool:
    return metric(dspy.Example(answer=gold), dspy.Prediction(answer=answer))


def through_chat(text: str) -> object:
    response = (
        f"[[ ## reasoning ## ]]\nWe think.\n\n[[ ## answer ## ]]\n{text}\n\n[[ ## completed ## ]]"
    )
    return default_adapter().parse(SIGNATURE, response)["answer"]


def through_plain(text: str) -> object:
    return PlainAdapter().parse(SIGNATURE, text)["answer"]


def others(golds: list[str]) -> list[tuple[str, str]]:
    """Each gold with the next that is another answer ("x=5" is the answer 5)."""
    pairs = []
    for index, gold in enumerate(golds):
        following = golds[index + 1 :] + golds[:index]
        pairs.append(
            (
                gold,
                next(
                    other
                    for other in following
                    if other.removeprefix("x=") != gold.removeprefix("x=")
                ),
            )
        )
    return pairs


# --------------------------------------------------------------------------------------------------
# The metric


def test_the_release_is_whole() -> None:
    if not RELEASE.is_file():
        pytest.skip("the release is not beside the checkout")
    assert (
        len(examples(file=RELEASE))
        == len({example.question_id for example in examples(file=RELEASE)})
        == 500
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_gold_passes_in_every_form(golds: list[str], form: str) -> None:
    texts = [(gold, form.replace("GOLD", gold)) for gold in golds]
    assert [gold for gold, text in texts if not judged(gold, through_chat(text))] == []
    assert [gold for gold, text in texts if not judged(gold, through_plain(text))] == []


@pytest.mark.parametrize(
    "form",
    [
        "GOLD",
        r"The answer is $\boxed{GOLD}$.",
        REASONED + "#### GOLD",
        REASONED + "So it is **$GOLD$**.",
    ],
)
def test_another_answer_fails(golds: list[str], form: str) -> None:
    texts = [(gold, other, form.replace("GOLD", other)) for gold, other in others(golds)]
    assert [(gold, other) for gold, other, text in texts if judged(gold, through_chat(text))] == []
    assert [(gold, other) for gold, other, text in texts if judged(gold, through_plain(text))] == []


WRITINGS = {
    "dfrac": lambda gold: re.sub(r"\\d?frac", r"\\dfrac", gold),
    "tfrac": lambda gold: re.sub(r"\\d?frac", r"\\tfrac", gold),
    "left and right": lambda gold: re.sub(
        r"([)\]])",
        r"\\right\1",
        re.sub(r"([(\[])", r"\\left\1", re.sub(r"\\left|\\right", "", gold)),
    ),
    "no spaces": lambda gold: re.sub(
        r"(\\[A-Za-z]+)?\s+", lambda match: f"{match[1]} " if match[1] else "", gold
    ),
    "an ending in .0": lambda gold: f"{gold}.0" if re.fullmatch(r"-?\d+", gold) else gold,
    "bmatrix": lambda gold: gold.replace("pmatrix", "bmatrix"),
    "degrees": lambda gold: gold.replace(r"^\circ", " degrees"),
    "a degree sign": lambda gold: gold.replace(r"^\circ", "°"),
    "no degrees": lambda gold: gold.replace(r"^\circ", ""),
    "no percent sign": lambda gold: gold.replace(r"\%", ""),
    "no currency": lambda gold: gold.replace(r"\$", ""),
    "a bare currency": lambda gold: gold.replace(r"\$", "$"),
    "no units": lambda gold: re.sub(r"(?<=.)\s*\\(?:text|mbox)\{ ?[a-z]+\}(?:\^2)?$", "", gold),
    "plain units": lambda gold: re.sub(r"(?<=.)\s*\\(?:text|mbox)\{ ?([a-z]+)\}", r" \1", gold),
    "words without text": lambda gold: re.sub(r"^\\text\{\(?(\w+)\)?\}$", r"\1", gold),
    "typed roots": lambda gold: re.sub(
        r"\\sqrt(?:\{(\w+)\}|(\d))", lambda match: f"sqrt({match[1] or match[2]})", gold
    ),
    "typed pi": lambda gold: gold.replace("\\pi", "π"),
    "braced bases": lambda gold: re.sub(r"_\{?(\d+)\}?$", r"_{\1}", gold),
    "spoken bases": lambda gold: re.sub(r"_\{?(\d+)\}?$", r" base \1", gold),
    "braced thousands": lambda gold: (
        gold if gold[:1] in "([{" else re.sub(r"(?<=\d),(?:\\!)?\s?(?=\d{3})", "{,}", gold)
    ),
    "reversed roots": lambda gold: (
        ", ".join(reversed(gold.split(","))) if re.fullmatch(r"-?\d(?:, ?-?\d\d?)+", gold) else gold
    ),
    "both roots": lambda gold: re.sub(r"^(\d) \\pm (.*)$", r"\1 - \2, \1 + \2", gold),
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_every_gold_passes_in_another_writing(golds: list[str], writing: str) -> None:
    texts = [(gold, WRITINGS[writing](gold)) for gold in golds]
    assert any(gold != text for gold, text in texts) or writing == "no percent sign"
    assert [(gold, text) for gold, text in texts if not judged(gold, text)] == []
    assert [
        (gold, text)
        for gold, text in texts
        if not judged(gold, through_plain(f"The answer is ${text}$."))
    ] == []


UNITS = [
    " cm",
    r" \text{ inches}",
    r"\text{ cm}^2",
    " cm^2",
    " square meters",
    " m/s",
    " dollars",
    r"^\circ",
    "°",
    " degrees",
    r"\%",
    "%",
    " percent",
]


@pytest.mark.parametrize("unit", UNITS)
def test_numbers_pass_with_units(golds: list[str], unit: str) -> None:
    numerals = [
        gold for gold in golds if re.fullmatch(r"-?\d+(?:\.\d+)?|\\d?frac\{\d+\}\{\d+\}", gold)
    ]
    assert numerals
    assert [gold for gold in numerals if not judged(gold, gold + unit)] == []
    assert [
        gold
        for gold in numerals
        if not judged(gold, through_plain(f"So the answer is {gold}{unit}."))
    ] == []


def test_numbers_that_are_close_fail(golds: list[str]) -> None:
    whole = [gold for gold in golds if re.fullmatch(r"-?[1-9]\d*", gold)]
    for gold in whole:
        for wrong in (
            f"-{gold}".replace("--", ""),
            f"{gold}0",
            f"0.{gold.lstrip('-')}",
            f"{int(gold) + 1}",
            rf"\frac{{1}}{{{gold}}}0",
            f"{gold}x",
        ):
            assert not judged(gold, wrong), (gold, wrong)


@pytest.mark.parametrize(
    "answer", [None, "", " ", "$$", r"\boxed{}", "no idea", "I cannot solve it."]
)
def test_no_answer_is_wrong(answer: object) -> None:
    assert metric(dspy.Example(answer="7"), dspy.Prediction(answer=answer)) is False


def test_a_prediction_without_an_answer_is_wrong() -> None:
    assert metric(dspy.Example(answer="7"), dspy.Prediction()) is False
    assert metric(dspy.Example(answer="7"), None) is False


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="0123456789x+-*/=^_()[]{}\\$,. \nπ√", max_size=40))
def test_any_answer_is_judged_without_an_error(text: str) -> None:
    assert judged("7", text) in (True, False)


# --------------------------------------------------------------------------------------------------
# The program and its examples


def rows(n: int = 10) -> list[dict[str, object]]:
    return [
        {
            "problem": f"What is {number} + {number}?",
            "solution": "We add.",
            "answer": str(2 * number),
            "subject": "Prealgebra" if number % 2 else "Algebra",
            "level": 1 + number % 5,
            "unique_id": f"test/own/{number}.json",
        }
        for number in range(n)
    ]


def written(folder: Path, lines: list[dict[str, object]]) -> Path:
    file = folder / "own.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def test_a_files_rows_become_examples(tmp_path: Path) -> None:
    math500 = task(written(tmp_path, rows()))
    found = {example.question_id: example for example in math500.examples()}
    assert len(found) == 10
    example = found["test/own/3.json"]
    assert example.toDict() == {
        "question": "What is 3 + 3?",
        "answer": "6",
        "subject": "Prealgebra",
        "level": "4",
        "question_id": "test/own/3.json",
    }
    assert set(example.inputs().keys()) == {"question"}
    assert (math500.name, math500.context, math500.equivalence) == ("math500", "subject", None)
    parts = [
        {example.question_id for example in math500.examples(split)}
        for split in ("validation", "test")
    ]
    assert [len(part) for part in parts] == [2, 8]
    assert parts[0] | parts[1] == set(found)
    assert [e.question_id for e in math500.examples("test", limit=3)] == [
        e.question_id for e in math500.examples("test")
    ][:3]


@pytest.mark.parametrize("column", ["problem", "answer", "subject", "level", "unique_id"])
def test_a_row_without_a_column_is_refused(tmp_path: Path, column: str) -> None:
    lines = rows()
    del lines[4][column]
    with pytest.raises(DataError, match=f"Line 5 of .*own.jsonl lacks the column '{column}'"):
        examples(file=written(tmp_path, lines))


def test_an_answer_without_mathematics_is_refused(tmp_path: Path) -> None:
    lines = rows()
    lines[2]["answer"] = "$$"
    with pytest.raises(DataError, match="Line 3 of .*column 'answer'"):
        examples(file=written(tmp_path, lines))


def test_the_demos_are_right_and_in_no_release() -> None:
    assert len(demos()) == 4
    assert len({demo.question for demo in demos()}) == 4
    for demo in demos():
        assert judged(demo.answer, through_plain(f"{demo.reasoning}\n\nAnswer: ${demo.answer}$"))
    if RELEASE.is_file():
        questions = {
            re.sub(r"\W+", "", example.question).lower() for example in examples(file=RELEASE)
        }
        assert not questions & {re.sub(r"\W+", "", demo.question).lower() for demo in demos()}


@pytest.mark.parametrize("adapter", [default_adapter(), PlainAdapter()])
def test_the_program_runs_in_evaluate_with_its_metric(
    tmp_path: Path, adapter: dspy.Adapter
) -> None:
    devset = examples("test", limit=4, file=written(tmp_path, rows()))
    told = [rf"So it is \[ \boxed{{{example.answer}}} \]" for example in devset[:3]] + [
        "The answer is $1$."
    ]
    if isinstance(adapter, dspy.ChatAdapter):
        replies: list[dict[str, str]] = [{"reasoning": "We add.", "answer": text} for text in told]
        lm = dspy.utils.DummyLM(replies)
    else:
        lm = dspy.utils.DummyLM([{"answer": text} for text in told])
    with dspy.context(lm=lm, adapter=adapter):
        result = dspy.Evaluate(devset=devset, metric=metric, num_threads=1)(program())
    assert result.score == 75.0
