"""Comparisons over small pools whose members are right, wrong or silent by chance."""

from __future__ import annotations

import random

from eval.compare.methods import Options
from eval.compare.run import compare

from .small_task import member, small_task

BANKED = (
    "single",
    "self_consistency",
    "self_consistency_equal",
    "agent_forest",
    "slm_mux",
    "calibrated",
    "searched",
)
SMALL = Options(k=3, mav_n=2, mav_aspects=("logic", "facts"), num_threads=4)
DISCUSSION = ("mixture_of_agents", "llm_debate", "multi_agent_verification")


def noisy(right, seed):
    """Right, wrong or silent by chance, but the same for the same draw."""

    def answer(split, i, draw):
        chance = random.Random(f"{seed} {split} {i} {draw}")
        return (
            i + 1
            if chance.random() < right
            else None
            if chance.random() < 0.3
            else i + chance.choice([5, 7])
        )

    return answer


def pool_of_three():
    return [member("a", noisy(0.6, 1)), member("b", noisy(0.75, 2)), member("c", noisy(0.65, 3))]


def compared(out, members, options=SMALL, task=None, **settings):
    return compare([task or small_task()], lambda name: members, options, out=out, **settings)


def rows_of(run, method):
    return {row["question_id"]: row for row in run.rows() if row["method"] == method}


def calls(members):
    return sum(each.lm.engine.calls for each in members)
