"""Choices and truth values: a text that decides, in any form, and one that does not."""

from __future__ import annotations

import enum
from typing import Any, Literal

import pytest
from hypothesis import given, strategies as st

from dspy_mux.answers.choice_kind import ChoiceKind
from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.kinds import TextKind
from dspy_mux.answers.labels import labels_of
from dspy_mux.answers.marks import left_blank, marked_answer
from tests.answers.test_extract import PIECES

LETTERS = Literal["A", "B", "C", "D"]
PAIR = Literal["(A)", "(B)"]
MOODS = Literal["positive", "negative"]
CITIES = Literal["(A) Paris", "(B) Rome"]
SIGNS = Literal[-1, 0, 1]
RATING = Literal[1, 2, 3, 4, 5]
BLOOD = Literal["A positive", "B positive", "positive"]


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


class Crossed(enum.Enum):
    A = "B"
    B = "A"


DECIDED: list[tuple[Any, str, Any]] = [
    (LETTERS, "Antwort: C", "C"), (LETTERS, "La réponse est C.", "C"), (LETTERS, "答案是C。", "C"),
    (LETTERS, "Ответ: C", "C"), (LETTERS, "La respuesta correcta es la A.", "A"),
    (LETTERS, "정답은 C입니다.", "C"), (LETTERS, "故选C。", "C"), (LETTERS, "選B", "B"),
    (LETTERS, "本题答案不是A，而是D。", "D"), (LETTERS, "الإجابة: ب", "B"),
    (LETTERS, "Die Antwort ist nicht A, sondern C.", "C"), (LETTERS, "उत्तर C है", "C"),
    (LETTERS, r"\boxed{\text{C: x}}", "C"), (LETTERS, r"\boxed{\mathrm{B}}", "B"),
    (LETTERS, r"The answer is $\mathbf{B}$.", "B"), (LETTERS, r"\framebox{D}", "D"),
    (LETTERS, "<answer>B</answer>", "B"), (LETTERS, '{"answer": "B"}', "B"),
    (LETTERS, '```json\n{"reasoning": "not A", "answer": "B"}\n```', "B"),
    (LETTERS, "I choose B", "B"), (LETTERS, "Therefore B.", "B"), (LETTERS, "B is correct", "B"),
    (LETTERS, "Final answer - B", "B"), (LETTERS, "The answer is not A, it is B", "B"),
    (LETTERS, "Answer (B)", "B"), (LETTERS, "[B]", "B"), (LETTERS, "B)", "B"),
    (LETTERS, "The answer is A. Wait, no, the answer is B.", "B"),
    (LETTERS, "The answer is A. Wait, no, B.", "B"), (LETTERS, "probably A", "A"),
    (LETTERS, "A is wrong, so B.", "B"), (LETTERS, "A and C are wrong. B is right.", "B"),
    (LETTERS, "(A) and (B) are both plausible, but (B) is the best choice.", "B"),
    (LETTERS, "The answer is C because I computed the integral.", "C"),
    (LETTERS, "The answer is B. Note that A is a common distractor.", "B"),
    (LETTERS, "The answer is B.\n\nThe answer is clear.", "B"),
    (LETTERS, r"\boxed{A}. Wait, that is wrong. The answer is B.", "B"),
    (LETTERS, "B\n\nExplanation: Because of x, B is right and A is not.", "B"),
    (LETTERS, "Eliminating A, B and D leaves C.", "C"), (LETTERS, "A\nCorrection: B", "B"),
    (LETTERS, "The answer is B, as A, C and D are all incorrect.", "B"),
    (LETTERS, "The answer is A. No, it's B.", "B"),
    (CITIES, "Paris is bigger than Rome. So it is Paris.", "(A) Paris"),
    (CITIES, "Not Paris but Rome", "(B) Rome"), (CITIES, "(B) Rome", "(B) Rome"),
    (MOODS, "It is positive rather than negative.", "positive"),
    (MOODS, "**Positive** – the author liked it, nothing negative.", "positive"),
    (BLOOD, "positive", "positive"), (BLOOD, "The result is A positive.", "A positive"),
    (SIGNS, "1", 1), (SIGNS, "−1", -1), (SIGNS, "The answer is 0.", 0), (SIGNS, "Answer: -1", -1),
    (RATING, "4/5", 4), (RATING, "Rating: 4 out of 5", 4), (RATING, "4.0", 4),
    (RATING, "I would rate this 4/5.", 4), (RATING, "There are 5 reasons for a score of 3.", 3),
    (Literal["Option A", "Option B"], "B", "Option B"), (Literal["ab", "AB"], "AB", "AB"),
    (Literal["0.5", "5"], ".5", "0.5"), (Literal["1", "2", "10"], "10", "10"),
    (Literal["left", "right"], "The right answer is left.", "left"),
    (Literal["yes", "yes, but later", "no"], "yes, but later", "yes, but later"),
    (Literal["refund", "complaint"], "This is not a complaint; it is a refund.", "refund"),
    (Literal["A", "B", "tie"], "My verdict is: [[B]]", "B"),
    (Colour, "DARK_BLUE", Colour.DARK_BLUE), (Colour, "dark-blue", Colour.DARK_BLUE),
    (Crossed, "A", Crossed.B),
]  # fmt: skip

UNDECIDED: list[tuple[Any, str]] = [
    (PAIR, "So the answer is (A) or (B)."), (LETTERS, "Answer: A, C"), (LETTERS, "Answer: A C"),
    (LETTERS, "Among (A), (B), (C), (D), none is right. The answer is none of these."),
    (MOODS, "The sentiment is not positive."), (MOODS, "neither positive nor negative"),
    (MOODS, "mixed: positive and negative"), (MOODS, "non-positive"),
    (Literal["A positive", "B positive"], "positive"), (BLOOD, "AB positive"),
    (Literal["Option A", "Option B"], ""), (Literal["Option A", "Option B"], " "),
    (Literal["ab", "AB"], "Ab"), (RATING, "4/10"), (RATING, "3-4"), (RATING, "45"),
    (LETTERS, "maybe A or B"), (LETTERS, "A is better than B"), (LETTERS, "All of the above"),
    (LETTERS, "Both A and B"), (LETTERS, "Neither A nor B"), (LETTERS, "none"),
    (LETTERS, "The answer is vitamin C."), (LETTERS, "A good approach is to add."),
    (LETTERS, "Answer: {answer}"), (LETTERS, "Answer: A/B/C/D"), (LETTERS, "Answer: "),
    (LETTERS, "Answer: [your answer]"), (LETTERS, "<answer></answer>"),
    (LETTERS, "ANSWER: Don't know"), (LETTERS, "It isn't A."), (LETTERS, "It cannot be A."),
    (LETTERS, "A is wrong."), (LETTERS, "B is wrong, and so is C."), (LETTERS, "The answer is E."),
    (LETTERS, "The answer is A? I am not sure."), (LETTERS, "The answer is A or E."),
    (LETTERS, "I think it is B, but it could be C."), (LETTERS, r"\boxed{A} or \boxed{B}"),
    (LETTERS, r"\boxed{A} The answer is B."), (LETTERS, "A) iron\nB) tin\nC) zinc\nD) lead"),
    (LETTERS, '{"answer": "D"} {"answer": "A"}'), (LETTERS, "[[A]] or [[B]]"),
    (LETTERS, r"It was \boxed{A}, which is wrong. The answer is \boxed{}"),
    (LETTERS, "It looks like A. But it is not A."), (LETTERS, "Given A alone, none of them fits A"),
    (LETTERS, "B is close, but it cannot be determined."), (Literal["D", "E"], "We found E. coli"),
    (LETTERS, "A+B"), (LETTERS, "Answer: B. Possibly C."), (LETTERS, '{"A": 0.1, "B": 0.9}'),
    (LETTERS, "The answer is B. Hmm, but C also works."), (Literal[1, 2, 3], "2%"),
    (CITIES, "(A) Rome"), (CITIES, "If we look at (B), it says that"),
    (Literal["correct", "incorrect"], "Partially correct: the year is not."),
]  # fmt: skip

TRUTHS: list[tuple[str, bool | None]] = [
    ("It is neither yes nor no.", None), ("yes/no", None), ("Yes and no.", None),
    ("Yes or no?", None), ("True and False", None), ("not sure", None), ("Sí y no.", None),
    ("I cannot say yes", None), ("It could be true.", None), ("Yes\nNo", None),
    ("yes if it rains, otherwise no", None), ("There is no doubt.", None),
    ("The answer is yes or no.", None), ("Answer: {true/false}", None), ("y or n", None),
    ("Ja", True), ("Oui", True), ("是的。", True), ("Nein, das ist falsch.", False), ("N.", False),
    ("Y", True), ("1", True), ("0", False), ("T", True), ("F", False), ("No no no", False),
    ("Is it true? Yes.", True), ("That isn't false.", True), ("not true", False),
    ("The statement is correct.", True), ("Yes. Wait, no.", False), ("Probably yes.", True),
    ("No, it is true that it rains.", False), ("<answer>true</answer>", True),
    ('{"answer": false}', False), (r"\boxed{\text{Yes}}", True), ("Answer: Y", True),
    ("The answer is False. The answer is correct.", False), ("True or False: False", False),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "text", "option"), DECIDED)
def test_a_text_that_decides(annotation: Any, text: str, option: Any) -> None:
    found = answer_kind(annotation).extract(text)
    assert found == option
    assert type(found) is type(option)


@pytest.mark.parametrize(("annotation", "text"), UNDECIDED)
def test_a_text_that_does_not_decide(annotation: Any, text: str) -> None:
    assert answer_kind(annotation).extract(text) is None


@pytest.mark.parametrize(("text", "value"), TRUTHS)
def test_truth_values(text: str, value: bool | None) -> None:
    assert answer_kind(bool).extract(text) is value


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{\text{Paris}}", "Paris"), ("<answer>Paris</answer>", "Paris"),
        ('{"answer": "Paris"}', "Paris"), ("The answer is not Paris but Lyon.", "Lyon"),
        ('The answer is "Who\'s Afraid of Virginia Woolf?"', "Who's Afraid of Virginia Woolf"),
        ("The answer is probably Paris.", "Paris"), ("Réponse : Paris", "Paris"),
        ("{answer}", None), ("Answer: ", None), ("Answer: [your answer]", None),
        ("<answer>{answer}</answer>", None), ('{"answer": null}', None),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2}'),
        (r"the half, \frac{1}{2}", r"the half, \frac{1}{2}"),
    ],
)  # fmt: skip
def test_text(text: str, answer: str | None) -> None:
    assert TextKind().extract(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "I don't think the answer is B.", "If the answer is B, we are done",
        "Whether the answer is B is open", "Some might say the answer is B",
    ],
)  # fmt: skip
def test_what_states_no_answer(text: str) -> None:
    assert marked_answer(text) is None


def test_a_blank_counts_only_at_the_end() -> None:
    assert left_blank("The result is 5.\nAnswer:")
    assert left_blank(r"\boxed{5} is wrong. So \boxed{")
    assert not left_blank("Answer: {answer}\n\nAnswer: 5")
    assert not left_blank("The answer is 5.\n\nAnswer:")


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (["(A) x", "(B) y"], "AB"), (["A. x", "B. y"], "AB"), (["A", "B"], "AB"),
        (["Option A", "Option B"], "AB"), (["1) x", "2) y"], "12"), (["-1", "0", "1"], ""),
        (["C. elegans", "E. coli"], ""), (["A positive", "B positive"], ""), (["ab", "AB"], ""),
        (["1 - 2", "2 - 3"], ""), (["0.5", "1.5"], ""),
    ],
)  # fmt: skip
def test_only_labelled_options_have_labels(options: list[str], labels: str) -> None:
    assert "".join(label for label, _ in labels_of(options).values()) == labels


def test_equal_texts_have_one_key() -> None:
    kind = answer_kind(Literal["ab", "AB"])
    assert kind.key("".join(["A", "B"])) == kind.key("AB") != kind.key("ab")
    assert answer_kind(Literal[1, "1"]).key(1) != answer_kind(Literal[1, "1"]).key("1")


# --------------------------------------------------------------------------------------------------
# Any options, in any form

WORDS = st.sampled_from(
    ["Paris", "Rome", "blue", "dark blue", "a river", "oxygen", "H2O", "12", "3.5", "-4", "x + 1",
     "New York", "York", "toxic", "non-toxic", "up", "São Paulo", "中国", "C major"]
)  # fmt: skip
BARE_SETS = st.integers(2, 8).map(lambda count: list("ABCDEFGH"[:count]))
LABELLED_SETS = st.lists(WORDS, min_size=2, max_size=5, unique_by=str.casefold).flatmap(
    lambda words: st.sampled_from(["({}) {}", "{}) {}", "{}. {}", "{}: {}"]).map(
        lambda form: [form.format("ABCDE"[at], word) for at, word in enumerate(words)]
    )
)
WORD_SETS = st.lists(WORDS, min_size=2, max_size=5, unique_by=str.casefold)
OPTION_SETS = st.one_of(BARE_SETS, LABELLED_SETS, WORD_SETS)
FORMS = [
    "{}", "{}.", "**{}**", "`{}`", '"{}"', "The answer is {}.", "Answer: {}", "**Answer:** {}",
    "Final answer: {}", "Final Answer\n\n{}", "So the correct answer is {}!", "ANSWER: {}",
    "Let us think.\nIt rains.\n\nThe answer is {}", "<answer>{}</answer>", "#### {}",
    "Therefore, the answer is {}.", "My final answer is: {}", "Antwort: {}", "Ответ: {}",
    "La réponse est {}.", "答案：{}", "The answer is {} because it fits.", "\\boxed{{{}}}",
    "\\boxed{{\\text{{{}}}}}", "I choose {}.", "The correct option is {}.", "It is probably {}.",
    "The answer is {}, since nothing else fits.",
]  # fmt: skip
OPEN_FORMS = [
    "The answer is {} or {}.", "{} or {}", "{}, {}", "{} and {}", "Answer: {}/{}",
    "Answer: {} & {}",
    "Either {} or {}.", "Both {} and {}.", "Neither {} nor {}.", "The answer is neither {} nor {}.",
    "Answer: {} and {}", "<answer>{}, {}</answer>", "\\boxed{{{}, {}}}", "#### {} or {}",
    "It could be {} or {}, I cannot decide.", "The answer is not {} and not {}.",
]  # fmt: skip
EMPTY_FORMS = [
    "The answer is not {}.", "It is not {}.", "{} is wrong.", "It cannot be {}.",
    "The answer isn't {}.", "Is it {}?", "I do not know whether it is {}.",
]  # fmt: skip


@given(options=OPTION_SETS, form=st.sampled_from(FORMS), data=st.data())
def test_a_decided_form_gives_its_option(
    options: list[str], form: str, data: st.DataObject
) -> None:
    option = data.draw(st.sampled_from(options))
    assert ChoiceKind(options).extract(form.format(option)) == option


@given(options=LABELLED_SETS, form=st.sampled_from(FORMS), data=st.data())
def test_a_label_gives_its_option(options: list[str], form: str, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(options) - 1))
    label = data.draw(st.sampled_from(["{}", "({})", "Option {}"])).format("ABCDE"[number])
    assert ChoiceKind(options).extract(form.format(label)) == options[number]


@given(options=OPTION_SETS, form=st.sampled_from(OPEN_FORMS), data=st.data())
def test_an_undecided_form_gives_none(options: list[str], form: str, data: st.DataObject) -> None:
    pair = data.draw(st.lists(st.sampled_from(options), min_size=2, max_size=2, unique=True))
    assert ChoiceKind(options).extract(form.format(*pair)) is None


@given(options=OPTION_SETS, form=st.sampled_from(EMPTY_FORMS), data=st.data())
def test_a_denied_option_is_no_answer(options: list[str], form: str, data: st.DataObject) -> None:
    option = data.draw(st.sampled_from(options))
    assert ChoiceKind(options).extract(form.format(option)) is None


@given(options=OPTION_SETS, data=st.data())
def test_keys_are_of_options(options: list[str], data: st.DataObject) -> None:
    kind = ChoiceKind(options)
    a, b = (data.draw(st.sampled_from(options)) for _ in range(2))
    assert kind.same(a, b) == (a == b)
    found = kind.extract(data.draw(st.text(max_size=12)))
    assert found is None or found in options


@pytest.mark.parametrize("kind", [answer_kind(LETTERS), answer_kind(CITIES), answer_kind(bool)])
@pytest.mark.parametrize(
    "piece",
    [*PIECES, "A or ", "not A ", "wait, ", "[[A]] ", "<answer>", "Antwort ", "答案", "if A "],
)
@pytest.mark.timeout(60)  # quadratic scanners take hours
def test_a_long_text_is_read_soon(kind: Any, piece: str) -> None:
    text = piece * (200_000 // len(piece.encode("utf-8", "surrogatepass")))
    kind.extract(text)
    kind.extract(f"The answer is {text}")
