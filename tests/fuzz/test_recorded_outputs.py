"""Files of other tools with a part changed: read, or refused in one sentence, and never by half."""

from __future__ import annotations

import copy
import json
import random
import zipfile

import pytest

from dspy_mux import MuxError, SampleBank
from dspy_mux.bank.answer_reading import AnswerReading
from dspy_mux.bank.formats.layout import Layout
from dspy_mux.bank.import_export import import_file

from ..bank.formats import files

VALUES = (
    *(None, True, 0, -1, 10**30, 0.5, float("nan"), float("inf"), "", "C", "\ud800", "a\0b"),
    *([], {}, [None], {"a": None}, [[1]], "[" * 2000, {"text": {"text": 1}}, [{"text": 3}], "None"),
)
#: Enough for a look at each run; more found what the readers refuse now.
TRIALS = 6
FLOAT = AnswerReading.of_type("float")


def places(value, path=()):
    """Every place in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in inside:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


def changed(value, path, new):
    """A JSON value with another value at a place, or without it."""
    made = copy.deepcopy(value)
    at = made
    for key in path[:-1]:
        at = at[key]
    if new is VALUES:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return made


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, value):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in value))
    elif path.suffix == ".eval":
        with zipfile.ZipFile(path, "w") as made:
            made.writestr(
                "header.json", json.dumps({k: v for k, v in value.items() if k != "samples"})
            )
            for at, sample in enumerate(value.get("samples", [])):
                made.writestr(f"samples/{at}.json", json.dumps(sample))
    else:
        path.write_text(json.dumps(value))


SEEDS = {
    "log.json": lambda: json.loads(files.LARGE_LOG.read_text()),
    "log.eval": lambda: json.loads(files.LARGE_LOG.read_text()),
    "sums.jsonl": lambda: lines(files.REPEATED),
    "colours.jsonl": lambda: lines(files.COLOURS),
    "scenario_state.json": lambda: json.loads(files.HELM.read_text()),
    "results.json": lambda: json.loads(files.PROMPTFOO.read_text()),
    "batch.jsonl": lambda: [files.batch_line("q0", "18", "19"), files.batch_line("q1", "15")],
    "outputs.jsonl": lambda: [files.offline_line("9 + 9?", "18", "$18")],
}


@pytest.mark.parametrize("name", SEEDS)
def test_a_changed_part_is_read_or_refused(tmp_path, name):
    value, luck = SEEDS[name](), random.Random(name)
    every = list(places(value))
    for trial in range(TRIALS):
        path = tmp_path / str(trial) / name
        path.parent.mkdir()
        new = luck.choice((VALUES, *VALUES))
        write(path, changed(value, luck.choice(every), new))
        bank = SampleBank(path.parent / "bank.sqlite")
        reading, told = luck.choice((None, FLOAT)), ""
        try:
            added = import_file(bank, path, layout=Layout(model="small"), reading=reading).added
        except MuxError as error:
            added, told = 0, str(error)
        assert added == (sum(1 for _ in bank.rows()) if bank.exists() else 0)
        assert bool(told) != bool(added)
        assert len(told) < 2000
        assert "\n" not in told
        bank.close()
