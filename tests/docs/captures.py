"""The captures of docs/output.md: the files that they read, and how they are run again."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from ..support.rows import a_row, jsonl

PAGE = Path(__file__).parents[2] / "docs" / "output.md"
#: Member → how often it is right on the three kinds of questions.
SKILL = {
    "tiny-270m-it-q8_0": (0.75, 0.4, 0.35),
    "small-360m-instruct-q4_k_m": (0.4, 0.7, 0.45),
    "medium-1b-instruct-q4_k_m@0.5": (0.6, 0.6, 0.8),
    "large-8b-instruct": (0.9, 0.9, 0.95),
}
QUESTIONS, K = 240, 3
_FENCE = re.compile(r"```bash\n(.*?)\n```\n\n```text\n(.*?)\n```", re.DOTALL)


def captures() -> list[tuple[str, str]]:
    """Return the commands of the page, each with what it printed."""
    return _FENCE.findall(PAGE.read_text("utf-8"))


def as_printed(out: str) -> str:
    """Return an output without what differs between runs: seconds, and white space at the end."""
    out = re.sub(r"\d+\.\d\d s$", "0.01 s", out, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in out.strip().splitlines())


def fill() -> None:
    """Write the made-up draws, and a log of verdicts, into this folder."""
    rows = [
        _draw(question, member, draw)
        for question in range(QUESTIONS)
        for member in SKILL
        for draw in range(K)
        if (question, member) != (17, "small-360m-instruct-q4_k_m")
    ]
    jsonl(Path("draws.jsonl"), rows)
    Path("verdicts.jsonl").write_text("".join(json.dumps(_verdict(at)) + "\n" for at in range(90)))


def _draw(question: int, member: str, draw: int) -> dict:
    luck = random.Random(f"{question} {member} {draw}")
    hard = random.Random(f"{question} {member}").random() < 0.45  # of the question, not the draw
    right = luck.random() < SKILL[member][question % 3] - (0.4 if hard else -0.2)
    answer = "right" if right else luck.choice(["wrong", "worse", "bad", ""])
    split = "test" if question % 2 else "train"
    return a_row(f"q{question}", member, draw, answer, right, split=split)


def _verdict(at: int) -> dict:
    members = list(SKILL)[:3]
    luck = random.Random(f"verdict {at}")
    votes = [luck.choice([[0, 0, 0], [0, 1, 0], [0, 0, None]]) for _ in members]
    counts = [each.count(0) for each in votes]
    return {
        "at": f"2026-11-2{at % 7}T12:00:00Z",
        "rule": "consistency",
        "schedule": "full",
        "member": members[counts.index(max(counts))],
        "confidence": max(counts) / K,
        "trusted": None,
        "group": 0,
        "ballots": [
            {"member": name, "votes": own, "k": K} for name, own in zip(members, votes, strict=True)
        ],
    }
