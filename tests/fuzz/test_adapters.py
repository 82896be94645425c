"""Adapters read any reply as fields or refuse it, and read a demo back to the same fields."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given, strategies as st

from dspy_mux.adapters.extract import ExtractingAdapter
from dspy_mux.adapters.formats import ADAPTERS
from dspy_mux.adapters.guard import GuardedAdapter
from dspy_mux.answers.choose import answer_kind

from ..support.limits import share, within
from ..support.scripted import scripted_lm
from .kinds import DECLARED, WORDS
from .strategies import ANY_TEXT, TEXTS, damaged

LM = scripted_lm("fuzz", ["x"])
TYPES = ["text", "int", "float", "bool", "letters", "enum", "list", "model", "mathematics", "dict"]
WHOLE = st.text(max_size=40)  # what any file and request can hold


def signature(name: str, *, reasons: bool) -> Any:
    fields = dspy.Signature("question -> reasoning, answer" if reasons else "question -> answer")
    return fields.with_updated_fields("answer", type_=DECLARED[name].annotation)


SIGNATURES = {
    (name, reasons): signature(name, reasons=reasons) for name in TYPES for reasons in (False, True)
}


def shown(adapter: dspy.Adapter, fields: Any, demo: dict[str, Any]) -> str:
    """What the model is shown as the reply of a demo."""
    turns = adapter.format(fields, [{"question": "Demo?", **demo}], {"question": "Now?"})
    replies = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    if replies:
        return replies[0]
    return turns[0]["content"].partition("Q: Demo?\nA: ")[2].rpartition("\nQ: Now?\nA:")[0]


@pytest.mark.parametrize("adapter", ADAPTERS)
@given(st.data())
def test_a_demo_reads_back_to_the_same_fields(adapter, data):
    name, reasons = data.draw(
        st.sampled_from([key for key in SIGNATURES if not DECLARED[key[0]].values.is_empty])
    )
    fields, made = SIGNATURES[name, reasons], ADAPTERS[adapter]()
    demo = {"answer": data.draw(DECLARED[name].values)} | (
        {"reasoning": data.draw(WORDS)} if reasons else {}
    )
    read = made.parse(fields, shown(made, fields, demo))
    assert DECLARED[name].holds(read["answer"])
    assert answer_kind(fields.output_fields["answer"]).same(read["answer"], demo["answer"])
    if adapter not in (
        "completion",
        "few_shot",
    ):  # their demos are running text, in which no field has a place of its own
        assert read == {**demo, "answer": read["answer"]}


@pytest.mark.parametrize("adapter", ["json", "json_schema"])
@given(reasoning=WHOLE, answer=WHOLE)
def test_json_carries_any_text(adapter, reasoning, answer):
    fields, made = SIGNATURES["text", True], ADAPTERS[adapter]()
    demo = {"reasoning": reasoning, "answer": answer}
    assert made.parse(fields, shown(made, fields, demo)) == demo


BRIEF = TEXTS.map(lambda text: text[:3_000])  # what DSPy's repair of JSON still reads in seconds
REPLIES = st.one_of(
    BRIEF,
    st.builds(
        "[[ ## reasoning ## ]]\n{}\n\n[[ ## answer ## ]]\n{}\n\n[[ ## completed ## ]]".format,
        ANY_TEXT,
        BRIEF,
    ),
    st.builds('{{"reasoning": {}, "answer": {}}}'.format, BRIEF, BRIEF),
    st.builds("Reasoning: {}\nAnswer: {}".format, ANY_TEXT, BRIEF),
    damaged(
        st.sampled_from(
            [
                '{"reasoning": "Two.", "answer": 2}',
                "Reasoning: Two.\nAnswer: 2",
                "[[ ## answer ## ]]\n[1, 2]\n",
            ]
        )
    ),
)


@share(4)
@given(REPLIES, st.sampled_from(sorted(ADAPTERS)), st.sampled_from(sorted(SIGNATURES)))
def test_any_reply_is_fields_or_cannot_be_parsed(reply, adapter, which):
    guarded = GuardedAdapter(ADAPTERS[adapter](), LM)  # as a mux has every adapter
    try:
        with within(20):
            read = guarded.parse(SIGNATURES[which], reply)
    except AdapterParseError:
        return
    assert list(read) == list(SIGNATURES[which].output_fields)
    assert DECLARED[which[0]].holds(read["answer"])


@given(REPLIES, st.sampled_from(sorted(ADAPTERS)), st.sampled_from(sorted(SIGNATURES)))
def test_any_reply_is_a_typed_answer_or_unparsable(reply, adapter, which):
    fields = SIGNATURES[which]
    lm = scripted_lm("fuzz", lambda *_: reply, cache=False)
    kind = answer_kind(fields.output_fields["answer"])
    extracting = ExtractingAdapter(GuardedAdapter(ADAPTERS[adapter](), lm), "answer", kind)
    try:
        with within(20):
            (read,) = extracting(lm, {}, fields, [], {"question": "?"})
    except AdapterParseError:
        return
    assert set(read) == set(fields.output_fields)
    assert DECLARED[which[0]].holds(read["answer"])


# --------------------------------------------------------------------------------------------------
# What was found


@pytest.mark.parametrize(
    "reply",
    ["{answer:{", '{"answer": {"x": 1}}', '{"answer": ' + "[" * 1_000, "[" * 1_000, "{" * 1_000],
)
def test_an_object_instead_of_an_option_is_unparsable(reply):
    for name in ("enum", "letters", "int", "list"):
        with pytest.raises(AdapterParseError):
            GuardedAdapter(ADAPTERS["json_schema"](), LM).parse(SIGNATURES[name, False], reply)


@pytest.mark.parametrize("piece", ['["', "{a", "{"])
def test_a_long_reply_without_json_is_not_repaired(piece):
    with within(10), pytest.raises(AdapterParseError):
        GuardedAdapter(ADAPTERS["json_schema"](), LM).parse(
            SIGNATURES["text", True], piece * 15_000
        )


def test_a_long_reply_that_is_json_is_read():
    told = {"reasoning": "word " * 20_000, "answer": "Paris"}
    assert (
        GuardedAdapter(ADAPTERS["json_schema"](), LM).parse(
            SIGNATURES["text", True], json.dumps(told)
        )
        == told
    )
