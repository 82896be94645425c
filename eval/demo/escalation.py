"""`python -m eval escalation`: the two smallest models, and a larger one for what they doubt.

The threshold is chosen on the validation split. The test split is asked live, through
`SLMMux(threshold=…, otherwise="escalate", escalate=…)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
from rich.console import Console

from dspy_mux import Member, SLMMux
from dspy_mux.cli.output import print_json
from dspy_mux.local import local_member
from dspy_mux.replay.intervals import Estimate, accuracy, paired_difference
from dspy_mux.replay.threshold import ASSUMPTION, Certified, Goal
from programs import everyday

from ..compare.draw import Drawn, draw_all, grouped_by
from ..compare.escalated import certified, halves
from ..compare.pools import MAX_TOKENS, MEMBERS
from ..tables.text import Shown, points, show

#: The pool, and the model that is asked where the pool's answer is not trusted.
SMALL, LARGE = MEMBERS[:2], MEMBERS[2]


@dataclass(frozen=True)
class EscalationDemo:
    """What `python -m eval escalation` is asked for.

    Attributes:
        limit: test questions, balanced over the categories; None for all.
        seed: of the halves of the validation split.
    """

    goal: Goal
    limit: int | None
    seed: int
    as_json: bool
    as_markdown: bool
    accept_license: bool


@dataclass(frozen=True)
class Way:
    """How members draw, and the rules that decide over the small pool and over all three."""

    name: str
    k: int
    temperature: float
    small_rule: str
    rule: str


#: Pooled votes of two members have more levels of confidence than each member's own. The last is
#: greedy.
WAYS = (
    Way("3 draws each", 3, 0.5, "pooled", "consistency"),
    Way("1 greedy draw each", 1, 0.0, "probability", "probability"),
)


@dataclass(frozen=True)
class Row:
    """A method's answers to the test questions.

    Attributes:
        right: 1 or 0 for each.
        small, large: calls of the small models and of the larger one, a question.
    """

    name: str
    right: Sequence[float]
    small: float
    large: float

    @property
    def accuracy(self) -> Estimate:
        return accuracy(self.right)

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self.accuracy),
            "small_calls_per_question": self.small,
            "large_calls_per_question": self.large,
        }


@dataclass(frozen=True)
class Measured:
    """One way: its threshold and its rows.

    Attributes:
        wrong: of the answers at or above the threshold, on the test split.
        pool, three: the small pool alone, and all three models together.
        escalated: None where nothing is promised, so that every question would go.
        own: whether the larger model's most frequent answer is right.
    """

    way: Way
    certified: Certified
    wrong: Estimate | None
    pool: Row
    escalated: Row | None
    three: Row
    own: Sequence[float]

    @property
    def rows(self) -> list[Row]:
        return [row for row in (self.pool, self.escalated, self.three) if row is not None]


def run(options: EscalationDemo) -> None:
    """Choose the thresholds, ask the test split live, and print accuracies and calls."""
    console = Console(stderr=True)
    members = {
        name: local_member(name, max_tokens=MAX_TOKENS, accept_license=options.accept_license)
        for name in MEMBERS
    }
    asked = _Asked(
        members,
        grouped_by(everyday.examples("validation"), "category"),
        grouped_by(everyday.examples("test", limit=options.limit), "category"),
        console,
    )
    measured = [_measure(way, asked, options) for way in WAYS]
    # Its greedy draws are those of all three together.
    large = Row(f"{LARGE} alone, 1 greedy draw", measured[-1].own, 0.0, 1.0)
    if options.as_json:
        print_json(_as_dict(measured, large, options))
    else:
        show(_tables(measured, large), _notes(measured), as_markdown=options.as_markdown)


@dataclass(frozen=True)
class _Asked:
    """The members, and the questions they are asked."""

    members: Mapping[str, Member]
    validation: Sequence[dspy.Example]
    test: Sequence[dspy.Example]
    console: Console

    def draw(self, mux: SLMMux, examples: Sequence[dspy.Example], title: str) -> list[Drawn]:
        return draw_all(mux, examples, everyday.metric, title=title, console=self.console)


def _measure(way: Way, asked: _Asked, options: EscalationDemo) -> Measured:
    small = {name: asked.members[name] for name in SMALL}
    drawing: dict[str, Any] = {"k": way.k, "temperature": way.temperature}
    pool = SLMMux(everyday.program(), small, rule=way.small_rule, **drawing)
    judged = [
        (None if each.verdict is None else each.verdict.confidence, each.right)
        for each in asked.draw(pool, asked.validation, f"{way.name}: the threshold")
    ]
    found = certified(judged, halves(len(judged), options.seed), options.goal)
    three = SLMMux(everyday.program(), dict(asked.members), rule=way.rule, **drawing)
    known = asked.draw(three, asked.validation, f"{way.name}: the members")
    accuracies = {
        name: accuracy([float(each.plurality(name)) for each in known]).mean for name in MEMBERS
    }
    three = SLMMux(
        everyday.program(),
        dict(asked.members),
        rule=way.rule,
        accuracies=accuracies,
        **drawing,
    )
    if found.threshold is None:
        answering = pool
    else:
        answering = SLMMux(
            everyday.program(),
            small,
            rule=way.small_rule,
            threshold=found.threshold,
            otherwise="escalate",
            escalate=asked.members[LARGE],
            **drawing,
        )
    live = asked.draw(answering, asked.test, f"{way.name}: the test split")
    together = asked.draw(three, asked.test, f"{way.name}: all three")
    calls, sent = float(way.k * len(SMALL)), [_went(each) for each in live]
    share = sum(sent) / len(sent)
    kept = [1 - own for own, gone in zip(_pool_right(live), sent, strict=True) if not gone]
    return Measured(
        way,
        found,
        accuracy(kept) if kept and found.threshold is not None else None,
        Row(f"two smallest, {way.small_rule}, {way.name}", _pool_right(live), calls, 0.0),
        None
        if found.threshold is None
        else Row(f"two smallest + {LARGE} on {100 * share:.1f} %", _right(live), calls, share),
        Row(f"all three, {way.rule}, {way.name}", _right(together), calls, float(way.k)),
        [float(each.plurality(LARGE)) for each in together],
    )


def _right(drawn: Sequence[Drawn]) -> list[float]:
    return [float(each.right) for each in drawn]


def _pool_right(drawn: Sequence[Drawn]) -> list[float]:
    """Return whether the pool's own answer is right, whoever answered in its place."""
    return [
        float(
            each.verdict is not None
            and any(group == each.verdict.group for _, group in each.correct)
        )
        for each in drawn
    ]


def _went(drawn: Drawn) -> bool:
    """Whether the larger model was asked, in vain or not."""
    verdict = drawn.verdict
    return verdict is not None and (verdict.escalated or verdict.escalation_cause is not None)


def _gaps(measured: Measured, large: Row) -> dict[str, Estimate]:
    """Return the paired differences of the escalating pool's accuracy from the others'."""
    if measured.escalated is None:
        return {}
    others = {"all three": measured.three, f"{LARGE} alone": large, "the pool": measured.pool}
    return {
        name: paired_difference(measured.escalated.right, row.right) for name, row in others.items()
    }


def _tables(measured: Sequence[Measured], large: Row) -> list[Shown]:
    rows = [
        [
            row.name,
            row.accuracy.percent(),
            row.accuracy.interval(),
            f"{row.small:.1f}",
            f"{row.large:.2f}",
        ]
        for row in (*(row for each in measured for row in each.rows), large)
    ]
    gaps = [
        [f"{each.way.name} − {name}", points(gap.mean, gap.low, gap.high)]
        for each in measured
        for name, gap in _gaps(each, large).items()
    ]
    tables = [
        Shown(
            f"Everyday questions, test split, n = {len(large.right)}",
            (
                "method",
                "accuracy %",
                "interval, 95 %",
                "calls of small models",
                f"calls of {LARGE}",
            ),
            rows,
        )
    ]
    if gaps:
        title = f"Two smallest + {LARGE}: paired differences"
        tables.append(Shown(title, ("of", "points (95 % interval)"), gaps))
    return tables


def _notes(measured: Sequence[Measured]) -> list[str]:
    notes = []
    for each in measured:
        if each.wrong is None:
            notes.append(f"{each.way.name}: {each.certified.reason}")
            continue
        notes.append(
            f"{each.way.name}: at confidence {each.certified.threshold:.6g} or more, "
            f"{each.certified.goal}, {ASSUMPTION}. On the test split {each.wrong.percent()} % of "
            f"{each.wrong.n} such answers are wrong ({each.wrong.interval()})."
        )
    return [
        *notes,
        "The threshold is chosen on the validation split: one half declares thresholds, the other "
        "says which keeps the promise. Calls are a question's.",
    ]


def _as_dict(measured: Sequence[Measured], large: Row, options: EscalationDemo) -> dict[str, Any]:
    return {
        "questions": len(large.right),
        "max_risk": options.goal.max_risk,
        "confidence": options.goal.confidence,
        "large_alone": large.as_dict(),
        "ways": {
            each.way.name: {
                "threshold": each.certified.threshold,
                "labels": each.certified.labels,
                "wrong_above_threshold": None if each.wrong is None else vars(each.wrong),
                "pool": each.pool.as_dict(),
                "escalated": None if each.escalated is None else each.escalated.as_dict(),
                "all_three": each.three.as_dict(),
                "escalated_minus": {name: vars(gap) for name, gap in _gaps(each, large).items()},
            }
            for each in measured
        },
    }
