"""Rows of a comparison in which a large model gives the answers that the pool is not sure of."""

from __future__ import annotations

import dataclasses

import pytest

from dspy_mux import ConfigurationError
from eval.compare.methods import Options, chosen
from eval.compare.pools import PoolOptions
from eval.tables.comparison import Comparison

from ...support.comparisons import compared, rows_of
from ...support.http_models import model_server
from ...support.small_task import member, small_task

METHODS = ("slm_mux", "large", "escalated")
TASK = {"validation": 120, "test": 12}
OPTIONS = Options(k=2, methods=METHODS, max_risk=0.2, num_threads=8)


def sure(split, i, draw):
    """Right and of one mind where i is even, else of two minds and wrong."""
    return i + 1 if i % 2 == 0 else i + 5 + draw


def a_run(out, large=lambda split, i, draw: i + 1, options=OPTIONS, pool=None, **task):
    big = member("big", large)
    pool = pool or [member("a", sure), member("b", sure)]
    run = compared(
        out, pool, options, task=small_task(**{**TASK, **task}), large_of=lambda name: big
    )
    return run, big


def lines(run):
    return {line.method: line for line in Comparison.of(run).lines}


def test_doubtful_answers_are_the_large_models_and_its_calls_count(tmp_path):
    run, big = a_run(tmp_path / "run")
    rows = rows_of(run, "escalated:slm_mux")
    assert {name: row["escalated"] for name, row in rows.items()} == {
        f"t-{i}": bool(i % 2) for i in range(12)
    }
    asked, kept = rows["t-1"], rows["t-2"]
    assert (asked["answer"], asked["member"], asked["score"], asked["calls"]) == (2, "big", 1.0, 5)
    assert (asked["pool_score"], asked["confidence"]) == (0.0, 0.5)
    assert [ballot["member"] for ballot in asked["ballots"]] == ["a", "b", "big"]
    assert (kept["answer"], kept["score"], kept["calls"], kept["pool_score"]) == (3, 1.0, 4, 1.0)
    table = lines(run)
    assert table["escalated:slm_mux"].shown == "SLM-MUX + big on 50.0 %"
    assert (table["escalated:slm_mux"].calls, table["escalated:slm_mux"].escalated) == (4.5, 0.5)
    assert (table["large"].calls, table["large"].accuracy.mean) == (1.0, 1.0)
    assert table["escalated:slm_mux"].difference.mean == 0.5
    assert big.lm.engine.calls == 12  # no validation question is asked of it
    assert run.task("sums")["choices"]["escalated:slm_mux"] == {"threshold": 1.0, "labels": 60}
    assert "at most 20 % wrong among the answers above it" in Comparison.of(run).caption


def test_the_threshold_knows_nothing_of_the_reported_questions(tmp_path):
    """All that differs between these runs is which reported answers are right."""
    thresholds = []
    for name, shift in (("right", 1), ("wrong", 9)):

        def answer(split, i, draw, shift=shift):
            return i + shift if split == "t" else sure(split, i, draw)

        run, _ = a_run(tmp_path / name, pool=[member("a", answer), member("b", answer)])
        thresholds.append(run.task("sums")["choices"]["escalated:slm_mux"]["threshold"])
    assert thresholds == [1.0, 1.0]


def test_without_a_promise_every_question_is_asked_and_the_table_says_why(tmp_path):
    run, _ = a_run(tmp_path / "run", validation=20)
    assert lines(run)["escalated:slm_mux"].shown == "SLM-MUX + big on 100.0 %"
    (note,) = [
        note for note in run.manifest["notes"] if "SLM-MUX + big: all questions go to big" in note
    ]
    assert "needs at least 11" in note


def test_where_the_large_model_fails_the_pools_answer_stands_and_the_call_counts(tmp_path):
    def large(split, i, draw):
        return ConnectionError("down") if i == 1 else i + 1

    run, _ = a_run(tmp_path / "run", large=large)
    row = rows_of(run, "escalated:slm_mux")["t-1"]
    assert (row["answer"], row["member"], row["escalated"], row["score"]) == (6, "a", True, 0.0)
    assert row["calls"] > rows_of(run, "slm_mux")["t-1"]["calls"]
    assert any("errors cost draws" in note for note in Comparison.of(run).notes)


def test_a_run_takes_a_large_model_later_and_decides_no_call_twice(tmp_path):
    pool = [member("a", sure), member("b", sure)]
    plain = dataclasses.replace(OPTIONS, methods=("slm_mux",))
    compared(tmp_path / "run", pool, plain, task=small_task(**TASK))
    before = sum(each.lm.engine.calls for each in pool)
    run, big = a_run(tmp_path / "run", pool=pool)
    assert sum(each.lm.engine.calls for each in pool) == before
    assert (big.lm.engine.calls, run.manifest["large"]["name"]) == (12, "big")
    assert set(lines(run)) >= {"slm_mux", "large", "escalated:slm_mux"}


def test_the_large_model_is_no_member_of_the_pool(tmp_path):
    with pytest.raises(ConfigurationError, match="stands for the large model"):
        compared(
            tmp_path / "run",
            [member("a", sure), member("b", sure)],
            OPTIONS,
            large_of=lambda name: member("a", sure),
        )


def test_without_a_large_model_there_are_no_such_rows():
    names = {method.id for method in chosen(["a", "b"], Options())[0]}
    assert not {name for name in names if name.startswith(("large", "escalated"))}
    with pytest.raises(ConfigurationError, match="no method 'escalated'"):
        chosen(["a", "b"], Options(methods=("escalated",)))


@pytest.fixture
def pool_file(tmp_path):
    with model_server() as server:
        path = tmp_path / "pool.toml"
        path.write_text(
            "".join(
                f'[[members]]\nname = "{name}"\nmodel = "openai/{name}"\n'
                f'api_base = "{server.address}/v1"\n'
                for name in ("a", "b", "big")
            )
        )
        yield path


def test_a_member_of_the_pool_file_stands_for_the_large_model(pool_file):
    pool = PoolOptions(pool_file, large="big").load()
    assert [each.label for each in pool.for_task("sums")] == ["a", "b"]
    assert pool.large_for("sums").label == "big"
    other = PoolOptions(pool_file, large="openai/gpt-4o-mini").load()
    assert [each.label for each in other.for_task("sums")] == ["a", "b", "big"]
    assert other.large_for("sums").label == "openai/gpt-4o-mini"
    with pytest.raises(ConfigurationError, match="neither a member of the pool file"):
        PoolOptions(pool_file, large="bigg").load().large_for("sums")
    with pytest.raises(ConfigurationError, match="leave it out of --members"):
        PoolOptions(pool_file, ["a", "big"], large="big").load()
