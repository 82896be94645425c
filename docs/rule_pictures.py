"""Draw what each rule decides on one and the same draws, in docs/images/rule_*.svg.

    python docs/rule_pictures.py

The rules are the library's own; tests/docs/test_rule_pictures.py holds that the files are these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dspy_mux.voting.ballot import Ballot, Choice, Rule, choice_of
from dspy_mux.voting.calibrated import Calibrated
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.evidence import Evidence
from dspy_mux.voting.probability import Probability
from dspy_mux.voting.probability_sums import probability_sums
from dspy_mux.voting.rules import Consistency, Pooled, SelfConsistencyRule
from dspy_mux.voting.tally import Tally

IMAGES = Path(__file__).parent / "images"


class Drawn(NamedTuple):
    member: str
    accuracy: float
    answers: tuple[int | None, ...]
    probabilities: tuple[float | None, ...]


DRAWS = (
    Drawn("a", 0.55, (4, 4, 4), (0.45, 0.45, 0.45)),
    Drawn("b", 0.68, (5, 5, None), (0.12, 0.12, None)),
    Drawn("c", 0.82, (5, 5, 7), (0.35, 0.35, 0.55)),
)


def ballots() -> list[Ballot]:
    return [
        Ballot(
            drawn.member,
            drawn.answers,
            drawn.accuracy,
            evidence=tuple(
                None if p is None else Evidence(answer_logprob=math.log(p), answer_tokens=1)
                for p in drawn.probabilities
            ),
        )
        for drawn in DRAWS
    ]


def learned() -> Calibrated:
    """Fit on made-up labels that agree with the accuracies in `DRAWS`.

    a repeats itself whether it is right or wrong; b and c slip in one draw of four.
    """
    random = np.random.default_rng(4)
    questions = 300
    right = random.random((questions, 3)) < [0.55, 0.7, 0.9]
    wrong = random.integers(1, 9, (questions, 3, 3))
    wrong[:, 0] = wrong[:, 0, :1]
    slips = random.random((questions, 3, 3)) < [[0.0], [0.25], [0.25]]
    votes = np.where(right[:, :, None] ^ slips, 0, wrong)
    return fit(Training(Tally(votes), (votes == 0).astype(float), ("a", "b", "c")))


class Shown(NamedTuple):
    """A rule's picture.

    Attributes:
        notes: what the rule reads of each member.
        sums: what it makes of that, before it chooses.
    """

    notes: list[str]
    sums: str


def by_share(ballots: Sequence[Ballot], choice: Choice) -> Shown:
    notes = [f"{ballot.plurality}: {ballot.most} of {ballot.k}" for ballot in ballots]
    return Shown(notes, "the highest share of a member's draws")


def by_best(ballots: Sequence[Ballot], choice: Choice) -> Shown:
    notes = by_share(ballots, choice).notes
    notes = [note if at == choice.ballot else "not read" for at, note in enumerate(notes)]
    return Shown(notes, "the most accurate member alone")


def by_votes(ballots: Sequence[Ballot], choice: Choice) -> Shown:
    notes = [
        ", ".join(f"{answer}: {count}" for answer, count in ballot.counts.items())
        for ballot in ballots
    ]
    pool = Counter(vote for ballot in ballots for vote in ballot.votes if vote is not None)
    return Shown(notes, "added up  " + ",  ".join(f"{at}: {pool[at]}" for at in sorted(pool)))


def by_probability(ballots: Sequence[Ballot], choice: Choice) -> Shown:
    sums = probability_sums(Tally.of(ballots), ())
    answers = [int(answer) for answer in sums.answers.answer]
    notes = [
        ", ".join(
            f"{answer}: {row[at]:.2f}"
            for answer, row in zip(answers, sums.by_member, strict=True)
            if answer in ballot.counts
        )
        for at, ballot in enumerate(ballots)
    ]
    total = dict(zip(answers, sums.total, strict=True))
    return Shown(notes, "added up  " + ",  ".join(f"{at}: {total[at]:.2f}" for at in sorted(total)))


def by_labels(ballots: Sequence[Ballot], choice: Choice) -> Shown:
    rule = learned()
    ratios = [math.exp(rule.log_likelihoods[at][ballot.most]) for at, ballot in enumerate(ballots)]
    notes = [
        f"{ballot.plurality}: {ballot.most} of {ballot.k}, × {ratio:.1f}"
        for ballot, ratio in zip(ballots, ratios, strict=True)
    ]
    return Shown(notes, f"weights from {rule.trained_on} labelled questions")


PICTURES: dict[str, tuple[Rule, Callable[[Sequence[Ballot], Choice], Shown]]] = {
    "consistency": (Consistency(), by_share),
    "pooled": (Pooled(), by_votes),
    "self_consistency": (SelfConsistencyRule(), by_best),
    "probability": (Probability(), by_probability),
    "calibrated": (learned(), by_labels),
}

#: A card of its own colours: it is read on any page, light or dark.
STYLE = """
  .card { fill: #ffffff; stroke: #b8c4c4; } .draw { fill: #eef2f2; stroke: #b8c4c4; }
  .won { fill: #00796b; stroke: #00796b; } text { fill: #1f2a2a; font: 15px sans-serif; }
  .small { font-size: 13px; fill: #55656a; } .on { fill: #ffffff; font-weight: bold; }
  .result { font-weight: bold; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1d2426; stroke: #4a5a5e; } .draw { fill: #2b3538; stroke: #4a5a5e; }
    .won { fill: #26a69a; stroke: #26a69a; } text { fill: #e6eeee; }
    .small { fill: #aebcc0; } .on { fill: #06231f; }
  }
"""


def text(x: int, y: int, words: str, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{kind}>{escape(words, quote=False)}</text>'


def draw(x: int, y: int, answer: int | None, *, won: bool) -> list[str]:
    box = (
        f'<rect x="{x}" y="{y}" width="30" height="28" rx="5" class="{"won" if won else "draw"}"/>'
    )
    return [box, text(x + 11, y + 20, "–" if answer is None else str(answer), "on" if won else "")]


def picture(name: str) -> str:
    """Return the SVG of what a rule decides."""
    rule, show = PICTURES[name]
    given = ballots()
    choice = choice_of(rule, given)
    assert choice is not None
    shown = show(given, choice)
    lines = []
    for row, ballot in enumerate(given):
        y = 14 + 40 * row
        lines.append(text(14, y + 13, ballot.member))
        lines.append(text(14, y + 28, f"{ballot.accuracy:.0%} right", "small"))
        read = shown.notes[row] != "not read"
        for at, vote in enumerate(ballot.votes):
            lines += draw(88 + 36 * at, y, vote, won=read and vote == choice.answer)
        lines.append(text(206, y + 19, shown.notes[row], "small"))
    member = given[choice.ballot].member
    sure = f"{choice.confidence:.0%}" if choice.calibrated else f"{choice.confidence:.2f}"
    lines.append(text(14, 151, shown.sums, "small"))
    lines.append(
        text(14, 176, f"→ {choice.answer}, by member {member}, confidence {sure}", "result")
    )
    title = f"The rule {name} chooses {choice.answer}, by member {member}."
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 192" width="360" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<rect x="0.5" y="0.5" width="359" height="191" rx="8" class="card"/>',
            *lines,
            "</svg>\n",
        ]
    )


def main() -> None:
    for name in PICTURES:
        (IMAGES / f"rule_{name}.svg").write_text(picture(name), "utf-8")


if __name__ == "__main__":
    main()
