"""A small bank of recorded draws, whose right table can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: member → its answers' first letters to the questions of a block, one a draw; R is right, other
#: letters are wrong answers, - none.
BLOCK = (
    {"steady": "RRR", "twin": "RRR", "other": "XYZ"},
    {"steady": "RRR", "twin": "RRR", "other": "XY-"},
    {"steady": "RRX", "twin": "RRX", "other": "XYZ"},
    {"steady": "XYZ", "twin": "XYZ", "other": "RRR"},
    {"steady": "XYX", "twin": "ZYZ", "other": "RRR"},
)


def rows(blocks: int = 8, dataset: str = "hand", **more: Any) -> list[dict[str, Any]]:
    """The block over and over, each time as other questions; the first half of the blocks is the
    split "val", the rest "test"."""
    return [
        {
            "dataset": dataset,
            "question_id": f"{dataset}-{block}-{at}",
            "split": "val" if block < blocks // 2 else "test",
            "model": model,
            "draw": draw,
            "answer": "" if letter == "-" else letter,
            "gold": "R",
            "correct": letter == "R",
            **more,
        }
        for block in range(blocks)
        for at, question in enumerate(BLOCK)
        for model, letters in question.items()
        for draw, letter in enumerate(letters)
    ]


def written(path: Path, *parts: list[dict[str, Any]]) -> Path:
    path.write_text(
        "".join(json.dumps(row) + "\n" for part in parts for row in part), encoding="utf-8"
    )
    return path
