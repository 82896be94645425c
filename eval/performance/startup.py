"""Start-up: importing dspy_mux on top of DSPy, and `dspy-mux --help` over an empty process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from .figures import Figure

RUNS = 7


def figures() -> Iterator[Figure]:
    pairs = {
        "start: `import dspy_mux` beside `import dspy` adds": (
            ["-c", "import dspy, dspy_mux"],
            ["-c", "import dspy"],
            "≤ 60",
        ),
        "start: `dspy-mux --help` beside an empty process adds": (
            ["-m", "dspy_mux", "--help"],
            ["-c", "pass"],
            "≤ 500",
        ),
    }
    for name, (ours, other, target) in pairs.items():
        _seconds(ours), _seconds(other)
        yield Figure.of(
            name, [1000 * (_seconds(ours) - _seconds(other)) for _ in range(RUNS)], "ms", target
        )


def _seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
