"""Plant small faults in a room's code, one at a time, and count those that its tests see:
`python -m tests.mutants [ROOM …] [--sample N] [--seed N]`.

mutmut makes the faults and runs the tests, in a copy under `.mutants/ROOM`: the checkout is only
read. It tests N mutants a room, drawn by the seed, with those of `tests/ROOM` that reach the
mutated function. What was killed stays known: after an interruption the same command goes on, it
tests survivors again, and a larger N adds to the sample. `equivalent.toml` lists changes that no
test can see, and why: they are shown apart and count in no rate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
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
#: Tests of a room's code that need the room above.
MORE_TESTS = {"sampling": ["tests/mux/test_spans.py"]}
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
pytest_add_cli_args_test_selection=
{tests}
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
DIFFS = """\
import json, sys
from mutmut import __main__ as mutmut
found = {name: mutmut.find_mutant(name).path for name in sys.argv[1:]}
found = {name: mutmut.get_diff_for_mutant(name, path=path) for name, path in found.items()}
print(json.dumps(found))
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
    tests = "\n".join(f"    {path}" for path in (f"tests/{room}", *MORE_TESTS.get(room, [])))
    settings = SETTINGS.format(room=room, ignored=ignored, tests=tests)
    (folder / "setup.cfg").write_text(settings)
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


def diffs(folder: Path, names: list[str]) -> dict[str, str]:
    return json.loads(run(folder, "-c", DIFFS, *names, capture_output=True, check=True).stdout)


def change(diff: str) -> tuple[str, str]:
    """Return the lines that went and those that came, without the space around them."""
    lines = diff.splitlines()[2:]
    return tuple(
        "\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )


def reasons() -> dict[tuple[str, str, str], str]:
    """Return why no test can see a change, by the function and the lines that went and came."""
    with (Path(__file__).parent / "equivalent.toml").open("rb") as file:
        listed = tomllib.load(file)["mutant"]
    return {(one["function"], one["was"], one["now"]): one["reason"] for one in listed}


def mutate(room: str, sample: int, seed: int) -> None:
    """Test a room's sample, as far as it is not known to be killed, and print what lived."""
    folder = prepare(room)
    run(folder, "-c", GENERATE, check=True, stdout=subprocess.DEVNULL)
    known = outcomes(folder)
    # By hash: a larger sample holds the smaller one, and other code that changes leaves it alone.
    names = sorted(known, key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    chosen = names[:sample]
    alive = diffs(folder, [name for name in chosen if known[name] in SURVIVED | UNTESTED])
    equivalent = {
        name: reason
        for name, what in alive.items()
        if (reason := reasons().get((name.rpartition("__mutmut_")[0], *change(what))))
    }
    left = [name for name in alive if name not in equivalent]
    print(f"{room}: {len(names)} mutants, {len(chosen)} in the sample, {len(left)} to test")
    if left:
        run(folder, "-m", "mutmut", "run", "--max-children", "1", *left, check=True)
    known = outcomes(folder)
    for name, reason in equivalent.items():
        print(f"\nEquivalent: {name}: {reason}\n{alive[name].strip()}")
    for name in left:
        if known[name] in SURVIVED:
            why = ": no test reaches it" if known[name] else ""
            print(f"\nSurvived: {name}{why}\n{alive[name].strip()}")
    print(summary(room, [known[name] for name in chosen if name not in equivalent]))
    print(f"{len(equivalent)} more are equivalent.\n")


def summary(room: str, codes: list[int | None]) -> str:
    """Return the share that is killed, with Wilson's 95 % interval."""
    survived, untested = (sum(code in group for code in codes) for group in (SURVIVED, UNTESTED))
    tested = len(codes) - untested
    if not tested:
        return f"\n{room}: none tested."
    killed = tested - survived
    low, high = binomtest(killed, tested).proportion_ci(method="wilson")
    return (
        f"\n{room}: {killed} of {tested} killed, {killed / tested:.0%} [{low:.0%}, {high:.0%}], "
        f"{sum(code in TIMED_OUT for code in codes)} of them by time; {untested} not tested."
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
