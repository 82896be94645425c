"""What becomes of an answer whose confidence is too low: flagged, kept back, or asked elsewhere.

The pool's answer is trusted where its confidence reaches the mux's threshold. What that promises
depends on where the threshold comes from: `dspy_mux.risk` finds one on labelled questions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, NoReturn, TypeAlias, Union, get_args, get_origin

import dspy

from ..errors import ConfigurationError
from ..sampling.members import Member
from ..voting.ballot import Ballot, Frugal
from ..voting.early_stopping import EarlyStopping
from ..voting.verdict import NotTrusted
from .prediction import with_verdict
from .program import answer_field_of, as_module, copy_for_a_member
from .rollout import PoolLM
from .saved import Otherwise

#: What answers in the pool's place: another LM with the same program, or a program with its own.
Escalate: TypeAlias = dspy.BaseLM | Member | dspy.Module


class _NoLM(PoolLM):
    """Stands where a program that is escalated to has no LM; one that asks none never meets it."""

    def __call__(self, *args: Any, **settings: Any) -> NoReturn:
        raise ConfigurationError(
            "The program in escalate= has no LM: give it one, program.set_lm(lm), or configure "
            "one for all, dspy.configure(lm=…)."
        )

    acall = __call__


@dataclasses.dataclass(frozen=True)
class Escalation:
    """What answers in the pool's place.

    Not a `dspy.Module`, so that DSPy's optimizers do not count it among the pool's predictors.

    Attributes:
        name: of the member that the answer is credited to.
        program: it runs.
        member: whose LM it runs with; None for the LMs of its own.
    """

    name: str
    program: dspy.Module
    member: Member | None

    def __deepcopy__(self, memo: dict[int, object]) -> Escalation:
        return dataclasses.replace(self, program=self.program.deepcopy())

    def drawn_from(self) -> Member:
        """Return the member to draw from; its LM is the program's, which may be a whole pool."""
        if self.member is not None:
            return self.member
        own = (one.lm for one in self.program.predictors() if one.lm)
        lm = next(own, None) or dspy.settings.lm or _NoLM([self.name])
        return Member(lm, name=self.name, temperature=0.0, k=1)


def check_trust(threshold: object, otherwise: object, escalate: object) -> None:
    """Check the arguments of a mux.

    Raises:
        ConfigurationError: one cannot work, or not with the others.
    """
    if threshold is not None:
        is_number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
        if not is_number or not 0 <= threshold <= 1:  # type: ignore[operator]
            raise ConfigurationError(
                f"threshold must be a confidence between 0 and 1, or None, not {threshold!r}."
            )
    if otherwise not in get_args(Otherwise):
        raise ConfigurationError(
            f"otherwise must be one of {', '.join(get_args(Otherwise))}, not {otherwise!r}."
        )
    if otherwise != "flag" and threshold is None:
        raise ConfigurationError(
            f"otherwise={otherwise!r} is for answers below a threshold: pass one, such as the one "
            "that dspy-mux risk finds."
        )
    if (otherwise == "escalate") != (escalate is not None):
        raise ConfigurationError(
            "otherwise='escalate' and escalate= go together: pass both, or neither."
        )
    if escalate is not None and not isinstance(escalate, get_args(Escalate)):
        raise ConfigurationError(
            f"escalate must be a dspy.LM, a Member or a dspy.Module, not {type(escalate).__name__}."
        )


def escalation_of(
    escalate: Escalate | None,
    program: str | type[dspy.Signature] | dspy.Module,
    names: list[str],
) -> Escalation | None:
    """Return what answers in the pool's place.

    Args:
        program: that an LM or a member runs, without what optimizers teach the pool.
        names: of the pool's members.

    Raises:
        ConfigurationError: it is called as a member is.
    """
    if escalate is None:
        return None
    if isinstance(escalate, dspy.Module):
        return Escalation(type(escalate).__name__, escalate, None)
    member = escalate if isinstance(escalate, Member) else Member(escalate)
    member = member.filled(k=1, temperature=0.0, adapter=None)
    if member.label in names:
        raise ConfigurationError(
            f"The model in escalate= is called {member.label!r}, as a member of the pool is: name "
            "it apart with Member(lm, name=…)."
        )
    if member.k != 1:
        raise ConfigurationError(
            f"The model in escalate= is asked once, not k={member.k} times: leave its k out."
        )
    return Escalation(member.label, copy_for_a_member(as_module(program), len(names)), member)


def admits_none(annotation: object) -> bool:
    """Return whether a field of this type may be None.

    >>> admits_none(str | None), admits_none(str)
    (True, False)
    """
    if get_origin(annotation) is Annotated:
        return admits_none(get_args(annotation)[0])
    either = get_origin(annotation) in (Union, UnionType)
    return annotation is type(None) or (either and type(None) in get_args(annotation))


def kept_back(
    prediction: dspy.Prediction,
    program: dspy.Module,
    fields: Sequence[str],
    threshold: float | None,
) -> dspy.Prediction:
    """Return a prediction of a program without its answer, which is these fields.

    Raises:
        NotTrusted: one of them cannot be None.
    """
    types = [answer_field_of(program, field)[1] for field in fields]
    if not all(admits_none(getattr(field, "annotation", None)) for field in types):
        raise NotTrusted(prediction.verdict, threshold or 0.0)
    kept = with_verdict(prediction, prediction.verdict)
    for field in fields:
        kept[field] = None
    return kept


def is_kept_back(prediction: dspy.Prediction, fields: Sequence[str]) -> bool:
    """Return whether a mux's prediction has no answer, which is these fields, for want of trust."""
    verdict = prediction.verdict
    if verdict.trusted is not False or verdict.escalated:
        return False
    return all(prediction.get(field) is None for field in fields)


def draws_wanted(
    rule: Frugal, ballots: Sequence[Ballot], threshold: float | None
) -> list[tuple[int, int]]:
    """Return the next draws to make, as (position, count); none where drawing stops.

    Early stopping stops where its answer is trusted. The confidence of other rules counts draws
    that were not made, so that a threshold says nothing of when to stop.
    """
    if isinstance(rule, EarlyStopping):
        return rule.wants(ballots, threshold)
    return rule.wants(ballots)
