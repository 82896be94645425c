"""The recorded draws that a table is made from: named banks, or known pools of public banks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dspy_mux.bank.record import Record
from dspy_mux.cli.options import FILES, BankOptions
from dspy_mux.errors import ConfigurationError, DataError
from dspy_mux.replay.splits import Split, by_field, folds

from .pools import POOLS


@dataclass(frozen=True)
class SourceOptions:
    """Which draws and splits `search` and `scale` use.

    Attributes:
        banks: as `dspy-mux replay` takes them; each of their datasets is a source, or those named
            in `datasets`.
        data: a folder of the public banks, whose known pools are sources too.
        repeats: without a `split_field`, how often the questions are halved at random. Each half is
            scored once, so all questions weigh the same.
    """

    banks: Sequence[str] = ()
    data: Path | None = None
    datasets: Sequence[str] = ()
    members: str | None = None
    program: str | None = None
    temperature: str | None = None
    split_field: str | None = None
    train: str = "train"
    test: str = "test"
    repeats: int = 10
    seed: int = 0
    threshold: float | None = None

    def protocol(self) -> str:
        """Describe how questions are split."""
        if self.split_field is not None:
            return (
                f"chosen where {self.split_field} is {self.train!r}, "
                f"scored where it is {self.test!r}"
            )
        times = "once" if self.repeats == 1 else f"{self.repeats} times"
        return (
            "chosen on a random half of the questions, scored on the other, and the other way "
            f"round, {times} (seed {self.seed})"
        )

    def splits(self, record: Record) -> list[Split]:
        """Return the recorded split, or the random halves."""
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
        name: its name in the tables.
        left_out: questions with too few draws of some member.
    """

    name: str
    record: Record
    left_out: int
    splits: Sequence[Split]


@dataclass(frozen=True)
class _Wanted:
    """A source before it is read."""

    name: str
    bank: str
    dataset: str | None
    members: str | None


def sources(options: SourceOptions, k: int | None) -> list[Source]:
    """Return every dataset of the banks, then every known pool of the folder.

    Args:
        k: leave out questions with fewer draws of some member; None for all that are recorded.

    Raises:
        ConfigurationError: nothing is named, or a dataset or member does not exist.
        BankError: a bank cannot be read.
    """
    if not options.banks and options.data is None:
        raise ConfigurationError("Name a bank, or with --data the folder of the public banks.")
    wanted = _named_banks(options)
    if options.data is not None:
        wanted += _known_pools(options.data)
    names = [each.name for each in wanted]
    return [
        _read(
            each,
            each.name if names.count(each.name) == 1 else f"{each.name} ({_stem(each.bank)})",
            options,
            k,
        )
        for each in wanted
    ]


def _named_banks(options: SourceOptions) -> list[_Wanted]:
    wanted = []
    for bank in options.banks:
        known = datasets_of(bank)
        chosen = [name for name in known if not options.datasets or name in options.datasets]
        if not chosen:
            raise ConfigurationError(
                f"{bank} has none of the datasets {', '.join(options.datasets)}; "
                f"it has {', '.join(known)}."
            )
        wanted += [
            _Wanted(name or _stem(bank), bank, name or None, options.members) for name in chosen
        ]
    found = {each.dataset for each in wanted}
    if options.banks and (missing := [name for name in options.datasets if name not in found]):
        raise ConfigurationError(f"No bank that was named has the dataset {missing[0]!r}.")
    return wanted


def _known_pools(data: Path) -> list[_Wanted]:
    """Return the known pools, each once: those by context are the same draws."""
    pools = {(pool.file, pool.dataset, pool.members): pool for pool in reversed(POOLS)}
    return [
        _Wanted(
            pool.name,
            str(data / pool.file),
            pool.dataset,
            ",".join(pool.members) if pool.members else None,
        )
        for pool in reversed(pools.values())
    ]


def datasets_of(bank: str) -> list[str]:
    """Return the datasets in a bank, in order; "" for rows without one.

    Raises:
        BankError: the bank cannot be read, or holds no draws.
    """
    from dspy_mux.bank.files import json_lines
    from dspy_mux.bank.sample_bank import SampleBank

    rows = (row for _, row in json_lines(bank)) if bank.endswith(FILES) else SampleBank(bank).info()
    names = list(dict.fromkeys(str(row.get("dataset") or "") for row in rows))
    if not names:
        raise DataError(f"{bank} holds no draws: collect some first.")
    return names


def _read(wanted: _Wanted, name: str, options: SourceOptions, k: int | None) -> Source:
    bank = BankOptions(
        wanted.bank, wanted.dataset, options.program, wanted.members, options.temperature
    )
    record, left_out = bank.record(k)
    return Source(name, record, left_out, options.splits(record))


def _stem(bank: str) -> str:
    return Path(bank).name.partition(".")[0]
