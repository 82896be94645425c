"""How many choices servers give for one request: learned, and kept for a week in the user's cache.

- A server that refuses a number of choices is asked for as many as it says, or half as many, down
  to one, and for no more than it then gave.
- One that fails twice running, before it ever gave so many, is asked for fewer too; that is kept
  for this process alone.
- One that ignores the number, and answers one choice, is asked for one. One that gives fewer than
  asked for twice is asked for no more than that.
- So is one that answers the same text again and again. That may be what its model says, above all
  at a low temperature; so one choice is asked for apart, at once where the texts are long, and if
  it differs twice where no request's choices ever did, they are copies.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dspy.lm15 import ContextLengthError, UnsupportedFeatureError, UnsupportedModelError
from platformdirs import user_cache_dir

from .usage import Server, is_loopback

logger = logging.getLogger("dspy_mux")

#: Seconds for which it is known what a server refuses: it may be replaced by a better one.
KEPT_S = 7 * 24 * 3600.0
#: Characters of a text that few models write twice by chance.
LONG = 200
#: Requests with equal choices after which one choice is asked for apart; then after twice as many.
_FIRST_PROBE = 4
#: Status codes of a server that cannot do what it is asked, rather than not now.
_CANNOT = frozenset({400, 404, 413, 422, 501})
_FAILED = 500
#: The parameter, in the message of a refusal.
_NAMES_N = re.compile(r"(?<![A-Za-z0-9_])n(?![A-Za-z0-9_])")


class Request(Protocol):
    """What is asked of a server."""

    server: Server
    temperature: float | None

    def text_of(self, choice: Any) -> object:
        """Return what a choice says."""

    def describe(self, error: Exception) -> str:
        """Return what a request failed with in one line, without keys."""

    def merged(self, choices: Sequence[Any]) -> Any:
        """Return the first of choices, with what all of them used."""

    def further(self) -> bool:
        """Count a choice that no draw is there for; return whether it may be asked for."""


@dataclass(frozen=True)
class Answered:
    """What came of a request.

    Attributes:
        replies: the choices of each request that it took.
        copies: how many more came, which are copies; draws that they were for ask anew.
    """

    replies: list[Sequence[Any]]
    copies: int = 0


@dataclass
class _Known:
    """What is known of a server.

    Attributes:
        most: choices that it gives at most; None where no limit is known.
        given: the most choices that it gave.
        short: how many it gave when it last gave fewer than asked for; None once it gave more.
        varies: whether choices of one request ever differed.
        alike: requests whose choices were equal.
        probe: at how many of those one choice is asked for apart.
        contrasts: such choices that differed from those of their request.
        failed: whether the last request for several choices met a server error.
    """

    most: int | None = None
    given: int = 1
    short: int | None = None
    varies: bool = False
    alike: int = 0
    probe: int = _FIRST_PROBE
    contrasts: int = 0
    failed: bool = False


class ServerLimits:
    """What servers are known to give.

    Args:
        file: where what they refuse is kept.
    """

    def __init__(self, file: Callable[[], Path]):
        self._file = file
        self.forget()

    def forget(self) -> None:
        """Begin anew: a forked process, whose lock may be held, learns for itself."""
        self._lock = threading.Lock()
        self._known: dict[Server, _Known] = {}

    def most(self, server: Server) -> int | None:
        """Return how many choices a server gives at most; None where no limit is known."""
        return self._of(server).most

    def limit(self, server: Server, most: int, why: str, *, keep: bool = True) -> None:
        """Note that a server gives no more than so many choices, and log it.

        Args:
            keep: whether to keep it for other processes, too.
        """
        known = self._of(server)
        if known.most is not None and known.most <= most:
            return
        known.most = most
        told = "one choice" if most == 1 else f"{most} choices"
        logger.info("%s gives %s a request (%s).", server[1], told, why)
        if keep and not is_loopback(server[0]):  # another server may listen there tomorrow
            with suppress(OSError, ValueError):
                self._keep(server, most)

    def relearn(self, server: Server) -> None:
        """Forget what a server gives, here and in the file, so that it is learned anew."""
        with self._lock:
            self._known[server] = _Known()
        with suppress(OSError, ValueError):
            entries = self._entries()
            if entries.pop(_digest(server), None) is not None:
                self._write(entries)

    def may_refuse(self, server: Server, n: int, error: Exception) -> bool:
        """Return whether a request may have failed because it asked for n choices."""
        if isinstance(error, (ContextLengthError, UnsupportedModelError)):
            return False
        status = _status(error)
        known = self._of(server)
        if n <= known.given:  # it gave so many before, but may have been replaced since
            return status in _CANNOT and _NAMES_N.search(str(error)) is not None
        if status == _FAILED:  # it may fail for any reason: the same is asked again before
            again, known.failed = known.failed, True
            return again
        return isinstance(error, UnsupportedFeatureError) or status in _CANNOT

    def probes(self, server: Server) -> bool:
        """Return whether the next request should ask for one of its choices apart."""
        known = self._of(server)
        return not known.varies and known.alike >= known.probe

    def suspects(self, server: Server, texts: Sequence[object]) -> bool:
        """Return whether choices, none of which was asked for apart, may be copies of one."""
        known = self._of(server)
        if known.varies or (known.alike and not known.contrasts):
            return False
        return len(str(texts[0])) >= LONG and all(text == texts[0] for text in texts)

    def weigh(self, server: Server, texts: Sequence[object], *, apart: bool) -> bool:
        """Note what choices say; return whether they are taken for copies of one.

        Args:
            texts: of each choice, two or more.
            apart: whether the last one was asked for by itself.
        """
        together, known = texts[:-1] if apart else texts, self._of(server)
        if any(text != together[0] for text in together):
            known.varies = True
        if known.varies:
            return False
        known.alike += 1
        if not apart:
            return False
        known.probe *= 2
        differs = texts[-1] != together[0]
        known.contrasts += differs
        if known.contrasts >= 2:
            self.limit(server, 1, "they are copies")
        return differs and (known.contrasts >= 2 or len(str(together[0])) >= LONG)

    def note_given(self, server: Server, n: int, asked: int) -> None:
        """Note that a server gave n choices of those asked for.

        One that gave several, but fewer, may have lost some; the second time it gives no more.
        """
        known = self._of(server)
        known.given, known.failed = max(known.given, n), False
        before, why = known.short, "it was asked for more"
        if n >= asked:
            known.short = before if before is not None and n <= before else None
        elif known.given == 1:
            self.limit(server, 1, why)
        elif before is None:
            known.short = n
        else:
            self.limit(server, max(n, before), why, keep=False)

    def _of(self, server: Server) -> _Known:
        with self._lock:
            known = self._known.get(server)
            if known is None:
                known = self._known[server] = _Known(most=self._kept(server))
            return known

    def _kept(self, server: Server) -> int | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            entry = json.loads(self._file().read_text(encoding="utf-8"))[_digest(server)]
            if 0 <= time.time() - float(entry["at"]) < KEPT_S:
                return max(1, int(entry["most"]))
        return None

    def _keep(self, server: Server, most: int) -> None:
        self._write({**self._entries(), _digest(server): {"most": most, "at": time.time()}})

    def _entries(self) -> dict[str, Any]:
        """Return what the file keeps still; nothing where there is none yet, or it is damaged."""
        now = time.time()
        try:
            entries = json.loads(self._file().read_text(encoding="utf-8"))
            return {name: one for name, one in entries.items() if now - one["at"] < KEPT_S}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self, entries: dict[str, Any]) -> None:
        file = self._file()
        file.parent.mkdir(parents=True, exist_ok=True)
        written = file.with_name(f"{file.name}.{os.getpid()}")
        written.write_text(json.dumps(entries), encoding="utf-8")
        written.replace(file)


def kept_file() -> Path:
    """Return where what servers refuse is kept."""
    return Path(user_cache_dir("dspy-mux")) / "choices.json"


server_limits = ServerLimits(kept_file)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=server_limits.forget)


async def negotiate(
    request: Request, wanted: int, send: Callable[[int], Awaitable[Sequence[Any]]]
) -> Answered:
    """Ask for so many choices, or as many as the server gives.

    Args:
        send: asks for n choices.

    Raises:
        Exception: whatever the request fails with, for one choice too where it may be refused.
    """
    server, limits = request.server, server_limits
    n = asked = min(wanted, limits.most(server) or wanted)
    apart = n > 2 and limits.probes(server)
    while True:
        try:
            choices = await send(n - apart)
            break
        except Exception as error:
            if n == 1 or not limits.may_refuse(server, n, error):
                raise
            n, apart, refusal = _fewer(n, error), False, error
    if n < asked:
        limits.limit(server, n, request.describe(refusal), keep=_status(refusal) != _FAILED)
    limits.note_given(server, len(choices), n - apart)
    replies = [choices]
    if apart:
        with suppress(Exception):  # the draw that it is for asks anew
            replies.append(await send(1))
    if request.temperature and len(choices) > 1:
        return await _without_copies(request, replies, wanted, send)
    return Answered(replies)


async def _without_copies(
    request: Request,
    replies: list[Sequence[Any]],
    wanted: int,
    send: Callable[[int], Awaitable[Sequence[Any]]],
) -> Answered:
    """Return what came, but one choice where several are copies of it.

    Args:
        replies: the choices, and where one was asked for apart, that one.
        wanted: draws that want a choice.
    """
    server, limits, choices = request.server, server_limits, replies[0]
    texts = [request.text_of(choice) for choice in choices]
    one_more = len(choices) == wanted  # no draw is there for one that is asked for apart
    if len(replies) == 1 and limits.suspects(server, texts) and (not one_more or request.further()):
        with suppress(Exception):
            replies = [choices, await send(1)]
    apart = [request.text_of(choice) for reply in replies[1:] for choice in reply]
    if limits.weigh(server, [*texts, *apart], apart=bool(apart)):
        copies = len(choices) - 1 - one_more
        return Answered([[request.merged(choices)], *replies[1:]], copies)
    if one_more and apart:
        return Answered([[request.merged(choices[:2]), *choices[2:]], *replies[1:]])
    return Answered(replies)


def _status(error: Exception) -> object:
    return getattr(error, "status", None) or getattr(error, "status_code", None)


def _fewer(n: int, refusal: Exception) -> int:
    """Return for how many choices to ask after a refusal of n, which may say how many it takes.

    >>> _fewer(9, ValueError("Field 'n': value must be between 1 and 8, but got 9"))
    8
    >>> _fewer(9, ValueError("unexpected argument"))
    4
    """
    named = [int(digits) for digits in re.findall(r"[0-9]{1,4}", str(refusal))]
    return max((count for count in named if 1 <= count < n), default=n // 2)


def _digest(server: Server) -> str:
    # An address may hold a password.
    return hashlib.sha256("\n".join(server).encode()).hexdigest()
