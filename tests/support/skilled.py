"""Members that are right with a given skill, their questions, and a metric: what a bank is made
of."""

from __future__ import annotations

import random

import dspy

from dspy_mux import Member, SLMMux

from .scripted import scripted_lm

QA = "question -> answer"


def a_member(name, skill=0.6, latency=0.0):
    """A model that is right with probability `skill`, the same way for the same question and
    draw."""

    def reply(prompt, draw):
        luck = random.Random(f"{name} {prompt} {draw}")
        return {"answer": "right" if luck.random() < skill else luck.choice("abc")}

    return Member(scripted_lm(name, reply, latency), name=name)


def a_mux(*members, k=3, **settings):
    return SLMMux(dspy.Predict(QA), list(members), k=k, temperature=0.5, **settings)


def questions(count):
    return [
        dspy.Example(question=f"q{n}?", answer="right", category="abc"[n % 3]).with_inputs(
            "question"
        )
        for n in range(count)
    ]


def metric(example, pred, trace=None):
    return pred.answer == example.answer


def calls(mux):
    return [member.lm.engine.calls for member in mux.members]
