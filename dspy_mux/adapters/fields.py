"""Read the answer's field of a reply as the text that stands there, and nothing in its place."""

from __future__ import annotations

import functools
import json
import operator
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import dspy
from dspy.adapters.decision import evidence_type
from dspy.adapters.utils import annotation_allows_none
from dspy.utils.exceptions import AdapterParseError
from pydantic_core import to_jsonable_python

from ..answers.json_text import lone_json
from ..answers.plain_text import unfence

#: The cause of draws whose answer holds the key that the server was sent: an answer is never
#: altered, and a key is never recorded.
ECHOED_KEY = "refused because the answer holds the member's own key"


class Unanswered(AdapterParseError):
    """A reply that has no answer, whoever reads it.

    Attributes:
        cause: `CUT_OFF`, `ONLY_THINKING` or `ECHOED_KEY`.
    """

    def __init__(self, cause: str, signature: type[dspy.Signature], reply: str):
        super().__init__("GuardedAdapter", signature, reply, message=f"No answer: {cause}.")
        self.cause = cause


def is_decision(signature: type[dspy.Signature], field: str) -> bool:
    """Return whether a signature asks for the probabilities that DSPy makes a field's value of.

    It does so for `Noul`, `Choice` and `Score`: a reply that names the value alone is no use.
    """
    annotation = signature.output_fields[field].annotation
    return getattr(annotation, "__module__", None) == evidence_type.__module__


def is_echo(value: Any, field: str) -> bool:
    """Return whether a value repeats the prompt's place for it, such as `{answer}`."""
    if not isinstance(value, str) or len(value) > 300:
        return False
    shown = value.strip().strip("`*\"'")
    return re.match(rf"\{{{re.escape(field)}\}}", shown) is not None or shown in ("...", "…")


@functools.lru_cache(maxsize=256)
def with_required_answer(
    signature: type[dspy.Signature], field: str, *, as_text: bool
) -> type[dspy.Signature]:
    """Return a signature that has no value for a missing answer: no default, no None.

    Args:
        as_text: whether the answer is read as the text that stands there, whatever its type.
    """
    info = signature.output_fields[field]
    if not as_text and info.is_required() and not annotation_allows_none(info.annotation):
        return signature
    type_ = str if as_text else _without_none(info.rebuild_annotation())
    required = dspy.OutputField(desc=(info.json_schema_extra or {}).get("desc"))
    at = list(signature.output_fields).index(field)
    changed: type[dspy.Signature] = signature.delete(field).insert(at, field, required, type_=type_)
    return changed


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        marked: Any = (_without_none(inner), *marks)
        return Annotated[marked]
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    given = [one for one in get_args(annotation) if one is not type(None)]
    return functools.reduce(operator.or_, given)


#: A number that ends where a reader of JSON ends it: neither 10^6 nor 5 million.
_WHOLE_NUMBER = re.compile(
    r"(?<=[\s\[,:({\"'])-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?=\s*(?:[\],})\"'\n]|$))"
)


def has_fragments(value: Any, text: str) -> bool:
    """Return whether a value that was read from a text holds a number that the text does not.

    DSPy repairs what is not JSON, and reads [10, 6, 3] for `[10^6, 3]`.
    """
    if is_json(text):
        return False
    whole = {float(match) for match in _WHOLE_NUMBER.findall(f" {text}")}
    return not all(
        float(number) in whole for number in _numbers_in(to_jsonable_python(value, fallback=str))
    )


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from _numbers_in(inner)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def is_json(text: str) -> bool:
    """Return whether a text is JSON, in a fence or not."""
    try:
        json.loads(unfence(text))
    except (ValueError, RecursionError):
        return False
    return True


def member_text(text: str, field: str) -> str | None:
    """Return what stands for a field in an object that is not quite JSON, up to the next field.

    None where the text is JSON, of which a reader takes no fragment, and where the field is absent.
    """
    if is_json(text):
        return None
    found = re.search(rf"[\"']?\b{re.escape(field)}[\"']?\s*:\s*([^\n{{}}\[\]]{{0,2000}})", text)
    if found is None:
        return None
    value = re.split(r",\s*[\"'\w]+\s*:", found[1], maxsplit=1)[0]
    return value.strip().rstrip(",").strip("\"' ")


def members(text: str) -> dict[str, Any] | None:
    """Return what the JSON object that a text is or ends with holds, by names in lower case.

    >>> members('Here: {"Answer": null}')
    {'answer': None}
    """
    found = lone_json(text)
    if len(found) != 1 or not isinstance(found[0].value, dict):
        return None
    return {str(name).strip().casefold(): value for name, value in found[0].value.items()}


def is_null(text: str, field: str) -> bool:
    """Return whether an object says that a field has no value; DSPy shows it as the text "None"."""
    if "null" not in text and "None" not in text:
        return False
    given = members(text)
    if given is None:
        return member_text(text, field) in ("null", "None")
    return given.get(field.casefold(), "") is None
