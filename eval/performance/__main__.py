"""`python -m eval.performance`: every benchmark, as a table and as eval/results/performance.md."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
from pathlib import Path

import dspy

from dspy_mux import __version__
from dspy_mux.cli.output import say

from . import (
    bank,
    cluster,
    crowd,
    endurance,
    evidence,
    grouped,
    latency,
    local,
    overhead,
    search,
    serve,
    startup,
    study,
)
from .table import COLUMNS, cells, show

BENCHMARKS = (
    startup,
    overhead,
    evidence,
    latency,
    grouped,
    crowd,
    local,
    search,
    study,
    bank,
)
#: Take minutes, or a database server: run only by name.
NAMED = (cluster, endurance, serve)
RESULTS = Path(__file__).parents[1] / "results" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.performance")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the Markdown file to write")
    parser.add_argument(
        "--only",
        default="",
        help="benchmarks by comma; cluster, endurance and serve run only when named",
    )
    asked = parser.parse_args()
    for name in ("dspy", "dspy_mux"):
        logging.getLogger(name).setLevel(logging.ERROR)  # short answers are meant to be short
    named = {each.__name__.rpartition(".")[2]: each for each in (*BENCHMARKS, *NAMED)}
    usual = [each.__name__.rpartition(".")[2] for each in BENCHMARKS]
    names = asked.only.split(",") if asked.only else usual
    if unknown := sorted({*names} - {*named}):
        parser.error(f"no benchmark {', '.join(unknown)}: choose from {', '.join(named)}")
    wanted = [named[name] for name in named if name in names]
    figures = []
    for benchmark in wanted:
        for figure in benchmark.figures():
            figures.append(figure)
            say(" · ".join(cell for cell in cells(figure) if cell), file=sys.stderr)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"DSPy {dspy.__version__}"
    )
    show(figures, machine)
    if not asked.only:
        lines = [
            f"| {' | '.join(row)} |"
            for row in (COLUMNS, ["---"] * len(COLUMNS), *map(cells, figures))
        ]
        asked.out.write_text(
            f"# Performance\n\n    make bench\n\ndspy-mux {__version__}; {machine}. × is a ratio "
            "against the thing named, in one run.\n\n" + "\n".join([*lines, ""]),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
