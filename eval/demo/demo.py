"""`python -m eval demo`: three tiny real models on everyday questions, alone and together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from dspy_mux import Rule, SLMMux
from dspy_mux.cli.output import percent, say, tables
from dspy_mux.layout import Table
from dspy_mux.local import local_member
from dspy_mux.replay.intervals import Estimate, accuracy, paired_difference
from dspy_mux.text import signed
from dspy_mux.voting.rules import Consistency, Pooled, SelfConsistencyRule
from programs import everyday

from ..compare.draw import Drawn, abstained, draw_all, grouped_by
from ..compare.pools import MAX_TOKENS, MEMBERS

#: The row of the greedy draws.
BY_PROBABILITY = "one greedy call each, by probability"


def run(*, k: int, temperature: float, limit: int, as_json: bool, accept_license: bool) -> None:
    """Draw once on validation and test, and print every rule's figures on the same draws."""
    console = Console(stderr=as_json)
    pool = [
        local_member(name, max_tokens=MAX_TOKENS, accept_license=accept_license) for name in MEMBERS
    ]
    mux = SLMMux(everyday.program(), pool, k=k, temperature=temperature)
    once = SLMMux(everyday.program(), pool, k=1, temperature=0.0, rule="probability")
    console.print(
        f"{', '.join(MEMBERS)}; k={k} draws each at temperature {temperature:g}, and one greedy "
        "draw each."
    )
    asked = grouped_by(everyday.examples("validation", limit=90), "category")
    validation = draw_all(mux, asked, everyday.metric, title="validation", console=console)
    asked = grouped_by(everyday.examples("test", limit=limit), "category")
    test = draw_all(mux, asked, everyday.metric, title="test      ", console=console)
    greedy = draw_all(once, asked, everyday.metric, title="greedy    ", console=console)
    accuracies = {name: accuracy([d.plurality(name) for d in validation]).mean for name in MEMBERS}
    report = _Report(test, greedy, accuracies, k)
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        report.print()


class _Report:
    """The test draws under every rule.

    Validation accuracies break ties and name the best member. The greedy draws are of the same
    questions, decided by probability, which needs no validation.
    """

    def __init__(
        self,
        test: Sequence[Drawn],
        greedy: Sequence[Drawn],
        accuracies: dict[str, float],
        k: int,
    ):
        self.test, self.accuracies, self.k = test, accuracies, k
        self.by_probability = [float(drawn.right) for drawn in greedy]
        self.best = max(accuracies, key=lambda name: accuracies[name])
        self.mux = self._scores(Consistency())
        self.best_alone = self._scores(SelfConsistencyRule(self.best))

    def rows(self) -> list[tuple[str, float, Estimate]]:
        """Return (method, LM calls per question, accuracy)."""
        calls = self.k * len(MEMBERS)
        return [
            *(
                (f"{name}, one draw", 1, accuracy([d.single_draws(name) for d in self.test]))
                for name in MEMBERS
            ),
            (f"self-consistency of the best, {self.best}", self.k, accuracy(self.best_alone)),
            ("Agent Forest", calls, accuracy(self._scores(Pooled()))),
            ("SLM-MUX", calls, accuracy(self.mux)),
            (BY_PROBABILITY, len(MEMBERS), accuracy(self.by_probability)),
            (
                "any member right (upper bound)",
                calls,
                accuracy([float(d.union(MEMBERS)) for d in self.test]),
            ),
        ]

    def gains(self) -> dict[str, Estimate]:
        """Return the paired differences that are shown."""
        return {
            "SLM-MUX − self-consistency of the best": paired_difference(self.mux, self.best_alone),
            f"{BY_PROBABILITY} − SLM-MUX": paired_difference(self.by_probability, self.mux),
        }

    def by_confidence(self) -> list[tuple[float, Estimate]]:
        """Return each confidence with the accuracy of its verdicts, from low to high."""
        groups: dict[float, list[float]] = {}
        for drawn in self.test:
            if choice := drawn.choice(Consistency(), self.accuracies):
                groups.setdefault(choice[1], []).append(float(choice[2]))
        return [(confidence, accuracy(groups[confidence])) for confidence in sorted(groups)]

    def wins(self) -> dict[str, float]:
        """Return the share of questions that each member's answer was chosen for."""
        winners = Counter(
            choice[0] for d in self.test if (choice := d.choice(Consistency(), self.accuracies))
        )
        return {name: winners[name] / len(self.test) for name in MEMBERS}

    def as_dict(self) -> dict[str, Any]:
        best, probability = self.gains().values()
        return {
            "questions": len(self.test),
            "validation_accuracies": self.accuracies,
            "methods": {
                method: {"calls_per_question": calls, **vars(estimate)}
                for method, calls, estimate in self.rows()
            },
            "slm_mux_minus_best": vars(best),
            "by_probability_minus_slm_mux": vars(probability),
            "accuracy_by_confidence": [
                {"confidence": c, **vars(estimate)} for c, estimate in self.by_confidence()
            ],
            "wins": self.wins(),
            "abstained": {name: abstained(self.test, name, self.k) for name in MEMBERS},
        }

    def print(self) -> None:
        rows = self.rows()
        tables(
            Table(
                f"Everyday questions, test split, n = {len(self.test)}",
                ("method", "calls a question", "accuracy %", "interval, 95 %", "n"),
                [
                    [name, str(calls), each.percent(), each.interval(), str(each.n)]
                    for name, calls, each in rows
                ],
                strong=[at for at, (name, _, _) in enumerate(rows) if name == "SLM-MUX"],
            )
        )
        for name, gain in self.gains().items():
            mean, low, high = (signed(100 * value) for value in (gain.mean, gain.low, gain.high))
            say(f"{name}: {mean} points (95 % interval {low} to {high}, paired, n = {gain.n})")
        say("")
        tables(
            Table(
                "SLM-MUX: accuracy by confidence",
                ("confidence", "accuracy %", "interval, 95 %", "n"),
                [
                    [f"{confidence:.2f}", each.percent(), each.interval(), str(each.n)]
                    for confidence, each in self.by_confidence()
                ],
                words=0,
            ),
            Table(
                f"Whose answer was chosen (n = {len(self.test)})",
                ("member", "share %", "validation accuracy %", "abstained %"),
                [
                    [
                        (name,),
                        percent(share),
                        percent(self.accuracies[name]),
                        percent(abstained(self.test, name, self.k)),
                    ]
                    for name, share in self.wins().items()
                ],
            ),
        )

    def _scores(self, rule: Rule) -> list[float]:
        """Return 1 or 0 per question; a question without an answer is wrong."""
        choices = [drawn.choice(rule, self.accuracies) for drawn in self.test]
        return [float(choice is not None and choice[2]) for choice in choices]
