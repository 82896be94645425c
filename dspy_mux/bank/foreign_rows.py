"""Complete the rows of other tools' files: whose draws they are, and of which question."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import DataError
from .columns import plain
from .formats.draws import Place, question_key
from .formats.layout import Layout
from .formats.recognition import ROWS, Source, open_source
from .rows import DRAW_KEYS, QUESTION_FIELDS
from .statement import STATED

#: Fields that state a question, by which rows without an id are told apart.
_QUESTIONS = (*STATED[:3], "prompt_text", "input")
#: Columns that an error lists.
_MOST_COLUMNS = 12


class ForeignRows:
    """Reads a source's rows, with what the user says of them.

    Args:
        dataset: the dataset of all rows; None for what they say.

    Attributes:
        compared: "text", or what the rows themselves say.
    """

    def __init__(self, source: Source, name: str, layout: Layout, *, dataset: str | None):
        self.source, self.name, self.layout, self.dataset = source, name, layout, dataset
        self.compared = "text"
        self._questions = None if layout.questions is None else _questions(layout.questions)

    def rows(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield (place, row), from the start of the file.

        Raises:
            DataError: a row names no model, or a question that is not among those of
                `layout.questions`.
        """
        for place, raw in self.source.rows():
            yield place, self._complete(place, raw)

    def _complete(self, place: Place, raw: dict[str, Any]) -> dict[str, Any]:
        row = dict(plain(raw))
        if self.dataset is not None:
            row["dataset"] = self.dataset
        if row.get("model", row.get("member")) is None:
            if self.layout.model is None:
                raise DataError(
                    f"{self.source.noun} {place} of {self.name} needs a model, whose draw it is: "
                    f"name it with --model NAME{self._or_map(raw)}."
                )
            row["model"] = self.layout.model
        if self.source.name == ROWS and self.layout.score is not None:
            row = self._with_score(place, row, self.layout.score)
        if row.get("question_id") is None and (
            question := next((row[name] for name in _QUESTIONS if row.get(name)), None)
        ):
            row["question_id"] = question_key(question)
        if "answer" not in row and isinstance(row.get("text"), str):
            row["answer"] = row["text"].strip()
        if "answer" not in row and self.source.name == ROWS:
            raise DataError(
                f"{self.source.noun} {place} of {self.name} has no answer{self._or_map(raw)}."
            )
        if self._questions is not None:
            row = self._with_question(place, row)
        if row.get("answer_class") is not None:
            self.compared = "the file's answer_class"
        return row

    def _or_map(self, row: Mapping[str, Any]) -> str:
        """Return the end of a sentence: which columns there are, and how to say what they hold."""
        if self.source.name != ROWS:
            return ""
        names = ", ".join(str(name) for name in list(row)[:_MOST_COLUMNS])
        more = ", …" if len(row) > _MOST_COLUMNS else ""
        have = f"its columns are {names}{more}" if row else "it is empty"
        return (
            f"; {have}: where they have other names than bank import expects, say which is which, "
            "as in --map question=COLUMN,answer=COLUMN,model=COLUMN"
        )

    def _with_score(self, place: Place, row: dict[str, Any], name: str) -> dict[str, Any]:
        """Return a row with a column of its own as its score."""
        if name not in row:
            raise DataError(f"{self.source.noun} {place} of {self.name} has no score {name!r}.")
        rest = {key: value for key, value in row.items() if key not in ("correct", name)}
        return {**rest, "score": row[name]}

    def _with_question(self, place: Place, row: dict[str, Any]) -> dict[str, Any]:
        key = str(row.get("question_id"))
        known = (self._questions or {}).get(key)
        if known is None:
            raise DataError(
                f"{self.source.noun} {place} of {self.name} has the question "
                f"{reprlib.repr(key)}, which {self.layout.questions} has not."
            )
        apart = {name: value for name, value in known.items() if name in DRAW_KEYS}
        beside = {name: value for name, value in known.items() if name not in DRAW_KEYS}
        own = row.get(QUESTION_FIELDS)
        merged = {**apart, **(own if isinstance(own, dict) else {})}
        return {**beside, **row, **({QUESTION_FIELDS: merged} if merged else {})}


def _questions(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Return id → fields of the questions of a file.

    Raises:
        DataError: a row has no id, or an id is there twice.
    """
    source, _ = open_source(path, Layout(format=ROWS))
    found: dict[str, dict[str, Any]] = {}
    for place, raw in source.rows():
        row = plain(raw)
        key = str(row.pop("question_id", row.pop("custom_id", "")))
        if not key or key in found:
            wrong = f"has the question_id {reprlib.repr(key)} again" if key else "needs an id"
            raise DataError(f"{source.noun} {place} of {path} {wrong}.")
        found[key] = row
    return found
