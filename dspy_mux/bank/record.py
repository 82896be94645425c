"""Recorded draws as arrays: what replay, search and calibration work on, wherever the draws are kept.

A record may come from a `SampleBank` or from a JSONL file of one draw a line. Reading never changes either.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..voting.tally import ABSTAINED, Floats, Ints
from .rows import Classes, Row, checked, json_lines

#: A draw that was never made, where ABSTAINED is one that gave no usable answer.
MISSING = -2


@dataclass(frozen=True)
class Record:
    """Draws of Q questions by M members, up to D each.

    Attributes:
        members: names [M], in the order first met, which is the pool's; questions: ids [Q].
        votes: [Q, M, D], the answer's class within its question, ABSTAINED or MISSING.
        scores: [Q, M, D], the metric's value of each draw; 0 for an abstention, NaN where the draw was never scored.
        fields: what else is known of the questions, such as a task or a split: name → one value a question.
        calls, tokens, cost: [Q, M, D] LM calls, tokens and US dollars that a draw took; None where that was not recorded.
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

    def positions(self, members: Sequence[str] | None) -> list[int]:
        """Where the named members stand; all of them for None.

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
        """[Q, M]: draws recorded, counted up to the first missing one."""
        missing = self.votes == MISSING
        return np.where(missing.any(axis=2), missing.argmax(axis=2), self.votes.shape[2])

    def prices(self) -> Floats | None:
        """`cost`, with 0 for an abstention of unknown price among priced draws of its member: it failed before it was billed."""
        if self.cost is None:
            return None
        priced = (~np.isnan(self.cost)).any(axis=(0, 2), keepdims=True)
        return np.where(np.isnan(self.cost) & (self.votes == ABSTAINED) & priced, 0.0, self.cost)

    def info(self) -> list[dict[str, Any]]:
        """One entry a member: its questions, draws and abstentions."""
        drawn = self.votes != MISSING
        return [
            {
                "dataset": (self.fields.get("dataset") or ("",))[0],
                "member": name,
                "questions": int(drawn[:, at].any(axis=1).sum()),
                "draws": int(drawn[:, at].sum()),
                "abstentions": int((self.votes[:, at] == ABSTAINED).sum()),
            }
            for at, name in enumerate(self.members)
        ]

    def of(self, members: Sequence[str] | None, k: int | None) -> tuple[Record, int]:
        """These members alone, on the questions that each of them answered at least k times; and how many were left out.

        Raises:
            ConfigurationError: an unknown member, k above what was recorded, or draws without a score.
        """
        where = self.positions(members)
        drawn = self.drawn()[:, where]
        if k is not None and k < 1:
            raise ConfigurationError(f"k must be 1 or more, not {k}.")
        if k is None:
            # Where a member lacks single draws, the questions that lack them are left out rather than draws of all the others.
            k = int(drawn.max(initial=0))
        most = drawn.max(axis=0, initial=0)
        if not len(drawn) or most.min() < k or k == 0:
            short = self.members[where[int(most.argmin())]]
            raise ConfigurationError(
                f"{self.source} holds at most {int(most.min())} draws of {short!r} for a question, fewer than k={k}: collect more, "
                "or ask for fewer."
            )
        rows = np.flatnonzero((drawn >= k).all(axis=1))
        if not len(rows):
            raise ConfigurationError(
                f"{self.source} has no question that all of {', '.join(self.members[i] for i in where)} answered."
            )
        at = np.ix_(rows, np.array(where), np.arange(int(drawn[rows].min())))
        part = replace(
            self.rows(rows),
            members=tuple(self.members[i] for i in where),
            votes=self.votes[at],
            scores=self.scores[at],
            calls=None if self.calls is None else self.calls[at],
            tokens=None if self.tokens is None else self.tokens[at],
            cost=None if self.cost is None else self.cost[at],
        )
        unlabelled = int(np.isnan(part.scores).sum())
        if unlabelled:
            raise ConfigurationError(
                f"{self.source} has {unlabelled} draws without a score: collect again with the metric, which scores them without a "
                "call, or give each row `correct` or `score`."
            )
        return part, len(self.questions) - len(rows)

    def rows(self, questions: Ints) -> Record:
        """The questions at these positions alone."""
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
        )

    def first(self, k: int) -> Record:
        """The first k draws of each member alone: those that a live mux of that k makes."""
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
        )

    def field(self, name: str) -> list[str]:
        """A field of the questions as text, "" where a question has none.

        Raises:
            ConfigurationError: no question has it.
        """
        if name not in self.fields:
            raise ConfigurationError(
                f"{self.source} has no field {name!r}; its questions have {', '.join(self.fields) or 'none'}."
            )
        return ["" if value is None else value for value in self.fields[name]]


def read_jsonl(path: str | os.PathLike[str], *, dataset: str | None = None) -> Record:
    """Draws from a `.jsonl` or `.jsonl.gz` file: one draw a line, with `question_id`, `model`, `answer` and `correct` or `score`.

    An answer of "" or null is an abstention; two answers are the same where their text is, or where their `answer_class` is. A row
    without `draw` is the member's next one. `calls`, `prompt_tokens`, `completion_tokens` and `cost` tell what the draw took. All
    other keys belong to the question.

    Args:
        dataset: which `dataset` of several in the file.

    Raises:
        ConfigurationError: no such file, a line that is no such row (the sentence says which), a draw that is there twice, several
            datasets of which none is named, draws of one member by several programs, or no draws.
    """
    reader = _Reader(str(path))
    datasets: dict[str, int] = {}

    def chosen() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in json_lines(path):
            name = str(row.get("dataset") or "")
            datasets[name] = datasets.get(name, 0) + 1
            if name == dataset or (dataset is None and len(datasets) == 1):
                yield number, row

    for row in checked(chosen(), str(path)):
        reader.add(row)
    if dataset is None and len(datasets) > 1:
        raise ConfigurationError(
            f"{path} holds several datasets: choose one of {', '.join(sorted(datasets))} with --dataset."
        )
    if dataset is not None and dataset not in datasets:
        told = ", ".join(sorted(filter(None, datasets))) or (
            "rows that name none" if datasets else "no rows"
        )
        raise ConfigurationError(f"{path} has no dataset {dataset!r}; it has {told}.")
    return reader.record()


class _Reader:
    """Rows of draws, gathered into arrays."""

    def __init__(self, source: str):
        self.source = source
        self.questions: dict[str, int] = {}
        self.names: list[str] = []
        self.members: dict[str, int] = {}
        self.programs: list[str] = []
        self.fields: list[dict[str, str | None]] = []
        self.classes = Classes()
        self.places: list[tuple[int, int, int]] = []
        self.votes: list[int] = []
        self.scores: list[float] = []
        # As numbers without an object each: most files tell of none, or all, of a million draws.
        self.spent = {name: array("d") for name in ("calls", "tokens", "cost")}

    def add(self, row: Row) -> None:
        question = self.questions.setdefault(row.key, len(self.questions))
        if question == len(self.fields):
            self.names.append(row.question)
            self.fields.append(
                {key: None if value is None else str(value) for key, value in row.fields().items()}
            )
        member = self.members.setdefault(row.member, len(self.members))
        if member == len(self.programs):
            self.programs.append(row.program)
        if self.programs[member] != row.program:
            raise ConfigurationError(
                f"{self.source} holds draws of {row.member!r} by several programs, which never mix: import it into a bank, where "
                "--program chooses one."
            )
        self.places.append((question, member, row.draw))
        answer_class = self.classes.of(question, row)
        self.votes.append(ABSTAINED if answer_class is None else answer_class)
        self.scores.append(
            0.0 if row.answer is None else float("nan") if row.score is None else row.score
        )
        calls, cost = _number(row.told.get("calls")), _number(row.told.get("cost"))
        tokens = _number(row.told.get("prompt_tokens")) + _number(row.told.get("completion_tokens"))
        for name, value in (("calls", calls), ("tokens", tokens), ("cost", cost)):
            self.spent[name].append(value)

    def record(self) -> Record:
        if not self.votes:
            raise ConfigurationError(f"{self.source} holds no draws: collect some first.")
        places = np.array(self.places, dtype=np.int64)
        shape = (len(self.questions), len(self.members), int(places[:, 2].max()) + 1)
        votes = np.full(shape, MISSING, np.int16 if max(self.votes) < 2**15 else np.int32)
        scores = np.zeros(shape, np.float32)
        votes[tuple(places.T)] = self.votes
        scores[tuple(places.T)] = self.scores
        keys = dict.fromkeys(key for fields in self.fields for key in fields)
        return Record(
            members=tuple(self.members),
            questions=tuple(self.names),
            votes=votes,
            scores=scores,
            fields={key: tuple(fields.get(key) for fields in self.fields) for key in keys},
            source=self.source,
            calls=_placed(self.spent["calls"], places, shape),
            tokens=_placed(self.spent["tokens"], places, shape),
            cost=_placed(self.spent["cost"], places, shape),
        )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _placed(values: array[float], places: Ints, shape: tuple[int, int, int]) -> Floats | None:
    """What draws took, [Q, M, D], NaN where that is unknown; None where no row tells it, as in a bank."""
    if np.isnan(values).all():
        return None
    spent = np.full(shape, np.nan)
    spent[tuple(places.T)] = values
    return spent


def record_of(table: Any, told: Sequence[Any], chosen: Mapping[int, str], source: str) -> Record:
    """The record of a table of draws.

    Args:
        table: [D, 9]: question, program, draw, answer class, score, calls, prompt and completion tokens, cost; NaN for unknown.
        told: the dataset's questions (id, name, fields, fingerprint), in the order of their ids.
        chosen: program → member.
        source: what the record is told to be of.
    """
    members = list(dict.fromkeys(chosen.values()))
    position = {program: members.index(member) for program, member in chosen.items()}
    ids = np.array([row.id for row in told])
    asked = np.isin(ids, table[:, 0])
    told, ids = [row for row, keep in zip(told, asked, strict=True) if keep], ids[asked]
    at = (
        np.searchsorted(ids, table[:, 0].astype(np.int64)),
        np.array([position[program] for program in table[:, 1].astype(np.int64).tolist()]),
        table[:, 2].astype(np.int64),
    )
    shape = (len(ids), len(members), int(at[2].max()) + 1)
    abstained = np.isnan(table[:, 3])
    votes = np.full(shape, MISSING, np.int32)
    votes[at] = np.where(abstained, ABSTAINED, np.nan_to_num(table[:, 3]))
    scores = np.zeros(shape, np.float32)
    scores[at] = np.where(abstained, 0.0, table[:, 4])
    fields = [json.loads(row.fields) for row in told]
    keys = dict.fromkeys(key for each in fields for key in each)
    return Record(
        members=tuple(members),
        questions=tuple(row.name for row in told),
        votes=votes,
        scores=scores,
        fields={key: tuple(_text(each.get(key)) for each in fields) for key in keys},
        keys=tuple(row.fingerprint for row in told),
        calls=_spent(table[:, 5], at, shape),
        tokens=_spent(table[:, 6] + table[:, 7], at, shape),
        cost=_spent(table[:, 8], at, shape),
        source=f"The bank {source}",
    )


def _spent(values: Any, at: Any, shape: tuple[int, int, int]) -> Any:
    if np.isnan(values).all():
        return None
    spent = np.full(shape, np.nan)
    spent[at] = values
    return spent


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _joined(records: Sequence[Record]) -> Record:
    first = records[0]
    keys = dict.fromkeys(key for record in records for key in record.fields)
    blank = [(None,) * len(record.questions) for record in records]
    fields = {
        key: tuple(
            v for record, no in zip(records, blank, strict=True) for v in record.fields.get(key, no)
        )
        for key in keys
    }

    def stacked(name: str) -> Any:
        values = [getattr(record, name) for record in records]
        return None if any(value is None for value in values) else np.concatenate(values)

    return replace(
        first,
        questions=tuple(question for record in records for question in record.questions),
        keys=tuple(key for record in records for key in record.keys),
        fields=fields,
        **{name: stacked(name) for name in ("votes", "scores", "calls", "tokens", "cost")},
    )
