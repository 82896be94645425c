"""Answers' classes in a bank do not depend on the order in which draws arrive."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import Member, SLMMux
from dspy_mux.bank.collect import collect

from ..support.scripted import ScriptedEngine
from ..support.skilled import metric, questions

ANSWERS = {"a": ["1", "3", "2"], "b": ["5", "5", "9"], "c": ["4", "7", "7"]}


def near(a, b):
    """Not transitive: 1 is near 2 and 2 near 3, but 1 is not near 3."""
    return abs(int(a) - int(b)) <= 1


def classes(votes):
    """Each draw's class, numbered as first seen, so that only who agrees with whom counts."""
    numbers = {}
    return [numbers.setdefault(vote, len(numbers)) for vote in votes]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)], ids=str)
def test_a_ballot_is_replayed_as_it_was_cast(bank, order):
    arrived = 3

    def member(name):
        def reply(_, draw):
            late = order[draw] >= arrived
            return ConnectionError("down") if late else {"answer": ANSWERS[name][draw]}

        lm = dspy.LM(f"scripted/{name}", engine=ScriptedEngine(reply), cache=False)
        return Member(lm, name=name)

    mux = SLMMux(
        dspy.Predict("question -> answer: str"),
        [member(name) for name in ANSWERS],
        k=3,
        temperature=0.5,
        equivalence=near,
    )
    live = [ballot.votes for ballot in mux(question=questions(1)[0].question).verdict.ballots]
    assert live[0] == [live[0][0]] * 3  # 2 joins 1 and 3
    for arrived in range(1, 4):  # noqa: B007  (read by `reply`)
        collect(mux, questions(1), metric, bank, retry_failed=True)
    votes = bank.record().votes[0].tolist()
    assert [classes(own) for own in votes] == [classes(own) for own in live]
