"""The files that muxes are served from, which can be read again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError
from ..mux.ensemble import Ensemble
from ..mux.open import open_mux
from ..mux.options import SharedOptions
from ..mux.pool_file import PoolFile
from ..mux.slm_mux import SLMMux
from .chat import chat_mux
from .models import bars_chat


@dataclass(frozen=True)
class Sources:
    """Which muxes are served, and where they are read from.

    Attributes:
        files: name → its saved mux; None for the pool file alone.
        pool: the pool file.
        chat: whether all take conversations as they are.
        timeout: of a draw, in place of the files'.
    """

    files: dict[str, Path | None]
    pool: Path | None
    chat: bool
    timeout: float | None
    accept_license: bool

    @classmethod
    def of(
        cls,
        muxes: Sequence[str],
        pool: Path | None,
        name: str | None,
        *,
        chat: bool = False,
        timeout: float | None = None,
        accept_license: bool = False,
    ) -> Sources:
        """Return what the command line names.

        Raises:
            ConfigurationError: nothing is named, or a name is missing, or names two muxes.
        """
        if not muxes and pool is None:
            raise ConfigurationError(
                "serve needs something to serve: pass --mux mux.json, or --pool pool.toml."
            )
        if name is not None and len(muxes) > 1:
            raise ConfigurationError(
                "--name is for one mux: name several as in --mux first=a.json --mux second=b.json."
            )
        files: dict[str, Path | None] = {}
        for entry in muxes:
            given, path = _named(entry)
            called = given or name or path.stem
            if called in files:
                raise ConfigurationError(
                    f"Two muxes are called {called!r}: name them apart with --mux NAME=FILE."
                )
            files[called] = path
        if not files:
            assert pool is not None
            files[name or pool.stem] = None
        return cls(files, pool, chat, timeout, accept_license)

    def load(self) -> dict[str, Ensemble]:
        """Read the files.

        Raises:
            MuxError: one cannot be read, or does not fit the others.
        """
        return {name: self._load(path) for name, path in self.files.items()}

    def _load(self, path: Path | None) -> SLMMux:
        mux = open_mux(self.pool, path, timeout=self.timeout, accept_license=self.accept_license)
        if self.chat or (path is None and self.pool is not None and _names_none(self.pool)):
            return _for_chat(mux)
        return mux


def _named(entry: str) -> tuple[str | None, Path]:
    """Return the name and the file of a `--mux` option."""
    name, equals, path = entry.partition("=")
    if equals and path and re.fullmatch(r"[\w.-]+", name):
        return name, Path(path)
    return None, Path(entry)


def _names_none(pool: Path) -> bool:
    """Return whether a pool file names no program."""
    return "program" not in PoolFile.load(pool).model_fields_set


def _for_chat(mux: SLMMux) -> SLMMux:
    """Return a mux for conversations that draws, compares and decides as another one.

    Raises:
        ConfigurationError: what it says of its confidence holds for its program alone.
    """
    settings = mux.pool.settings
    if reason := bars_chat(mux):
        raise ConfigurationError(
            f"{reason} Leave --mux out, so that --chat serves the members of the pool file by a "
            "rule that learned nothing; or leave --chat out."
        )
    escalation = mux.escalation
    options: SharedOptions = {
        "accuracies": mux.accuracies,
        "timeout": mux.timeout,
        "logprobs": settings.logprobs,
        "group": mux._group,
    }
    return chat_mux(
        mux.members,
        kind=mux.kind,
        rule=mux.rule,
        schedule=mux.schedule,
        threshold=settings.threshold,
        otherwise=settings.otherwise,
        escalate=None if escalation is None else escalation.member,
        **options,
    )
