from __future__ import annotations

from html.parser import HTMLParser

import dspy
import pytest
from hypothesis import given, strategies as st

from dspy_mux import SLMMux, Verdict
from dspy_mux.notebook import escaped, table
from dspy_mux.text import visible
from dspy_mux.voting.verdict_parts import AnswerCount, MemberBallot, Turn

from .support.scripted import scripted_lm

HOSTILE = "</details><script>alert(1)</script>\x1b[31m\x00\u202e\ud800"


class Read(HTMLParser):
    """The tags of a piece of HTML, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def verdict(answer, *, member="a", turns=()):
    ballots = [
        MemberBallot(
            member=member,
            votes=[0, 0, None],
            confidence=2 / 3,
            accuracy=0.5,
            answers=[AnswerCount(answer=answer, count=2, group=0)],
            abstentions={str(answer): 1},
        ),
        MemberBallot(
            member="b",
            votes=[1, 0],
            confidence=1 / 3,
            answers=[AnswerCount(answer="other", count=1, group=1)],
            spared=1,
        ),
    ]
    return Verdict(
        answer=answer,
        member=member,
        confidence=2 / 3,
        tie_break="accuracy",
        rule="consistency",
        ballots=ballots,
        calls=5,
        cached_calls=1,
        prompt_tokens=70,
        completion_tokens=9,
        cost=0.00125,
        turns=list(turns),
    )


def test_a_verdict_shows_answer_members_and_cost():
    told = Read(verdict("Paris")._repr_html_()).text
    for part in (
        "Paris",
        "confidence 0.67",
        "decided by accuracy",
        "Paris × 2",
        "50.0 %",
        "1 draw spared",
        "5 LM calls",
        "70 + 9 tokens",
    ):
        assert part in told
    assert "$0.001250" in told


def test_a_verdict_of_a_live_mux_shows_itself():
    mux = SLMMux(
        "question -> answer",
        [scripted_lm("a", ["yes", "yes", "no"]), scripted_lm("b", ["no", "maybe", "so"])],
        k=3,
    )
    told = Read(mux(question="?").verdict._repr_html_())
    assert told.tags.count("tr") == 3
    assert "yes × 2" in told.text


@pytest.mark.parametrize(
    "answer", [HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, dspy.Prediction(text=HOSTILE)]
)
def test_hostile_text_is_escaped(answer):
    turn = Turn(
        round=1,
        agent=1,
        member=HOSTILE,
        text=HOSTILE,
        answer=answer,
        group=0,
        approvals={HOSTILE: True},
        unjudged={HOSTILE: HOSTILE},
    )
    shown = verdict(answer, member=HOSTILE, turns=[turn])._repr_html_()
    read, plain = (
        Read(shown),
        Read(verdict("x", turns=[turn.model_copy(update={"text": "x"})])._repr_html_()),
    )
    assert read.tags == plain.tags
    assert "<script>alert(1)</script>" in read.text
    shown.encode()  # no half characters are left
    assert not {"\x1b", "\x00", "\u202e"} & set(shown)


def test_turns_are_folded_away_with_who_said_what():
    turns = [
        Turn(round=1, agent=1, member="a", text="I say four.", answer=4, group=0),
        Turn(round=1, agent=2, member="b", text="Hm.", cause="no number"),
        Turn(
            round=1,
            agent=3,
            member="c",
            text="5",
            answer=5,
            group=1,
            approvals={"x": True, "y": False},
            unjudged={"y": "late"},
        ),
    ]
    told = Read(verdict(4, turns=turns)._repr_html_())
    assert "details" in told.tags
    assert "round 1, agent 1 (a) answered 4" in told.text
    assert "round 1, agent 2 (b) abstained: no number" in told.text
    assert "round 1, agent 3 (c) answered 5; approved by 1 of 2; y: late" in told.text
    assert "details" not in Read(verdict(4)._repr_html_()).tags


@given(st.text())
def test_escaped_text_is_text_that_a_file_can_hold(text):
    shown = escaped(text)
    shown.encode()
    read = Read(f"<p title='{shown}'>{shown}</p>")
    assert read.tags == ["p"]
    assert visible(visible(text)) == visible(text)


def test_a_table_has_a_cell_for_every_value():
    shown = table(("<b>what", "n"), [("<i>x</i>", "1"), ("y", "2")], numbers=("n",))
    read = Read(shown)
    assert read.tags.count("td") == 4
    assert shown.count("class='number'") == 3
    assert "b" not in read.tags
    assert "i" in read.tags
