"""`dspy-mux tune --out`: write the mux that was chosen, as a file that `ask` and `serve` open."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, StorageError
from .options import BankOptions
from .output import say

if TYPE_CHECKING:
    from ..mux.pool_file import PoolFile
    from ..mux.slm_mux import MuxArguments, SLMMux
    from ..optimize.tuned import Tuned

#: A confidence that stands for a threshold until one is chosen.
_ANY = 0.5


@dataclass(frozen=True)
class MuxFileOptions:
    """The file to write, and what the mux in it is built from; `out` is None to write none.

    Raises:
        ConfigurationError: options that go together are not all given, or the file cannot be one.
        DataError: the file is there, and no saved mux.
    """

    out: Path | None
    pool: Path | None
    task: str | None
    type: str | None
    accept_license: bool

    def __post_init__(self) -> None:
        if self.out is None:
            if given := [f"--{name}" for name in ("pool", "task", "type") if getattr(self, name)]:
                raise ConfigurationError(
                    f"{given[0]} is for the mux that --out writes: say where to, --out mux.json."
                )
            return
        if self.pool is None:
            raise ConfigurationError(
                "--out saves a mux over a pool: pass --pool pool.toml, which the draws were "
                "collected with."
            )
        if self.task is not None and self.type is not None:
            raise ConfigurationError(
                "--task has a program with types of its own: leave --type out."
            )
        if self.out.suffix != ".json" or not self.out.parent.is_dir():
            raise ConfigurationError(
                f"{str(self.out)!r} cannot hold a mux: name a .json file in a folder that exists."
            )
        _is_saved_mux(self.out)

    def student(
        self,
        source: BankOptions,
        members: Sequence[str],
        greedy: bool,
        large: str | None,
        aimed: bool,
    ) -> SLMMux:
        """Build the mux of the pool file, checked against what was recorded.

        Args:
            source: the recorded draws to choose by.
            members: all that may be chosen.
            greedy: whether their greedy draws may be.
            large: the recorded member that stands for a large model; None for none.
            aimed: whether a threshold is chosen.

        Raises:
            ConfigurationError: the pool file cannot be used.
            PoolMismatch: it lacks a member, or asks one in another way than was recorded.
        """
        from ..bank.recorded_settings import check_settings
        from ..mux.pool_file import PoolFile
        from ..optimize.drawing import greedy as at_zero, only_large

        assert self.pool is not None  # it goes with `out`
        name = str(self.pool)
        file = PoolFile.load(self.pool)
        mux = file.mux(
            self._program(file),
            accept_license=self.accept_license,
            **self._trust(file, large, aimed),
        )
        unknown = check_settings(mux, source.programs(members), name)
        if greedy:
            check_settings(at_zero(mux), source.programs(members, greedy=True), name)
        if large is not None and mux.escalation is not None:
            check_settings(only_large(mux, mux.escalation), source.programs_of(large), name)
        if unknown:
            say(
                f"dspy-mux: how {', '.join(unknown)} were asked is not recorded, as their draws "
                f"are imported: {name} is taken to ask them alike.",
                file=sys.stderr,
            )
        return mux

    def _program(self, file: PoolFile) -> object:
        from ..bank.task import load_task
        from ..mux.signature_text import parse_signature, retyped

        if self.task is not None:
            return load_task(self.task).program()
        return None if self.type is None else parse_signature(retyped(file.program, self.type))

    def _trust(self, file: PoolFile, large: str | None, aimed: bool) -> MuxArguments:
        """Return the arguments that have another model answer what is not trusted."""
        if large is None:
            # A threshold replaces the file's.
            return {"threshold": _ANY} if aimed and file.otherwise != "flag" else {}
        entry = file.escalate
        if entry is None:
            raise ConfigurationError(
                f"{self.pool} has no [escalate], and --escalate {large} chooses what goes there: "
                f"move {large!r} from [[members]] to a table [escalate] of the file to write."
            )
        member = entry.member(accept_license=self.accept_license)
        if member.label != large:
            raise ConfigurationError(
                f"[escalate] of {self.pool} is {member.label!r}, and --escalate says {large!r}: "
                "name the same."
            )
        return {"threshold": _ANY, "otherwise": "escalate", "escalate": member}

    def write(self, tuned: Tuned, student: SLMMux) -> None:
        """Write the chosen mux, and say how to open it.

        Raises:
            ConfigurationError: the pool cannot be set up so.
            DataError: the file has come to be there since, and is no saved mux.
            StorageError: the file cannot be written.
        """
        assert self.out is not None
        mux, there = tuned.mux(student), _is_saved_mux(self.out)
        try:
            mux.save(self.out)
        except OSError as error:
            raise StorageError(
                f"The mux cannot be written to {str(self.out)!r}: {error.strerror}."
            ) from error
        out, pool = (shlex.quote(str(path)) for path in (self.out, self.pool))
        say(
            f"The mux is {'written anew' if there else 'saved'} in {self.out}: open it with "
            f"`dspy-mux ask --mux {out} --pool {pool} QUESTION`.",
            file=sys.stderr,
        )


def _is_saved_mux(path: Path) -> bool:
    """Return whether there is a file; raise DataError if it is no saved mux: none is replaced."""
    from ..mux.saved_file import read_saved

    if not path.exists():
        return False
    read_saved(path)
    return True
