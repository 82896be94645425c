"""Hostile characters and numbers of servers, models and files cost no draw."""

from __future__ import annotations

import json

import dspy
import pytest

from dspy_mux import Member, SampleBank, SLMMux
from dspy_mux.bank.collect import collect

from ..support.fill import a_draw, some_questions, write
from ..support.scripted import ScriptedEngine, asked

TEXTS = {
    "NUL": "a\0b",
    "half a character": "a\ud800b",
    "another half": "\udc80",
    "an escape that looks like one": r"a\x00b\ud800",
    "escapes of a terminal": "\x1b[31mred\x1b[0m\x07",
    "right to left": "\u202eabc\u2066",
    "markup": "<script>alert(1)</script>'; DROP TABLE mux_draws; --",
    "pictures": "🦆 ﷽ é",
    "a format": "%s %(x)s :x {x} $1",
    "long": "long " * 100_000,
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_cause_of_any_characters_is_recorded(bank, what):
    text, (question, *_) = TEXTS[what], some_questions(bank)
    made_by = bank.add_programs([("a", "f" * 64, {})])[0]
    write(
        bank,
        a_draw(question, made_by, 0),
        a_draw(question, made_by, 1, None, cause=text),
        a_draw(question, made_by, 2),
    )
    rows = list(bank.rows())
    assert [row["draw"] for row in rows] == [0, 1, 2]
    escaped = {"NUL": r"a\x00b", "half a character": r"a\ud800b", "another half": r"\udc80"}
    assert rows[1]["cause"] == escaped.get(what, text)


@pytest.mark.parametrize("what", [what for what in TEXTS if what != "long"])
def test_names_of_any_characters_are_found_again(bank, what):
    text = TEXTS[what]
    asked = bank.add_questions(text, [(text, text, {"note": text}), ("key", "q", {})])
    made_by = bank.add_programs([(text, text, {"model": text})])
    assert bank.add_questions(text, [(text, text, {})]) == asked[:1]
    assert bank.add_programs([(text, text, {})]) == made_by
    write(bank, a_draw(asked[0], made_by[0], 0, text, outputs=json.dumps({"answer": text})))
    record = bank.record(dataset=text, programs=[(text, text)])
    assert record.votes.tolist() == [[[0]]]
    assert record.fields["note"] == (text,)
    (row,) = bank.rows(dataset=text)
    assert (row["answer"], row["note"]) == (text, text)
    assert bank.info()[0]["model"] == text


NUMBERS = [
    2**31,
    2**63,
    2**70,
    -(2**70),
    10**400,
    1e30,
    float("inf"),
    float("-inf"),
    float("nan"),
    10.5,
    -1,
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: str(number)[:20])
def test_a_number_that_cannot_be_is_recorded_as_unknown(bank, number):
    asked, (made_by,) = some_questions(bank), bank.add_programs([("a", "f" * 64, {})])
    told = dict.fromkeys(
        ("calls", "prompt_tokens", "completion_tokens", "seconds", "cost", "created"), number
    )
    write(
        bank,
        a_draw(asked[0], made_by, 0),
        a_draw(asked[0], made_by, 1, **told),
        a_draw(asked[1], made_by, 0),
    )
    rows = list(bank.rows())
    assert len(rows) == 3
    assert rows[1]["calls"] == (int(number) if number in (10.5, -1) else None)
    assert rows[1]["cost"] == (float(number) if abs(number) < 1e300 else None)
    assert isinstance(rows[1]["created"], float)
    assert bank.record().votes.shape == (2, 1, 2)
    assert bank.info()[0]["draws"] == 3


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


VALUES = {
    **TEXTS,
    "digits": 10**5000,
    "names": {"a\ud800": 1},
    "bytes": b"\xff\0",
    "deep": nested(900),
    "x": "x",
}


class Says(dspy.Module):
    """Answers with what a question stands for, whatever the type."""

    def __init__(self):
        super().__init__()
        self.ask = dspy.Predict("question -> answer")

    def forward(self, question):
        return dspy.Prediction(answer=VALUES[question], note=self.ask(question=question).answer)


def test_answers_and_outputs_of_any_kind_are_recorded_each_and_cost_the_others_nothing(bank):
    def reply(prompt, draw):
        return {"answer": TEXTS.get(asked(prompt), "x")[:1000]}

    member = Member(dspy.LM("scripted/a", engine=ScriptedEngine(reply)), name="a")
    mux = SLMMux(Says(), [member], k=2, temperature=0.5, equivalence=lambda a, b: a == b)
    examples = [dspy.Example(question=name).with_inputs("question") for name in VALUES]
    done = collect(mux, examples, lambda *_: 1.0, bank, num_threads=8)
    assert (done.drawn, done.missing) == (2 * len(VALUES), 0)
    rows = {(row["question"], row["draw"]): row for row in bank.rows()}
    assert len(rows) == 2 * len(VALUES)
    assert rows["x", 0]["answer"] == rows["x", 1]["answer"] == "x"
    assert rows["NUL", 0]["answer"] == TEXTS["NUL"]
    assert rows["half a character", 1]["answer"] == TEXTS["half a character"]
    assert bank.record().votes.shape == (len(VALUES), 1, 2)
    assert (
        collect(
            mux,
            examples,
            lambda *_: 1.0,
            SampleBank(bank.database.url.render_as_string(hide_password=False)),
        ).drawn
        == 0
    )
