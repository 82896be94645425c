"""A corpus of answers that graders and parsers got wrong, and of real models' outputs.

Each `*.jsonl` here holds the cases of one kind of answer, one object a line:

- to read: `text`, `type`, and `value`, or `"ABSTAIN"` where a careful person would not be sure;
- to compare: `a`, `b`, `type`, and `same`;
- `source`: where the case comes from, as repository and number, such as `openai/evals#123`, or the
  data set or model; `note` says why, where it is not plain.

`type` is a name of `TYPES` or a `Literal[…]`. `python -m tests.answers.corpus` prints the score.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from dspy_mux.answers import AnswerKind, MathAnswer, Percent, answer_kind

ABSTAIN = "ABSTAIN"
HERE = Path(__file__).parent
TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "Decimal": Decimal,
    "Fraction": Fraction,
    "Percent": Percent,
    "bool": bool,
    "MathAnswer": MathAnswer,
    "Optional[int]": int | None,
    "Optional[float]": float | None,
    "Optional[str]": str | None,
    "Optional[bool]": bool | None,
    "list[str]": list[str],
    "list[int]": list[int],
    "list[float]": list[float],
    "dict[str, int]": dict[str, int],
    "dict[str, str]": dict[str, str],
}


@dataclass(frozen=True)
class Case:
    """One case: a text to read, or two answers to compare."""

    where: str
    type: str
    source: str
    text: str | None = None
    value: Any = None
    pair: tuple[str, str] | None = None
    same: bool | None = None

    @property
    def kind(self) -> AnswerKind:
        return answer_kind(read_type(self.type))

    @property
    def abstains(self) -> bool:
        return self.pair is None and self.value == ABSTAIN

    def outcome(self) -> str:
        """Return "right", "wrong" (another value, or a made-up one) or "missed" (an abstention)."""
        kind = self.kind
        if self.pair is not None:
            said = kind.same(*self.pair)
            if said == self.same:
                return "right"
            return "wrong" if said else "missed"
        assert self.text is not None
        found = kind.extract(self.text)
        key = kind.key(found)
        if self.abstains:
            return "right" if key is None else "wrong"
        if key is None:
            return "missed"
        return "right" if kind.same(found, self.value) else "wrong"


def read_type(written: str) -> Any:
    """Return the annotation that a case names."""
    if written.startswith("Literal[") and written.endswith("]"):
        options = ast.literal_eval(f"({written[len('Literal[') : -1]},)")
        return Literal[options]
    return TYPES[written]


def cases(folder: Path = HERE) -> Iterator[Case]:
    """Yield every case of the corpus, file by file."""
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            row = json.loads(line)
            pair = (row["a"], row["b"]) if "a" in row else None
            where = f"{path.stem}:{number}"
            yield Case(
                where, row["type"], row["source"], row.get("text"), row.get("value"), pair,
                row.get("same"),
            )  # fmt: skip
