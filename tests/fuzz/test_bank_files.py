"""Files of draws are imported wholly or refused with one sentence; exports read back the same."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from dspy_mux import SampleBank
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.record import read_jsonl
from dspy_mux.bank.rows import DRAW_KEYS
from dspy_mux.errors import BankError, ConfigurationError

from ..support.limits import share, within
from ..support.records import renamed, same, spent
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


@contextmanager
def a_bank():
    """An empty bank in a folder of its own.

    In memory where the system has such folders, for a bank waits for its disk.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        bank = SampleBank(Path(name) / "bank.sqlite")
        yield bank, Path(name)
        bank.close()


def imported(bank, path):
    """Whether the file was.

    Where it was not, one sentence says so and nothing is there that was not there before.
    """
    before = contents(bank)
    try:
        with within(30):
            count = import_file(bank, path).added
    except ConfigurationError as error:
        told = str(error)
        assert len(told.splitlines()) == 1, told
        assert len(told) < 1_000
        assert contents(bank) == before
        return False
    after = contents(bank)
    assert len(after["draws"]) - len(before["draws"]) == count
    return True


def contents(bank):
    if not bank.exists():
        return {"draws": [], "datasets": {}, "programs": []}
    programs = sorted({(row["member"], row["program"]) for row in bank.info()})
    return {"draws": written(bank), "datasets": bank.datasets(), "programs": programs}


def round_trip(bank, folder):
    """Out and in again: the same draws, and the same records."""
    for name in ("out.jsonl", "out.parquet"):
        other = SampleBank(folder / f"{name}.sqlite")
        export_file(bank, folder / name)
        import_file(other, folder / name)
        if name == "out.jsonl":
            assert written(other) == written(bank)
        for dataset in bank.datasets():
            one, two = (record_of(each, dataset) for each in (bank, other))
            if one is None or two is None:
                assert one is two is None
                continue
            same(one, two, fields=name == "out.jsonl")
            assert str(spent(one)) == str(spent(two))  # as texts: a NaN equals itself
        other.close()


def written(bank):
    return [json.dumps(row, sort_keys=True) for row in bank.rows()]


def record_of(bank, dataset):
    try:
        return bank.record(dataset=dataset)
    except BankError:
        assert len({(row["member"], row["program"]) for row in bank.info()}) > len(
            {row["member"] for row in bank.info()}
        )
        return None


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@share(0.3)
@given(ROWS)
def test_good_rows_are_imported_as_the_record_that_the_file_gives(rows):
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
def test_a_second_file_changes_nothing_or_is_added_whole(first, second):
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


# --------------------------------------------------------------------------------------------------
# What was found

GOOD = {"question_id": "q0", "model": "a", "draw": 0, "answer": "x", "correct": True}
REFUSED = {
    "a score beyond all numbers": ({"correct": 10**400}, "has the score"),
    "a score that 32 bits cannot hold": ({"correct": 1e300}, "has the score"),
    "half a call": ({"calls": 2.5}, "has calls 2.5, which must be a whole number"),
    "fewer tokens than none": ({"prompt_tokens": -1}, "must be a whole number"),
    "more tokens than a bank can count": ({"completion_tokens": 10**30}, "must be a whole number"),
    "a time that is none": ({"created": float("nan")}, "has created nan"),
    "an endless time": ({"seconds": float("inf")}, "has seconds inf"),
    "a dataset of half a character": ({"dataset": "\ud800"}, "has the dataset"),
    "a dataset that is a number": ({"dataset": 5}, "has the dataset 5, which must be text"),
    "a program that is a number": ({"program": 5}, "has the program 5, which must be text"),
    "a fingerprint of half a character": (
        {"question_fingerprint": "\ud800"},
        "has the question_fingerprint",
    ),
    "a NUL in a name": ({"model": "a\0b"}, "needs a model"),
    "a class that is an object": ({"answer_class": {"a": 1}}, "has the answer_class"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_row_that_no_bank_can_hold_is_refused_and_nothing_is_written(what):
    wrong, told = REFUSED[what]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD, {**GOOD, "draw": 1, **wrong}]))
        with pytest.raises(ConfigurationError, match=f"Line 2 of .* {told}") as caught:
            import_file(bank, folder / "a.jsonl")
        assert len(str(caught.value)) < 500
        assert not bank.exists()


def test_an_answer_nested_beyond_all_readers_is_refused():
    with a_bank() as (bank, folder):
        deep = "[" * 900 + "]" * 900
        (folder / "a.jsonl").write_text(
            f'{{"question_id": "q", "model": "a", "answer": {deep}, "answer_class": {deep}}}\n'
        )
        assert not imported(bank, folder / "a.jsonl")


@pytest.mark.parametrize("names", [(None, ""), (None, "default"), ("", "default")])
def test_a_draw_told_twice_is_refused_however_its_dataset_is_told(names):
    rows = [{**GOOD, "dataset": name} if name is not None else GOOD for name in names]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl(rows))
        with pytest.raises(ConfigurationError, match="Line 2 of .* repeats draw 0 of 'a'"):
            import_file(bank, folder / "a.jsonl")


@pytest.mark.parametrize("names", [(None, ""), (None, "imported"), ("", "imported")])
def test_a_draw_told_twice_is_refused_however_its_program_is_told(names):
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([{**GOOD, "program": name} for name in names]))
        with pytest.raises(ConfigurationError, match="Line 2 of .* repeats draw 0 of 'a'"):
            import_file(bank, folder / "a.jsonl")


def test_two_questions_of_one_name_stay_two_where_their_fingerprints_differ():
    rows = [
        {**GOOD, "question_fingerprint": key, "answer": key, "draw": draw}
        for key in ("one", "two")
        for draw in (0, 1)
    ]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl(rows))
        assert imported(bank, folder / "a.jsonl")
        record = bank.record()
        assert (record.questions, record.votes.tolist()) == (("q0", "q0"), [[[0, 0]], [[0, 0]]])
        same(record, read_jsonl(folder / "a.jsonl"), fields=False)


def test_a_question_told_with_its_fingerprint_and_without_is_refused():
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD]))
        import_file(bank, folder / "a.jsonl")
        key = next(bank.rows())["question_fingerprint"]
        (folder / "b.jsonl").write_bytes(
            jsonl([GOOD, {**GOOD, "draw": 1, "question_fingerprint": key}])
        )
        with pytest.raises(
            ConfigurationError,
            match="one question with its question_fingerprint, and rows without it",
        ):
            import_file(bank, folder / "b.jsonl")


def test_a_file_of_draws_by_two_programs_is_no_record():
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(
            jsonl([{**GOOD, "program": "p"}, {**GOOD, "program": "q", "answer": "y"}])
        )
        with pytest.raises(
            ConfigurationError, match="holds draws of 'a' by several programs, which never mix"
        ):
            read_jsonl(folder / "a.jsonl")
        assert import_file(bank, folder / "a.jsonl").added == 2


def test_answers_are_compared_in_a_file_as_in_the_bank_that_it_is_imported_into():
    told = [("x", 0), ("x", None), ("y", 0), ("z", 1), (float("nan"), None), ("z", None)]
    rows = [
        {**GOOD, "draw": draw, "answer": answer, "answer_class": number}
        for draw, (answer, number) in enumerate(told)
    ]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl(rows))
        import_file(bank, folder / "a.jsonl")
        assert (
            renamed(bank.record().votes)
            == renamed(read_jsonl(folder / "a.jsonl").votes)
            == [[0, 0, 0, 1, -1, 1]]
        )


def test_a_dataset_that_no_row_names_is_told_as_such():
    with a_bank() as (_, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD]))
        with pytest.raises(ConfigurationError, match="no dataset 'd'; it has rows that name none"):
            read_jsonl(folder / "a.jsonl", dataset="d")


def parquet_of(folder, **columns):
    told = {
        "question_id": pa.array(["q0", "q1"]),
        "model": pa.array(["a", "a"]),
        "answer": pa.array(["x", "y"]),
        **columns,
    }
    pq.write_table(pa.table(told), folder / "a.parquet")
    return folder / "a.parquet"


def test_what_json_has_no_form_for_is_text_in_a_question_and_no_answer():
    day = pa.array([0, 1], pa.date32())
    with a_bank() as (bank, folder):
        import_file(bank, parquet_of(folder, day=day, raw=pa.array([b"\xff", None])))
        assert bank.record().fields["day"] == ("1970-01-01", "1970-01-02")
    with a_bank() as (bank, folder):
        with pytest.raises(
            ConfigurationError,
            match="Row 1 of .* has the answer datetime.date.*, which JSON has no form for",
        ):
            import_file(bank, parquet_of(folder, answer=day))
        assert not bank.exists()


def test_parquet_values_that_python_cannot_hold_are_told():
    text = pa.Array.from_buffers(
        pa.string(), 2, pa.array([b"\xff\xfe", b"x"], pa.binary()).buffers()
    )
    for wrong in (text, pa.array([2**60, 0], pa.timestamp("ms"))):
        with a_bank() as (bank, folder):
            assert not imported(bank, parquet_of(folder, task=wrong))


def test_a_file_that_cannot_be_exported_to_is_told():
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD]))
        import_file(bank, folder / "a.jsonl")
        for name in ("x" * 300 + ".jsonl", "x" * 300 + ".parquet"):
            with pytest.raises(ConfigurationError, match="cannot be written: .*File name too long"):
                export_file(bank, folder / name)
