"""`VerdictLog`: what muxes decide in service, one JSON line a question, and its reader."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

import dspy
import pydantic
from dspy.utils.callback import BaseCallback
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python

from ..errors import ConfigurationError, DataError, StorageError, first_mistake
from ..redact import masked
from ..voting.verdict import AllMembersFailed, NotTrusted, Verdict
from ..voting.verdict_parts import MemberBallot
from .ensemble import Ensemble

if sys.platform != "win32":
    import fcntl

#: What a question ended in: an answer with its verdict, or an error that carries as much.
Outcome: TypeAlias = dspy.Prediction | Verdict | NotTrusted | AllMembersFailed


class LoggedBallot(BaseModel):
    """A member's ballot, without the text of its answers.

    Attributes:
        votes: the group of each draw's answer, of the draws made; None for an abstention.
        k: draws at most.
        probabilities: of each vote's answer, as `MemberBallot` has them.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    member: str
    votes: list[int | None]
    k: int = Field(ge=1)
    accuracy: float | None = None
    probabilities: list[float | None] = []

    @classmethod
    def of(cls, ballot: MemberBallot) -> LoggedBallot:
        return cls(
            member=ballot.member,
            votes=ballot.votes,
            k=max(1, len(ballot.votes) + ballot.spared),
            accuracy=ballot.accuracy,
            probabilities=ballot.probabilities,
        )


class LoggedVerdict(BaseModel):
    """A line of a log.

    Attributes:
        at: when the question was decided.
        rule: the name of the rule or method; None where it is unknown.
        schedule: of the mux; None where it is unknown.
        member, confidence, calibrated, trusted, escalated, group: those of the verdict.
        answered: whether the pool gave an answer.
        inputs, answer, causes: the question, the answer, and member → cause of its abstentions →
            number; None where texts are not logged.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    at: AwareDatetime
    rule: str | None = None
    schedule: str | None = None
    member: str | None = None
    confidence: float = 0.0
    calibrated: bool = False
    trusted: bool | None = None
    escalated: bool = False
    group: int | None = None
    ballots: list[LoggedBallot]
    calls: int = 0
    cached_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    inputs: dict[str, Any] | None = None
    answer: Any = None
    causes: dict[str, dict[str, int]] | None = None

    @property
    def answered(self) -> bool:
        return self.group is not None


class VerdictLog(BaseCallback):
    """Append what muxes decide to a JSONL file, one line a question.

    It is a DSPy callback: `dspy.configure(callbacks=[VerdictLog("log.jsonl")])` logs every mux,
    also one inside a larger program, in threads, async, and under `dspy.Evaluate`. A question that
    no member answers is logged too. `log` writes a line by hand.

    A line is written at once and whole: threads and processes of one machine may share the file. A
    file that is moved away is begun anew. A line holds votes and figures; `dspy-mux drift` needs no
    more.

    Args:
        path: the file; its folder must exist.
        texts: log the question, the answer and the causes of abstentions too. API keys among them
            are masked.

    Raises:
        ConfigurationError: the path cannot be a file.

    >>> import os, tempfile
    >>> from dspy_mux import SLMMux, VerdictLog, read_verdicts
    >>> path = os.path.join(tempfile.mkdtemp(), "log.jsonl")
    >>> lm = dspy.utils.DummyLM([{"reasoning": "Two pairs.", "answer": "4"}] * 3)
    >>> mux = SLMMux("question -> answer", {"small": lm})
    >>> with dspy.context(callbacks=[VerdictLog(path)]):
    ...     answer = mux(question="2 + 2?").answer
    >>> [line] = read_verdicts(path)
    >>> line.member, line.confidence, line.ballots[0].votes, line.inputs
    ('small', 1.0, [0, 0, 0], None)
    """

    def __init__(self, path: str | os.PathLike[str], *, texts: bool = False):
        self.path, self.texts = Path(path), texts
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ConfigurationError(
                f"{str(path)!r} cannot hold a log: name a file in a folder that exists."
            )
        self._started: dict[str, tuple[Ensemble, dict[str, Any]]] = {}

    def log(
        self,
        outcome: Outcome,
        inputs: Mapping[str, Any] | None = None,
        *,
        mux: Ensemble | None = None,
    ) -> None:
        """Append a line.

        Args:
            outcome: a mux's prediction, its verdict, or the error that a call of it raised.
            inputs: the question, which is written with `texts=True` alone.
            mux: which decided; None where that is not known.

        Raises:
            ConfigurationError: `outcome` has no verdict.
            StorageError: the line cannot be written.
        """
        line: dict[str, Any] = {
            "at": datetime.now(timezone.utc).isoformat(),
            "rule": None if mux is None or mux.pool.rule is None else mux.pool.rule.name,
            "schedule": None if mux is None else mux.pool.settings.schedule,
        }
        verdict = getattr(outcome, "verdict", outcome)
        if isinstance(verdict, Verdict):
            line |= verdict.model_dump(mode="json", include=_KEPT)
        elif not isinstance(verdict, AllMembersFailed):
            raise ConfigurationError(
                f"{type(outcome).__name__} has no verdict to log: pass a mux's prediction, its "
                "verdict, or the error that it raised."
            )
        line["ballots"] = [
            LoggedBallot.of(ballot).model_dump(exclude_defaults=True) for ballot in verdict.ballots
        ]
        if self.texts:
            line |= {
                "inputs": to_jsonable_python(
                    dict(inputs or {}), serialize_unknown=True, inf_nan_mode="strings"
                ),
                "causes": {ballot.member: ballot.abstentions for ballot in verdict.ballots},
            }
            if isinstance(verdict, Verdict):
                line["answer"] = verdict.model_dump(mode="json", include={"answer"})["answer"]
            line = _without_keys(line, _asked(mux))
        self._append(json.dumps(line, ensure_ascii=True, allow_nan=False))

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if isinstance(instance, Ensemble):
            self._started[call_id] = instance, inputs.get("kwargs", {})

    def on_module_end(
        self, call_id: str, outputs: Any | None, exception: BaseException | None = None
    ) -> None:
        mux, inputs = self._started.pop(call_id, (None, None))
        outcome = outputs if exception is None else exception
        if mux is not None and isinstance(outcome, (dspy.Prediction, NotTrusted, AllMembersFailed)):
            self.log(outcome, inputs, mux=mux)

    def _append(self, line: str) -> None:
        data = f"{line}\n".encode()
        try:
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                _lock(file)
                if _is_torn(file):
                    data = b"\n" + data
                if (written := os.write(file, data)) < len(data):
                    raise OSError(f"only {written} of {len(data)} bytes were taken")
            finally:
                os.close(file)
        except OSError as error:
            raise StorageError(
                f"A verdict cannot be written to {str(self.path)!r}: {error.strerror or error}."
            ) from error


#: What a line takes from a verdict as it is.
_KEPT = {
    *("rule", "member", "confidence", "calibrated", "trusted", "escalated", "group", "calls"),
    *("cached_calls", "prompt_tokens", "completion_tokens", "cost"),
}


def _lock(file: int) -> None:
    """Wait until no other thread or process writes to the file; closing it ends that."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_torn(file: int) -> bool:
    """Return whether the last line was not written to its end, as on a full disk."""
    if not os.lseek(file, 0, os.SEEK_END):
        return False
    os.lseek(file, -1, os.SEEK_END)
    return os.read(file, 1) != b"\n"


def _asked(mux: Ensemble | None) -> list[dspy.BaseLM | None]:
    """Return the models whose keys must not be logged; None stands for any other's."""
    if mux is None:
        return [None]
    escalation = getattr(mux, "escalation", None)
    others = [] if escalation is None else [escalation.drawn_from()]
    return [None, *(member.lm for member in [*mux.members, *others])]


def _without_keys(value: Any, lms: Sequence[dspy.BaseLM | None]) -> Any:
    """Return a JSON value with keys masked in its texts."""
    if isinstance(value, str):
        for lm in lms:
            value = masked(value, lm)
        return value
    if isinstance(value, dict):
        return {_without_keys(name, lms): _without_keys(one, lms) for name, one in value.items()}
    return [_without_keys(one, lms) for one in value] if isinstance(value, list) else value


def read_verdicts(
    path: str | os.PathLike[str], *, since: datetime | None = None
) -> list[LoggedVerdict]:
    """Read the lines that a `VerdictLog` wrote.

    A line that was cut off, as by a full disk, is left out.

    Args:
        since: leave out what was decided before.

    Raises:
        DataError: the file cannot be read, or a line is not a log's.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise DataError(f"The log {str(path)!r} cannot be read: {why}.") from error
    found = [_read_line(line, number, path) for number, line in enumerate(lines, 1)]
    read = [verdict for verdict in found if verdict is not None]
    if lines and not read:
        raise DataError(f"{str(path)!r} holds no verdict that VerdictLog has written.")
    return [verdict for verdict in read if since is None or verdict.at >= since]


def _read_line(line: str, number: int, path: str | os.PathLike[str]) -> LoggedVerdict | None:
    """Return a line's verdict; None for one that was cut off."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    try:
        return LoggedVerdict.model_validate(row)
    except pydantic.ValidationError as error:
        raise DataError(
            f"Line {number} of {str(path)!r} is no verdict that VerdictLog has written: it "
            f"{first_mistake(error)}"
        ) from error
