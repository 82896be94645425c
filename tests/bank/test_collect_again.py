"""Collecting again with something changed: what is drawn, what is scored, and what stays."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import threading
import time

import dspy
import pytest

from dspy_mux import Member, MetricFailed, MuxError, MuxOptimizer, SLMMux
from dspy_mux.answers.number_kind import NumberKind
from dspy_mux.bank.collect import collect
from dspy_mux.bank.fingerprint import fingerprint_inputs

from ..support.fill import a_draw, a_program, write
from ..support.scripted import ScriptedEngine
from ..support.skilled import a_member, a_mux, calls, metric, questions


def says(name, *answers, **settings):
    """A member whose draws say these answers, in order."""
    engine = ScriptedEngine(lambda _, draw: answers[draw % len(answers)], **settings)
    return Member(dspy.LM(f"scripted/{name}", engine=engine), name=name)


def scores(bank):
    return [
        row["score"] for row in sorted(bank.rows(), key=lambda row: (row["question"], row["draw"]))
    ]


def classes(bank, question="q0?"):
    return [
        row["answer_class"]
        for row in sorted(bank.rows(), key=lambda row: row["draw"])
        if row["question"] == question
    ]


# --- another metric, another gold answer


def test_another_metric_scores_what_is_recorded_without_a_call(bank):
    mux = a_mux(a_member("a"))
    collect(mux, questions(4), metric, bank)
    before = scores(bank)
    opposite = collect(
        mux, questions(4), lambda example, pred, trace=None: not metric(example, pred), bank
    )
    assert (opposite.already, opposite.drawn, opposite.rescored, calls(mux)) == (12, 0, 12, [12])
    assert scores(bank) == [1.0 - score for score in before]


def test_a_corrected_gold_answer_scores_its_question_anew_and_no_other(bank):
    mux = a_mux(says("a", {"answer": "right"}))
    collect(mux, questions(3), metric, bank)
    corrected = [
        dspy.Example(e, answer="left" if e.question == "q1?" else e.answer).with_inputs("question")
        for e in questions(3)
    ]
    assert collect(mux, corrected, metric, bank).rescored == 3
    assert scores(bank) == [1.0] * 3 + [0.0] * 3 + [1.0] * 3
    assert collect(mux, corrected, metric, bank).rescored == 0


def test_imported_scores_stay(bank):
    mux = a_mux(says("a", {"answer": "right"}))
    collect(mux, questions(1), metric, bank)
    with bank.writing() as connection:
        connection.exec_driver_sql("UPDATE mux_draws SET scored_by = NULL")
    assert collect(mux, questions(1), lambda *_: 0.25, bank).rescored == 0
    assert scores(bank) == [1.0] * 3


def test_an_optimizer_with_another_metric_sees_its_scores(bank):
    members = [says("a", {"answer": "right"}), says("b", {"answer": "wrong"})]
    for wanted, best in (("right", "a"), ("wrong", "b")):
        said = MuxOptimizer(
            lambda _, pred, trace=None, wanted=wanted: pred.answer == wanted, bank=bank, n_trials=3
        )
        compiled = said.compile(
            SLMMux(dspy.Predict("question -> answer"), members, k=2, temperature=0.5),
            trainset=questions(6),
        )
        assert [member.label for member in compiled.members] == [best]


# --- answers of a type


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


def test_a_mended_metric_sees_the_answer_and_the_other_outputs_as_they_were_drawn(bank):
    signature = dspy.Signature(
        "question -> on: datetime.date, answer: Mood",
        custom_types={"Mood": Mood, "datetime": datetime},
    )
    mux = SLMMux(
        dspy.Predict(signature),
        [says("a", {"on": "2024-02-29", "answer": "good"})],
        k=1,
        temperature=0.5,
    )

    def right(example, pred, trace=None):
        return pred.answer is Mood.GOOD and pred.on == datetime.date(2024, 2, 29)

    def broken(*_):
        raise KeyError("gold")

    with pytest.raises(MetricFailed):
        collect(mux, questions(1), broken, bank)
    assert collect(mux, questions(1), right, bank).rescored == 1
    assert scores(bank) == [1.0]


def test_a_text_that_reads_as_a_number_stays_what_the_program_returned(bank):
    class Texts(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> answer: int")

        def forward(self, question):
            return dspy.Prediction(answer=f"{self.step(question=question).answer}")

    mux = SLMMux(Texts(), [says("a", {"answer": "42"})], k=1, temperature=0.5)
    seen = []
    for at in (1, 2):
        collect(
            mux,
            questions(1),
            lambda _, pred, trace=None, at=at: seen.append((at, pred.answer)) or True,
            bank,
        )
    assert seen == [(1, "42"), (2, "42")]


def test_later_draws_are_compared_with_the_recorded_ones_as_they_were_drawn(bank):
    signature = dspy.Signature(
        "question -> answer: datetime.date", custom_types={"datetime": datetime}
    )
    answers = [{"answer": f"2024-0{1 + draw}-01"} for draw in range(4)]

    def a_year(k):
        return SLMMux(
            dspy.Predict(signature),
            [says("a", *answers)],
            k=k,
            temperature=0.5,
            equivalence=lambda day: day.year,
        )

    for k in (1, 2, 4):
        collect(a_year(k), questions(1), lambda *_: True, bank)
    assert classes(bank) == [0, 0, 0, 0]


# --- another program


def by_first(answer):
    return answer[0]


def by_last(answer):
    return answer[-1]


def test_an_answer_compared_otherwise_is_another_programs(bank):
    def compared(by):
        return a_mux(
            says("a", {"answer": "ax"}, {"answer": "ay"}, {"answer": "bx"}), equivalence=by
        )

    for by, votes in ((by_first, [0, 0, 1]), (by_last, [0, 1, 0])):
        mux = compared(by)
        collect(mux, questions(1), metric, bank, num_threads=1)
        assert mux(question="q0?").verdict.ballots[0].votes == votes
        recorded = bank.record(program="latest").votes[0, 0].tolist()
        assert [recorded.index(vote) for vote in recorded] == [votes.index(vote) for vote in votes]
    assert len({row["program"] for row in bank.rows()}) == 2


def test_a_program_of_other_settings_is_another_one(bank):
    class Rounds(dspy.Module):
        def __init__(self, rounds):
            super().__init__()
            self.rounds, self.step = rounds, dspy.Predict("question -> answer")

        def forward(self, question):
            return [self.step(question=question) for _ in range(self.rounds)][-1]

    for rounds in (1, 2):
        assert (
            collect(
                SLMMux(Rounds(rounds), [a_member("a")], k=3, temperature=0.5),
                questions(1),
                metric,
                bank,
            ).drawn
            == 3
        )
    assert (
        collect(
            SLMMux(Rounds(2), [a_member("a")], k=3, temperature=0.5), questions(1), metric, bank
        ).drawn
        == 0
    )


def test_what_a_program_counts_while_it_runs_makes_it_no_other_program(bank):
    class Counts(dspy.Module):
        def __init__(self):
            super().__init__()
            self.asked, self.step = 0, dspy.Predict("question -> answer")

        def forward(self, question):
            self.asked += 1
            return self.step(question=question)

    mux = SLMMux(Counts(), [a_member("a"), a_member("b")], k=2, temperature=0.5)
    assert [collect(mux, questions(3), metric, bank).drawn for _ in range(3)] == [12, 0, 0]
    assert collect(mux.subset(["b"]), questions(3), metric, bank).drawn == 0
    assert (
        collect(
            SLMMux(Counts(), mux.members, k=2, temperature=0.5), questions(3), metric, bank
        ).drawn
        == 0
    )
    MuxOptimizer(metric, bank=bank, n_trials=2).compile(mux, trainset=questions(6))


@dataclasses.dataclass(frozen=True)
class Within(NumberKind):
    tolerance: float = 0.0

    def alike(self, a, b):
        return abs(a - b) <= self.tolerance


def test_a_kind_of_the_users_own_is_another_with_other_settings(bank):
    def compared(tolerance):
        member = says("numbers", {"answer": "1"}, {"answer": "2"}, {"answer": "30"})
        return SLMMux(
            dspy.Predict("question -> answer: float"),
            [member],
            k=3,
            equivalence=Within(tolerance=tolerance),
        )

    for tolerance in (10.0, 0.1):
        assert collect(compared(tolerance), questions(1), metric, bank).drawn == 3
    assert len({row["program"] for row in bank.rows()}) == 2


# --- failures


def test_what_a_model_said_is_not_drawn_again_until_it_suits(bank):
    mux = a_mux(says("a", "no marker in this"))
    collect(mux, questions(2), metric, bank)
    assert {row["cause"] for row in bank.rows()} == {"unparsable response"}
    assert collect(mux, questions(2), metric, bank, retry_failed=True).drawn == 0


def test_responses_of_nothing_are_abstentions_of_a_weak_member(bank):
    class Nothing(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> answer")

        def forward(self, question):
            return dspy.Prediction()

    done = collect(
        SLMMux(Nothing(), [a_member("a")], k=2, temperature=0.5), questions(10), metric, bank
    )
    assert (done.drawn, done.abstained) == (20, 20)


def test_a_member_that_never_answers_in_time_stops_the_collection(bank):
    mux = a_mux(says("slow", {"answer": "right"}, latency=5.0), timeout=0.02)
    with pytest.raises(MuxError, match="first 12 draws of 'slow' all failed .*no answer within"):
        collect(mux, questions(40), metric, bank, num_threads=4)


def test_one_late_answer_does_not_hide_that_a_member_is_out_of_order(bank):
    slow = threading.Event()

    def reply(prompt, draw):
        if not slow.is_set():
            slow.set()
            time.sleep(0.3)
        return ValueError("wrong key")

    mux = a_mux(
        Member(dspy.LM("scripted/late", engine=ScriptedEngine(reply)), name="late"), timeout=0.1
    )
    with pytest.raises(MuxError, match="first 12 draws of 'late' all failed"):
        collect(mux, questions(40), metric, bank, num_threads=1)


# --- others at work on the bank


def test_others_can_write_while_answers_are_compared(bank, bank_url):
    comparing, go_on = threading.Event(), threading.Event()

    def slowly(answer):
        if (
            threading.current_thread().name == "dspy-mux-bank"
        ):  # not where the draw's own thread looks at it
            comparing.set()
            assert go_on.wait(30)
        return answer

    mux = a_mux(says("a", {"answer": "x"}), equivalence=slowly, k=1)
    thread = threading.Thread(target=collect, args=(mux, questions(1), metric, bank))
    thread.start()
    assert comparing.wait(30)
    bank.add_questions("other", [("key", "q", {})])
    go_on.set()
    thread.join(30)
    assert len(list(bank.rows(dataset="default"))) == 1


def test_who_compared_meanwhile_compares_anew_with_what_another_wrote(bank):
    made_by, first = a_program(bank, "b", "b" * 64), True

    def another_writes(answer):
        nonlocal first
        if first and threading.current_thread().name == "dspy-mux-bank":
            first = False
            [question] = bank.add_questions(
                "default", [(fingerprint_inputs({"question": "q0?"}), "q0?", {})]
            )
            write(bank, a_draw(question, made_by, 0, "x", 0))
        return answer

    collect(
        a_mux(says("a", {"answer": "x"}), equivalence=another_writes, k=1),
        questions(1),
        metric,
        bank,
    )
    assert [(row["model"], row["answer_class"]) for row in bank.rows()] == [("b", 0), ("a", 0)]
