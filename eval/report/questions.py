"""The list of questions: every draw, every method's answer, and what discussions said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspy_mux.text import visible
from dspy_mux.voting.verdict_text import readable_answer

from .flows import outcome
from .read import Answered, Question, ReportTurn, RowBallot, TaskAnswers


def list_questions(task: TaskAnswers) -> dict[str, object]:
    """Return the questions of a task as `questions.js` reads them.

    Where there are many values they are short lists instead of objects.
    """
    return {
        "methods": [
            {"id": method, "title": visible(task.title(method))} for method in task.answers
        ],
        "members": [visible(name) for name in task.members],
        "subtask_field": task.subtask_field,
        "questions": [_question(task, question) for question in task.questions.values()],
    }


def _question(task: TaskAnswers, question: Question) -> dict[str, object]:
    answered = {
        method: answers[question.id]
        for method, answers in task.answers.items()
        if question.id in answers
    }
    return {
        "id": visible(question.id),
        "subtask": visible(question.subtask),
        "inputs": [[visible(name), _text(value)] for name, value in question.inputs.items()],
        "gold": _text(question.gold),
        "answers": {method: _answer(each) for method, each in answered.items()},
        "draws": _draws(task, answered),
        "turns": {
            method: [
                _turn(turn)
                for turn in sorted(each.turns, key=lambda turn: (turn["round"], turn["agent"]))
            ]
            for method, each in answered.items()
            if each.turns
        },
    }


def _answer(answered: Answered) -> dict[str, object]:
    return {
        "outcome": answered.outcome,
        "answer": None if answered.answer is None else _text(answered.answer),
        "member": None if answered.member is None else visible(answered.member),
        "confidence": answered.confidence,
        "tie": answered.tie_break,
        "cause": None if answered.cause is None else visible(answered.cause),
        "calls": answered.calls,
    }


def _draws(task: TaskAnswers, answered: Mapping[str, Answered]) -> list[dict[str, object]]:
    """Each member's recorded draws.

    The methods of one bank see the same draws, from the first: the longest ballot has them all.
    """
    longest: dict[str, RowBallot] = {}
    for method, each in answered.items():
        if task.methods[method]["discussion"]:
            continue
        for ballot in each.ballots:
            known = longest.get(ballot["member"])
            if known is None or len(ballot["votes"]) > len(known["votes"]):
                longest[ballot["member"]] = ballot
    return [_ballot(longest[name]) for name in task.members if name in longest]


def _ballot(ballot: RowBallot) -> dict[str, object]:
    answers = ballot["answers"]
    at = {answer["group"]: index for index, answer in enumerate(answers)}
    return {
        "member": visible(ballot["member"]),
        "votes": [None if vote is None else at[vote] for vote in ballot["votes"]],
        "answers": [
            {"answer": _text(each["answer"]), "count": each["count"], "right": each["score"] >= 1}
            for each in answers
        ],
        "probabilities": list(ballot.get("probabilities", [])),
        "abstentions": [[visible(cause), count] for cause, count in ballot["abstentions"].items()],
    }


def _turn(turn: ReportTurn) -> dict[str, object]:
    approvals, unjudged = turn["approvals"], turn.get("unjudged", {})
    return {
        "round": turn["round"],
        "agent": turn["agent"],
        "member": visible(turn["member"]),
        "text": visible(turn["text"]),
        "answer": None if turn["group"] is None else _text(turn["answer"]),
        "outcome": outcome(turn),
        "cause": None if turn["cause"] is None else visible(turn["cause"]),
        "approvals": None
        if approvals is None
        else [[visible(aspect), said] for aspect, said in approvals.items()],
        "unjudged": [f"{visible(aspect)}: {visible(cause)}" for aspect, cause in unjudged.items()],
    }


def _text(value: Any) -> str:
    return visible(readable_answer(value))
