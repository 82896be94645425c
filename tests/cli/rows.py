"""Rows to import: three members that answer questions as well as their skill."""

from __future__ import annotations

import random

from ..support.rows import a_row

SKILL = {"a": 0.7, "b": 0.6, "c": 0.5}


def some_rows(count=40, k=4, skill=SKILL, **more):
    """Members that are right as often as their skill, the same way at each run."""
    rows = []
    for question in range(count):
        for member in skill:
            for draw in range(k):
                luck = random.Random(f"{question} {member} {draw}")
                answer = (
                    "right"
                    if luck.random() < skill[member]
                    else luck.choice(["wrong", "worse", ""])
                )
                told = {
                    "split": "test" if question % 2 else "train",
                    "task": "xy"[question % 2],
                    **more,
                }
                rows.append(a_row(f"q{question}", member, draw, answer, answer == "right", **told))
    return rows
