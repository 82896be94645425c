"""Comparisons through servers that fail: errors are noted, kept, and retried on request."""

from __future__ import annotations

import dataclasses

import pytest

from dspy_mux import MuxError
from eval.compare.methods import Options
from eval.compare.run import compare
from eval.runs.folder import Run, errors_in
from eval.tables.comparison import Comparison

from ...support.small_task import COUNT, member, small_task

SMALL = Options(
    k=2, mav_n=2, mav_aspects=("logic", "facts"), num_threads=1, methods=("slm_mux", "llm_debate")
)


class Flaky:
    """Members that are right, but refuse the connection on the questions in `down`."""

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
        return compare([small_task(test=test)], lambda name: self.members, options, out=out)


RETRY = dataclasses.replace(SMALL, retry_failed=True)


def scores(run):
    """Method → the scores of its questions, the lowest first."""
    told = {}
    for row in run.rows():
        told.setdefault(row["method"], []).append(row["score"])
    return {method: sorted(each) for method, each in told.items()}


def test_only_errors_are_asked_again(tmp_path):
    pool = Flaky("a", "b")
    pool.down, pool.unreadable = {("t", 1)}, {("t", 2)}
    run = pool.compared(tmp_path / "run")
    assert scores(run) == dict.fromkeys(SMALL.methods, [0.0] * 2 + [1.0] * (COUNT - 2))
    (note,) = [note for note in Comparison.of(run).notes if "errors" in note]
    assert note.startswith(
        f"sums: errors cost draws or turns on 1 of {COUNT} questions, "
        "most often 'LMUnexpectedError: "
    )
    assert note.endswith("refused'; --retry-failed asks them again.")

    pool.down, before = set(), pool.calls
    assert scores(pool.compared(tmp_path / "run")) == scores(run)
    assert pool.calls == before
    again = pool.compared(tmp_path / "run", RETRY)
    assert pool.calls == before + 2 * 2 + 3 * 2  # the draws, and the debate, of one question
    assert scores(again) == dict.fromkeys(SMALL.methods, [0.0] + [1.0] * (COUNT - 1))
    assert {row["question_id"] for row in again.rows() if row["score"] == 0} == {"t-2"}
    assert not any("errors" in note for note in Comparison.of(again).notes)
    pool.compared(tmp_path / "run", RETRY)
    assert pool.calls == before + 10


def test_a_second_failure_counts_once(tmp_path):
    pool = Flaky("a", "b")
    pool.down = {("t", 1)}
    pool.compared(tmp_path / "run")
    run = pool.compared(tmp_path / "run", RETRY)
    assert [len(told) for told in scores(run).values()] == [COUNT, COUNT]
    pool.down = set()
    assert set(map(tuple, scores(pool.compared(tmp_path / "run", RETRY)).values())) == {
        (1.0,) * COUNT
    }


def test_redrawn_validation_repeats_no_discussion(tmp_path):
    pool = Flaky("a", "b")
    pool.down = {("v", 1)}
    measured = pool.compared(tmp_path / "run").task("sums")["accuracies"]
    pool.down, before = set(), pool.calls
    again = pool.compared(tmp_path / "run", RETRY).task("sums")["accuracies"]
    assert (set(measured.values()), set(again.values())) == ({(COUNT - 1) / COUNT}, {1.0})
    assert pool.calls == before + 2 * 2


def test_a_discussion_without_an_answer_keeps_its_turns(tmp_path):
    pool = Flaky("a", "b")
    pool.down, pool.unreadable = {("t", 1)}, {("t", 2)}
    options = dataclasses.replace(
        SMALL, methods=("mixture_of_agents", "llm_debate", "multi_agent_verification")
    )
    rows = {
        (row["method"], row["question_id"]): row
        for row in pool.compared(tmp_path / "run", options).rows()
    }
    for method in options.methods:
        down, unreadable = rows[method, "t-1"], rows[method, "t-2"]
        assert down["cause"].startswith("No member of the mux gave a usable answer")
        assert len(errors_in(down)) == len(down["turns"]) > 0
        assert all(turn["score"] == 0 and turn["text"] == "" for turn in down["turns"])
        assert errors_in(unreadable) == []
        assert "no idea" in unreadable["turns"][0]["text"]


def test_a_failed_verifier_is_asked_again(tmp_path):
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


# --- servers that are out of order


@pytest.mark.parametrize("method", ["llm_debate", "mixture_of_agents", "multi_agent_verification"])
def test_servers_that_are_down_end_a_run(tmp_path, method):
    pool, options = Flaky("a", "b"), dataclasses.replace(SMALL, methods=(method,))
    pool.compared(tmp_path / "run", dataclasses.replace(SMALL, methods=("slm_mux",)), test=30)
    pool.down = {("t", i) for i in range(30)}
    with pytest.raises(
        MuxError,
        match=r"^sums: .*: the first 5 questions all ended in errors \(.*refused\): fix ",
    ):
        pool.compared(tmp_path / "run", options, test=30)
    assert 5 <= len(scores(Run.open(tmp_path / "run"))[method]) < 30  # those are kept
    pool.down = set()
    again = pool.compared(
        tmp_path / "run", dataclasses.replace(options, retry_failed=True), test=30
    )
    assert scores(again)[method] == [1.0] * 30


@pytest.mark.parametrize(
    ("method", "of_its"),
    [
        ("mixture_of_agents", "previous_answers"),
        ("llm_debate", "other_answers"),
        ("multi_agent_verification", "solution"),
    ],
)
def test_servers_that_fail_late_end_a_run(tmp_path, method, of_its):
    pool = Flaky("a", "b")
    for each in pool.members:
        answer = each.lm.engine.reply
        each.lm.engine.shown = lambda request: request.messages[-1].text or ""
        each.lm.engine.reply = lambda prompt, draw, answer=answer: (
            ConnectionError("refused")
            if f"[[ ## {of_its} ## ]]" in prompt
            else answer(prompt, draw)
        )
    with pytest.raises(MuxError, match="the first 5 questions all ended in errors"):
        pool.compared(
            tmp_path / "run", dataclasses.replace(SMALL, methods=(method,), moa_layers=2), test=30
        )


def test_permanent_failures_are_asked_once_per_retry(tmp_path):
    pool = Flaky("a", "b")
    pool.down = {("t", i) for i in range(2, 12, 2)}  # fewer draws than give a member up
    told = scores(pool.compared(tmp_path / "run", test=30))
    for _ in range(2):
        before = pool.calls
        assert scores(pool.compared(tmp_path / "run", RETRY, test=30)) == told
        assert pool.calls == before + 5 * (2 * 2 + 3 * 2)


def test_a_failed_retry_keeps_the_earlier_answer(tmp_path):
    pool, debate = (
        Flaky("a", "b"),
        dataclasses.replace(SMALL, methods=("llm_debate",), debate_agents=2),
    )
    pool.compared(tmp_path / "run", dataclasses.replace(debate, methods=("slm_mux",)), test=3)
    pool.members[1].lm.engine.reply = lambda prompt, draw: ConnectionError("refused")
    run = pool.compared(tmp_path / "run", debate, test=3)
    assert {bool(errors_in(row)) for row in run.rows() if row["method"] == "llm_debate"} == {True}
    pool.down = {("t", i) for i in range(3)}
    again = pool.compared(tmp_path / "run", dataclasses.replace(debate, retry_failed=True), test=3)
    assert scores(run) == scores(again) == {"slm_mux": [1.0] * 3, "llm_debate": [1.0] * 3}


# --- all methods see the same draws


def test_a_retry_decides_unnamed_methods_too(tmp_path):
    banked = dataclasses.replace(
        SMALL, methods=("slm_mux", "agent_forest", "self_consistency", "self_consistency_equal")
    )
    pool = Flaky("a", "b")
    pool.down = {("t", 1), ("v", 2)}
    pool.compared(tmp_path / "run", banked)
    pool.down = set()
    run = pool.compared(tmp_path / "run", dataclasses.replace(RETRY, methods=("slm_mux",)))
    assert scores(run) == dict.fromkeys(banked.methods, [1.0] * COUNT)
    assert {
        line.difference.mean for line in Comparison.of(run).lines if line.difference is not None
    } == {0.0}
    before, written = pool.calls, (tmp_path / "run" / "results.jsonl").read_bytes()
    pool.compared(tmp_path / "run", banked)
    assert (pool.calls, (tmp_path / "run" / "results.jsonl").read_bytes()) == (before, written)


def test_a_debate_does_not_depend_on_accuracies(tmp_path):
    pool = Flaky("a", "b")
    right, wrong = pool.members[0].lm.engine.reply, {"answer": "100"}
    pool.members[0].lm.engine.reply = lambda prompt, draw: (
        wrong if "v1 + 1" in prompt else right(prompt, draw)
    )
    debate = dataclasses.replace(SMALL, methods=("llm_debate",))
    assert pool.compared(tmp_path / "run", debate).task("sums")["accuracies"] == {
        "a": 5 / 6,
        "b": 1.0,
    }
    pool.members[0].lm.engine.reply = right
    (
        tmp_path / "run" / "bank.sqlite"
    ).unlink()  # its members are measured anew, and a is the first of the best now
    before = pool.calls
    assert pool.compared(tmp_path / "run", debate).task("sums")["accuracies"] == {
        "a": 1.0,
        "b": 1.0,
    }
    assert pool.calls == before + 2 * 2 * 2 * COUNT
