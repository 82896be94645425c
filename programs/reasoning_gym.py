"""Procedural tasks of reasoning-gym, generated offline and scored by each task's own rules.

    task("reasoning_gym:basic_arithmetic")    # or "reasoning_gym" for a mixture of short ones

Stojanovski et al. 2025. Needs the `reasoning` extra. An answer is right if the task gives it full
marks; the part marks that some tasks give to steer a training count as wrong. Some tasks' rules
would evaluate the answer as Python or sympy, work endlessly on 1e999999999, or give full marks to
any text: there an answer is compared as text, or must have a harmless form. A few tasks are refused
(`REFUSED`).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypedDict

import dspy

from dspy_mux.answers.kinds import TextKind
from dspy_mux.answers.plain_text import unwrap
from dspy_mux.errors import ConfigurationError, MissingExtra

from . import sources
from .sources import Split
from .tasks import Task, takes_no_file
from .worked_demos import chain_of_thought

logger = logging.getLogger(__name__)

#: Items in each split at most.
SIZES = {"train": 50, "validation": 200, "test": 500}
#: Each split's share, in 16, of what is generated; the rest are for demos.
_SHARES = {"train": 2, "validation": 4, "test": 8}
_GENERATED = 1_200
DEMOS = 3
#: The tasks of the mixture "reasoning_gym": short answers of different sorts.
MIXTURE = (
    "basic_arithmetic",
    "chain_sum",
    "count_bits",
    "family_relationships",
    "gcd",
    "letter_counting",
    "number_sequence",
    "spell_backward",
)
#: Tasks of reasoning-gym that are refused → why.
REFUSED = {
    "codeio": "it runs code from its data file, of unknown authors, to make its questions",
    "composite": "it only puts other tasks together",
    "intermediate_integration": (
        "it has sympy evaluate and simplify the answer, which may run code or never end"
    ),
}
_LONGEST = 10_000

#: Scored as text, because the rules would evaluate an answer for part marks, or
#: (game_of_life_halting) accept any text.
_AS_TEXT = frozenset(
    {"binary_matrix", "game_of_life_halting", "n_queens", "spiral_matrix", "string_insertion"}
)
_CALCULATION = re.compile(r"(?!.*\* *\*)[\d .+\-*/()]{1,200}")
_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"
_FACTOR = rf"(?:{_NUMBER}|\( ?-? ?{_NUMBER}(?: ?/ ?{_NUMBER})? ?\)|[A-Za-z](?: ?\*\* ?\d{{1,2}})?)"
_TERM = rf"{_FACTOR}(?: ?\* ?{_FACTOR}| ?/ ?{_NUMBER})*"
_POLYNOMIAL = re.compile(rf"(?=.{{1,300}}\Z)[+-]? ?{_TERM}(?: ?[+-] ?-?{_TERM})*")
#: The form an answer must have before a task's rules read it; anything else is wrong. These rules
#: would parse any text with sympy, or calculate without a limit.
_FORMS = {
    "coin_flip": re.compile(rf"{_NUMBER}(?: ?/ ?{_NUMBER}|[eE]-?\d{{1,2}})?"),
    "complex_arithmetic": re.compile(r"[\d .+\-ijIJ()]{1,200}"),
    "countdown": _CALCULATION,
    "polynomial_multiplication": _POLYNOMIAL,
    # Other letters would not be checked, and each doubles the work.
    "propositional_logic": re.compile(r"[A-Z()¬∧∨→↔ ]{1,300}"),
    "puzzle24": _CALCULATION,
    # A count after a move is carried out, however large it is.
    "rubiks_cube": re.compile(r"(?=.{1,400}\Z)(?:[A-Za-z]w?[23']?(?:\s+|\Z))+"),
    "rush_hour": re.compile(r"(?=.{1,400}\Z)(?:[A-Z][+-]\d{1,2}(?:\s+|\Z))+"),
    "simple_integration": _POLYNOMIAL,
}


class ReasoningGym(dspy.Signature):
    """Solve the puzzle. Give the answer alone, in the form that the question asks for."""

    question: str = dspy.InputField(desc="a puzzle that says what form its answer must have")
    answer: str = dspy.OutputField(desc="the final answer in that form, with nothing beside it")


class Item(TypedDict):
    """A question as reasoning-gym makes it."""

    question: str
    answer: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Lines(TextKind):
    """Text of several lines, such as a grid."""

    several_lines = True


def names() -> list[str]:
    """Return the names of all tasks.

    Raises:
        MissingExtra: reasoning-gym is not installed.
    """
    return sorted(set(_factory().DATASETS) - set(REFUSED))


def program(name: str = "") -> dspy.Module:
    """Return `dspy.ChainOfThought` with demos of the task, from items that are in no split.

    The mixture's demos come from its first tasks. Tasks without gold answers have no demos.
    """
    parts = {name: DEMOS} if name else dict.fromkeys(MIXTURE[:DEMOS], 1)
    items = [
        item
        for part, count in parts.items()
        for _, item in islice(_items(part, 0, "demos"), count)
        if item["answer"]
    ]
    signature = ReasoningGym
    if any("\n" in (item["answer"] or "").strip() for item in items):
        signature = signature.with_updated_fields("answer", type_=Annotated[str, Lines()])
    demos = [dspy.Example(question=item["question"], answer=item["answer"]) for item in items]
    return chain_of_thought(signature, demos)


def examples(
    split: Split | None = None, *, name: str = "", seed: int = 0, limit: int | None = None
) -> list[dspy.Example]:
    """Return the items of a split.

    Each has the input `question`, the gold `answer` (None if a task has none to show),
    `question_id` and `task`. A hash of the question decides its split, so no question is in two
    splits or also a demo, and none occurs twice. Tasks with few different questions have fewer
    than `SIZES`. Another `seed` makes other items. In the mixture the tasks take turns.

    Raises:
        ConfigurationError: an unknown split, or a limit below 1.
    """
    sources.check(f"reasoning_gym:{name}" if name else "reasoning_gym", tuple(SIZES), split, limit)
    wanted = [split] if split is not None else list(SIZES)
    found = (
        example for part in wanted for example in islice(_examples(name, part, seed), SIZES[part])
    )
    return list(islice(found, limit))


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Return whether the task gives `pred.answer` full marks, as it stands or unwrapped."""
    answer = getattr(pred, "answer", None)
    if not isinstance(answer, str) or not answer.strip() or len(answer) > _LONGEST:
        return False
    name, seed, at = example.origin
    readings = dict.fromkeys([answer.strip(), TextKind().extract(answer) or ""])
    return any(_is_right(name, seed, _item(name, seed, at), reading) for reading in readings)


def task(file: Path | None = None, name: str = "") -> Task:
    """Return one of reasoning-gym's tasks; without a name the mixture.

    Raises:
        ConfigurationError: an unknown or refused name, or a file.
        MissingExtra: reasoning-gym is not installed.
    """
    takes_no_file("reasoning_gym", file)
    if name in REFUSED:
        raise ConfigurationError(f"reasoning-gym's {name!r} is refused: {REFUSED[name]}.")
    if name and name not in names():
        close = get_close_matches(name, names(), n=3)
        advice = f"did you mean {', '.join(close)}" if close else f"try {', '.join(MIXTURE)}"
        raise ConfigurationError(
            f"reasoning-gym has no task {name!r}: {advice}; its page lists all."
        )
    _factory()
    title = f"reasoning_gym:{name}" if name else "reasoning_gym"
    make: Callable[..., list[dspy.Example]] = partial(examples, name=name)
    return Task(title, partial(program, name), make, metric, context=None if name else "task")


def _is_right(name: str, seed: int, entry: Item, answer: str) -> bool:
    gold = entry["answer"]
    if gold is not None and unwrap(answer) == unwrap(gold):
        return True
    if name in _AS_TEXT:
        return answer in entry["metadata"].get("valid_answers", ())
    if name in _FORMS and not _FORMS[name].fullmatch(answer):
        return False
    try:
        return float(_dataset(name, seed).score_answer(answer, entry)) >= 1
    except Exception as error:  # noqa: BLE001  (the task's own rules, on an unexpected text)
        logger.warning(
            "reasoning_gym:%s could not score %.80r (%s): it counts as wrong.",
            name,
            answer,
            type(error).__name__,
        )
        return False


def _examples(name: str, split: str, seed: int) -> Iterator[dspy.Example]:
    parts = [name] if name else MIXTURE
    for turn in zip(*(_items(part, seed, split) for part in parts), strict=False):
        for part, (at, item) in zip(parts, turn, strict=True):
            yield dspy.Example(
                question=item["question"],
                answer=item["answer"],
                question_id=f"{part}-{seed}-{at}",
                task=part,
                origin=(part, seed, at),
            ).with_inputs("question")


def _items(name: str, seed: int, split: str) -> Iterator[tuple[int, Item]]:
    """Yield the numbers and items of a split or of "demos", each question once."""
    asked: set[str] = set()
    for at in range(_GENERATED):
        item = _item(name, seed, at)
        if _find_split(item["question"]) == split and item["question"] not in asked:
            asked.add(item["question"])
            yield at, item


def _find_split(question: str) -> str:
    place = hashlib.sha256(question.encode()).digest()[0] % 16
    for split, share in _SHARES.items():
        if place < share:
            return split
        place -= share
    return "demos"


@lru_cache(maxsize=4096)
def _item(name: str, seed: int, at: int) -> Item:
    item: Item = _dataset(name, seed)[at]
    return item


@lru_cache(maxsize=128)
def _dataset(name: str, seed: int) -> Any:
    # reasoning-gym's items overlap between neighbouring seeds, so ours are far apart.
    return _factory().create_dataset(name, seed=seed * 100_003 % 2**31, size=_GENERATED)


def _factory() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise MissingExtra(
            "reasoning-gym, which makes these questions, is not installed: "
            "pip install 'dspy-mux[reasoning]'."
        ) from error
    return reasoning_gym.factory
