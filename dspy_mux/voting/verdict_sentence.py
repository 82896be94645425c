"""A verdict as one plain sentence: who won, how its draws agreed, and how sure that makes it.

The rules' words are theirs: votes are counted, shares are shares, and a probability is one only
where a model gave it, or labels were fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .verdict_parts import MemberBallot
from .verdict_text import Decided, answer_line, confidence_text, pool_text, rule_text

#: What broke a tie, as a reason.
_TIES = {
    "accuracy": "validation accuracy decided",
    "pool order": "the order of the pool decided",
    "order drawn": "the one drawn first won",
}


def verdict_sentence(verdict: Decided, threshold: float | None = None) -> str:
    """Return what decided, in one sentence.

    Args:
        threshold: from which the mux trusts an answer; None if it has none.

    >>> import dspy
    >>> from dspy.utils import DummyLM
    >>> from dspy_mux import SLMMux
    >>> drawn = {"a": ["41", "42", "43"], "b": ["42", "42", "42"]}
    >>> lms = {name: DummyLM([{"answer": a} for a in answers]) for name, answers in drawn.items()}
    >>> mux = SLMMux(dspy.Predict("question -> answer"), lms, k=3)
    >>> print(verdict_sentence(mux(question="What is 6 * 7?").verdict))
    b won: 3 of its 3 draws agree; confidence 1.00 by the rule consistency.
    """
    name = answer_line(verdict.member)
    if verdict.escalated:
        return (
            f"{name} answered in place of the pool, {pool_text(verdict)}"
            f"{_below(verdict, threshold)}; no confidence is known of {name}'s own answer."
        )
    grounds = _GROUNDS.get(verdict.decided_by or verdict.rule, _by_draws)(verdict)
    meaning = ", the chance that it is right" if verdict.calibrated else ""
    return (
        f"{name} won: {grounds}; {confidence_text(verdict)} {rule_text(verdict)}{meaning}"
        f"{_trust(verdict, threshold)}."
    )


def _below(verdict: Decided, threshold: float | None) -> str:
    """Return the threshold that the pool's answer did not reach."""
    return "" if threshold is None or not verdict.confidence else f" (threshold {threshold:g})"


def _trust(verdict: Decided, threshold: float | None) -> str:
    if verdict.trusted is None:
        return ""
    at = "" if threshold is None else f" {threshold:g}"
    if verdict.trusted:
        return f", trusted: it reaches the threshold{at}"
    cause = verdict.escalation_cause
    asked = "" if cause is None else f"; the model asked in its place failed: {answer_line(cause)}"
    return f", not trusted: it is below the threshold{at}{asked}"


def _by_draws(verdict: Decided) -> str:
    """Return how many of the winner's draws gave the answer."""
    ballot = _winner(verdict)
    if ballot is None:
        return "it was chosen" + _tie(verdict)
    return _draws(ballot, verdict.group) + _tie(verdict)


def _by_consistency(verdict: Decided) -> str:
    """Return how the winner's draws agreed, and whose agreed as much."""
    ballot = _winner(verdict)
    if ballot is None or verdict.tie_break == "nothing":
        return _by_draws(verdict)
    tied = [
        other
        for other in verdict.ballots
        if other is not ballot and other.confidence == ballot.confidence
    ]
    rivals = [other for other in tied if not _says(other, verdict.group)]
    names = _names(rivals or tied)
    verb = "agrees" if len(rivals or tied) == 1 else "agree"
    with_whom = "on another answer" if rivals else "on the same answer"
    decided = f", and {_TIES[verdict.tie_break]}" if rivals else ""
    return f"{_draws(ballot, verdict.group)}; {names} {verb} as often {with_whom}{decided}"


def _by_pool(verdict: Decided) -> str:
    """Return how many draws of the whole pool gave the answer."""
    count = sum(
        one.count for each in verdict.ballots for one in each.answers if one.group == verdict.group
    )
    draws = sum(map(_k, verdict.ballots))
    given = "the only draw" if draws == 1 else f"{count} of all {draws} draws"
    return f"{given} gave its answer{_tie(verdict)}"


def _by_probability(verdict: Decided) -> str:
    """Return what was added up: the models' probabilities, or votes where there are none."""
    known = [one for ballot in verdict.ballots for one in ballot.probabilities]
    cast = sum(vote is not None for ballot in verdict.ballots for vote in ballot.votes)
    if not any(one is not None for one in known):
        grounds = "votes, as no model gave a probability"
    elif sum(one is not None for one in known) < cast:
        grounds = "the models' probabilities, and votes where there are none"
    else:
        grounds = "the models' probabilities, added up"
    if verdict.tie_break == "nothing":
        return f"its answer leads by {grounds}"
    return f"its answer shares the lead by {grounds}, and {_TIES[verdict.tie_break]}"


_GROUNDS: dict[str, Callable[[Decided], str]] = {
    "consistency": _by_consistency,
    "pooled": _by_pool,
    "probability": _by_probability,
}


def _draws(ballot: MemberBallot, group: int | None) -> str:
    count = next((one.count for one in ballot.answers if one.group == group), 0)
    k = _k(ballot)
    spared = f" ({ballot.spared} spared)" if ballot.spared else ""
    if k == 1:
        return "its one draw gave this answer"
    if count == 1:
        return f"1 of its {k} draws gave this answer{spared}"
    return f"{count} of its {k} draws agree{spared}"


def _k(ballot: MemberBallot) -> int:
    return len(ballot.votes) + ballot.spared


def _winner(verdict: Decided) -> MemberBallot | None:
    return next((each for each in verdict.ballots if each.member == verdict.member), None)


def _says(ballot: MemberBallot, group: int | None) -> bool:
    return bool(ballot.answers) and ballot.answers[0].group == group


def _tie(verdict: Decided) -> str:
    if verdict.tie_break == "nothing":
        return ""
    return f", a tie in which {_TIES[verdict.tie_break]}"


def _names(ballots: Sequence[MemberBallot]) -> str:
    *others, last = (answer_line(each.member) for each in ballots)
    return f"{', '.join(others)} and {last}" if others else last
