"""Scores belong to the metric and the gold answer that made them, whoever scored last."""

from __future__ import annotations

import threading

import dspy
import numpy as np
import pytest
import sqlalchemy as sa

from dspy_mux import ConfigurationError, DataError, MuxOptimizer, SampleBank
from dspy_mux.bank.collect import collect
from dspy_mux.bank.score import recorded
from dspy_mux.bank.storage.salvage import salvage
from dspy_mux.bank.storage.schema import scores

from ..support.skilled import a_member, a_mux, calls, metric, questions


def all_right(example, pred, trace=None):
    return 1.0


def all_wrong(example, pred, trace=None):
    return 0.0


def counted(metric_of):
    """A metric that counts its calls, as one that asks a model is paid by the call."""

    def judge(example, pred, trace=None):
        judged.append(example.question)
        return metric_of(example, pred)

    judged: list[str] = []
    return judge, judged


def of(bank, mux, examples, by):
    return recorded(mux, examples, by, bank, dataset="default", k=3).scores


def test_scores_are_read_by_the_metric_asked_for(bank):
    mux, examples = a_mux(a_member("a")), questions(3)
    for by in (all_right, all_wrong, metric):
        collect(mux, examples, by, bank)
    assert of(bank, mux, examples, all_right).min() == 1
    assert of(bank, mux, examples, all_wrong).max() == 0
    assert np.array_equal(of(bank, mux, examples, metric), bank.record().scores)
    assert calls(mux) == [9]


def test_a_metric_that_has_scored_is_not_run_again(bank):
    mux, examples = a_mux(a_member("a")), questions(3)
    judge, judged = counted(all_right)
    collect(mux, examples, judge, bank)
    judged.clear()
    assert collect(mux, examples, all_wrong, bank).rescored == 9
    assert collect(mux, examples, judge, bank).rescored == 0
    assert not judged
    # It is the last one again, whose scores a record shows.
    assert bank.record().scores.min() == 1
    assert collect(mux, examples, all_wrong, bank).rescored == 0
    assert bank.record().scores.max() == 0


def test_scores_by_a_corrected_gold_answer_are_its_own(bank):
    mux, examples = a_mux(a_member("a", skill=1.0)), questions(3)
    corrected = [dspy.Example(e, answer="left").with_inputs("question") for e in examples]
    collect(mux, examples, metric, bank)
    collect(mux, corrected[:1], metric, bank)
    assert of(bank, mux, examples, metric).min() == 1
    assert of(bank, mux, [*corrected[:1], *examples[1:]], metric)[:, 0, 0].tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="6 draws without a score: collect again"):
        of(bank, mux, corrected[1:], metric)


def test_imported_scores_are_nobodys_and_count_for_all(bank):
    mux, examples = a_mux(a_member("a")), questions(2)
    collect(mux, examples, all_right, bank)
    with bank.writing() as connection:
        connection.exec_driver_sql("UPDATE mux_draws SET scored_by = NULL")
    assert of(bank, mux, examples, all_wrong).min() == 1


def test_a_collection_at_once_does_not_give_the_optimizer_its_scores(bank_url):
    """Another collection scores the optimizer's draws by its own metric all the while."""
    examples, done = questions(8), threading.Event()
    optimizer = MuxOptimizer(all_right, bank=bank_url, n_trials=2, rules=())
    mux = a_mux(a_member("a"), a_member("b"))
    optimizer.compile(mux, trainset=examples)

    def score_by_another():
        while not done.is_set():
            collect(mux, examples, all_wrong, bank, dataset="mux_split")

    bank = SampleBank(bank_url)
    thread = threading.Thread(target=score_by_another)
    thread.start()
    try:
        for _ in range(4):
            best = optimizer.compile(mux, trainset=examples)
            assert set(best.accuracies.values()) == {1.0}
    finally:
        done.set()
        thread.join(60)
        bank.close()


def test_draws_that_another_collection_made_meanwhile_are_scored_too(bank):
    """They are recorded after this collection has looked for draws to score anew."""
    examples = questions(4)

    class Late(SampleBank):
        def drawn(self, programs, asked):
            self.drawn = super().drawn
            collect(a_mux(a_member("a")), examples, all_wrong, bank)
            return self.drawn(programs, asked)

    late = Late(bank.database.url.render_as_string(hide_password=False).removeprefix("sqlite:///"))
    mux = a_mux(a_member("a"))
    done = collect(mux, examples, all_right, late)
    assert (done.drawn, done.already, done.rescored) == (0, 12, 12)
    assert of(late, mux, examples, all_right).min() == 1
    late.close()


def test_a_bank_that_is_salvaged_keeps_the_scores_of_all_metrics(tmp_path):
    bank = SampleBank(tmp_path / "bank.sqlite")
    mux, examples = a_mux(a_member("a")), questions(2)
    for by in (all_right, all_wrong):
        collect(mux, examples, by, bank)
    bank.close()
    assert salvage(bank.path, tmp_path / "saved.sqlite") == 6
    saved = SampleBank(tmp_path / "saved.sqlite")
    assert of(saved, mux, examples, all_right).min() == 1
    with saved.database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(scores)).scalar() == 6
    saved.close()


# --- one input with two golds


def twice(**labels):
    return [
        dspy.Example(question="q0?", **{name: value}).with_inputs("question")
        for name, values in labels.items()
        for value in values
    ]


COLLECTIONS = {
    "collect": lambda mux, examples, bank: collect(mux, examples, metric, bank),
    "trainset": lambda mux, examples, bank: MuxOptimizer(metric, bank=bank).compile(
        mux, trainset=examples
    ),
    "valset": lambda mux, examples, bank: MuxOptimizer(metric, bank=bank).compile(
        mux, trainset=questions(4)[2:], valset=examples
    ),
}


@pytest.mark.parametrize("place", COLLECTIONS)
def test_one_input_with_two_golds_is_refused_before_a_call(bank, place):
    mux = a_mux(a_member("a"))
    with pytest.raises(
        ConfigurationError,
        match="^Examples 1 and 2.* have the same inputs, and their answer differs: 'right' and "
        "'left'",
    ):
        COLLECTIONS[place](mux, twice(answer=["right", "left"]), bank)
    assert calls(mux) == [0]
    assert not bank.exists()


def test_one_input_with_one_gold_is_drawn_once_whatever_its_name(bank):
    examples = [
        dspy.Example(question="q0?", answer="right", question_id=n).with_inputs("question")
        for n in range(3)
    ]
    mux = a_mux(a_member("a"))
    assert collect(mux, examples, metric, bank).drawn == 3


def test_equal_inputs_of_other_types_with_two_golds_are_one_input(bank):
    examples = [
        dspy.Example(question="?", n=n, answer=answer).with_inputs("question", "n")
        for n, answer in ((np.int64(1), "right"), (1, "left"))
    ]
    with pytest.raises(ConfigurationError, match="have the same inputs"):
        collect(a_mux(a_member("a")), examples, metric, bank)
