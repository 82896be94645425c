"""Which output fields are compared: one, several jointly, each by its own equivalence."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import ConfigurationError, MathAnswer, PoolMismatch, SampleBank, SLMMux, collect
from dspy_mux.answers.equivalence import NO_ANSWER
from dspy_mux.bank.fingerprint import fingerprint_member
from dspy_mux.bank.score import recorded
from dspy_mux.baselines import AgentForest, LLMDebate
from tests.support.scripted import marked, scripted_lm

BOOK = "question -> title: str, score: float"


def book(title, score):
    return {"title": title, "score": score}


def mux_of(signature=BOOK, **options):
    """Members agree on the score more than on title and score: `b` is sure of both."""
    lms = {
        "a": scripted_lm("a", [book("Dune", 4), book("Emma", 4), book("Ulysses", 4)]),
        "b": scripted_lm("b", [book("Emma", 3), book("EMMA.", "3.0"), book("Dune", 5)]),
    }
    return SLMMux(dspy.Predict(signature), lms, **options)


def test_by_default_the_last_field_is_compared_and_others_come_along():
    pred = mux_of()(question="?")
    assert (pred.title, pred.score, pred.verdict.confidence) == ("Dune", 4.0, 1.0)


@pytest.mark.parametrize(
    "fields", [["title", "score"], ("title", "score"), {"title": None, "score": None}]
)
async def test_several_fields_are_compared_jointly(fields):
    mux = mux_of(answer_field=fields)
    for pred in (mux(question="?"), await mux.acall(question="?")):
        assert (pred.title, pred.score) == ("Emma", 3.0)
        assert pred.verdict.answer == {"title": "Emma", "score": 3.0}
        assert pred.verdict.member == "b"
        assert pred.verdict.confidence == pytest.approx(2 / 3)
        assert [answer.count for answer in pred.verdict.ballots[1].answers] == [2, 1]
    assert mux.answer_field == "title, score"


def test_each_field_may_have_its_equivalence():
    near = lambda a, b: abs(float(a) - float(b)) <= 1  # noqa: E731
    first_letter = lambda title: title[:1].lower()  # noqa: E731
    lms = {"a": scripted_lm("a", [book("Emma", 3), book("Effi", 4), book("Dune", 4)])}
    program = dspy.Predict(BOOK)
    mux = SLMMux(program, lms, answer_field={"title": first_letter, "score": near})
    assert mux(question="?").verdict.ballots[0].votes == [0, 0, 1]
    mux = SLMMux(program, lms, answer_field={"title": first_letter, "score": None})
    assert mux(question="?").verdict.ballots[0].votes == [0, 1, 2]


def test_one_function_may_compare_the_fields_together():
    same = lambda a, b: a["title"] == b["title"] or a["score"] == b["score"]  # noqa: E731
    mux = mux_of(answer_field=["title", "score"], equivalence=same)
    assert mux(question="?").verdict.ballots[0].votes == [0, 0, 0]
    longest = mux_of(answer_field=["title", "score"], equivalence=lambda both: len(both["title"]))
    assert longest(question="?").verdict.ballots[0].votes == [0, 0, 1]


def test_a_list_of_one_is_that_field():
    mux, plain = mux_of(answer_field=["title"]), mux_of(answer_field="title")
    assert mux(question="?").verdict.ballots == plain(question="?").verdict.ballots
    assert fingerprint_member(mux, 0) == fingerprint_member(plain, 0)
    assert mux_of(answer_field={"title": len})(question="?").verdict.ballots[0].votes == [0, 0, 1]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([], "must name each field once"),
        (["title", "title"], "must name each field once"),
        (["title", "author"], "no output field 'author'; its output fields are title, score"),
        ({"title": 3}, "equivalence=3 cannot compare answers"),
        (["title", 3], "must be the name of an output field, a list of names"),
        (7, "must be the name of an output field, a list of names"),
    ],
)
def test_what_cannot_be_compared_is_refused(fields, says):
    with pytest.raises(ConfigurationError, match=says):
        mux_of(answer_field=fields)


def test_what_compares_one_field_is_refused_for_several():
    both = ["title", "score"]
    with pytest.raises(ConfigurationError, match="compares one field, and answer_field names sev"):
        mux_of(answer_field=both, equivalence=MathAnswer)
    with pytest.raises(ConfigurationError, match="put it into the dict"):
        mux_of(answer_field=dict.fromkeys(both), equivalence=len)
    with pytest.raises(ConfigurationError, match="extract='lm' asks for one field"):
        mux_of(answer_field=both, extract="lm")
    with pytest.raises(ConfigurationError, match="LLMDebate compares one field, not title, score"):
        LLMDebate(BOOK, [scripted_lm("a", ["x"])], answer_field=both)


def test_the_independent_baselines_take_several():
    lms = mux_of().members
    pred = AgentForest(dspy.Predict(BOOK), lms, answer_field=["title", "score"])(question="?")
    assert pred.verdict.answer == {"title": "Emma", "score": 3.0}


def test_each_field_is_read_by_its_kind():
    """Where DSPy's own parser fails on `1,234` and `$4,000.50`."""
    replies = [marked(count="1,234", price="$4,000.50"), marked(count="1234.0", price="4000.5")]
    lms = {"a": scripted_lm("a", lambda prompt, draw: replies[draw])}
    program = dspy.Predict("question -> count: int, price: float")
    pred = SLMMux(program, lms, k=2, answer_field=["count", "price"])(question="?")
    assert (pred.count, pred.price, pred.verdict.confidence) == (1234, 4000.5, 1.0)


@pytest.mark.parametrize(
    "reply",
    [
        marked(title="Emma"),
        marked(title="", score="3"),
        marked(title="Emma", score="good"),
        marked(title="{title}", score="3"),
        "Emma, 3 stars.",
        '{"title": "Emma", "score": 3}',
    ],
)
def test_a_reply_without_each_of_the_fields_is_an_abstention(reply):
    lms = {
        "a": scripted_lm("a", lambda prompt, draw: reply),
        "b": scripted_lm("b", [book("Dune", 1)]),
    }
    pred = SLMMux(dspy.Predict(BOOK), lms, answer_field=["title", "score"])(question="?")
    assert sum(pred.verdict.ballots[0].abstentions.values()) == 3
    assert pred.verdict.member == "b"


def test_where_the_type_admits_none_none_is_part_of_an_answer():
    reply = marked(title="Emma", score="None")
    lms = {"a": scripted_lm("a", lambda prompt, draw: reply)}
    program = dspy.Predict("question -> title: str, score: float | None")
    pred = SLMMux(program, lms, answer_field=["title", "score"])(question="?")
    assert pred.verdict.answer == {"title": "Emma", "score": None}


def test_the_fields_may_come_from_different_steps():
    class Review(dspy.Module):
        def __init__(self):
            super().__init__()
            self.name = dspy.Predict("question -> title")
            self.rate = dspy.Predict("title -> score: float")

        def forward(self, question):
            title = self.name(question=question).title
            return dspy.Prediction(title=title, score=self.rate(title=title).score)

    def reply(prompt, draw):
        return marked(title="Emma") if "question" in prompt else marked(score="3,000")

    mux = SLMMux(Review(), [scripted_lm("a", reply)], answer_field=["title", "score"])
    assert mux(question="?").verdict.answer == {"title": "Emma", "score": 3000.0}


def test_a_prediction_that_lacks_one_says_which():
    class Half(dspy.Module):
        def forward(self, question):
            return dspy.Prediction(title="Emma")

    lms = [scripted_lm("a", ["x"])]
    with pytest.raises(Exception, match="the prediction has no field 'score' \\(it has title\\)"):
        SLMMux(Half(), lms, answer_field=["title", "score"])(question="?")


# Saved, in banks, in fingerprints.


def test_several_fields_are_saved_and_checked(tmp_path):
    path, both = tmp_path / "mux.json", ["title", "score"]
    mux_of(answer_field=both, accuracies={"a": 0.5}).save(path)
    same = mux_of(answer_field=both)
    same.load(path)
    assert same.accuracies == {"a": 0.5}
    with pytest.raises(PoolMismatch, match="title: text, score: number"):
        mux_of().load(path)
    with pytest.raises(PoolMismatch, match="key function"):
        mux_of(answer_field={"title": len, "score": None}, equivalence=None).load(path)


def test_fingerprints_tell_the_fields_and_their_equivalences_apart():
    variants = [
        None,
        "title",
        ["title", "score"],
        {"title": len, "score": None},
        {"title": str.lower, "score": None},
        {"title": None, "score": len},
    ]
    prints = {fingerprint_member(mux_of(answer_field=variant), 0)[0] for variant in variants}
    assert len(prints) == len(variants)


def test_a_single_fields_fingerprint_is_what_it_was():
    """Draws of older versions are found again."""
    description = fingerprint_member(mux_of(), 0)[1]
    assert description["answer"] == ["score", "number"]


def test_a_bank_records_several_fields_and_scores_them_again(tmp_path):
    mux = mux_of(answer_field=["title", "score"])
    examples = [dspy.Example(question="?", title="Emma", score=3.0).with_inputs("question")]

    def title(example, prediction, trace=None):
        return example.title == prediction.title

    def both(example, prediction, trace=None):
        return example.title == prediction.title and prediction.score == example.score

    bank = SampleBank(tmp_path / "bank.sqlite")
    assert collect(mux, examples, title, bank, k=2).drawn == 4
    # The second half of the draws is numbered along with the first.
    assert collect(mux, examples, both, bank, k=3).rescored == 4
    record = recorded(mux, examples, both, bank, dataset="default", k=3)
    (ours, theirs), live = record.votes[0], mux(question="?").verdict.ballots
    assert len(set(ours)) == 3
    assert theirs[0] == theirs[1] != theirs[2]
    assert not set(ours) & set(theirs)
    assert [ballot.votes for ballot in live] == [[0, 1, 2], [3, 3, 4]]
    assert record.scores.tolist() == [[[0, 0, 0], [1, 0, 0]]]


def test_an_answer_of_several_fields_reads_as_text_and_as_json():
    verdict = mux_of(answer_field=["title", "score"])(question="?").verdict
    assert verdict.model_dump(mode="json")["answer"] == {"title": "Emma", "score": 3.0}
    assert "Emma" in verdict._repr_html_()
    assert mux_of(answer_field=["title", "score"]).kind.key(NO_ANSWER) is None
