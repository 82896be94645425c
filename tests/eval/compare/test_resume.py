"""Comparisons that are resumed or extended: no call twice, no run of other settings."""

from __future__ import annotations

import dataclasses

import pytest

from dspy_mux import ConfigurationError
from eval.runs.folder import Run
from eval.tables.comparison import Comparison

from ...support.comparisons import (
    BANKED,
    SMALL,
    calls,
    compared,
    pool_of_three,
    rows_of,
)
from ...support.small_task import COUNT, small_task


def test_an_interrupted_comparison_resumes_without_repeating_anything(tmp_path):
    whole = pool_of_three()
    expected = compared(tmp_path / "whole", whole)

    class Interrupted:
        _at = None

        def __call__(self, example, prediction, trace=None):
            if example.question_id == self._at:
                raise KeyboardInterrupt
            return prediction.answer == example.answer

    members, metric = pool_of_three(), Interrupted()
    compared(
        tmp_path / "run",
        members,
        dataclasses.replace(SMALL, methods=BANKED),
        task=small_task(metric=metric),
    )
    metric._at = "t-3"
    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path / "run", members, task=small_task(metric=metric))
    metric._at = None
    kept = rows_of(Run.open(tmp_path / "run"), "mixture_of_agents")
    assert "t-0" in kept
    assert "t-3" not in kept
    run = compared(tmp_path / "run", members, task=small_task(metric=metric))
    rows = list(run.rows())
    keys = [(row["method"], row["question_id"]) for row in rows]
    assert len(keys) == len(set(keys)) == len(list(expected.rows()))
    # Mixture-of-Agents asked t-3 once more, which had no row: 2 layers of 3 and the aggregator.
    assert calls(members) == calls(whole) + 7
    before = calls(members)
    again = compared(tmp_path / "run", members, task=small_task(metric=metric))
    assert calls(members) == before
    assert list(again.rows()) == rows


def test_another_metric_decides_again_but_keeps_discussions(
    tmp_path,
):
    def otherwise(example, prediction, trace=None):
        return 0.25 if example.question_id.startswith("t") else prediction.answer == example.answer

    members, options = (
        pool_of_three(),
        dataclasses.replace(SMALL, methods=("slm_mux", "llm_debate")),
    )
    before = rows_of(compared(tmp_path / "run", members, options), "llm_debate")
    spent = calls(members)
    again = compared(tmp_path / "run", members, options, task=small_task(metric=otherwise))
    assert calls(members) == spent
    assert {row["score"] for row in rows_of(again, "slm_mux").values()} == {0.25}
    assert rows_of(again, "llm_debate") == before
    assert any("the metric has changed" in note for note in again.manifest["notes"])


def test_draws_of_an_interrupted_run_are_kept(tmp_path):
    members = pool_of_three()
    reply, made = members[1].lm.engine.reply, []

    def interrupted(prompt, draw):
        made.append(draw)
        return KeyboardInterrupt() if len(made) == 20 else reply(prompt, draw)

    members[1].lm.engine.reply = interrupted
    few = dataclasses.replace(SMALL, methods=("slm_mux",), num_threads=1)
    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path / "run", members, few)
    members[1].lm.engine.reply = reply
    compared(tmp_path / "run", members, few)
    assert calls(members) == 3 * 3 * 2 * COUNT + 1  # the one that was interrupted


def test_methods_and_tasks_may_be_added(tmp_path):
    members = pool_of_three()
    compared(tmp_path / "run", members, dataclasses.replace(SMALL, methods=("slm_mux",)))
    before = calls(members)
    run = compared(tmp_path / "run", members, dataclasses.replace(SMALL, methods=("agent_forest",)))
    assert calls(members) == before
    run = compared(
        tmp_path / "run",
        members,
        dataclasses.replace(SMALL, methods=("slm_mux",)),
        small_task("more"),
    )
    assert [task["name"] for task in run.manifest["tasks"]] == ["sums", "more"]
    assert [method["id"] for method in run.manifest["methods"]] == ["slm_mux", "agent_forest"]
    lines = [
        (line.task, line.method)
        for line in Comparison.of(run).lines
        if line.method != "any_member_right"
    ]
    assert lines == [("sums", "slm_mux"), ("sums", "agent_forest"), ("more", "slm_mux")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"k": 2}, "k 3, now 2"),
        ({"temperature": 0.9}, "temperature 0.5, now 0.9"),
        ({"limit": 2}, "limit null, now 2"),
        ({"seed": 1}, "seed 0, now 1"),
        (
            {"methods": ("multi_agent_verification",), "mav_n": 3},
            "multi_agent_verification settings",
        ),
    ],
)
def test_other_settings_are_refused(tmp_path, change, told):
    members = pool_of_three()
    compared(tmp_path / "run", members)
    before, rows = calls(members), (tmp_path / "run" / "results.jsonl").read_bytes()
    with pytest.raises(ConfigurationError, match="made with other settings") as refused:
        compared(tmp_path / "run", members, dataclasses.replace(SMALL, **change))
    assert told in str(refused.value)
    assert calls(members) == before
    assert (tmp_path / "run" / "results.jsonl").read_bytes() == rows


def test_another_pool_or_other_questions_are_refused(tmp_path):
    members, few = pool_of_three(), dataclasses.replace(SMALL, methods=("slm_mux",))
    compared(tmp_path / "run", members, few)
    with pytest.raises(ConfigurationError, match="pool a, b, c, now a, b"):
        compared(tmp_path / "run", members[:2], few)
    with pytest.raises(ConfigurationError, match="other questions or answers of sums"):
        compared(tmp_path / "run", members, few, small_task(test=COUNT - 1))


@pytest.mark.parametrize("changed", [{"answer": 99}, {"tolerance": 1}])
def test_other_gold_answers_are_refused(tmp_path, changed):
    members, few, task = (
        pool_of_three(),
        dataclasses.replace(SMALL, methods=("slm_mux",)),
        small_task(),
    )

    def with_labels(**labels):
        return dataclasses.replace(
            task,
            examples=lambda *asked, **more: [
                row.copy(**labels) for row in task.examples(*asked, **more)
            ],
        )

    compared(tmp_path / "run", members, few, task)
    rows, before = (tmp_path / "run" / "results.jsonl").read_bytes(), calls(members)
    with pytest.raises(
        ConfigurationError, match="other questions or answers of sums.: name another --out"
    ):
        compared(tmp_path / "run", members, few, with_labels(**changed))
    compared(
        tmp_path / "run",
        members,
        few,
        with_labels(dspy_uuid="DSPy's own, another one at each load"),
    )
    assert ((tmp_path / "run" / "results.jsonl").read_bytes(), calls(members)) == (rows, before)
