"""Drift: whether a pool in service still does what its recorded draws did, without any label."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..mux.saved import Schedule
from ..mux.slm_mux import SLMMux
from ..mux.verdict_log import LoggedVerdict, read_verdicts
from ..voting.ballot import Ballot, Rule, draws_text, reads_evidence
from ..voting.confidence import decide
from ..voting.rules import Consistency, Pooled, SelfConsistencyRule
from ..voting.tally import Floats
from .live import Policy, Poll, contexts_of
from .two_samples import PERMUTATIONS, Power, holm, interval_of_difference, permutation_p

#: A member, or None for the pool, and a figure of it.
_Figure: TypeAlias = tuple[str | None, str]
#: Confidences that differ by less are the same: a log has them as decimal numbers.
_ALIKE = 1e-6


@dataclass(frozen=True)
class Comparison:
    """One figure, in the bank and in the log.

    Attributes:
        member: None for the pool's own figure.
        figure: "abstention" (the share of draws, or for the pool of questions, without an answer),
            "agreement" (how often the member's answer is the pool's, where both have one),
            "confidence" (the share of the member's draws that gave its answer, or the verdict's
            confidence), or "trusted" (the share of answers that reach the threshold).
        bank, log: means over questions, as fractions.
        change, low, high: log − bank, with its own 95 % interval, which is not corrected.
        p: of the test alone; 1 where all values are the same.
        p_corrected: by Holm's method for all figures.
        drifted: whether `p_corrected` is at most the level.
        bank_questions, log_questions: that have the figure.
        smallest_change: for the worse (more abstentions, less of the others), with its sign, that
            so many logged questions show in 80 % of cases; None where none is.
        questions_needed: in the log, to see `Drift.change` for the worse in 80 % of cases; None
            where no number is enough for this bank.
    """

    member: str | None
    figure: str
    bank: float
    log: float
    change: float
    low: float
    high: float
    p: float
    p_corrected: float
    drifted: bool
    bank_questions: int
    log_questions: int
    smallest_change: float | None
    questions_needed: int | None


@dataclass(frozen=True)
class Drift:
    """What differs between a bank and a log; `drift` makes it.

    Attributes:
        rule, members, k, schedule: of the verdicts.
        bank_questions, log_questions: compared.
        left_out: questions of the bank with too few draws.
        level: at most so often does any figure drift where nothing has changed, if the questions of
            bank and log are exchangeable.
        change: that `Comparison.questions_needed` is for.
        comparisons: the pool's figures, then each member's.
    """

    rule: str
    members: tuple[str, ...]
    k: tuple[int, ...]
    schedule: str
    bank_questions: int
    log_questions: int
    left_out: int
    level: float
    change: float
    comparisons: tuple[Comparison, ...]

    @property
    def drifted(self) -> bool:
        return any(each.drifted for each in self.comparisons)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        return {"drifted": self.drifted, **dataclasses.asdict(self)}


def drift(
    record: Record,
    log: str | os.PathLike[str] | Sequence[LoggedVerdict],
    *,
    mux: SLMMux | str | os.PathLike[str] | None = None,
    level: float = 0.05,
    change: float = 0.1,
    seed: int = 0,
) -> Drift:
    """Say whether a pool in service still does what it did on recorded questions.

    The recorded questions are decided as the logged ones were: by the same rule, k and schedule.
    Each figure is then compared over questions by Fisher's exact test, or by a permutation test
    where it has more than two values, and the p values are corrected for their number.

    Args:
        record: draws of the log's members, at least k of each. Scores are not read.
        log: what a `VerdictLog` wrote, or its lines.
        mux: the mux in service, or its file. Needed where the rule has parameters of its own; with
            it, the share of trusted answers is compared too. A rule that was fitted on labels may
            be surer of the questions it was fitted on: give a record of others (`Record.rows`).
        level: of the whole comparison, in (0, 1).
        change: that the needed number of questions is computed for, in (0, 1).
        seed: of the permutations.

    Raises:
        ConfigurationError: the log is of other members, another k or rule than the bank or the mux,
            or of several; or an argument is out of its range.
        DataError: the log or the mux's file cannot be read, or no recorded question has enough
            draws.

    >>> import numpy as np
    >>> from dspy_mux.mux.verdict_log import LoggedVerdict
    >>> votes = np.zeros((100, 1, 2), int)  # question, member, draw: the two agree
    >>> record = Record(("a",), tuple(map(str, range(100))), votes, votes + 1.0, {})
    >>> line = {
    ...     "at": "2026-11-27T12:00:00Z", "rule": "consistency", "member": "a", "confidence": 0.5,
    ...     "group": 0, "ballots": [{"member": "a", "votes": [0, None], "k": 2}],
    ... }
    >>> found = drift(record, [LoggedVerdict.model_validate(line)] * 20)
    >>> found.drifted, [(each.figure, each.log) for each in found.comparisons if each.drifted]
    (True, [('confidence', 0.5), ('abstention', 0.5), ('confidence', 0.5)])
    """
    for name, value in (("level", level), ("change", change)):
        if not 0 < value < 1:
            raise ConfigurationError(f"{name} must lie between 0 and 1, not {value}.")
    lines = read_verdicts(log) if isinstance(log, (str, os.PathLike)) else list(log)
    policy = _policy(lines, mux)
    polls, left_out = policy.decide(record)
    logged = [
        Poll(tuple(tuple(ballot.votes) for ballot in line.ballots), line.group, line.confidence)
        for line in lines
    ]
    _check_rule(policy, logged)
    before, after = _figures(polls, policy), _figures(logged, policy)
    samples = {
        figure: (before[figure], after[figure])
        for figure in before
        if len(before[figure]) and len(after[figure])
    }
    return Drift(
        rule=policy.rule.name,
        members=policy.members,
        k=policy.k,
        schedule=policy.schedule,
        bank_questions=len(polls),
        log_questions=len(lines),
        left_out=left_out,
        level=level,
        change=change,
        comparisons=_comparisons(samples, level, change, seed),
    )


def _comparisons(
    samples: dict[_Figure, tuple[Floats, Floats]], level: float, change: float, seed: int
) -> tuple[Comparison, ...]:
    # A figure of one value in both samples cannot differ however the questions are dealt.
    tested = [figure for figure, pair in samples.items() if np.ptp(np.concatenate(pair)) > _ALIKE]
    each_level = level / max(1, len(tested))
    permutations = max(PERMUTATIONS, math.ceil(10 / each_level))
    p = {
        figure: permutation_p(*samples[figure], permutations=permutations, seed=seed + at)
        for at, figure in enumerate(tested)
    }
    corrected = dict(zip(p, holm(list(p.values())), strict=True))
    made = []
    for (member, name), (bank, log) in samples.items():
        up = name == "abstention"
        power = Power(bank, level=each_level)
        low, high = interval_of_difference(log, bank)
        made.append(
            Comparison(
                member,
                name,
                bank=float(bank.mean()),
                log=float(log.mean()),
                change=float(log.mean() - bank.mean()),
                low=low,
                high=high,
                p=p.get((member, name), 1.0),
                p_corrected=corrected.get((member, name), 1.0),
                drifted=corrected.get((member, name), 1.0) <= level,
                bank_questions=len(bank),
                log_questions=len(log),
                smallest_change=power.smallest_change(len(log), up=up),
                questions_needed=power.questions_needed(change if up else -change),
            )
        )
    return tuple(made)


def _figures(polls: Sequence[Poll], policy: Policy) -> dict[_Figure, Floats]:
    """Return each figure's values, one for each question that has it."""
    answered = np.array([poll.group is not None for poll in polls])
    confidence = np.array([poll.confidence for poll in polls])
    figures: dict[_Figure, Floats] = {
        (None, "abstention"): 1.0 - answered,
        (None, "confidence"): confidence[answered],
    }
    if policy.threshold is not None:
        figures[None, "trusted"] = (confidence[answered] >= policy.threshold).astype(float)
    for at, name in enumerate(policy.members):
        # Under the frugal schedule a member is not asked at every question.
        asked = [poll for poll in polls if poll.votes[at]]
        ballots = [Ballot(name, poll.votes[at]) for poll in asked]
        figures[name, "abstention"] = np.array(
            [ballot.votes.count(None) / len(ballot.votes) for ballot in ballots]
        )
        figures[name, "agreement"] = np.array(
            [
                float(ballot.plurality == poll.group)
                for ballot, poll in zip(ballots, asked, strict=True)
                if None not in (ballot.plurality, poll.group)
            ]
        )
        if policy.k[at] > 1:  # the confidence of a single draw says whether it abstained
            figures[name, "confidence"] = np.array([ballot.confidence for ballot in ballots])
    return figures


def _policy(lines: Sequence[LoggedVerdict], mux: SLMMux | str | os.PathLike[str] | None) -> Policy:
    """Return how the logged questions were decided.

    Raises:
        ConfigurationError: there are none, by several pools or rules, or not by this mux.
    """
    if not lines:
        raise ConfigurationError("The log has no verdict to compare.")
    pools = {tuple((ballot.member, ballot.k) for ballot in line.ballots) for line in lines}
    rules = {line.rule for line in lines if line.rule is not None}
    schedules = {line.schedule for line in lines if line.schedule is not None}
    if max(len(pools), len(rules), len(schedules)) > 1:
        several = [draws_text(pool) for pool in pools] if len(pools) > 1 else rules
        several = several if len(several) > 1 else schedules
        raise ConfigurationError(
            f"The log has verdicts by several muxes ({'; '.join(sorted(several))}): compare those "
            "of one alone, such as the latest (--since), or give each a log of its own."
        )
    (pool,), rule = pools, next(iter(rules), None)
    # Verdicts that were logged by hand do not say it.
    spared = any(len(ballot.votes) < ballot.k for line in lines for ballot in line.ballots)
    schedule = next(iter(schedules), "frugal" if spared else "full")
    if mux is not None:
        policy = Policy.of(mux)
        ours = (
            policy.rule.name,
            policy.schedule,
            tuple(zip(policy.members, policy.k, strict=True)),
        )
        if ours != (rule or policy.rule.name, schedule, pool):
            raise ConfigurationError(
                f"The log's verdicts are by {rule} over {draws_text(pool)}, schedule {schedule!r}, "
                f"and the mux decides by {ours[0]} over {draws_text(ours[2])}, schedule "
                f"{ours[1]!r}: pass the mux that they are of."
            )
        return policy
    if any(line.calibrated for line in lines):
        raise ConfigurationError(
            "The log's confidences were calibrated on labels, and the log does not say how: pass "
            "the mux that they are of (--mux mux.json)."
        )
    return Policy(
        _rule(rule, lines),
        tuple(name for name, _ in pool),
        tuple(k for _, k in pool),
        tuple(ballot.accuracy for ballot in lines[-1].ballots),
        cast("Schedule", schedule),
    )


def _rule(name: str | None, lines: Sequence[LoggedVerdict]) -> Rule:
    """Return the rule of a name alone; it must have no parameters."""
    if name == "consistency":
        return Consistency()
    if name == "pooled":
        return Pooled()
    if name == "self_consistency":
        members = (line.member for line in lines if line.answered and not line.escalated)
        return SelfConsistencyRule(next(members, None))
    raise ConfigurationError(
        f"The log's verdicts are by the rule {name!r}, which its name alone does not determine: "
        "pass the mux that they are of (--mux mux.json)."
    )


def _check_rule(policy: Policy, logged: Sequence[Poll]) -> None:
    """Raise ConfigurationError unless the logged confidences are the rule's, where votes tell."""
    rule = policy.rule
    if reads_evidence(rule) or contexts_of(rule):
        return
    for poll in logged:
        choice = decide(rule, policy.scale, policy.ballots(poll.votes), {})
        confidence = 0.0 if choice is None else choice.confidence
        if abs(confidence - poll.confidence) > _ALIKE:
            raise ConfigurationError(
                f"The log has the confidence {poll.confidence:g} where the rule {rule.name!r} of "
                f"the mux gives {confidence:g} for the same votes: pass the mux that they are of."
            )
