"""GPQA: options stand alike for all, letters and texts are answers, and the right one is right."""

from __future__ import annotations

import csv
from collections import Counter

import dspy
import pytest

from dspy_mux import DataError, PlainAdapter, SLMMux
from programs import gpqa

from ..support.scripted import everything, marked, scripted_lm

COLUMNS = ("Record ID", "Question", "Correct Answer", *gpqa._WRONG, "High-level domain")
ROWS = [
    (
        f"rec{n}",
        f"Which gas fills {n} of the bottles?",
        f"gas {n}",
        "argon",
        "neon\n",
        "a mixture, of (A) kinds",
        domain,
    )
    for n, domain in enumerate(["Physics", "Chemistry", "Biology"] * 8)
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gpqa.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([COLUMNS, *ROWS])
    return path


def option_of(example, letter):
    return dict(line.split(") ", 1) for line in example.options.splitlines())[letter]


def written(letter, text):
    """An option as models name it."""
    return [
        letter,
        f"({letter})",
        f"{letter}) {text}",
        f"The answer is {letter}.",
        f"The answer is $\\boxed{{{letter}}}$.",
        f"**{letter}**",
        text,
        f"The correct answer can be found by thinking.\nAnswer: {letter}",
    ]


def test_only_gold_options_pass_by_letter_or_text(file):
    for example in gpqa.examples(file=file):
        for letter in gpqa.LETTERS:
            for form in written(letter, option_of(example, letter)):
                right = gpqa.metric(example, dspy.Prediction(answer=form))
                assert right == (letter == example.answer), form


@pytest.mark.parametrize(
    ("options", "said", "letter"),
    [
        (["-5", "5", "10", "12"], "-5", "A"),
        (["-5", "5", "10", "12"], "5", "B"),
        (["-5", "5", "10", "12"], "The answer is −5.", "A"),
        (["-5", "5", "10", "12"], "The answer is $\\boxed{5}$.", "B"),
        (["10^-4 eV", "10^4 eV", "1 eV", "2 eV"], "**10^-4 eV**", "A"),
        (["C. elegans", "B. subtilis", "E. coli", "yeast"], "C. elegans", "A"),
        (["C. elegans", "B. subtilis", "E. coli", "yeast"], "C", "C"),
        (["argon", "neon", "xenon", "helium"], "A. thaliana needs none.\nAnswer: (D)", "D"),
        (["argon", "neon", "xenon", "helium"], "argon or neon", ""),
        (["argon", "neon", "xenon", "helium"], "E", ""),
        (["argon", "neon", "xenon", "helium"], "", ""),
    ],
)
def test_an_option_is_known_by_its_own_text_first(options, said, letter):
    assert gpqa.letter(said, gpqa._lines(options)) == letter


def test_the_program_answers_with_a_letter(file):
    example = gpqa.examples(file=file, limit=1)[0]
    wrong = next(letter for letter in gpqa.LETTERS if letter != example.answer)
    text = option_of(example, example.answer)
    says = {
        "letter": marked(reasoning="So.", answer=example.answer),
        "text": marked(reasoning="So.", answer=text),
        "other": marked(reasoning="So.", answer=wrong),
        "nothing": marked(reasoning="So.", answer="I cannot tell."),
        "unmarked": f"I think that it must be ({example.answer}).",
    }
    lms = {name: scripted_lm(name, lambda *_, text=text: text) for name, text in says.items()}
    verdict = SLMMux(gpqa.program(), lms, k=2)(**example.inputs()).verdict
    assert verdict.answer == example.answer
    told = {
        ballot.member: [answer.answer for answer in ballot.answers] for ballot in verdict.ballots
    }
    assert told == {
        "letter": [example.answer],
        "text": [example.answer],
        "other": [wrong],
        "nothing": [],
        "unmarked": [example.answer],
    }
    assert verdict.ballots[0].votes == verdict.ballots[1].votes, (
        "a letter and its text are one answer"
    )


def test_a_plain_member_answers_too(file):
    example = gpqa.examples(file=file, limit=1)[0]
    text = f"Bottles hold gas. It is not the first.\nAnswer: {option_of(example, example.answer)}"
    lm = scripted_lm("plain", lambda *_: text, shown=everything)
    assert (
        SLMMux(gpqa.program(), [lm], adapter=PlainAdapter())(**example.inputs()).verdict.answer
        == example.answer
    )


def test_options_are_shuffled_by_the_question_alone(file):
    first, again = gpqa.examples(file=file), gpqa.examples(file=file, seed=5)
    assert {e.question_id: e.options for e in first} == {e.question_id: e.options for e in again}
    assert set(Counter(e.answer for e in first)) == set(gpqa.LETTERS), (
        "the right option is not always the same letter"
    )
    assert {e.domain for e in first} == {"Physics", "Chemistry", "Biology"}


def test_demos_answer_what_they_reason():
    for demo in gpqa.demos():
        assert gpqa.letter(demo.answer, demo.options) == demo.answer
        assert len(demo.options.splitlines()) == 4


def test_a_row_of_equal_options_is_refused(tmp_path):
    path = tmp_path / "gpqa.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [COLUMNS, ("r", "Why?", "argon", "argon", "neon", "xenon", "Physics")]
        )
    with pytest.raises(
        DataError,
        match=r"Row 1 of .* has 'argon' in the column 'Correct Answer', which must differ",
    ):
        gpqa.examples(file=path)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "gpqa.csv"
    path.write_text("Question,Correct Answer\nWhy?,x\n")
    with pytest.raises(
        DataError,
        match="lacks the column 'Incorrect Answer 1'; it has Question, Correct Answer",
    ):
        gpqa.examples(file=path)
