"""Banks whose draws have evidence: greedy draws and sampled ones of the same questions."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dspy_mux.bank.files import json_lines
from dspy_mux.bank.jsonl import jsonl_temperatures, read_jsonl
from dspy_mux.bank.record import Record
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
    warm = [heat for heat in records if heat != 0]
    if len(warm) != 1:
        heats = ", ".join("unknown" if heat is None else f"{heat:g}" for heat in warm)
        raise ConfigurationError(
            f"{path} has draws at {len(warm)} temperatures above 0 ({heats or 'none'}): one is "
            "needed."
        )
    drawn = records[warm[0]]
    sampled, left_out = drawn.of(None, None)
    name = dataset or Path(path).name.partition(".")[0]
    if 0.0 not in records:
        return Source(name, None, sampled, left_out)
    greedy, _ = records[0.0].of(sampled.members, 1)
    known = set(records[0.0].questions) | set(drawn.questions)
    greedy, sampled = _aligned(greedy.first(1), sampled)
    return Source(name, greedy, sampled, len(known) - len(sampled.questions))


def _aligned(one: Record, other: Record) -> tuple[Record, Record]:
    """Return both records on the questions that both have, in the order of the first."""
    places = {name: at for at, name in enumerate(other.questions)}
    common = [name for name in one.questions if name in places]
    wanted = set(common)
    here = np.array([at for at, name in enumerate(one.questions) if name in wanted], int)
    return one.rows(here), other.rows(np.array([places[name] for name in common], int))


def _records(path: str, dataset: str | None) -> dict[float | None, Record]:
    """Return the draws by temperature; None for those that do not say theirs."""
    if not path.endswith(FILES):
        bank = SampleBank(path)
        known = _several(bank.temperatures(dataset=dataset))
        return {heat: bank.record(dataset=dataset, temperature=heat) for heat in known}
    with tempfile.TemporaryDirectory() as folder:
        file = _renamed(path, Path(folder) / "draws.jsonl")
        known = _several(jsonl_temperatures(file, dataset=dataset))
        return {heat: read_jsonl(file, dataset=dataset, temperature=heat) for heat in known}


def _several(by_member: dict[str, list[float | None]]) -> list[float | None]:
    return list(dict.fromkeys(heat for heats in by_member.values() for heat in heats))


def _renamed(path: str, copy: Path) -> str:
    """Return the file, or a copy under today's names where it has old ones."""
    rows = [row for _, row in json_lines(path)]
    if not any(OLD_NAMES.keys() & row.keys() for row in rows):
        return path
    renamed = ({OLD_NAMES.get(name, name): value for name, value in row.items()} for row in rows)
    copy.write_text("".join(json.dumps(row) + "\n" for row in renamed), encoding="utf-8")
    return str(copy)
