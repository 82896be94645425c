"""Banks whose draws have evidence: greedy draws and sampled ones of the same questions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dspy_mux.bank.files import json_lines
from dspy_mux.bank.record import Record, read_jsonl
from dspy_mux.bank.sample_bank import SampleBank
from dspy_mux.cli.options import FILES
from dspy_mux.errors import ConfigurationError

#: Columns of banks that were recorded before the formats had names for them.
OLD_NAMES = {
    "tokens": "completion_tokens",
    "lp_sum": "text_logprob",
    "lp_span": "answer_logprob",
    "lp_low16": "lowest_logprob",
}


@dataclass(frozen=True)
class Source:
    """One pool's draws on one set of questions.

    Attributes:
        greedy: a draw each at temperature 0; None where none is recorded.
        sampled: draws at one temperature above 0, or at one that was not recorded; of the same
            questions in the same order.
        left_out: questions that lack draws of some member.
    """

    name: str
    greedy: Record | None
    sampled: Record
    left_out: int

    @property
    def settings(self) -> dict[str, Record]:
        return {"sampled": self.sampled} | ({"greedy": self.greedy} if self.greedy else {})


def read_source(bank: str) -> Source:
    """Read a bank, or one dataset of it: `BANK`, or `BANK@DATASET`.

    Raises:
        ConfigurationError: there are no sampled draws, or some at several temperatures.
        BankError: the bank cannot be read.
    """
    path, _, dataset = bank.partition("@") if not Path(bank).exists() else (bank, "", "")
    records = _records(path, dataset or None)
    warm = [temperature for temperature in records if temperature != 0]
    if len(warm) != 1:
        raise ConfigurationError(
            f"{path} has draws at {len(warm)} temperatures above 0 "
            f"({', '.join(map(str, sorted(map(float, warm)))) or 'none'}): one is needed."
        )
    sampled, _ = records[warm[0]].of(None, None)
    name = dataset or Path(path).name.partition(".")[0]
    if 0.0 not in records:
        left_out = len(records[warm[0]].questions) - len(sampled.questions)
        return Source(name, None, sampled, left_out)
    greedy, _ = records[0.0].of(sampled.members, 1)
    known = set(records[0.0].questions) | set(records[warm[0]].questions)
    greedy, sampled = _aligned(greedy, sampled)
    return Source(name, greedy.first(1), sampled, len(known) - len(sampled.questions))


def _aligned(one: Record, other: Record) -> tuple[Record, Record]:
    """Return both records on the questions that both have, in the order of the first."""
    places = {name: at for at, name in enumerate(other.questions)}
    common = [name for name in one.questions if name in places]
    wanted = set(common)
    here = np.array([at for at, name in enumerate(one.questions) if name in wanted], int)
    return one.rows(here), other.rows(np.array([places[name] for name in common], int))


def _records(path: str, dataset: str | None) -> dict[float, Record]:
    """Return the draws by temperature; NaN for those that do not say theirs."""
    rows = list(_named(path)) if path.endswith(FILES) else SampleBank(path).rows(dataset=dataset)
    by_temperature: dict[float | None, list[dict[str, Any]]] = {}
    for row in rows:
        by_temperature.setdefault(row.get("temperature"), []).append(row)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for at, (temperature, of_it) in enumerate(by_temperature.items()):
            file = Path(folder) / f"{at}.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in of_it), encoding="utf-8")
            key = float("nan") if temperature is None else float(temperature)
            found[key] = read_jsonl(file, dataset=dataset)
    return found


def _named(path: str) -> Iterator[dict[str, Any]]:
    """Yield a file's rows under today's names."""
    for _, row in json_lines(path):
        renamed = {OLD_NAMES.get(name, name): value for name, value in row.items()}
        yield {name: value for name, value in renamed.items() if not name.startswith("lp_")}
