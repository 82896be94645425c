"""The formats that a client may ask for: what fits, what is refused, and that checks end."""

from __future__ import annotations

import json

import pytest

from dspy_mux import ConfigurationError
from dspy_mux.serve.formats import ReplyFormat


def schema_of(**schema):
    return ReplyFormat.of({"type": "json_schema", "json_schema": {"schema": schema}})


@pytest.mark.parametrize(
    "reply", ['{"a": 1}', ' {"a": 1} ', '```json\n{"a": 1}\n```', '<think>1?</think>{"a": 1}']
)
def test_what_stands_around_the_json_is_taken_away(reply):
    assert ReplyFormat.of({"type": "json_object"}).find(reply) == '{"a": 1}'


@pytest.mark.parametrize("reply", ["", "[1]", "4", '{"a": 1', "Sure! {}", "NaN"])
def test_what_is_no_object_does_not_fit(reply):
    assert ReplyFormat.of({"type": "json_object"}).find(reply) is None


def test_a_value_that_is_null_may_fit():
    assert schema_of(type="null").find("null") == "null"


def test_patterns_are_checked():
    form = schema_of(type="string", pattern="^a+$")
    assert (form.find('"aaa"'), form.find('"ab"')) == ('"aaa"', None)


def test_a_pattern_takes_time_in_proportion_to_the_text():
    # Python's own engine would need longer than the universe has.
    assert schema_of(type="string", pattern="^(a+)+$").find(f'"{"a" * 5000}!"') is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, "not valid"),
        ({"$ref": "http://127.0.0.1:1/x"}, "does not hold"),
        ({"$ref": "#/$defs/none"}, "does not hold"),
        ({"$dynamicRef": "#none"}, "does not hold"),
        (
            {
                "$schema": "https://json-schema.org/draft/2019-09/schema",
                "$recursiveRef": "http://127.0.0.1:1/x",
            },
            "does not hold",
        ),
        ({"pattern": "(?=a)"}, "bounded time"),
        ({"patternProperties": {"a": {}}}, "patternProperties"),
        ({"description": "x" * 200_000}, "characters"),
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused(schema, said):
    with pytest.raises(ConfigurationError, match=said):
        schema_of(**schema)


def test_a_schema_may_refer_to_itself():
    tree = {"type": "object", "properties": {"in": {"$ref": "#"}}, "additionalProperties": False}
    form = schema_of(**tree)
    assert form.find('{"in": {"in": {}}}') is not None
    assert form.find('{"in": {"on": {}}}') is None


def test_a_schema_that_refers_to_itself_without_end_fits_nothing():
    assert schema_of(**{"$ref": "#"}).find("{}") is None


def test_a_schema_whose_references_branch_is_checked_in_bounded_time():
    levels = 60  # checked one by one they are 2**60
    defs = {f"d{n}": {"allOf": 2 * [{"$ref": f"#/$defs/d{n + 1}"}]} for n in range(levels)}
    defs[f"d{levels}"] = {"type": "object"}
    assert schema_of(**{"$ref": "#/$defs/d0", "$defs": defs}).find("{}") is None


def test_long_json_is_checked():
    items = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    form = schema_of(type="array", items=items)
    assert form.find(json.dumps([{"x": n} for n in range(2_000)])) is not None
    assert form.find(json.dumps([*({"x": n} for n in range(2_000)), {"y": 1}])) is None


def test_a_reference_that_holds_at_the_root_alone_fits_nothing():
    part = {"$id": "http://parts.example/p", "$ref": "#/$defs/text"}
    form = schema_of(**{"$defs": {"text": {}}, "properties": {"x": part}})
    assert form.find('{"x": 1}') is None


@pytest.mark.parametrize(
    ("items", "fits"),
    [
        ('[{"a": 1}, {"a": 2}]', True),
        ('[{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]', False),
        ("[1, true, [1], [true], 0, false, null]", True),
        ('["A", "a", "1", 1]', True),
        ("[[1, 2], [1, 2]]", False),
        ("[1, 1.0]", False),
    ],
)
def test_items_are_unique_by_content(items, fits):
    form = schema_of(type="array", uniqueItems=True)
    assert (form.find(items) is not None) is fits
    assert schema_of(uniqueItems=False).find(items) is not None


def test_items_are_compared_in_bounded_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "jsonschema._utils.equal", lambda *two: compared.append(two) or two[0] == two[1]
    )
    form = schema_of(type="array", uniqueItems=True)
    assert form.find(json.dumps([{"x": n} for n in range(2_000)])) is not None
    assert form.find(json.dumps([{"x": n} for n in range(20_000)])) is None
    assert not compared


@pytest.mark.parametrize("value", [1, 1.0, True, "A", None, [1], {"a": [1]}])
@pytest.mark.parametrize("form", ["const", "enum"])
def test_a_choice_is_compared_by_content(form, value):
    form = schema_of(**{form: [value, "other"] if form == "enum" else value})
    for text in ("1", "1.0", "true", '"A"', '"a"', "null", "[1.0]", '{"a": [1]}', '{"a": [true]}'):
        stated = json.loads(text)
        same = stated == value and (stated is True) == (value is True) and "true]" not in text
        assert (form.find(text) is not None) is same, text


def test_a_choice_of_many_is_found_at_once(monkeypatch):
    compared = []
    monkeypatch.setattr("jsonschema._keywords.equal", lambda *two: compared.append(two) or True)
    form = schema_of(items={"enum": [{"x": n} for n in range(5_000)]})
    assert form.find(json.dumps([{"x": 4_999}] * 1_000)) is not None
    assert not compared


def test_a_long_keyword_takes_more_steps():
    form = schema_of(items={"properties": {f"p{n}": True for n in range(5_000)}})
    assert form.find(json.dumps([{}] * 100)) is not None
    assert form.find(json.dumps([{}] * 10_000)) is None
