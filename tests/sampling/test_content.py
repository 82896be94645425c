"""The content of values: equal for equal values, different for different ones, in any process."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import hashlib
import json
import random
import re
import subprocess
import sys
import textwrap
import threading
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux import ConfigurationError
from dspy_mux.sampling.content import NoContent, content, content_of_fields


@dataclasses.dataclass
class Point:
    x: object


class Box(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    item: object


def told(value):
    return json.dumps(content(value), sort_keys=True)


# --- any values: a description of one, and two ways to build it

DAY = datetime.datetime(2024, 3, 31, 1, 30)
ARRAYS = st.tuples(
    st.sampled_from(["i4", "i8", "f8", "U3", "O", "M8[s]", "bool"]),
    st.sampled_from([(4,), (2, 2), (4, 1)]),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
LEAVES = st.one_of(
    st.tuples(st.just("plain"), st.none() | st.booleans() | st.text(max_size=3)),
    st.tuples(st.just("int"), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    st.tuples(st.just("float"), st.floats() | st.sampled_from([0.0, -0.0, 1.0])),
    st.tuples(st.just("bytes"), st.binary(max_size=3)),
    st.tuples(st.just("moment"), st.integers(0, 9), st.sampled_from([None, 0, 1])),
    st.tuples(st.just("exact"), st.sampled_from(["1", "1.0", "1.5"])),
    st.tuples(st.just("array"), ARRAYS),
    st.tuples(st.just("masked"), st.lists(st.booleans(), min_size=3, max_size=3)),
    st.tuples(st.just("frame"), ARRAYS, st.sampled_from(["a", "b"])),
    st.tuples(st.just("set"), st.sets(st.integers(-2, 12) | st.text(max_size=2), max_size=5)),
)
SPECS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("list"), st.lists(inner, max_size=3)),
        st.tuples(st.just("dict"), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
        st.tuples(st.just("point"), inner),
        st.tuples(st.just("box"), inner),
    ),
    max_leaves=6,
)


def built(spec, other):
    """Build what a description says, in one way or the other; the two are equal values.

    Kinds that may read alike, such as a list and a set, get a name around them.
    """
    kind, *parts = spec
    return _BUILDERS[kind](other, *parts)


def an_array(other, parts):
    dtype, shape, values = parts
    array = np.array(values).astype("i8").astype(dtype).reshape(shape)
    return {"array": np.asfortranarray(array) if other else array}


def a_frame(other, parts, name):
    array = an_array(False, parts)["array"].reshape(-1)
    frame = pd.DataFrame({name: array, "n": range(4)})
    return {"frame": frame.copy() if other else frame}


def a_moment(other, hours, offset):
    zone = None if offset is None else datetime.timezone(datetime.timedelta(hours=offset))
    moment = (DAY + datetime.timedelta(hours=hours)).replace(tzinfo=zone)
    return {"moment": pd.Timestamp(moment) if other else moment}


def a_dict(other, values):
    pairs = [(key, built(one, other)) for key, one in values.items()]
    return {"dict": dict(reversed(pairs) if other else pairs)}


_BUILDERS = {
    "plain": lambda other, value: np.bool_(value) if other and type(value) is bool else value,
    "int": lambda other, value: np.int64(value) if other else value,
    "float": lambda other, value: np.float64(value) if other else value,
    "bytes": lambda other, value: {"bytes": bytearray(value) if other else value},
    "moment": a_moment,
    "exact": lambda other, text: {"exact": decimal.Decimal(text)},
    "array": an_array,
    "masked": lambda other, mask: {"masked": np.ma.masked_array([1, 2, 3], mask)},
    "frame": a_frame,
    "set": lambda other, values: {"set": set(values) if other else frozenset(values)},
    "list": lambda other, values: {
        "list": (tuple if other else list)(built(one, other) for one in values)
    },
    "dict": a_dict,
    "point": lambda other, inner: {"point": Point(built(inner, other))},
    "box": lambda other, inner: {"box": Box(item=built(inner, other))},
}


def described(spec):
    """The description as text, the same for the same one."""
    if isinstance(spec, dict):
        return str(sorted((key, described(one)) for key, one in spec.items()))
    if isinstance(spec, set):
        return str(sorted(map(repr, spec)))
    if isinstance(spec, (list, tuple)):
        return str([described(one) for one in spec])
    return repr(spec)


@given(SPECS, SPECS)
@settings(max_examples=120, deadline=None)
def test_equal_values_have_one_content_and_different_ones_have_two(one, other):
    assert told(built(one, False)) == told(built(one, True))
    same = described(one) == described(other)
    assert (told(built(one, False)) == told(built(other, False))) is same


#: Values that differ, kind by kind.
APART = {
    "readings of a number": [1, 1.0, True, "1", decimal.Decimal("1.00"), np.float32(0.1), 0.1],
    "zeros": [0, 0.0, -0.0, False, None, ""],
    "not a number": [float("nan"), "NaN", float("inf"), float("-inf"), None],
    "numbers of any size": [10**5000, 10**5000 + 1, -(10**5000), 2**64],
    "bytes": [b"", b"\xff", b"\xfe", b"\xff\xff", "\xff"],
    "keys": [{1: "a", "1": "b"}, {1: "b", "1": "a"}, {"1": "b"}, {frozenset({1}): "b"}],
    "keys of arrays": [{np.int64(1): "a"}, {np.int64(2): "a"}],
    "nanoseconds": [pd.Timestamp(1), pd.Timestamp(2), pd.Timestamp(1, tz="UTC"), pd.NaT, pd.NA],
    "durations": [pd.Timedelta(1), pd.Timedelta(2), np.timedelta64(3, "ns"), np.timedelta64(3)],
    "times of arrays": [np.datetime64(1, "ns"), np.datetime64(2, "ns"), np.datetime64(1, "D")],
    "arrays": [
        np.arange(4),
        np.arange(4).astype("i4"),
        np.arange(4).reshape(2, 2),
        np.arange(4).astype(float),
        [0, 1, 2, 3],
        np.array([0, 1, 2, 3], dtype=object),
        np.array(["0", "1", "2", "3"]),
        np.ma.masked_array(np.arange(4), [0, 0, 0, 1]),
        np.array([(0, 1), (2, 3)], dtype=[("a", "i4"), ("b", "i4")]),
        np.array([(0, 1), (2, 3)], dtype=[("a", "i4"), ("c", "i4")]),
    ],
    "frames": [
        pd.DataFrame({"a": [1, 2]}),
        pd.DataFrame({"b": [1, 2]}),
        pd.DataFrame({"a": [1.0, 2.0]}),
        pd.DataFrame({"a": ["1", "2"]}),
        pd.DataFrame({"a": [1, 2]}, index=[1, 2]),
        pd.DataFrame({"a": [1, 2]}, index=pd.Index([0, 1], name="i")),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.Series([1, 2]),
        pd.Series([1, 2], name="a"),
        pd.Series([1, 2], dtype="category"),
        pd.Series([1, 2], dtype=pd.CategoricalDtype([1, 2], ordered=True)),
        pd.Index([1, 2]),
        pd.array([1, 2]),
        pd.array([1, None], dtype="Int64"),
        pa.table({"a": [1, 2]}),
        pa.table({"a": pa.array([1, 2], pa.int32())}),
    ],
    "periods": [pd.Period("2024-01", "M"), pd.Period("2024-01-01", "D"), "2024-01"],
    "intervals": [pd.Interval(0, 1), pd.Interval(0, 1, "left"), pd.Interval(0, 2)],
    "patterns": [re.compile("a"), re.compile("a", re.IGNORECASE), re.compile("b")],
    "models": [Box(item=np.int64(1)), Box(item=np.int64(2)), Box(item={b"\xff"}), Box(item=[1])],
    "classes": [Box, pydantic.create_model("Other", item=(int, 1))],
}


@pytest.mark.parametrize("kind", APART)
def test_values_that_differ_are_told_apart(kind):
    values = APART[kind]
    assert len({told(value) for value in values}) == len(values)


def test_images_are_told_apart():
    image = pytest.importorskip("PIL.Image")
    made = [("RGB", (2, 1)), ("RGB", (1, 2)), ("RGB", (2, 1), "red"), ("L", (2, 1)), ("P", (2, 1))]
    assert len({told(image.new(*how)) for how in made + made}) == len(made)


ALIKE = {
    "scalars": [4, np.int64(4), np.uint8(4), np.array(4)[()], pa.scalar(4)],
    "truths": [True, np.bool_(True)],
    "texts": ["a", np.str_("a"), b"a", np.bytes_(b"a"), collections.UserString("a")],
    "times": [
        datetime.datetime(2024, 1, 1),
        pd.Timestamp("2024-01-01"),
        np.datetime64("2024-01-01", "s"),
        "2024-01-01T00:00:00",
    ],
    "sequences": [[1, 2], (1, 2), collections.deque([1, 2]), {2: 0, 1: 0}.keys(), {1, 2}],
    "mappings": [{"a": 1}, types.MappingProxyType({"a": 1}), collections.UserDict(a=1)],
    "arrays of both byte orders": [np.arange(3, dtype="<i4"), np.arange(3, dtype=">i4")],
    "arrays of text": [np.array(["a"], dtype="U1"), np.array(["a"], dtype="U9")],
    "indexes": [pd.RangeIndex(3), pd.Index([0, 1, 2])],
    "sets in models": [Box(item={"b", "a"}), Box(item=["a", "b"])],
}


@pytest.mark.parametrize("kind", ALIKE)
def test_values_that_read_alike_are_one(kind):
    assert len({told(value) for value in ALIKE[kind]}) == 1


def test_contents_are_the_same_in_every_process():
    script = """
        import dataclasses, json
        import pydantic
        from dspy_mux.sampling.content import content

        class Bag(pydantic.BaseModel):
            model_config = pydantic.ConfigDict(frozen=True)
            tags: frozenset[str]

        @dataclasses.dataclass(frozen=True)
        class Row:
            tags: frozenset

        some = [frozenset({f"a{at}", f"z{9 - at}"}) for at in range(9)]
        values = [{"deep": [some]}, Bag(tags=some[0]), Row(some[0]), set(some)]
        values += [{Row(one) for one in some}, {Bag(tags=one) for one in some}]
        print(json.dumps([content(value) for value in values]))
    """
    run = [sys.executable, "-c", textwrap.dedent(script)]
    printed = {
        subprocess.run(
            run, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def cycle():
    values: list[object] = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "a value of the type object"),
        (len, "builtin_function_or_method"),
        (lambda: 1, "a value of the type function"),
        (threading.Lock(), "_thread.lock"),
        ((n for n in range(3)), "a value of the type generator"),
        (iter([1]), "list_iterator"),
        (random.Random(0), "random.Random"),
        (hashlib.sha256(), "HASH"),
        (int, "the class int"),
        (np.add, "numpy.ufunc"),
        ({"deep": [(object(),)]}, "a value of the type object"),
        (Point(len), "builtin_function_or_method"),
        (Box(item=len), "builtin_function_or_method"),
        ({object(): 1}, "a value of the type object"),
    ],
)
def test_a_value_without_content_is_refused_by_its_field_and_type(value, named):
    with pytest.raises(ConfigurationError, match=f"The input 'tool' holds .*{re.escape(named)}"):
        content_of_fields({"question": "?", "tool": value})
    with pytest.raises(NoContent):
        content(value)


def test_a_value_that_contains_itself_has_a_content():
    assert told(cycle()) == told(cycle()) != told([cycle()])
    point = Point([1])
    point.x.append(point)
    assert told(point) != told(Point([1, []]))


def test_a_value_that_is_nested_too_deeply_is_refused():
    deep = []
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(ConfigurationError, match="The input 'tree' is nested too deeply"):
        content_of_fields({"tree": deep})
