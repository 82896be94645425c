"""Verdicts as users read them, and as JSON and pickles tell them."""

from __future__ import annotations

import copy
import math
import pickle
import re
from decimal import Decimal

import pytest
from pydantic import BaseModel

from dspy_mux import AllMembersFailed, Ballot, Turn, Verdict
from dspy_mux.sampling.causes import is_error
from dspy_mux.voting.evidence import Evidence
from dspy_mux.voting.verdict_parts import MemberBallot, most_frequent_first


def test_a_verdict_serialises_answers_of_any_type():
    given_answers = [Decimal("1.5"), {"a", "b"}, object(), float("nan"), None]
    for value in given_answers:
        verdict = Verdict(
            answer=value,
            member="a",
            confidence=1,
            tie_break="nothing",
            rule="consistency",
            ballots=[],
        )
        assert Verdict.model_validate_json(verdict.model_dump_json()).member == "a"


def test_a_ballot_lists_the_most_frequent_first():
    told = MemberBallot.of(
        Ballot("a", (1, None, 0, 0, None), asked=6),
        {0: "x", 1: "y"},
        [None, "slow", None, None, "slow"],
    )
    assert [(each.answer, each.count, each.group) for each in told.answers] == [
        ("x", 2, 0),
        ("y", 1, 1),
    ]
    assert (told.votes, told.abstentions, told.spared) == ([1, None, 0, 0, None], {"slow": 2}, 1)
    assert most_frequent_first(["b", None, "a", "c", "a", "c", "c"]) == ["c", "a", "b"]


def test_a_failed_discussion_can_be_pickled():
    class City(BaseModel):
        name: str

    turns = [
        Turn(
            round=1,
            agent=1,
            member="a",
            text="Rome \ud800",
            answer=City(name="Rome"),
            group=0,
            approvals={"x": False},
        ),
        Turn(
            round=1,
            agent=2,
            member="b",
            text="",
            answer=object(),
            cause="late",
            unjudged={"x": "late"},
        ),
    ]
    error = AllMembersFailed({"a": ["late"]}, turns)
    sent = pickle.loads(pickle.dumps(error))
    assert (type(sent), str(sent), sent.causes) == (AllMembersFailed, str(error), error.causes)
    assert [turn.model_copy(update={"answer": None}) for turn in sent.turns] == [
        turn.model_copy(update={"answer": None}) for turn in turns
    ]
    assert sent.turns[0].answer == {"name": "Rome"}
    assert copy.deepcopy(turns[0]) == copy.copy(turns[0]) == turns[0]


@pytest.mark.parametrize(
    "cause",
    ["no answer within 20 s", "LMTimeoutError: too late", "RecursionError: nested too deeply", ""],
)
def test_errors_may_pass(cause):
    assert is_error(cause)


@pytest.mark.parametrize(
    "cause",
    [
        "unparsable response", "empty response", "empty answer", "unusable answer", "no answer",
        "the prediction has no field 'answer' (it has result)",
        "the program returned int, not a dspy.Prediction",
    ],
)  # fmt: skip
def test_an_unusable_reply_is_not_an_error(cause):
    assert not is_error(cause)


def test_a_printed_verdict_is_a_small_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    verdict = Verdict(
        answer="Par\x1b[31mis",
        member="b",
        confidence=2 / 3,
        tie_break="accuracy",
        rule="consistency",
        ballots=[
            MemberBallot.of(Ballot("a", (0, None, 1)), {0: "Lyon\nLyon", 1: [1, 2]}, [None, "x"]),
            MemberBallot.of(Ballot("b", (2, 2), asked=3), {2: "Par\x1b[31mis"}, []),
        ],
        calls=5,
        cached_calls=1,
        prompt_tokens=10,
        completion_tokens=4,
    )
    assert str(verdict).splitlines() == [
        "Par␛[31mis",
        "b, confidence 0.67 by the rule consistency; a tie, decided by accuracy",
        "member  answers                    confidence  abstained",
        "a       1 × Lyon Lyon; 1 × [1, 2]        0.33  1 × x",
        "b       2 × Par␛[31mis                   0.67  1 draw spared",
        "5 LM calls, 1 from the cache, 10 + 4 tokens",
    ]
    long = verdict.model_copy(update={"answer": "x" * 10_000, "ballots": []})
    assert max(map(len, str(long).splitlines())) == 300
    assert str(long).count("\n") == 2


def test_a_printed_verdict_fits_into_the_terminal(monkeypatch):
    ballot = Ballot("a-member-of-a-long-name", (0, 1, None))
    answers = {0: "The capital of Libya is Tripoli.\nIt lies by the sea.", 1: "It is Lagos."}
    verdict = Verdict(
        answer=answers[0],
        member="a-member-of-a-long-name",
        confidence=1 / 3,
        tie_break="pool order",
        rule="consistency",
        ballots=[MemberBallot.of(ballot, answers, ["TimeoutError: no reply within 3 s"])],
    )
    for columns in (80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = str(verdict).splitlines()
        assert max(map(len, lines)) <= columns
        start = next(line for line in lines if "answers" in line).index("answers")
        rows = [line for line in lines if "  1 × The" in line or line.startswith(" ")]
        assert len(rows) > 1
        assert all(line[start : start + 2].isspace() for line in rows[1:])  # no row of its own
    monkeypatch.setenv("COLUMNS", "200")
    assert len(str(verdict).splitlines()) == 5


def test_a_verdict_in_a_notebook_shows_each_members_ballot():
    half, sure = (Evidence(answer_logprob=math.log(p)) for p in (0.5, 0.96))
    verdict = Verdict(
        answer="<Paris>",
        member="b",
        confidence=0.75,
        tie_break="nothing",
        rule="probability",
        calibrated=True,
        ballots=[
            MemberBallot.of(Ballot("a", (0, None), 0.4, 4, (half, None)), {0: "Lyon"}, [None, "x"]),
            MemberBallot.of(Ballot("b", (2, 2), evidence=(sure, half)), {2: "<Paris>"}, []),
        ],
        calls=4,
    )
    shown = verdict._repr_html_()
    rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr>.*?</tr>", shown)]
    rows = [row for row in rows if row]
    texts = [[re.sub("<[^>]*>", "", cell) for cell in row] for row in rows]
    assert texts == [
        ["a", "Lyon × 1", "0.25", "40.0 %", "1 × x; 2 draws spared", "0.50 ?"],
        ["b", "&lt;Paris&gt; × 2", "1.00", "", "", "0.96 0.50"],
    ]
    assert rows[0][1] == "<div class='bar'><i style='width: 25%'></i><b>Lyon × 1</b></div>"
    assert rows[1][1].startswith("<div class='bar won'><i style='width: 100%'></i>")
    assert "<b>b</b>, calibrated confidence 0.75 by the rule probability" in shown
    assert re.findall("<th[^>]*>(.*?)</th>", shown)[-1] == "probability"
    assert "4 LM calls" in shown


@pytest.mark.parametrize(
    ("told", "grounds"),
    [
        ({}, "confidence 0.50 by the rule pooled"),
        ({"trusted": True}, "confidence 0.50 by the rule pooled; trusted"),
        ({"trusted": False}, "confidence 0.50 by the rule pooled; not trusted"),
        (
            {"trusted": False, "escalation_cause": "TimeoutError:\nlate"},
            "confidence 0.50 by the rule pooled; not trusted; the model asked in its place: "
            "TimeoutError: late",
        ),
        (
            {"trusted": False, "escalated": True},
            "asked in place of the pool, whose answer had confidence 0.50 by the rule pooled and "
            "was not trusted",
        ),
        (
            {"decided_by": "consistency"},
            "confidence 0.50 by the rule pooled, where consistency decides",
        ),
    ],
)
def test_a_printed_verdict_says_on_what_grounds(monkeypatch, told, grounds):
    monkeypatch.setenv("COLUMNS", "200")
    verdict = Verdict(
        answer=4, member="a", confidence=0.5, tie_break="nothing", rule="pooled", ballots=[], **told
    )
    assert str(verdict).splitlines()[1] == f"a, {grounds}"
