"""Record: recorded draws as arrays, which replay, search and calibration work on.

A record comes from a `SampleBank` or from a JSONL file of one draw a line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np

from ..errors import ConfigurationError, DataError
from ..voting.tally import ABSTAINED, Floats, Ints, Tally

#: A draw that was never made; ABSTAINED is one that gave no usable answer.
MISSING = -2


class MemberInfo(TypedDict):
    """What a record holds of one member.

    `evidence` counts the draws with the log-probability of their answer or text. `temperature` is
    None where it is unknown, or differs.
    """

    dataset: str | None
    member: str
    questions: int
    draws: int
    abstentions: int
    temperature: float | None
    evidence: int


@dataclass(frozen=True)
class Record:
    """Draws of Q questions by M members, up to D each, in the order of their numbers.

    Numbers may have gaps where samples were lost: the draws behind a gap count like any other.

    >>> import numpy as np
    >>> from dspy_mux import Record
    >>> record = Record(
    ...     members=("a", "b"),
    ...     questions=("q0",),
    ...     votes=np.array([[[0, 0, 1], [1, 1, -1]]]),  # -1: an abstention
    ...     scores=np.array([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]),
    ...     fields={},
    ... )
    >>> record.drawn().tolist()
    [[3, 3]]
    >>> record.info()[1]["abstentions"]
    1

    Attributes:
        members: names [M], in the order first met, which is the pool's.
        questions: ids [Q].
        votes: [Q, M, D], the answer's class within its question, ABSTAINED or MISSING.
        scores: [Q, M, D], the metric's value; 0 for an abstention, NaN where it is unknown.
        fields: what else is known of the questions, such as a task or a split: name → one value
            a question.
        calls: [Q, M, D], LM calls that a draw took; None where they were not recorded.
        tokens: likewise.
        cost: likewise, in US dollars.
        evidence: figures of the draws by name (`voting.evidence.FIGURES`), each [Q, M, D], NaN
            where a draw has none; a figure that no draw has is left out.
        source: where the draws come from, for messages.
        keys: fingerprints of the questions' inputs, where the source has them.
    """

    members: tuple[str, ...]
    questions: tuple[str, ...]
    votes: Ints
    scores: Floats
    fields: Mapping[str, tuple[str | None, ...]]
    calls: Floats | None = None
    tokens: Floats | None = None
    cost: Floats | None = None
    source: str = "the bank"
    keys: tuple[str, ...] = ()
    evidence: Mapping[str, Floats] = field(default_factory=dict)

    def positions(self, members: Sequence[str] | None) -> list[int]:
        """Return the positions of the named members; of all of them for None.

        Raises:
            ConfigurationError: a name is not recorded, or is named twice.
        """
        names = self.members if members is None else tuple(members)
        for name in names:
            if name not in self.members:
                raise ConfigurationError(
                    f"{self.source} has no member {name!r}; it has {', '.join(self.members)}."
                )
        if len(set(names)) != len(names) or not names:
            raise ConfigurationError("Name each member once, and at least one.")
        return [self.members.index(name) for name in names]

    def drawn(self) -> Ints:
        """Return [Q, M]: draws recorded, counted up to the first missing one."""
        missing = self.votes == MISSING
        return np.where(missing.any(axis=2), missing.argmax(axis=2), self.votes.shape[2])

    def tally(self) -> Tally:
        """Count all draws, with their evidence."""
        return Tally(self.votes, evidence=self.evidence)

    def prices(self) -> Floats | None:
        """Return `cost`, with 0 for abstentions that failed before they were billed.

        These are the abstentions of unknown price among priced draws of their member.
        """
        if self.cost is None:
            return None
        priced = (~np.isnan(self.cost)).any(axis=(0, 2), keepdims=True)
        return np.where(np.isnan(self.cost) & (self.votes == ABSTAINED) & priced, 0.0, self.cost)

    def info(self) -> list[MemberInfo]:
        """Return one entry for each member: its questions, draws and abstentions."""
        drawn = self.votes != MISSING
        measured = np.zeros(self.votes.shape, bool)
        for name in ("answer_logprob", "text_logprob"):
            if name in self.evidence:
                measured |= ~np.isnan(self.evidence[name])
        return [
            {
                "dataset": (self.fields.get("dataset") or ("",))[0],
                "member": name,
                "questions": int(drawn[:, at].any(axis=1).sum()),
                "draws": int(drawn[:, at].sum()),
                "abstentions": int((self.votes[:, at] == ABSTAINED).sum()),
                "temperature": _sole(self.evidence.get("temperature"), at),
                "evidence": int(measured[:, at].sum()),
            }
            for at, name in enumerate(self.members)
        ]

    def of(
        self,
        members: Sequence[str] | None,
        k: int | None,
        *,
        scored: bool = True,
        at_most: int | None = None,
    ) -> tuple[Record, int]:
        """Return these members' draws, and how many questions were left out.

        A question is left out where one of the members has fewer than k draws.

        Args:
            members: names; None for all.
            k: draws a member; None for all that are recorded.
            scored: refuse draws without a score. What reads no score takes them as they are.
            at_most: for k=None, draws a member that are enough where some have more.

        Raises:
            ConfigurationError: an unknown member, k above the recorded draws, or members of
                different numbers of draws and no choice of k.
            DataError: no question is left, or draws have no score and need one.
        """
        where = self.positions(members)
        drawn = self.drawn()[:, where]
        if k is not None and k < 1:
            raise ConfigurationError(f"k must be 1 or more, not {k}.")
        most = drawn.max(axis=0, initial=0)
        least, chosen = int(most.min()), k is not None
        k = draws_needed(drawn, k, at_most)
        if not len(drawn) or least < k or k == 0:
            short = self.members[where[int(most.argmin())]]
            count = f"{least} draw{'' if least == 1 else 's'}"
            if chosen or least == 0:
                raise ConfigurationError(
                    f"{self.source} holds at most {count} of {short!r} for a question, fewer than "
                    f"k={k}: collect more, or ask for fewer."
                )
            long = self.members[where[int(most.argmax())]]
            raise ConfigurationError(
                f"{self.source} holds at most {count} of {short!r} for a question and {k} of "
                f"{long!r}: pass k={least} (--k {least}; to tune and scale, --k-max {least}) to "
                "use as many of each, or choose members that have more."
            )
        rows = np.flatnonzero((drawn >= k).all(axis=1))
        if not len(rows):
            names = ", ".join(self.members[i] for i in where)
            raise DataError(f"{self.source} has no question that all of {names} answered.")
        at = np.ix_(rows, np.array(where), np.arange(int(drawn[rows].min())))
        part = replace(
            self.rows(rows),
            members=tuple(self.members[i] for i in where),
            votes=self.votes[at],
            scores=self.scores[at],
            calls=None if self.calls is None else self.calls[at],
            tokens=None if self.tokens is None else self.tokens[at],
            cost=None if self.cost is None else self.cost[at],
            evidence=self._evidence(lambda values: values[at]),
        )
        unlabelled = int(np.isnan(part.scores).sum())
        if scored and unlabelled:
            raise DataError(
                f"{self.source} has {unlabelled} draws without a score: collect again with the "
                "metric, which scores them without a call; import their file into a new bank with "
                "--type or --program, which compare answers with the right one; or give each row "
                "`correct` or `score`."
            )
        return part, len(self.questions) - len(rows)

    def rows(self, questions: Ints) -> Record:
        """Return the record of the questions at these positions."""
        spent = [
            None if values is None else values[questions]
            for values in (self.calls, self.tokens, self.cost)
        ]
        return replace(
            self,
            questions=tuple(self.questions[at] for at in questions),
            keys=tuple(self.keys[at] for at in questions) if self.keys else (),
            votes=self.votes[questions],
            scores=self.scores[questions],
            fields={
                name: tuple(values[at] for at in questions) for name, values in self.fields.items()
            },
            calls=spent[0],
            tokens=spent[1],
            cost=spent[2],
            evidence=self._evidence(lambda values: values[questions]),
        )

    def first(self, k: int) -> Record:
        """Return the record of each member's first k draws: those that a live mux would make."""
        cut = [
            None if spent is None else spent[:, :, :k]
            for spent in (self.calls, self.tokens, self.cost)
        ]
        return replace(
            self,
            votes=self.votes[:, :, :k],
            scores=self.scores[:, :, :k],
            calls=cut[0],
            tokens=cut[1],
            cost=cut[2],
            evidence=self._evidence(lambda values: values[:, :, :k]),
        )

    def _evidence(self, part: Callable[[Floats], Floats]) -> dict[str, Floats]:
        """Return a part of each figure; a figure that is NaN throughout is left out."""
        parts = {name: part(values) for name, values in self.evidence.items()}
        return {name: values for name, values in parts.items() if not np.isnan(values).all()}

    def field(self, name: str) -> list[str]:
        """Return a field of the questions as text, "" where a question has none.

        Raises:
            ConfigurationError: no question has it.
        """
        if name not in self.fields:
            raise ConfigurationError(
                f"{self.source} has no field {name!r}; its questions have "
                f"{', '.join(self.fields) or 'none'}."
            )
        return ["" if value is None else value for value in self.fields[name]]


def draws_needed(drawn: Ints, k: int | None, at_most: int | None) -> int:
    """Return how many draws a question needs of each member, lest it is left out.

    Args:
        drawn: [Q, M], draws recorded.
        k, at_most: as in `Record.of`.
    """
    if k is not None:
        return k
    most = drawn.max(axis=0, initial=0)
    least = int(most.min())
    # Where single draws are missing, leave out their questions, not everyone's draws.
    return least if at_most is not None and at_most <= least else int(most.max())


def _sole(temperatures: Floats | None, member: int) -> float | None:
    """Return the one temperature of a member's draws; None for unknown, or for several."""
    own = np.empty(0) if temperatures is None else temperatures[:, member]
    known = np.unique(own[~np.isnan(own)])
    return float(known[0]) if len(known) == 1 else None


def join_records(records: Sequence[Record]) -> Record:
    """Return one record of the questions of several, by the same members."""
    first = records[0]
    keys = dict.fromkeys(key for record in records for key in record.fields)
    blank = [(None,) * len(record.questions) for record in records]
    fields = {
        key: tuple(
            v for record, no in zip(records, blank, strict=True) for v in record.fields.get(key, no)
        )
        for key in keys
    }

    def stacked(name: str) -> Any:  # whichever array the field has
        values = [getattr(record, name) for record in records]
        return None if any(value is None for value in values) else np.concatenate(values)

    figures = dict.fromkeys(name for record in records for name in record.evidence)
    unknown = [np.full(record.votes.shape, np.nan) for record in records]
    return replace(
        first,
        evidence={
            name: np.concatenate(
                [
                    record.evidence.get(name, blank)
                    for record, blank in zip(records, unknown, strict=True)
                ]
            )
            for name in figures
        },
        questions=tuple(question for record in records for question in record.questions),
        keys=tuple(key for record in records for key in record.keys),
        fields=fields,
        **{name: stacked(name) for name in ("votes", "scores", "calls", "tokens", "cost")},
    )
