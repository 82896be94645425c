"""`python -m eval.performance`: every benchmark, one table."""

from __future__ import annotations

import itertools
import os
import platform

import dspy
from rich.console import Console
from rich.table import Table

from . import latency, searching


def main() -> None:
    table = Table(
        title=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, DSPy {dspy.__version__}"
    )
    for column in ("benchmark", "ratio (median)", "min – max", "n"):
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for ratio in itertools.chain(latency.ratios(), searching.ratios()):
        table.add_row(ratio.name, f"{ratio.median:.2f}", f"{ratio.low:.2f} – {ratio.high:.2f}", str(ratio.n))
    Console().print(table)


if __name__ == "__main__":
    main()
