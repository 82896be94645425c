"""Classes of answers in files: which answers of a question are equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from ..answers.equivalence import NO_ANSWER, AnswerKind
from .answers import Answered
from .rows import Row, comparison_text


class AnswerClasses:
    """Numbers the answers' classes within each question, in the order met.

    Rows decide by `same_as` which answers are equal; without it, equal texts are.

    Args:
        known: answers that have their classes already.
    """

    def __init__(self, known: Iterable[Answered] = ()) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self._next: dict[int, int] = {}
        self._named: dict[tuple[int, str], tuple[int, str]] = {}  # text → its first `same_as`
        for one in known:
            text = str(comparison_text(one.answer))
            self._numbers.setdefault((one.question, text), one.answer_class)
            self._next[one.question] = max(self._next.get(one.question, 0), one.answer_class + 1)

    def classify(self, question: int, row: Row) -> int | None:
        """Return the class of a row's answer; None for an abstention."""
        if row.answer is None:
            return None
        text = (question, row.answer)
        name = text if row.same_as is None else (question, f"\0{row.same_as}")
        found = self._numbers.get(name)
        if found is None and self._named.get(text, name) == name:
            found = self._numbers.get(text)
        if found is None:
            found = self._next.get(question, 0)
            self._next[question] = found + 1
        self._numbers.setdefault(text, found)
        self._numbers.setdefault(name, found)
        self._named.setdefault(text, name)
        return found


def kept_classes(
    groups: Iterable[int | None], recorded: Iterable[tuple[int | None, int]], following: int
) -> dict[int, int]:
    """Return group → class: recorded answers keep their classes, new groups are numbered on.

    Two recorded classes that are one group now get the class of the answer recorded first.

    Args:
        groups: of all answers of a question, recorded ones included; None for an abstention.
        recorded: (group, class) of the recorded ones, in the order recorded.
        following: the first new class.

    >>> kept_classes([0, 1, 2], [(1, 5)], following=6)
    {1: 5, 0: 6, 2: 7}
    """
    kept: dict[int, int] = {}
    for group, answer_class in recorded:
        if group is not None and answer_class not in kept.values():
            kept.setdefault(group, answer_class)
    for group in groups:
        if group is not None and group not in kept:
            kept[group], following = following, following + 1
    return kept


def number_together(
    kind: AnswerKind,
    known: Sequence[tuple[Answered, Any]],
    arrived: Sequence[tuple[int, int, Any]],
    following: int,
) -> tuple[list[int | None], dict[int, int]]:
    """Number the classes of answers to one question, along with those recorded.

    The classes are those of the live mux, in whatever order answers arrive. A recorded answer keeps
    its class, unless a new one joins two classes: where the equivalence is not transitive.

    Args:
        known: recorded answers that are compared alike, each with the answer as it was drawn.
        arrived: (program, draw, answer).
        following: the first new class.

    Returns:
        The class of each that arrived, None for an abstention; and recorded draw, by id → its class
        now, where that is another one.
    """
    by_program: dict[int, list[tuple[int, Any, int]]] = {}
    every = [(one.program, one.draw, answer) for one, answer in known]
    for at, (program, number, answer) in enumerate([*every, *arrived]):
        by_program.setdefault(program, []).append((number, answer, at))
    members = [sorted(drawn, key=itemgetter(0)) for drawn in by_program.values()]
    classes = kind.classes_by_member([[answer for _, answer, _ in member] for member in members])
    now = {
        at: group
        for member, own in zip(members, classes, strict=True)
        for (_, _, at), group in zip(member, own, strict=True)
    }
    kept = kept_classes(
        now.values(), [(now[at], one.answer_class) for at, (one, _) in enumerate(known)], following
    )
    changed = {
        one.id: kept[mine]
        for at, (one, _) in enumerate(known)
        if (mine := now[at]) is not None and kept[mine] != one.answer_class
    }
    numbered = (now[at] for at in range(len(known), len(now)))
    return [None if mine is None else kept[mine] for mine in numbered], changed


class KindClasses:
    """Numbers the classes of answers as an equivalence has them, together with recorded ones.

    Args:
        values: the text by which an answer is compared → the answer.
    """

    def __init__(self, kind: AnswerKind, values: Mapping[str, Any]):
        self.kind, self.values = kind, values
        self._changed: dict[int, int] = {}
        self._seen: dict[tuple[str, str], dict[tuple[str, str], dict[str, None]]] = {}
        self._numbers: dict[tuple[int, int, str], int | None] = {}

    def begin(self) -> None:
        """Forget what was seen: the rows come again from the first one."""
        self._seen.clear()

    def see(self, row: Row) -> None:
        """Take note of a row's answer."""
        if row.answer is not None:
            members = self._seen.setdefault((row.dataset, row.key), {})
            members.setdefault((row.member, row.program), {}).setdefault(row.answer)

    def number(
        self,
        questions: Mapping[tuple[str, str], int],
        programs: Mapping[tuple[str, str], int],
        known: Iterable[Answered],
    ) -> None:
        """Number the classes of all answers seen, along with the recorded ones.

        Args:
            questions: (dataset, key) → id.
            programs: (member, program) → id.
            known: the recorded answers of these questions.
        """
        recorded: dict[int, list[Answered]] = {}
        for one in known:
            recorded.setdefault(one.question, []).append(one)
        for place, members in self._seen.items():
            question = questions[place]
            ballots: dict[int, list[tuple[Answered | str, Any]]] = {}
            for one in recorded.get(question, []):
                ballots.setdefault(one.program, []).append((one, one.answer))
            for made_by, texts in members.items():
                ballots.setdefault(programs[made_by], []).extend(
                    (text, self.values.get(text, NO_ANSWER)) for text in texts
                )
            self._number(question, ballots, recorded.get(question, []))

    def _number(
        self,
        question: int,
        ballots: Mapping[int, Sequence[tuple[Answered | str, Any]]],
        known: Sequence[Answered],
    ) -> None:
        groups = self.kind.classes_by_member(
            [[value for _, value in ballot] for ballot in ballots.values()]
        )
        of_text: dict[tuple[int, str], int | None] = {}
        of_draw: dict[int, int | None] = {}
        for (program, ballot), own in zip(ballots.items(), groups, strict=True):
            for (answer, _), group in zip(ballot, own, strict=True):
                if isinstance(answer, str):
                    of_text[program, answer] = group
                else:
                    of_draw[answer.id] = group
        following = max([-1, *(one.answer_class for one in known)]) + 1
        kept = kept_classes(
            [*of_draw.values(), *of_text.values()],
            [(of_draw[one.id], one.answer_class) for one in known],
            following,
        )
        for one in known:
            group = of_draw[one.id]
            if group is not None and kept[group] != one.answer_class:
                self._changed[one.id] = kept[group]
        for (program, text), group in of_text.items():
            self._numbers[question, program, text] = None if group is None else kept[group]

    def take_changed(self) -> dict[int, int]:
        """Return recorded draws, by id, whose class is another one now; those not taken before."""
        changed, self._changed = self._changed, {}
        return changed

    def classify(self, question: int, program: int, row: Row) -> int | None:
        """Return the class of a row's answer; None for an abstention."""
        return None if row.answer is None else self._numbers[question, program, row.answer]
