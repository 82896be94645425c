"""Comparisons through servers that fail: what an error cost is told, kept, and asked again only when that is asked for."""

from __future__ import annotations

import dataclasses

import pytest

from dspy_mux import MuxError
from eval import compare
from eval.methods import Options
from eval.runs import Run, errors_in
from eval.tables import Comparison

from .small_task import COUNT, member, small_task

SMALL = Options(k=2, mav_n=2, mav_aspects=("logic", "facts"), num_threads=1, methods=("slm_mux", "llm_debate"))


class Flaky:
    """Members that are right, but for the questions that `down` holds, ("t", 1) for one, which meet a refused connection."""

    def __init__(self, *names):
        self.down, self.unreadable = set(), set()
        self.members = [member(name, self._answer) for name in names]

    def _answer(self, split, i, draw):
        if (split, i) in self.down:
            return ConnectionError("refused")
        return None if (split, i) in self.unreadable else i + 1

    @property
    def calls(self):
        return sum(each.lm.engine.calls for each in self.members)

    def compared(self, out, options=SMALL, test=COUNT):
        return compare.run([small_task(test=test)], lambda name: self.members, options, out=out)


RETRY = dataclasses.replace(SMALL, retry_failed=True)


def scores(run):
    told = {}
    for row in run.rows():
        told.setdefault(row["method"], []).append(row["score"])
    return told


def test_what_failed_with_an_error_is_asked_again_and_nothing_else(tmp_path):
    pool = Flaky("a", "b")
    pool.down, pool.unreadable = {("t", 1)}, {("t", 2)}
    run = pool.compared(tmp_path / "run")
    failing = {name: [1.0] * (COUNT - 2) + [0.0] * 2 for name in SMALL.methods}
    assert {name: sorted(told, reverse=True) for name, told in scores(run).items()} == failing
    (note,) = [note for note in Comparison.of(run).notes if "errors" in note]
    assert note.startswith(f"sums: errors cost draws or turns on 1 of {COUNT} questions, most often 'LMUnexpectedError: ")
    assert note.endswith("refused'; --retry-failed asks them again.")

    pool.down, before = set(), pool.calls
    assert scores(pool.compared(tmp_path / "run")) == scores(run)
    assert pool.calls == before
    again = pool.compared(tmp_path / "run", RETRY)
    assert pool.calls == before + 2 * 2 + 3 * 2  # the draws, and the debate, of one question
    told = scores(again)
    assert {name: sorted(each) for name, each in told.items()} == {name: [0.0] + [1.0] * (COUNT - 1) for name in SMALL.methods}
    assert {row["question_id"] for row in again.rows() if row["score"] == 0} == {"t-2"}
    assert not any("errors" in note for note in Comparison.of(again).notes)
    pool.compared(tmp_path / "run", RETRY)
    assert pool.calls == before + 10


def test_what_fails_again_counts_once_and_stays_to_be_asked(tmp_path):
    pool = Flaky("a", "b")
    pool.down = {("t", 1)}
    pool.compared(tmp_path / "run")
    run = pool.compared(tmp_path / "run", RETRY)
    assert [len(told) for told in scores(run).values()] == [COUNT, COUNT]
    pool.down = set()
    assert set(map(tuple, scores(pool.compared(tmp_path / "run", RETRY)).values())) == {(1.0,) * COUNT}


def test_discussions_are_not_held_again_for_validation_draws_that_are(tmp_path):
    pool = Flaky("a", "b")
    pool.down = {("v", 1)}
    measured = pool.compared(tmp_path / "run").task("sums")["accuracies"]
    pool.down, before = set(), pool.calls
    again = pool.compared(tmp_path / "run", RETRY).task("sums")["accuracies"]
    assert (set(measured.values()), set(again.values())) == ({(COUNT - 1) / COUNT}, {1.0})
    assert pool.calls == before + 2 * 2


def test_a_discussion_that_came_to_no_answer_tells_what_was_said(tmp_path):
    pool = Flaky("a", "b")
    pool.down, pool.unreadable = {("t", 1)}, {("t", 2)}
    options = dataclasses.replace(SMALL, methods=("mixture_of_agents", "llm_debate", "multi_agent_verification"))
    rows = {(row["method"], row["question_id"]): row for row in pool.compared(tmp_path / "run", options).rows()}
    for method in options.methods:
        down, unreadable = rows[method, "t-1"], rows[method, "t-2"]
        assert down["cause"].startswith("No member of the mux gave a usable answer")
        assert len(errors_in(down)) == len(down["turns"]) > 0
        assert all(turn["score"] == 0 and turn["text"] == "" for turn in down["turns"])
        assert errors_in(unreadable) == []
        assert "no idea" in unreadable["turns"][0]["text"]


def test_a_verifier_that_fails_is_told_and_asked_again(tmp_path):
    pool = Flaky("a", "b")
    options = dataclasses.replace(SMALL, methods=("multi_agent_verification",))
    verifying = {"a": {"correct": "True"}, "b": ConnectionError("refused")}
    for each in pool.members:
        answer = each.lm.engine.reply
        each.lm.engine.reply = lambda prompt, draw, name=each.name, answer=answer: (
            verifying[name] if "[[ ## solution ## ]]" in prompt else answer(prompt, draw)
        )
    row = next(iter(pool.compared(tmp_path / "run", options).rows()))
    assert [turn["approvals"] for turn in row["turns"]] == [{"logic": True, "facts": False}] * 2
    assert [list(turn["unjudged"]) for turn in row["turns"]] == [["facts"]] * 2
    assert [cause.endswith("refused") for cause in errors_in(row)] == [True] * 2
    verifying["b"] = {"correct": "True"}
    again = pool.compared(tmp_path / "run", dataclasses.replace(options, retry_failed=True))
    assert {row["confidence"] for row in again.rows()} == {1.0}


def test_servers_that_are_out_of_order_end_a_run_and_cost_no_method_its_name(tmp_path):
    pool = Flaky("a", "b")
    pool.compared(tmp_path / "run", dataclasses.replace(SMALL, methods=("slm_mux",)), test=12)
    pool.down = {("t", i) for i in range(12)}
    with pytest.raises(
        MuxError, match=r"^sums: .*: 5 questions in a row came to nothing but errors \(.*refused\): mend that and .*d\.$"
    ):
        pool.compared(tmp_path / "run", test=12)
    assert 5 <= len(scores(Run.open(tmp_path / "run"))["llm_debate"]) < 12  # those are kept
    pool.down = set()
    assert scores(pool.compared(tmp_path / "run", RETRY, test=12))["llm_debate"] == [1.0] * 12
