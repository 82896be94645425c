"""Draws to write into a bank."""

from __future__ import annotations

import json


def a_draw(question, program, draw, answer="x", answer_class=0, score=1.0, **more):
    usable = answer is not None
    return {
        "question": question,
        "program": program,
        "draw": draw,
        "answer": json.dumps(answer) if usable else None,
        "answer_class": answer_class if usable else None,
        "score": score if usable else None,
        "cause": None if usable else "no answer",
        "outputs": json.dumps({"answer": answer}) if usable else None,
        "calls": 1,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "seconds": 0.5,
        "cost": 0.25,
        "created": 1e9,
        "scored_by": None,
        **more,
    }


def write(bank, *rows):
    with bank.writing() as connection:
        bank.add(connection, rows)


def some_questions(bank, count=3, dataset="d"):
    return bank.add_questions(
        dataset, [(f"key{n}", f"q{n}", {"task": "ab"[n % 2], "n": n}) for n in range(count)]
    )


def a_program(bank, member="a", key="f" * 64, **description):
    return bank.add_programs([(member, key, {"model": f"openai/{member}", **description})])[0]


def fill(bank, members="ab", count=3, k=2):
    """Members by questions by draws; member b answers wrongly, and abstains at its last draw."""
    asked, made_by = (
        some_questions(bank, count),
        [a_program(bank, name, name * 64) for name in members],
    )
    write(
        bank,
        *(
            a_draw(q, p, d, *(("x", 0, 1.0) if at == 0 else (None if d == k - 1 else "y", 1, 0.0)))
            for q in asked
            for at, p in enumerate(made_by)
            for d in range(k)
        ),
    )
    return asked, made_by
