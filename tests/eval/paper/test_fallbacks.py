"""`python -m eval fallbacks`, on small banks of the public ones' names."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from eval.paper.fallbacks import FallbackTable, run


@pytest.fixture
def data(tmp_path):
    """Three members of each bank, the second right most often."""
    random = np.random.default_rng(0)
    for file, parts in {
        "rgym_short_dev": [("gym", "sums"), ("gym", "sorting")],
        "faithful_cot_gsm8k_aqua": [("GSM8K", ""), ("AQUA", "")],
        "tiny_slms_everyday": [("everyday", "capital")],
    }.items():
        with gzip.open(tmp_path / f"{file}.jsonl.gz", "wt") as rows:
            for dataset, task in parts:
                for question, (member, rate) in (
                    (question, each)
                    for question in range(32)
                    for each in (("a", 0.2), ("b", 0.8), ("c", 0.4))
                ):
                    right = bool(random.random() < rate)
                    row = {
                        "dataset": dataset,
                        "task": task,
                        "question_id": f"{task}{question}",
                        "model": member,
                        "draw": 0,
                        "answer": "1" if right else str(random.integers(2, 5)),
                        "gold": "1",
                        "correct": right,
                    }
                    rows.write(json.dumps(row) + "\n")
    return tmp_path


def test_calibrated_is_set_against_the_best_simple_rule(data, capsys):
    run(
        FallbackTable(
            data=data,
            labels=[10, 60],
            k=[1, 2],
            repeats=2,
            seed=0,
            votes_only=True,
            as_json=True,
            as_markdown=False,
        )
    )
    rows = json.loads(capsys.readouterr().out)
    # One draw is recorded, and 60 labels leave too few questions to test.
    assert {(row["k"], row["labels"]) for row in rows} == {(1, 10)}
    assert [row["pool"] for row in rows] == [
        "reasoning-gym, 3 members",
        "reasoning-gym/sorting, 3 members",
        "reasoning-gym/sums, 3 members",
        "GSM8K, 3 members",
        "AQUA, 3 members",
        "everyday, 3 members",
    ]
    for row in rows:
        best = max(row["simple"].values())
        assert row["simple"][row["best"]] == best
        assert row["gain"] == pytest.approx(row["calibrated"] - best)
    assert np.mean([row["calibrated"] for row in rows]) > 0.6
