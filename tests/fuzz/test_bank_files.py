"""Files of draws are imported wholly or refused with one sentence; exports read back the same."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, strategies as st

from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.bank.rows import DRAW_KEYS

from ..support.imports import a_bank, imported, jsonl, round_trip
from ..support.limits import share
from ..support.records import same, spent
from .strategies import ANY_TEXT, CHARACTERS, JSON, TEXTS, damaged, damaged_json, nested

NAMES = ["question_id", "dataset", "task", *sorted(DRAW_KEYS)]
ANYTHING = st.one_of(
    JSON,
    nested(),
    TEXTS,
    st.integers(-2, 12_000),
    st.sampled_from([10**18, 10**30, -1, 1e999, "\ud800", "a\0b", "\n", ""]),
)


ROW = st.fixed_dictionaries(
    {
        "question_id": st.sampled_from(["q0", "q1", 2]), "model": st.sampled_from("ab"),
        "draw": st.integers(0, 3),
        "answer": st.one_of(st.sampled_from(["x", " x", "y", "", None, 5, "5", [1]]), ANY_TEXT),
    },
    optional={
        "correct": st.sampled_from([True, False, 0.5, None]), "score": st.floats(0, 1),
        "answer_class": st.sampled_from([0, 1, "0", None]), "calls": st.integers(0, 9),
        "seconds": st.floats(0, 9), "created": st.sampled_from([1.5, 10**9, None]),
        "cost": st.sampled_from([0.1, 0, None]), "prompt_tokens": st.integers(0, 99),
        "completion_tokens": st.integers(0, 99), "cause": st.sampled_from(["timeout", "", None]),
        "task": st.one_of(st.sampled_from("st"), ANY_TEXT), "text": ANY_TEXT,
        "program": st.sampled_from(["imported", "", None]),
        "dataset": st.sampled_from(["default", "", None]),
    },
)  # fmt: skip
ROWS = st.lists(
    ROW,
    min_size=1,
    max_size=8,
    unique_by=lambda row: (str(row["question_id"]), row["model"], row["draw"]),
)


@st.composite
def damaged_rows(draw):
    """Rows of which one or another has a value that it should not have, lacks one, or is of another
    dataset or program.
    """
    rows = draw(ROWS)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(rows) - 1))
        name = draw(st.one_of(st.sampled_from(NAMES), st.text(CHARACTERS, max_size=4)))
        value = draw(st.one_of(ANYTHING, st.sampled_from(["d", "q0", "a", "p", "f"])))
        rows[at] = {
            key: told
            for key, told in {**rows[at], name: value}.items()
            if key != name or draw(st.integers(0, 3))
        }
    return rows


@share(0.3)
@given(ROWS)
def test_good_rows_are_imported_as_the_file_says(rows):
    with a_bank() as (bank, folder):
        path = folder / "rows.jsonl"
        path.write_bytes(jsonl({**row, "dataset": "default"} for row in rows))
        assert imported(bank, path)
        record = bank.record()
        read = read_jsonl(path)
        same(record, read)
        assert str(spent(record)) == str(spent(read))
        assert len(record.questions) == len({str(row["question_id"]) for row in rows})
        round_trip(bank, folder)


@share(0.6)
@given(damaged_rows())
def test_damaged_rows_are_imported_wholly_or_refused_wholly(rows):
    left("a.jsonl", jsonl(rows))


@share(0.3)
@given(ROWS, damaged_rows())
def test_a_second_file_is_added_whole_or_not(first, second):
    with a_bank() as (bank, folder):
        for name, rows in (
            ("one.jsonl", first),
            ("two.jsonl", [{**row, "dataset": "second"} for row in second]),
        ):
            (folder / name).write_bytes(jsonl(rows))
            imported(bank, folder / name)


LINES = st.lists(
    st.one_of(
        JSON.map(json.dumps),
        TEXTS,
        damaged(st.sampled_from(['{"question_id": "q", "model": "a", "answer": "x"}', "[1, 2]"])),
    ),
    max_size=4,
).map("\n".join)


def left(name, content):
    """What comes of importing a file of this content into an empty bank, and of exporting that."""
    with a_bank() as (bank, folder):
        (folder / name).write_bytes(content)
        if imported(bank, folder / name):
            round_trip(bank, folder)


@share(0.5)
@given(
    st.one_of(
        LINES.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=99)
    ),
    st.sampled_from(["a.jsonl", "a.json"]),
)
def test_any_lines_and_bytes_are_imported_or_refused(content, name):
    left(name, content)


@share(0.3)
@given(ROWS, st.data())
def test_any_gzip_is_imported_or_refused(rows, data):
    packed = gzip.compress(jsonl(rows), mtime=0)
    at, to = sorted(
        (data.draw(st.integers(0, len(packed))), data.draw(st.integers(0, len(packed))))
    )
    damage = [
        packed,
        packed[:to],
        packed[:at] + data.draw(st.binary(max_size=4)) + packed[at:],
        packed[:at] + packed[to:],
        packed + packed,
    ]
    left(
        "a.jsonl.gz",
        data.draw(
            st.sampled_from(
                [
                    *damage,
                    data.draw(st.binary(max_size=60)),
                    gzip.compress(data.draw(st.binary(max_size=60)), mtime=0),
                ]
            )
        ),
    )


RESULTS = {
    "model": "org/a",
    "responses": [
        {
            "problem": f"{number} + {number}?",
            "answer": "4",
            "samples": [
                {
                    "extracted_answer": "4",
                    "is_correct": True,
                    "model_response": "Four.",
                    "token_usage": {"prompt_tokens": 9},
                },
                {
                    "extracted_answer": None,
                    "is_correct": False,
                    "model_response": "?",
                    "token_usage": None,
                },
            ],
        }
        for number in (1, 2)
    ],
}


@share(0.5)
@given(damaged_json(RESULTS))
def test_a_damaged_result_file_is_imported_or_refused(results):
    left("a.json", json.dumps(results).encode())


COLUMNS = [
    (pa.string(), st.one_of(st.sampled_from(["q0", "a", "x", ""]), st.text(max_size=4))),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)), (pa.int64(), st.integers(0, 3)),
    (pa.float64(), st.floats()), (pa.bool_(), st.booleans()), (pa.binary(), st.binary(max_size=3)),
    (pa.timestamp("us"), st.datetimes()), (pa.date32(), st.dates()),
    (pa.decimal128(9, 2), st.decimals(-999, 999, places=2)),
    (pa.list_(pa.string()), st.lists(st.text(max_size=3), max_size=2)),
    (pa.timestamp("ms"), st.integers(-(2**60), 2**60)),
    (pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": st.integers(0, 9)})),
    (pa.map_(pa.string(), pa.int64()), st.just([("a", 1)])), (pa.time64("us"), st.times()),
    (pa.duration("s"), st.integers(-(2**62), 2**62)), (pa.null(), st.none()),
    (pa.uint64(), st.integers(0, 2**64 - 1)), (pa.large_binary(), st.just(b"\xff")),
]  # fmt: skip


@st.composite
def tables(draw):
    """A table of a few rows, most of its columns as they should be."""
    count = draw(st.integers(0, 4))
    columns = {
        "question_id": pa.array([f"q{at}" for at in range(count)], pa.string()),
        "model": pa.array(["a"] * count, pa.string()),
        "answer": pa.array(["x"] * count, pa.string()),
    }
    for _ in range(draw(st.integers(0, 3))):
        kind, values = draw(st.sampled_from(COLUMNS))
        name = draw(st.one_of(st.sampled_from(NAMES), st.text(max_size=3)))
        columns[name] = pa.array(
            draw(st.lists(st.one_of(st.none(), values), min_size=count, max_size=count)), kind
        )
    names = list(columns)
    if draw(st.integers(0, 9)) == 0:
        names = [draw(st.sampled_from(names)) for _ in names]  # two of one name
    return pa.Table.from_arrays(
        [columns[name] for name in dict(zip(columns, names, strict=True))], names=names
    )


@share(0.5)
@given(tables())
def test_any_parquet_table_is_imported_or_refused(table):
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    left("a.parquet", buffer.getvalue().to_pybytes())


@share(0.3)
@given(tables(), st.data())
def test_a_damaged_parquet_file_is_imported_or_refused(table, data):
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    content = bytearray(buffer.getvalue().to_pybytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    left(
        "a.parquet",
        bytes(
            content[: data.draw(st.integers(0, len(content)))]
            if data.draw(st.booleans())
            else content
        ),
    )
