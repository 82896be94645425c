"""Plant small faults in a room's code, one at a time, and count those that its tests see:
`python -m tests.mutants [ROOM …] [--sample N] [--seed N]`.

mutmut makes the faults and runs the tests, in a copy under `.mutants/ROOM`: the checkout is only
read. It tests N mutants a room, drawn by the seed, with those of `tests/ROOM` that reach the
mutated function. What was tested stays known: after an interruption the same command goes on, and
a larger N adds to the sample. `equivalent.toml` lists changes that no test can see, and why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

from scipy.stats import binomtest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutants"
#: Of each room, test files that take long and are of processes, not of what is decided.
ROOMS = {
    "voting": [],
    "replay": [],
    "optimize": ["test_processes.py"],
    "sampling": ["test_forks.py", "test_event_loop.py"],
    "bank": ["test_kills.py", "test_processes.py", "test_forks.py"],
    "answers": ["test_math_busy.py"],
}
SETTINGS = """\
[mutmut]
source_paths=dspy_mux
only_mutate=dspy_mux/{room}/*
also_copy=
    programs
    eval
    docs
    README.md
    CHANGELOG.md
do_not_mutate_patterns=
    ^\\s*raise\\b
    ^\\s*(logger|warnings|notices)\\.
pytest_add_cli_args_test_selection=tests/{room}
pytest_add_cli_args=
    -n0
    -pno:cacheprovider
{ignored}
timeout_multiplier=4.0
timeout_constant=10.0
track_dependencies=false
on_dependency_change=ignore
use_git_change_detection=false
"""
#: Writes the mutants of the folder that it runs in, or those of files that have changed.
GENERATE = """\
from pathlib import Path
from mutmut import __main__ as mutmut
mutmut.set_mutant_under_test("mutant_generation")
Path("mutants").mkdir(exist_ok=True)
mutmut.copy_src_dir()
mutmut.copy_also_copy_files()
mutmut.create_mutants(1)
"""
#: mutmut's exit codes: 0 survived, 33 and 5 no test reaches it, None not tested, 2 interrupted.
SURVIVED, UNTESTED = {0, 5, 33}, {None, 2}
TIMED_OUT = {-24, 24, 36, 152, 255}


def prepare(room: str) -> Path:
    """Return a folder that looks like the checkout, where mutmut may write."""
    folder = WORK / room
    folder.mkdir(parents=True, exist_ok=True)
    names = ("dspy_mux", "tests", "programs", "eval", "docs", "README.md", "CHANGELOG.md")
    places = {name: ROOT / name for name in (*names, "pyproject.toml")}
    places["shared"] = ROOT.parent / "shared"  # data that some tests read, where there is any
    for name, place in places.items():
        if place.exists() and not (folder / name).is_symlink():
            (folder / name).symlink_to(place)
    ignored = "\n".join(f"    --ignore=tests/{room}/{name}" for name in ROOMS[room])
    (folder / "setup.cfg").write_text(SETTINGS.format(room=room, ignored=ignored))
    return folder


def outcomes(folder: Path) -> dict[str, int | None]:
    """Return the exit code of each mutant's tests, None for one that is not yet tested."""
    metas = sorted((folder / "mutants" / "dspy_mux").rglob("*.meta"))
    return {
        name: code
        for meta in metas
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items()
    }


def run(folder: Path, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **alone, "PYTHONPATH": ""}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, text=True, **options
    )


def diff(folder: Path, name: str) -> str:
    shown = run(folder, "-m", "mutmut", "show", name, capture_output=True).stdout
    return shown[shown.find("--- ") :].strip()


def change(diff: str) -> tuple[str, str]:
    """Return the lines that went and those that came, without the space around them."""
    lines = diff.splitlines()[2:]
    return tuple(
        "\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )


def mutate(room: str, sample: int, seed: int) -> None:
    folder = prepare(room)
    run(folder, "-c", GENERATE, check=True, stdout=subprocess.DEVNULL)
    known = outcomes(folder)
    # By hash: a larger sample holds the smaller one, and other code that changes leaves it alone.
    names = sorted(known, key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    chosen = names[:sample]
    left = [name for name in chosen if known[name] in UNTESTED]
    print(f"{room}: {len(names)} mutants, {len(chosen)} in the sample, {len(left)} to test")
    if left:
        run(folder, "-m", "mutmut", "run", "--max-children", "1", *left, check=True)
    report(room, folder, chosen)


def report(room: str, folder: Path, chosen: list[str]) -> None:
    """Print the share that is killed, with Wilson's 95 % interval, and each survivor's diff."""
    known = outcomes(folder)
    with (Path(__file__).parent / "equivalent.toml").open("rb") as file:
        equivalent = {
            (entry["function"], entry["was"], entry["now"]): entry["reason"]
            for entry in tomllib.load(file).get("mutant", [])
        }
    counts, shown = Counter(), []
    for name in chosen:
        code = known[name]
        if code in SURVIVED:
            what = diff(folder, name)
            reason = equivalent.get((name.rpartition("__mutmut_")[0], *change(what)))
            counts["equivalent" if reason else "survived"] += 1
            why = reason or ("no test reaches it" if code else "")
            shown.append(f"{'Equivalent' if reason else 'Survived'}: {name}  {why}\n{what}")
        else:
            counts["untested" if code in UNTESTED else "killed"] += 1
            counts["timed out"] += code in TIMED_OUT
    print("\n\n".join(shown))
    decided = counts["killed"] + counts["survived"]
    if decided:
        low, high = binomtest(counts["killed"], decided).proportion_ci(method="wilson")
        print(
            f"{room}: {counts['killed']} of {decided} killed ({counts['timed out']} by time), "
            f"{counts['killed'] / decided:.0%} [{low:.0%}, {high:.0%}]; {counts['survived']} "
            f"survived, {counts['equivalent']} equivalent, {counts['untested']} not tested\n"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}; all")
    parser.add_argument("--sample", type=int, default=20, help="mutants a room")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if unknown := set(given.rooms) - set(ROOMS):
        parser.error(f"no such room: {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}")
    try:
        for room in given.rooms or ROOMS:
            mutate(room, given.sample, given.seed)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.")
        return 130
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
