"""A sample bank on its own: what was written comes back, once, whichever database it is in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dspy_mux import ConfigurationError
from dspy_mux.bank.record import MISSING
from dspy_mux.voting.tally import ABSTAINED

from ...support.fill import a_draw, a_program, fill, some_questions, write

# --- written and read


def test_what_was_written_comes_back_as_arrays(bank):
    fill(bank)
    record = bank.record()
    assert (record.members, record.questions, record.keys) == (
        ("a", "b"),
        ("q0", "q1", "q2"),
        ("key0", "key1", "key2"),
    )
    assert record.votes.tolist() == [[[0, 0], [1, ABSTAINED]]] * 3
    assert record.scores.tolist() == [[[1, 1], [0, 0]]] * 3
    assert record.fields == {"task": ("a", "b", "a"), "n": ("0", "1", "2")}
    assert (record.calls.sum(), record.tokens.sum(), record.cost.sum()) == (12, 180, 3)


def test_an_answer_without_a_score_is_nan_and_a_draw_never_made_is_missing(bank):
    (first, second), made_by = some_questions(bank, 2), a_program(bank)
    write(
        bank,
        a_draw(first, made_by, 0, score=None),
        a_draw(first, made_by, 2),
        a_draw(second, made_by, 1),
    )
    record = bank.record()
    assert record.votes.tolist() == [[[0, 0]], [[0, MISSING]]]
    assert np.isnan(record.scores[0, 0, 0])
    assert record.scores[0, 0, 1] == 1
    assert record.drawn().tolist() == [[2], [1]]


def test_costs_that_were_never_recorded_are_none(bank):
    write(
        bank,
        a_draw(
            some_questions(bank)[0], a_program(bank), 0, calls=None, prompt_tokens=None, cost=None
        ),
    )
    record = bank.record()
    assert (record.calls, record.tokens, record.cost) == (None, None, None)


def test_a_draw_written_twice_stays_as_it_was_first(bank):
    question, made_by = some_questions(bank)[0], a_program(bank)
    write(bank, a_draw(question, made_by, 0, "first"))
    write(
        bank, a_draw(question, made_by, 0, "second", 1, 0.0), a_draw(question, made_by, 1, "third")
    )
    assert [(row["draw"], row["answer"], row["score"]) for row in bank.rows()] == [
        (0, "first", 1.0),
        (1, "third", 1.0),
    ]


def test_questions_and_programs_keep_their_ids(bank):
    assert some_questions(bank, 2) == some_questions(bank, 3)[:2]
    assert a_program(bank) == a_program(bank)
    assert a_program(bank, key="e" * 64) != a_program(bank)


def test_the_same_question_of_two_datasets_is_two_questions(bank):
    assert not set(some_questions(bank, dataset="d")) & set(some_questions(bank, dataset="e"))


def test_rows_are_plain_and_in_the_order_recorded(bank):
    fill(bank)
    rows = list(bank.rows())
    assert [(row["question_id"], row["model"], row["draw"]) for row in rows] == [
        (q, m, d) for q in ("q0", "q1", "q2") for m in "ab" for d in (0, 1)
    ]
    assert json.loads(json.dumps(rows)) == rows
    assert (rows[0]["answer"], rows[0]["task"], rows[0]["n"], rows[0]["dataset"]) == (
        "x",
        "a",
        0,
        "d",
    )
    assert (rows[3]["answer"], rows[3]["score"], rows[3]["cause"]) == ("", None, "no answer")


def test_info_counts_what_each_program_drew_and_took(bank):
    fill(bank)
    assert bank.info()[1] == {
        "dataset": "d",
        "member": "b",
        "program": "b" * 64,
        "model": "openai/b",
        "questions": 3,
        "draws": 6,
        "errors": 0,
        "cut_off": 0,
        "abstentions": 3,
        "causes": {"no answer": 3},
        "calls": 6,
        "tokens": 90,
        "cost": 1.5,
        "latest": 1e9,
        "temperature": None,
        "evidence": 0,
    }


def test_what_is_drawn_is_told_for_few_questions_and_for_many(bank):
    made_by = a_program(bank)
    asked = some_questions(bank, 900)
    write(bank, *(a_draw(q, made_by, 0) for q in asked))
    for wanted in (asked[:3], asked[:800]):
        assert bank.drawn([made_by], wanted) == {(made_by, q, 0) for q in wanted}


# --- scores added later


def test_scores_are_added_only_where_they_are_missing(bank):
    (first, second, _), made_by = some_questions(bank), a_program(bank)
    write(bank, a_draw(first, made_by, 0, score=None), a_draw(second, made_by, 0, score=0.5))
    asked = {first: "by 1", second: "by 1"}
    unscored = bank.answers.unscored([made_by], asked)
    assert [(one.question, one.answer, one.outputs) for one in unscored] == [
        (first, "x", {"answer": "x"})
    ]
    bank.answers.score({unscored[0].draw: (1.0, "by 1")})
    assert [row["score"] for row in bank.rows()] == [1.0, 0.5]
    assert bank.answers.unscored([made_by], asked) == [], (
        "by what the second was scored is not known"
    )


def test_scores_by_another_metric_or_gold_answer_are_found_and_replaced(bank):
    (first, second, third), made_by = some_questions(bank), a_program(bank)
    write(
        bank,
        *(
            a_draw(q, made_by, draw, scored_by=f"by {q}")
            for q in (first, second)
            for draw in (0, 1)
        ),
    )
    other = a_program(bank, "b", "b" * 64)
    write(bank, a_draw(first, other, 0, scored_by="by another"), a_draw(third, made_by, 0, None))
    asked = {first: f"by {first}", second: "anew", third: "anew"}
    found = bank.answers.unscored([made_by], asked)
    assert [one.question for one in found] == [second, second]
    bank.answers.score({one.draw: (0.25, "anew") for one in found})
    assert [row["score"] for row in bank.rows()][:4] == [1.0, 1.0, 0.25, 0.25]
    assert bank.answers.unscored([made_by], asked) == []


def test_failed_draws_can_be_forgotten_and_no_others(bank):
    (first, second, _), made_by = some_questions(bank), a_program(bank)
    unusable = json.dumps({"answer": ""})
    said = ("unparsable response", "empty response", "unusable answer", "no answer")
    write(
        bank,
        a_draw(first, made_by, 0, None, cause="LMTimeoutError: too late"),
        a_draw(first, made_by, 1, None, outputs=unusable),
        a_draw(first, made_by, 2),
        a_draw(second, made_by, 0, None, cause="LMTimeoutError: too late"),
        *(a_draw(first, made_by, 3 + at, None, cause=cause) for at, cause in enumerate(said)),
    )
    failed = bank.failures([made_by], [first])
    assert failed == {(made_by, first, 0): "LMTimeoutError: too late"}
    with bank.writing() as connection:
        bank.forget_failures(connection, [(first, made_by, draw) for draw in (0, 1, 2)])
    kept = {(made_by, first, draw) for draw in (1, 2, *range(3, 3 + len(said)))}
    assert bank.drawn([made_by], [first, second]) == {*kept, (made_by, second, 0)}


# --- which draws


@pytest.fixture
def twice(bank):
    """One member recorded with two programs, the second one last."""
    question = some_questions(bank)[0]
    for key, answer in (("1111" * 16, "old"), ("2222" * 16, "new")):
        write(bank, a_draw(question, a_program(bank, "a", key), 0, answer, int(answer == "new")))
    return bank


def test_two_programs_of_a_member_never_mix(twice):
    with pytest.raises(ConfigurationError, match="'a' by 2 programs") as caught:
        twice.record()
    assert "111111111111" in str(caught.value)
    assert "222222222222" in str(caught.value)


@pytest.mark.parametrize(
    ("program", "vote"), [("latest", 1), ("1111", 0), ("2222", 1), ("1111" * 16, 0)]
)
def test_a_program_is_chosen_by_latest_or_by_the_start_of_its_fingerprint(twice, program, vote):
    assert twice.record(program=program).votes.tolist() == [[[vote]]]


def test_the_very_programs_can_be_named(twice):
    assert twice.record(programs=[("a", "1111" * 16)]).votes.tolist() == [[[0]]]


def test_a_fingerprint_that_is_not_there_is_refused(twice):
    with pytest.raises(ConfigurationError, match="no program '3333'"):
        twice.record(program="3333")


def test_latest_is_the_program_that_drew_last(twice):
    old = a_program(twice, "a", "1111" * 16)
    write(twice, a_draw(some_questions(twice)[1], old, 0, "again"))
    record = twice.record(program="latest")
    assert (record.questions, record.votes.tolist()) == (("q0", "q1"), [[[0]], [[0]]])


def test_choosing_one_members_program_keeps_the_other_members(twice):
    write(twice, a_draw(some_questions(twice)[0], a_program(twice, "b", "b" * 64), 0))
    assert twice.record(program="latest").members == ("a", "b")
    assert twice.record(program="1111").members == ("a", "b")


def test_no_member_is_dropped_because_its_program_was_not_chosen(twice):
    question = some_questions(twice)[0]
    for key in ("3333" * 16, "4444" * 16):
        write(twice, a_draw(question, a_program(twice, "b", key), 0))
    with pytest.raises(
        ConfigurationError,
        match="of 'b' by 2 programs .*none of which starts with '1111'.*several, by comma",
    ):
        twice.record(program="1111")
    record = twice.record(program="2222, 4444")
    assert (record.members, record.votes.tolist()) == (("a", "b"), [[[1], [0]]])


def test_what_is_known_of_a_question_is_brought_up_to_date(bank):
    bank.add_questions("d", [("key", "q", {"split": "train", "level": 1})])
    asked = bank.add_questions("d", [("key", "q", {"split": "test"})])
    write(bank, a_draw(asked[0], a_program(bank), 0))
    assert bank.record().fields == {"level": ("1",), "split": ("test",)}


def test_datasets_are_read_apart(bank):
    made_by = a_program(bank)
    for name, count in (("d", 2), ("e", 3)):
        write(bank, *(a_draw(q, made_by, 0) for q in some_questions(bank, count, name)))
    assert bank.datasets() == {"d": 2, "e": 3}
    assert len(bank.record(dataset="e").questions) == 3
    assert len(list(bank.rows(dataset="d"))) == 2
    assert [(row["dataset"], row["draws"]) for row in bank.info()] == [("d", 2), ("e", 3)]
    with pytest.raises(ConfigurationError, match=r"several datasets: choose one of d, e"):
        bank.record()
    with pytest.raises(ConfigurationError, match=r"no dataset 'f'; it has d, e"):
        bank.record(dataset="f")
