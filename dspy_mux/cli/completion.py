"""What the shell offers on TAB for a verb's arguments: files by their ending, and fixed values.

The shell waits for the answer: only where the values are known elsewhere is more imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

#: Returns what may stand where the incomplete word is.
Complete = Callable[[str], list[str]]

#: Characters that shells read as something else than a part of a name.
_SPECIAL = re.compile(r"[^\w./+@%,=-]")


def files(*endings: str) -> Complete:
    """Return what completes a path to a file with one of these endings.

    Where it knows nothing better than the shell, it offers nothing, and shells complete names of
    files by themselves: for the only folder, which is not yet the answer, and for names that need
    quotes.
    """

    def complete(incomplete: str) -> list[str]:
        folder = os.path.dirname(incomplete)
        try:
            entries = list(os.scandir(folder or "."))
        except OSError:
            return []
        found, folders = [], []
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if not path.startswith(incomplete) or _is_hidden(path, incomplete):
                continue
            if entry.is_dir():
                folders.append(path + os.sep)
            elif entry.name.endswith(endings):
                found.append(path)
        if not found or any(_SPECIAL.search(path) for path in (*found, *folders)):
            return []
        return sorted([*found, *folders])

    return complete


def _is_hidden(path: str, incomplete: str) -> bool:
    return os.path.basename(path).startswith(".") and not os.path.basename(incomplete)


def words(*values: str) -> Complete:
    """Return what completes one of these words.

    >>> words("train", "test")("te")
    ['test']
    """

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def weights(incomplete: str) -> list[str]:
    """Complete the name of an embedded model."""
    from ..local.catalog import CATALOG

    return [name for name in CATALOG if name.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """Complete the name of a format of recorded outputs."""
    from ..bank.formats.recognition import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


pool_files, mux_files = files(".toml"), files(".json")
banks = files(".sqlite", ".sqlite3", ".db", ".jsonl", ".jsonl.gz")
question_files = files(".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
rules = words("all", "calibrated", "consistency", "pooled", "probability", "self_consistency")
splits = words("train", "val", "test")
