"""Members' accuracies near a question: on training questions of its category, or with its words.

A member's accuracy there is shrunk towards its accuracy overall, by as much as makes the other
training questions most likely. Where nothing is gained by looking near, it is shrunk all the way.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, DataError
from .tally import Floats, Ints

#: The context that stands for the question's text; `auto:FIELD` names the field that holds it.
AUTO = "auto"
#: Fields that `auto` looks for, the first before the others.
TEXT_FIELDS = ("question", "problem", "prompt", "query", "instruction", "text", "input", "sentence")
#: How many questions a member's accuracy overall counts for beside those near; inf for all.
_SHRINKAGES = (1.0, 3.0, 10.0, 30.0, 100.0, math.inf)
#: Probabilities are kept this far from 0 and 1.
_EDGE = 0.02
#: At most so many training questions are looked up, evenly spaced: each is compared with all.
MOST_QUESTIONS = 2000
#: Words are told apart by so many hashes.
_HASHES = 2**24
#: A word; a character of a script that writes words together is one.
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\w+|[^\w\s]")


def context_field(context: str, names: Iterable[str]) -> tuple[str, bool]:
    """Return the field that a context reads, and whether it is a text rather than a category.

    Args:
        context: a field's name, `auto` or `auto:FIELD`.
        names: the fields that there are.

    Raises:
        ConfigurationError: `auto` finds no text.

    >>> context_field("category", ["category", "question"])
    ('category', False)
    >>> context_field("auto", ["category", "question"])
    ('question', True)
    """
    kind, _, field = context.partition(":")
    if kind != AUTO:
        return context, False
    known = list(names)
    found = field or next((name for name in TEXT_FIELDS if name in known), "")
    if not found:
        raise ConfigurationError(
            f"The context {AUTO!r} reads a field called {', '.join(TEXT_FIELDS[:-1])} or "
            f"{TEXT_FIELDS[-1]}, and there is none among {', '.join(known) or 'none'}: name the "
            f"field of the questions' text, as in {AUTO}:FIELD."
        )
    return found, True


@dataclass(frozen=True)
class Nearby:
    """What training questions say of members near a question, as plain numbers.

    Attributes:
        texts: whether questions are near by their words; else by their category.
        marks: of each training question, the hashes of its words and pairs of words, or of its
            category.
        right: of each training question, whether each member was right on it [M].
        shrinkage: how many questions a member's accuracy overall counts for.
        weights: of a vote share, and of a plurality, of a member that is better near.
    """

    texts: bool
    marks: tuple[tuple[int, ...], ...]
    right: tuple[tuple[bool, ...], ...]
    shrinkage: float
    weights: tuple[float, float]

    def __post_init__(self) -> None:
        members = {len(each) for each in self.right}
        numbers = [self.shrinkage, *self.weights]
        if (
            len(members) != 1
            or len(self.marks) != len(self.right)
            or len(self.weights) != 2
            or not all(math.isfinite(number) for number in numbers)
            or self.shrinkage <= 0
            or any(not 0 <= mark < _HASHES for each in self.marks for mark in each)
        ):
            raise DataError(
                "What the calibrated rule knows of nearby questions does not fit together: it is "
                "damaged, fit it again."
            )

    def context_weights(self, contexts: Sequence[str]) -> Floats:
        """Return the weights [Q, 2M] of members' vote shares and pluralities on such questions."""
        near = self._index.similarity([marks_of(each, self.texts) for each in contexts])
        gain = gains(near, self._right, self.shrinkage)
        return np.hstack([weight * gain for weight in self.weights])

    @cached_property
    def _index(self) -> Index:
        return Index(self.marks)

    @cached_property
    def _right(self) -> Floats:
        return np.array(self.right, dtype=float)


@dataclass(frozen=True)
class NearbyTraining:
    """Training questions [N] by how near they are to those that are looked up [R].

    Attributes:
        marks: of those that are looked up.
        asked: [R], their positions among all.
        similarity: [N, R], 0 of a question with itself, so that it never speaks for itself.
    """

    texts: bool
    marks: tuple[tuple[int, ...], ...]
    asked: Ints
    similarity: NDArray[np.float32]

    @classmethod
    def of(cls, contexts: Sequence[str], texts: bool) -> NearbyTraining:
        marks = [marks_of(each, texts) for each in contexts]
        count = min(len(marks), MOST_QUESTIONS)
        asked = np.linspace(0, len(marks) - 1, count).astype(int)
        known = tuple(marks[at] for at in asked)
        similarity = Index(known).similarity(marks)
        similarity[asked, np.arange(count)] = 0.0
        return cls(texts, known, asked, similarity)

    def near(self, train: Ints, right: Floats) -> Near:
        """Return what the questions `train` say of one another.

        Args:
            train: [n], ascending.
            right: [n, M], whether each member was right on them.
        """
        columns = np.flatnonzero(np.isin(self.asked, train))
        similarity = self.similarity[np.ix_(train, columns)]
        theirs = right[np.searchsorted(train, self.asked[columns])]
        shrinkage = best_shrinkage(similarity, theirs, right)
        marks = tuple(self.marks[at] for at in columns)
        return Near(self.texts, marks, theirs, shrinkage, gains(similarity, theirs, shrinkage))


@dataclass(frozen=True)
class Near:
    """What training questions say of members near one another, before it is weighed.

    Attributes:
        marks, right: of those that are looked up [R], and [R, M] whether each member was right.
        gains: [n, M], `gains` near each training question, by the others.
    """

    texts: bool
    marks: tuple[tuple[int, ...], ...]
    right: Floats
    shrinkage: float
    gains: Floats

    def fitted(self, weights: Floats) -> Nearby | None:
        """Return it with its weights [2]; None where it is shrunk all the way."""
        if math.isinf(self.shrinkage):
            return None
        shares, plurality = weights.tolist()
        right = tuple(tuple(row) for row in (self.right > 0).tolist())
        return Nearby(self.texts, self.marks, right, self.shrinkage, (shares, plurality))


def marks_of(context: str, texts: bool) -> tuple[int, ...]:
    """Return the hashes of a text's words and pairs of words, or that of a category."""
    if not texts:
        return (_hash(context),)
    words = _WORD.findall(context.casefold())
    pairs = [" ".join(pair) for pair in itertools.pairwise(words)]
    return tuple(sorted({_hash(each) for each in (*words, *pairs)}))


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % _HASHES


class Index:
    """Training questions by their marks: which of them share some with another question.

    Args:
        marks: of each of N training questions.
    """

    def __init__(self, marks: Sequence[Sequence[int]]):
        self._count = len(marks)
        lengths = [len(each) for each in marks]
        every = np.fromiter(itertools.chain.from_iterable(marks), np.int64, sum(lengths))
        question = np.repeat(np.arange(self._count), lengths)
        order = np.argsort(every, kind="stable")
        self._question = question[order]
        # Rare marks tell more than those of every question (inverse document frequency).
        self._marks, self._starts, uses = np.unique(
            every[order], return_index=True, return_counts=True
        )
        self._weights = np.log((1 + self._count) / (1 + uses))
        self._ends = self._starts + uses
        squares = np.repeat(self._weights**2, uses)
        norms = np.sqrt(np.bincount(self._question, squares, minlength=self._count))
        self._norms = np.maximum(norms, 1e-12)

    def similarity(self, marks: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return [Q, N], the squared cosine of each question with each training question."""
        found = np.zeros((len(marks), self._count), np.float32)
        for row, each in enumerate(marks):
            known = self._known(each)
            if not len(known):
                continue
            weights = self._weights[known]
            parts = [self._question[self._starts[at] : self._ends[at]] for at in known]
            shares = np.repeat(weights**2, [len(part) for part in parts])
            dots = np.bincount(np.concatenate(parts), shares, minlength=self._count)
            norm = max(float(np.sqrt((weights**2).sum())), 1e-12)
            found[row] = (dots / (self._norms * norm)) ** 2
        return found

    def _known(self, marks: Sequence[int]) -> Ints:
        """Return the positions of those marks that training questions have."""
        wanted = np.asarray(marks, dtype=np.int64)
        at = np.searchsorted(self._marks, wanted)
        inside = at < len(self._marks)
        at, wanted = at[inside], wanted[inside]
        return at[self._marks[at] == wanted]


def gains(similarity: Floats, right: Floats, shrinkage: float) -> Floats:
    """Return [Q, M], by how much members are better near a question than overall, in log-odds.

    Args:
        similarity: [Q, N] with training questions; the nearest counts for one.
        right: [N, M], whether a member was right on each of them.
    """
    overall = _kept(right.mean(axis=0))
    return _log_odds(_near(similarity, right, shrinkage)) - _log_odds(overall)


def best_shrinkage(similarity: Floats, right: Floats, found: Floats) -> float:
    """Return the shrinkage by which other questions make each one's answers most likely.

    Args:
        similarity: [Q, N] with questions that are looked up, 0 of a question with itself.
        right: [N, M], whether members were right on those.
        found: [Q, M], on each question.
    """

    def likelihood(shrinkage: float) -> float:
        p = _near(similarity, right, shrinkage)
        return float((found * np.log(p) + (1 - found) * np.log(1 - p)).sum())

    # The most shrinkage among equals.
    return max(reversed(_SHRINKAGES), key=likelihood)


def _near(similarity: Floats, right: Floats, shrinkage: float) -> Floats:
    """Return [Q, M], members' shrunk accuracies near each question."""
    overall = _kept(right.mean(axis=0))
    if math.isinf(shrinkage):
        return np.broadcast_to(overall, (len(similarity), right.shape[1]))
    weights = similarity / np.maximum(similarity.max(axis=1, keepdims=True), 1e-12)
    found = (weights @ right + shrinkage * overall) / (
        weights.sum(axis=1, keepdims=True) + shrinkage
    )
    return _kept(found)


def _kept(p: Floats) -> Floats:
    return np.clip(p, _EDGE, 1 - _EDGE)


def _log_odds(p: Floats) -> Floats:
    odds: Floats = np.log(p / (1 - p))
    return odds
