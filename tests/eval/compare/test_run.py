"""Comparisons in this process: banked methods, discussions, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import json

import pytest

from dspy_mux import AllMembersFailed, ConfigurationError, MetricFailed, SampleBank, SLMMux
from dspy_mux.bank.score import recorded
from dspy_mux.baselines import AgentForest, SelfConsistency, SingleModel
from eval.compare.draw import grouped_by
from eval.compare.methods import chosen
from eval.compare.offline import Measured, decider
from eval.tables.comparison import Comparison

from ...support.comparisons import (
    BANKED,
    DISCUSSION,
    SMALL,
    calls,
    compared,
    pool_of_three,
    rows_of,
)
from ...support.small_task import COUNT, member, small_task

# --- methods that share the bank


def live_modules(run, task, members):
    """Every banked method as the library runs it live, on draws that come out the same."""
    told = run.task("sums")
    accuracies, best = told["accuracies"], told["choices"]["self_consistency"]["member"]
    shared = {"k": 3, "temperature": 0.5, "accuracies": accuracies}
    mux = SLMMux(task.program(), members, **shared)
    measured = Measured.of(
        recorded(
            mux,
            grouped_by(task.examples("validation"), "kind"),
            task.metric,
            SampleBank(run.bank),
            dataset="sums",
            k=3,
        )
    )
    method = next(each for each in chosen(mux.pool.names, SMALL)[0] if each.id == "calibrated")
    alone = {"accuracies": accuracies, "member": best, "temperature": 0.5}
    return {
        "slm_mux": mux,
        "calibrated": SLMMux(
            task.program(), members, rule=decider(method, measured, 3, "kind").rule, **shared
        ),
        "searched": mux.subset(told["choices"]["searched"]["members"]),
        "agent_forest": AgentForest(task.program(), members, **shared),
        "self_consistency": SelfConsistency(task.program(), members, k=3, **alone),
        "self_consistency_equal": SelfConsistency(task.program(), members, k=9, **alone),
        "single:a": SingleModel(
            task.program(), members, accuracies=accuracies, member="a", temperature=0.5
        ),
    }


def outcome(module, example):
    try:
        return module(**example.inputs()), None
    except AllMembersFailed as failure:
        return None, str(failure)


def test_banked_and_live_methods_decide_alike(tmp_path):
    task, members = small_task(validation=24, test=24), pool_of_three()
    run = compared(tmp_path / "run", members, dataclasses.replace(SMALL, methods=BANKED), task)
    assert run.task("sums")["choices"]["calibrated"]["context"] == "kind"
    for method, module in live_modules(run, task, members).items():
        rows = rows_of(run, method)
        assert len(rows) == 24
        for example in task.examples("test"):
            row = rows[example.question_id]
            prediction, cause = outcome(module, example)
            assert row["cause"] == cause
            if prediction is None:
                assert (row["answer"], row["score"]) == (None, 0.0)
                continue
            told = prediction.verdict.model_dump(mode="json")
            assert {name: row[name] for name in ("answer", "member", "tie_break")} == {
                name: told[name] for name in ("answer", "member", "tie_break")
            }, method
            assert row["confidence"] == pytest.approx(told["confidence"])
            assert row["score"] == float(task.metric(example, prediction))
            assert row["calls"] == told["calls"] + told["cached_calls"]
            by_member = {ballot["member"]: ballot for ballot in told["ballots"]}
            for ballot in row["ballots"]:
                bare = [
                    {name: answer[name] for name in ("answer", "count", "group")}
                    for answer in ballot["answers"]
                ]
                assert {**ballot, "answers": bare} == by_member[ballot["member"]]
                assert all(
                    answer["score"] == float(answer["answer"] == example.answer)
                    for answer in ballot["answers"]
                )


def test_banked_methods_share_their_draws(tmp_path):
    members = pool_of_three()
    compared(tmp_path / "run", members, dataclasses.replace(SMALL, methods=BANKED))
    # Three members, three draws, both splits; then the best member's six more for equal calls.
    assert calls(members) == 3 * 3 * 2 * COUNT + 6 * COUNT


def test_members_are_measured_on_validation_alone(tmp_path):
    late = member("late", lambda split, i, draw: i + 1 if split == "t" else 0)
    early = member("early", lambda split, i, draw: i + 1 if split == "v" else 0)
    run = compared(
        tmp_path / "run",
        [late, early],
        dataclasses.replace(SMALL, methods=("self_consistency", "slm_mux")),
    )
    assert run.task("sums")["accuracies"] == {"late": 0.0, "early": 1.0}
    assert {row["member"] for row in run.rows()} == {"early"}
    assert {row["tie_break"] for row in rows_of(run, "slm_mux").values()} == {"accuracy"}


def test_the_searched_subset_is_chosen_on_validation(tmp_path):
    liar = member("liar", lambda split, i, draw: 100)
    odd = member("odd", lambda split, i, draw: i + 1 if i % 2 else None)
    even = member("even", lambda split, i, draw: None if i % 2 else i + 1)
    run = compared(
        tmp_path / "run",
        [liar, odd, even],
        dataclasses.replace(SMALL, methods=("searched", "slm_mux")),
    )
    assert run.task("sums")["choices"]["searched"]["members"] == ["odd", "even"]
    assert all(
        row["score"] == 1.0 and row["calls"] == 6 for row in rows_of(run, "searched").values()
    )
    assert all(
        row["score"] == 0.0 for row in rows_of(run, "slm_mux").values() if row["member"] == "liar"
    )


# --- discussion methods


def test_discussion_rows_tell_every_turn_with_its_score(tmp_path):
    members = pool_of_three()
    run = compared(tmp_path / "run", members, dataclasses.replace(SMALL, methods=("llm_debate",)))
    rows = rows_of(run, "llm_debate")
    assert len(rows) == COUNT
    for row in rows.values():
        assert [(turn["round"], turn["agent"]) for turn in row["turns"]] == [
            (r, a) for r in (1, 2) for a in (1, 2, 3)
        ]
        assert all(turn["score"] == float(turn["answer"] == row["gold"]) for turn in row["turns"])
        assert row["calls"] == 6
        assert row["seconds"] > 0


def test_a_question_that_every_member_fails_counts(
    tmp_path,
):
    silent = [
        member(
            name, lambda split, i, draw: i + 1 if split == "v" or i else ConnectionError("refused")
        )
        for name in ("a", "b")
    ]
    run = compared(tmp_path / "run", silent)
    methods = {method["id"] for method in run.manifest["methods"]}
    for method in methods:
        row = rows_of(run, method)["t-0"]
        assert (row["score"], row["answer"]) == (0.0, None)
        assert "refused" in row["cause"]
        assert row["calls"] > 0
    lines = {line.method: line for line in Comparison.of(run).lines}
    assert {lines[method].accuracy.n for method in methods} == {COUNT}
    assert {lines[method].unanswered for method in methods} == {1}
    assert lines["slm_mux"].accuracy.mean == pytest.approx((COUNT - 1) / COUNT)
    assert lines["llm_debate"].accuracy.mean == pytest.approx((COUNT - 1) / COUNT)


def test_a_failing_member_abstains_everywhere(tmp_path):
    broken = member("broken", lambda split, i, draw: None)
    good = member("good", lambda split, i, draw: i + 1)
    run = compared(tmp_path / "run", [broken, good])
    lines = {line.method: line for line in Comparison.of(run).lines}
    assert lines["single:broken"].accuracy.mean == 0.0
    assert lines["single:broken"].unanswered == COUNT
    for method in (
        "self_consistency",
        "agent_forest",
        "slm_mux",
        "calibrated",
        "searched",
        "llm_debate",
    ):
        assert lines[method].accuracy.mean == 1.0, method
        assert lines[method].unanswered == 0


def test_a_failing_metric_names_its_question(tmp_path):
    def metric(example, prediction, trace=None):
        if prediction.get("answer") == 101:
            raise RuntimeError("no such answer")
        return True

    live = member("live", lambda split, i, draw: 1)
    task = small_task(metric=metric)
    compared(tmp_path / "run", [live], dataclasses.replace(SMALL, methods=("slm_mux",)), task)
    live.lm.engine.reply = lambda prompt, draw: "[[ ## answer ## ]]\n101"
    with pytest.raises(
        MetricFailed, match=r"raised RuntimeError: no such answer on the question t-\d"
    ):
        compared(
            tmp_path / "run", [live], dataclasses.replace(SMALL, methods=("llm_debate",)), task
        )


# --- what cannot be compared


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": "validation"}, "report another"),
        ({"methods": ("slm_mix",)}, "no method 'slm_mix'"),
        ({"methods": ()}, "Name the methods"),
        ({"methods": ("searched",)}, "needs two members"),
        (
            {"methods": ("multi_agent_verification",), "mav_aspects": ("taste",)},
            "no aspect 'taste'",
        ),
    ],
)
def test_wrong_comparisons_are_refused_before_a_call(tmp_path, change, told):
    alone = member("a", lambda split, i, draw: 1)
    with pytest.raises(ConfigurationError, match=told):
        compared(tmp_path / "run", [alone], dataclasses.replace(SMALL, **change))
    assert calls([alone]) == 0
    assert not (tmp_path / "run").exists()


def test_one_member_skips_methods_that_need_two(tmp_path):
    run = compared(tmp_path / "run", [member("a", lambda split, i, draw: i + 1)])
    methods = [method["id"] for method in run.manifest["methods"]]
    assert methods == ["single:a", "self_consistency", "slm_mux", "calibrated", *DISCUSSION]
    assert any("Agent Forest" in note for note in run.manifest["notes"])


def test_repeated_questions_are_asked_and_measured_once(tmp_path):
    task = small_task()

    def examples(split=None, *, seed=0, limit=None):
        found = task.examples("test")
        return (
            [*found, found[0].copy(question_id="again")]
            if split == "test"
            else [*task.examples("validation"), *found[:2]]
        )

    run = compared(
        tmp_path / "run",
        [member("a", lambda split, i, draw: i + 1)],
        dataclasses.replace(SMALL, methods=("slm_mux",)),
        dataclasses.replace(task, examples=examples),
    )
    told = run.task("sums")
    assert (told["questions"], told["validation_questions"]) == (COUNT, COUNT)
    assert len(rows_of(run, "slm_mux")) == COUNT
    notes = "\n".join(run.manifest["notes"])
    assert "1 questions have the inputs of others" in notes
    assert "2 validation questions are also reported" in notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"question_id": "again", "answer": -1},
            f"Examples 1 and {COUNT + 1} of the task 'sums' have the same inputs, and their answer",
        ),
        ({"question": len}, f"Example {COUNT + 1} of the task 'sums' .* input 'question' holds"),
        ({"answer": object()}, f"Example {COUNT + 1} of the task 'sums' .* label 'answer' holds"),
    ],
)
def test_examples_that_cannot_be_told_apart_are_refused_before_a_call(tmp_path, change, message):
    task, alone = small_task(), member("a", lambda split, i, draw: i + 1)

    def examples(split=None, *, seed=0, limit=None):
        found = task.examples(split)
        return [*found, found[0].copy(**change)]

    with pytest.raises(ConfigurationError, match=message):
        compared(tmp_path / "run", [alone], SMALL, dataclasses.replace(task, examples=examples))
    assert calls([alone]) == 0


def test_the_manifest_tells_what_was_compared(tmp_path):
    run = compared(tmp_path / "run", pool_of_three(), command="python -m eval compare --task sums")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest == run.manifest
    assert manifest["command"] == "python -m eval compare --task sums"
    assert [each["name"] for each in manifest["pool"]] == ["a", "b", "c"]
    assert manifest["versions"].keys() >= {"dspy_mux", "dspy", "python"}
    by_id = {method["id"]: method for method in manifest["methods"]}
    assert by_id["multi_agent_verification"]["settings"]["n"] == 2
    assert by_id["llm_debate"]["settings"] == {"agents": 3, "rounds": 2, "temperature": 1.0}
    assert [by_id[method]["discussion"] for method in ("slm_mux", *DISCUSSION)] == [
        False,
        True,
        True,
        True,
    ]
