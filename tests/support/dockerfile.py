"""A Dockerfile as instructions, and its steps run without a container engine, by bubblewrap."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction, such as `COPY` and what follows it."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The words of its JSON form, or of the plain one."""
        start = self.rest.find("[")
        if start >= 0 and self.name in ("CMD", "ENTRYPOINT", "HEALTHCHECK"):
            return json.loads(self.rest[start:])
        return self.rest.split()


def instructions(path: Path) -> list[Instruction]:
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Instruction(*line.split(maxsplit=1)) for line in lines]


def last(found: list[Instruction], name: str) -> Instruction:
    """Return what the image that is built goes by."""
    return [each for each in found if each.name == name][-1]


class Sandbox:
    """This machine read-only, with folders of its own in some places.

    Args:
        folder: holds the folders of its own.
        places: where they appear, "/opt/mux", say; each in a folder below the root.
    """

    def __init__(self, folder: Path, places: list[str]):
        self.folder, self.places = folder, places
        for place in places:
            self.path(place).mkdir(parents=True, exist_ok=True)

    def path(self, place: str) -> Path:
        """Return where a path of the sandbox is on this machine."""
        return self.folder / place.lstrip("/")

    def run(self, *command: str, uid: int = 0, env: dict[str, str] | None = None, **options):
        """Start a command; `options` are those of `subprocess.Popen`."""
        arguments = ["bwrap", "--die-with-parent", "--unshare-user", "--uid", str(uid)]
        for place in self._machine():
            how = ["--symlink", os.readlink(place)] if place.is_symlink() else ["--ro-bind", place]
            arguments += [*how, place]
        arguments += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        for place in self.places:
            arguments += ["--bind", self.path(place), place]
        return subprocess.Popen([*map(str, arguments), *command], env=env, **options)

    def _machine(self) -> Iterator[Path]:
        opened = {Path("/", Path(place).parts[1]) for place in self.places}
        for place in sorted(Path("/").iterdir()):
            if place in map(Path, self.places) or place.name in ("proc", "dev", "sys", "tmp"):
                continue
            if place not in opened:
                yield place
            else:
                ours = map(Path, self.places)
                yield from sorted(set(place.iterdir()) - set(ours))


def copy(source: Path, found: Instruction, sandbox: Sandbox) -> None:
    """Do what a COPY from the build's context does."""
    *names, target = found.words
    for name in names:
        origin, goal = source / name, sandbox.path(target)
        if origin.is_dir():
            shutil.copytree(
                origin, goal, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            goal = goal / origin.name if target.endswith("/") else goal
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, goal)
