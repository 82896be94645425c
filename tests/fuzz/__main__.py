"""Run rounds of the fuzz tests: `python -m tests.fuzz [MINUTES] [SEED]`.

Each round has its own seed. A round begins only if there is time for another as long as the longest
so far. The first that fails ends the run with its exit status.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time


def main(minutes: float = 10, first_seed: int | None = None) -> int:
    ends, longest, rounds = time.monotonic() + 60 * minutes, 0.0, 0
    while not rounds or time.monotonic() + longest < ends:
        seed = random.randrange(2**32) if rounds or first_seed is None else first_seed
        command = [
            sys.executable,
            "-m",
            "pytest",
            "tests/fuzz",
            "--hypothesis-profile=deep",
            "--timeout=1800",  # many examples a test
            f"--hypothesis-seed={seed}",
        ]
        print(f"Round {rounds + 1}, seed {seed}:", flush=True)
        began = time.monotonic()
        try:
            status = subprocess.run(command).returncode
        except KeyboardInterrupt:
            print("Interrupted.")
            return 130
        if status:
            print(f"Failed with the seed {seed}. Once more: {' '.join(command[1:])}")
            return status
        longest, rounds = max(longest, time.monotonic() - began), rounds + 1
    print(f"{rounds} rounds, nothing found.")
    return 0


if __name__ == "__main__":
    given = sys.argv[1:3]
    sys.exit(main(*([float(given[0])] if given else []), *([int(given[1])] if given[1:] else [])))
