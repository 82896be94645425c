"""Which recorded draws a table is made from: banks that the user names, or the known pools of public banks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dspy_mux.bank.record import Record
from dspy_mux.cli.options import FILES, BankOptions
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.splits import Split, by_field, folds

from .pools import POOLS


@dataclass(frozen=True)
class Asked:
    """What the options of `search` and `scale` choose.

    Attributes:
        banks: as `dspy-mux replay` takes them; every dataset in them is a source, or those named in `datasets`.
        data: a folder of the public banks, whose known pools are sources as well.
        repeats: where no `split_field` holds a recorded split, how often the questions are halved at random; each half is scored
            once, so that all questions weigh the same.
    """

    banks: Sequence[str] = ()
    data: Path | None = None
    datasets: Sequence[str] = ()
    members: str | None = None
    program: str | None = None
    split_field: str | None = None
    train: str = "train"
    test: str = "test"
    repeats: int = 10
    seed: int = 0
    threshold: float = 1.0

    def protocol(self) -> str:
        """How questions are parted, in words."""
        if self.split_field is not None:
            return f"chosen where {self.split_field} is {self.train!r}, scored where it is {self.test!r}"
        times = "once" if self.repeats == 1 else f"{self.repeats} times"
        return f"chosen on a random half of the questions, scored on the other, and the other way round, {times} (seed {self.seed})"

    def splits(self, record: Record) -> list[Split]:
        """The recorded split, or the random halves."""
        if self.split_field is not None:
            return by_field(record, self.split_field, self.train, self.test)
        return [
            half
            for at in range(self.repeats)
            for half in folds(len(record.questions), count=2, seed=self.seed + at)
        ]


@dataclass(frozen=True)
class Source:
    """A pool's draws on one dataset.

    Attributes:
        name: what the tables call it.
        left_out: questions that not every member answered often enough.
    """

    name: str
    record: Record
    left_out: int
    splits: Sequence[Split]


def sources(asked: Asked, k: int | None) -> list[Source]:
    """Every dataset of the banks, then every known pool of the folder; questions with k draws of each member (all for None).

    Raises:
        ConfigurationError: nothing was named, a bank that cannot be read, or a dataset or member that is not there.
    """
    if not asked.banks and asked.data is None:
        raise ConfigurationError("Name a bank, or with --data the folder of the public banks.")
    wanted: list[tuple[str, str, str | None, str | None]] = []
    for bank in asked.banks:
        there = datasets_of(bank)
        chosen = [name for name in there if not asked.datasets or name in asked.datasets]
        if not chosen:
            raise ConfigurationError(
                f"{bank} has none of the datasets {', '.join(asked.datasets)}; it has {', '.join(there)}."
            )
        wanted += [(name or _stem(bank), bank, name or None, asked.members) for name in chosen]
    found = {dataset for _, _, dataset, _ in wanted}
    if asked.banks and (missing := [name for name in asked.datasets if name not in found]):
        raise ConfigurationError(f"No bank that was named has the dataset {missing[0]!r}.")
    if asked.data is not None:
        pools = {
            (pool.file, pool.dataset, pool.members): pool for pool in reversed(POOLS)
        }  # once, whatever the context
        wanted += [
            (
                pool.name,
                str(asked.data / pool.file),
                pool.dataset,
                ",".join(pool.members) if pool.members else None,
            )
            for pool in reversed(pools.values())
        ]
    names = [name for name, *_ in wanted]
    return [
        _source(
            asked,
            name if names.count(name) == 1 else f"{name} ({_stem(bank)})",
            bank,
            dataset,
            members,
            k,
        )
        for name, bank, dataset, members in wanted
    ]


def datasets_of(bank: str) -> list[str]:
    """The datasets in a bank, in order; "" for rows that name none.

    Raises:
        ConfigurationError: the bank cannot be read, or holds no draws.
    """
    from dspy_mux.bank.rows import json_lines
    from dspy_mux.bank.sample_bank import SampleBank

    rows = (row for _, row in json_lines(bank)) if bank.endswith(FILES) else SampleBank(bank).info()
    names = list(dict.fromkeys(str(row.get("dataset") or "") for row in rows))
    if not names:
        raise ConfigurationError(f"{bank} holds no draws: collect some first.")
    return names


def _source(
    asked: Asked, name: str, bank: str, dataset: str | None, members: str | None, k: int | None
) -> Source:
    record, left_out = BankOptions(bank, dataset, asked.program, members).record(k)
    return Source(name, record, left_out, asked.splits(record))


def _stem(bank: str) -> str:
    return Path(bank).name.partition(".")[0]
