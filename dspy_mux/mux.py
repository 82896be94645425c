"""SLMMux: a pool of language models that answers as one DSPy module (SLM-MUX, ICLR 2026)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import dspy
from typing_extensions import Unpack

from .ensemble import Ensemble, Rounds, Shared
from .errors import ConfigurationError
from .members import Pool
from .sampling import Draw
from .voting import GivenInputs, Rule, rule_of


class SLMMux(Ensemble):
    """Ask every member k times on its own, and trust the most self-consistent one.

        mux = SLMMux("question -> answer: float", lms=[lm_a, lm_b, lm_c], k=3)
        pred = mux(question="…")
        pred.answer, pred.verdict.member, pred.verdict.confidence

    The prediction is the winning draw's, with all its fields, and a `verdict` (`dspy_mux.Verdict`) that tells every member's
    ballot and what the question cost. Members never see each other's text.

    Args:
        program: a signature (string or class; wrapped in `dspy.ChainOfThought`) or any `dspy.Module`, of several steps too. Each
            member gets its own deep copy, so optimizers can give each its own instructions and demos.
        lms: the pool: a list of `dspy.LM` or `Member`, or a dict of name → either. Its order is the last tie-break.
        k: draws per member.
        temperature: of the draws; the paper uses 0.3.
        rule: "consistency" (the paper's), "pooled", "self_consistency", or an object with `name` and `choose(ballots)`.
        answer_field: the output field that is compared; `answer` where there is one, else the last output field.
        equivalence: when two answers are the same: None for the field's type (`answers.py`), an `AnswerKind`, a type such as
            `MathAnswer`, a key function of one answer, or a function of two answers.
        accuracies: member name → accuracy in [0, 1] on a validation split; breaks ties between equally consistent members.
        adapter: the DSPy adapter of members that name none; by default the configured one, else DSPy's without its JSON retry.
        extract: "lm" to ask the same member once more, at temperature 0, for the answer in a response where no rule finds it.
        timeout: seconds one draw may take before it abstains.
        num_threads: draws in flight at once for one question; None for all of them.

    Raises:
        ConfigurationError: at construction, for anything that could not work or would fake its confidence.
        AllMembersFailed: on a call, when no member produced an answer; it names each member's causes.
    """

    method: ClassVar[str] = "slm_mux"

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        k: int = 3,
        temperature: float = 0.3,
        rule: str | Rule = "consistency",
        **shared: Unpack[Shared],
    ):
        super().__init__(program, lms, k=k, temperature=temperature, rule=rule_of(rule), **shared)

    @property
    def rule(self) -> Rule:
        rule = self.pool.rule
        assert rule is not None  # every SLMMux is built with one
        return rule

    def subset(self, names: Sequence[str]) -> SLMMux:
        """A deep copy with these members alone, in this order; accuracies stay with them.

        Raises:
            ConfigurationError: no name, one named twice, or one that is no member.
        """
        unknown = [name for name in names if name not in self.pool.names]
        if unknown or not names or len(set(names)) != len(names):
            raise ConfigurationError(
                f"A subset names each of its members once, out of {', '.join(self.pool.names)}; not {list(names)}."
            )
        where = [self.pool.names.index(name) for name in names]
        copy = self.deepcopy()
        copy.programs = [copy.programs[at] for at in where]
        copy.pool.members = [copy.pool.members[at] for at in where]
        copy.pool.accuracies = {name: value for name, value in self.accuracies.items() if name in names}
        return copy

    def _rounds(self, inputs: Mapping[str, Any]) -> Rounds:
        self._refuse_own_lms()
        draws = [self.draw(at, number, inputs) for at, member in enumerate(self.members) for number in range(member.k or 1)]
        yield draws
        return self._decide(draws, inputs)

    def _decide(self, draws: Sequence[Draw], inputs: Mapping[str, Any]) -> dspy.Prediction:
        classes = self._classes(draws)
        ballots = self._ballots(draws, classes)
        # A rule may weigh by a category, which is one of the inputs.
        rule = self.rule.given(inputs) if isinstance(self.rule, GivenInputs) else self.rule
        choice = rule.choose(ballots)
        if choice is None:
            raise self._all_failed(draws, f"the rule {self.rule.name!r}")
        name = self.pool.names[choice.ballot]
        winner = next((d for d, c in zip(draws, classes, strict=True) if d.member.label == name and c == choice.answer), None)
        if winner is None or winner.prediction is None:
            raise ConfigurationError(f"The rule {self.rule.name!r} chose an answer that member {name!r} never drew.")
        return self._conclude(
            winner,
            decided_by=self.rule.name,
            confidence=choice.confidence,
            tie_break=choice.tie_break,
            ballots=ballots,
            cast=list(zip(draws, classes, strict=True)),
            spent=draws,
        )
