"""Rows of discussions, one letter for each answer, and a judge of them."""

from __future__ import annotations

from dspy_mux import Member

from ...support.run_files import a_turn, row as a_row
from ...support.scripted import asked, scripted_lm

MEMBERS = "abc"


def row(*rounds, final=None, task="sums", method="llm_debate", question="q0"):
    """A row from rounds of answers, one letter per agent: R is right, - is none, others are wrong.

    `final` is the discussion's answer; by default the last round's first most frequent one.
    """
    groups = {
        letter: number
        for number, letter in enumerate(dict.fromkeys("".join(rounds).replace("-", "")))
    }
    last = rounds[-1].replace("-", "") if rounds else ""
    final = final or (max(last, key=last.count) if last else "-")
    return a_row(
        0,
        task=task,
        method=method,
        question_id=question,
        inputs={"question": f"What is {question}?"},
        gold="R",
        score=float(final == "R"),
        answer=None if final == "-" else final,
        turns=[
            a_turn(
                round=number,
                agent=agent,
                member=MEMBERS[agent - 1],
                text=f"I say {letter}.",
                answer=None if letter == "-" else letter,
                group=groups.get(letter),
                score=float(letter == "R"),
            )
            for number, letters in enumerate(rounds, 1)
            for agent, letter in enumerate(letters, 1)
        ],
    )


FIVE = [
    row("RXX", "XXX", question="q0"),  # given up
    row("RRX", "RRR", question="q1"),  # right
    row("XXY", "XXX", question="q2"),  # followed
    row("XRR", "RRX", question="q3"),  # right; two flips that cancel out
    row(question="q4"),  # the method failed
]


def a_judge(reply, name="judge"):
    return Member(scripted_lm(name, reply), name=name)


def by_question(prompt, draw):
    """The judge agrees on q0, differs on q2, and answers nothing readable on q5."""
    question = asked(prompt)
    if "q5" in question:
        return "I would rather not."
    return {"reason": f"Agent 1 in {question}", "groupthink": str("q0" in question)}
