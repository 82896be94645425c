"""Recorded draws as arrays: what replay, search and calibration work on, wherever the draws are kept.

A record may come from a `SampleBank` or from a JSONL file of one draw a line. Reading never changes either.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigurationError
from .tally import ABSTAINED, Floats, Ints

#: A draw that was never made, where ABSTAINED is one that gave no usable answer.
MISSING = -2
#: Keys of a JSONL row that belong to the draw; all others belong to its question.
OF_A_DRAW = frozenset(
    {
        "model",
        "member",
        "draw",
        "answer",
        "answer_class",
        "correct",
        "score",
        "text",
        "cause",
        "prompt",
        "program",
        "outputs",
        "question_fingerprint",
    }
    | {"calls", "prompt_tokens", "completion_tokens", "seconds", "cost", "created"}
)


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
                raise ConfigurationError(f"{self.source} has no member {name!r}; it has {', '.join(self.members)}.")
        if len(set(names)) != len(names) or not names:
            raise ConfigurationError("Name each member once, and at least one.")
        return [self.members.index(name) for name in names]

    def drawn(self) -> Ints:
        """[Q, M]: draws recorded, counted up to the first missing one."""
        missing = self.votes == MISSING
        return np.where(missing.any(axis=2), missing.argmax(axis=2), self.votes.shape[2])

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
        spent = [None if values is None else values[questions] for values in (self.calls, self.tokens, self.cost)]
        return replace(
            self,
            questions=tuple(self.questions[at] for at in questions),
            keys=tuple(self.keys[at] for at in questions) if self.keys else (),
            votes=self.votes[questions],
            scores=self.scores[questions],
            fields={name: tuple(values[at] for at in questions) for name, values in self.fields.items()},
            calls=spent[0],
            tokens=spent[1],
            cost=spent[2],
        )

    def first(self, k: int) -> Record:
        """The first k draws of each member alone: those that a live mux of that k makes."""
        cut = [None if spent is None else spent[:, :, :k] for spent in (self.calls, self.tokens, self.cost)]
        return replace(self, votes=self.votes[:, :, :k], scores=self.scores[:, :, :k], calls=cut[0], tokens=cut[1], cost=cut[2])

    def field(self, name: str) -> list[str]:
        """A field of the questions as text, "" where a question has none.

        Raises:
            ConfigurationError: no question has it.
        """
        if name not in self.fields:
            raise ConfigurationError(f"{self.source} has no field {name!r}; its questions have {', '.join(self.fields) or 'none'}.")
        return ["" if value is None else value for value in self.fields[name]]


def read_jsonl(path: str | os.PathLike[str], *, dataset: str | None = None) -> Record:
    """Draws from a `.jsonl` or `.jsonl.gz` file: one draw a line, with `question_id`, `model`, `answer` and `correct` or `score`.

    An answer of "" or null is an abstention; two answers are the same where their text is, or where their `answer_class` is. A row
    without `draw` is the member's next one. All other keys belong to the question.

    Args:
        dataset: which `dataset` of several in the file.

    Raises:
        ConfigurationError: no such file, a line that is no such row (the sentence says which), a draw that is there twice, several
            datasets of which none is named, or no draws.
    """
    reader = _Reader(str(path))
    datasets: dict[str, int] = {}
    for number, row in json_lines(path):
        name = str(row.get("dataset", ""))
        datasets[name] = datasets.get(name, 0) + 1
        if name == dataset or (dataset is None and len(datasets) == 1):
            reader.add(number, row)
    if dataset is None and len(datasets) > 1:
        raise ConfigurationError(f"{path} holds several datasets: choose one of {', '.join(sorted(datasets))} with --dataset.")
    if dataset is not None and dataset not in datasets:
        raise ConfigurationError(f"{path} has no dataset {dataset!r}; it has {', '.join(sorted(datasets)) or 'no rows'}.")
    return reader.record()


def json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSONL file, gzipped or not; raises ConfigurationError where a line is none."""
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    try:
        with opener(Path(path), "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise ConfigurationError(f"Line {number} of {path} is no JSON: {str(error).splitlines()[0]}.") from error
                if not isinstance(row, dict):
                    raise ConfigurationError(f"Line {number} of {path} is no JSON object.")
                yield number, row
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no bank {str(path)!r}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no UTF-8 text after line {number}.") from error
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"{path} cannot be read after line {number}: {str(error).splitlines()[0]}.") from error


class _Reader:
    """Rows of draws, gathered into arrays."""

    def __init__(self, source: str):
        self.source = source
        self.questions: dict[str, int] = {}
        self.members: dict[str, int] = {}
        self.fields: list[dict[str, str | None]] = []
        self.classes: dict[tuple[int, str], int] = {}
        self.sizes: list[int] = []
        self.places: dict[tuple[int, int, int], int] = {}
        self.votes: list[int] = []
        self.scores: list[float] = []
        self.next_draw: dict[tuple[int, int], int] = {}

    def add(self, number: int, row: dict[str, Any]) -> None:
        member_name = row.get("model", row.get("member"))
        for key, value in (("question_id", row.get("question_id")), ("model", member_name)):
            if not isinstance(value, (str, int)) or isinstance(value, bool):
                raise self._wrong(number, f"needs a {key}")
        if "answer" not in row:
            raise self._wrong(number, "has no answer")
        question = self.questions.setdefault(str(row["question_id"]), len(self.questions))
        if question == len(self.fields):
            told = {key: value for key, value in row.items() if key not in OF_A_DRAW and not isinstance(value, (dict, list))}
            self.fields.append({key: None if value is None else str(value) for key, value in told.items()})
            self.sizes.append(0)
        member = self.members.setdefault(str(member_name), len(self.members))
        draw = row.get("draw", self.next_draw.get((question, member), 0))
        if isinstance(draw, bool) or not isinstance(draw, int) or not 0 <= draw < 10_000:
            raise self._wrong(number, f"has the draw {draw!r}, which must be a whole number from 0")
        place = (question, member, draw)
        if place in self.places:
            raise self._wrong(number, f"repeats draw {draw} of {member_name!r} for question {row['question_id']!r}")
        self.places[place] = number
        self.next_draw[question, member] = draw + 1
        self.votes.append(self._class(question, row))
        self.scores.append(0.0 if self.votes[-1] == ABSTAINED else self._score(number, row))

    def _class(self, question: int, row: dict[str, Any]) -> int:
        answer, given = row["answer"], row.get("answer_class")
        if answer is None or answer == "":
            return ABSTAINED
        if not isinstance(answer, str):
            answer = json.dumps(answer, sort_keys=True)
        key = (question, answer.strip() if given is None else f"\0{given}")
        if not key[1]:
            return ABSTAINED
        found = self.classes.get(key)
        if found is None:
            found = self.classes[key] = self.sizes[question]
            self.sizes[question] += 1
        return found

    def _score(self, number: int, row: dict[str, Any]) -> float:
        score = row.get("correct", row.get("score"))
        if score is None:
            return float("nan")
        if not isinstance(score, (int, float)):
            raise self._wrong(number, f"has the score {score!r}, which must be a number or true or false")
        return float(score)

    def _wrong(self, number: int, what: str) -> ConfigurationError:
        return ConfigurationError(f"Line {number} of {self.source} {what}.")

    def record(self) -> Record:
        if not self.votes:
            raise ConfigurationError(f"{self.source} holds no draws: collect some first.")
        places = np.array(list(self.places), dtype=np.int64)
        shape = (len(self.questions), len(self.members), int(places[:, 2].max()) + 1)
        votes = np.full(shape, MISSING, np.int16 if max(self.sizes) < 2**15 else np.int32)
        scores = np.zeros(shape, np.float32)
        votes[tuple(places.T)] = self.votes
        scores[tuple(places.T)] = self.scores
        keys = dict.fromkeys(key for fields in self.fields for key in fields)
        return Record(
            members=tuple(self.members),
            questions=tuple(self.questions),
            votes=votes,
            scores=scores,
            fields={key: tuple(fields.get(key) for fields in self.fields) for key in keys},
            source=self.source,
        )
