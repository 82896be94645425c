"""A mux evaluated on recorded draws, without a call: any rule over any members at any k up to what was recorded.

Accuracy is the mean metric of the winning draws, what `dspy.Evaluate` gives for the live mux on the same draws. Members' accuracies
and the calibrated rule come from each split's training part, the figures from its test part. A record takes about 10 bytes a draw,
and 24 more where it tells what draws took; a JSONL file takes some 360 a draw while it is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..voting import calibrated, frugal as schedules, tally
from ..voting.tally import Floats, Ints, Picks, Tally, by_accuracy
from .intervals import Difference, _stderr, bootstrap
from .resample import _taken, draw_choices
from .splits import Split

RULE_NAMES = ("self_consistency", "pooled", "consistency", "calibrated")
#: Where more draws are recorded than are used, how many random choices of k of them are averaged for one recorded split.
RESAMPLES = 20


@dataclass(frozen=True)
class Result:
    """A rule's figures over test questions; accuracies are fractions.

    Attributes:
        questions: distinct questions tested; left_out: those that not every member answered k times.
        accuracy: mean score of the winning draws, over questions and repeats.
        stderr: its standard error over questions; ci95: bootstrap interval over questions, Wilson's where all score alike.
        union_accuracy: share of questions on which some member's plurality answer scores `threshold` or more; where scores are 0 or
            1, `consistency` is never above it.
        calls_per_question, frugal_calls_per_question: LM calls under the full schedule, and under the lossless short one; a draw
            whose calls are unknown counts as one.
        tokens_per_question, cost_per_question: under the full schedule; None where they are unknown of any draw that counts.
        wins: member → share of the questions that its answer was chosen for.
        per_question: mean score of each tested question over its repeats; positions are those of `tested`.
    """

    rule: str
    k: int
    members: tuple[str, ...]
    questions: int
    left_out: int
    accuracy: float
    stderr: float
    ci95: tuple[float, float]
    union_accuracy: float
    calls_per_question: float
    frugal_calls_per_question: float
    wins: dict[str, float]
    tokens_per_question: float | None
    cost_per_question: float | None
    threshold: float
    repeats: int
    tested: Ints
    per_question: Floats

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-question arrays are left out."""
        told = asdict(self)
        del told["tested"], told["per_question"]
        return {**told, "members": list(self.members), "ci95": list(self.ci95)}


def replay(
    record: Record,
    rule: str,
    *,
    splits: Sequence[Split] | None = None,
    k: int | None = None,
    left_out: int = 0,
    context: str | None = None,
    threshold: float = 1.0,
    seed: int = 0,
) -> Result:
    """What `rule` over all members of `record` scores.

    Args:
        record: the draws, already cut to the members (`Record.of`), in pool order.
        rule: "consistency", "pooled", "calibrated", "self_consistency" for the member most accurate on each training part, or
            "self_consistency:NAME".
        splits: from `splits.py`, over the record's questions; None for 20 random halves.
        k: draws per member; with more recorded, each repeat takes a random k of them.
        context: a field of the questions that the calibrated rule may use.
        threshold: the score from which an answer counts as correct.
        seed: of the choice of draws.

    Raises:
        ConfigurationError: an unknown rule or field, or k above what is recorded.
    """
    from .splits import holdout

    k = record.votes.shape[2] if k is None else k
    check_rule(rule, record.members)
    contexts = (
        np.array(record.field(context)) if context is not None and rule == "calibrated" else None
    )
    splits = list(splits) if splits is not None else holdout(len(record.questions), seed=seed)
    total, times = np.zeros(len(record.questions)), np.zeros(len(record.questions))
    wins, union, calls, frugal, tokens, cost = (
        np.zeros(len(record.members)),
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    )
    accuracies, runs, prices = [], 0, record.prices()
    for split, draws in _runs(record, splits, k, seed):
        votes, scores = _taken(record.votes, draws), _taken(record.scores, draws)
        train, test = Tally(votes[split.train]), Tally(votes[split.test])
        a_i = (
            train.plurality_scores(scores[split.train]).mean(axis=0)
            if len(split.train)
            else np.zeros(len(record.members))
        )
        if rule == "calibrated":
            fitted = calibrated.fit(
                train,
                scores[split.train],
                members=record.members,
                contexts=None if contexts is None else contexts[split.train].tolist(),
                context=context,
                threshold=threshold,
            )
            picks = fitted.pick(test, None if contexts is None else contexts[split.test].tolist())
        else:
            picks = picks_of(rule, test, a_i, record.members)
        won = picks.scores(scores[split.test])
        total[split.test] += won
        times[split.test] += 1
        accuracies.append(won.mean())
        wins += np.bincount(picks.member[picks.member >= 0], minlength=len(wins)) / len(split.test)
        union += float((test.plurality_scores(scores[split.test]) >= threshold).any(axis=1).mean())
        full, short = _draws_spent(rule, test, a_i, record.members)
        if (
            rule == "calibrated" and fitted.instead is not None
        ):  # then it stops where the rule does that decides instead
            short = _draws_spent(fitted.instead, test, np.array(fitted.accuracies), record.members)[
                1
            ]
        each = _per_draw(record.calls, draws, split.test)
        calls += calls_of(full, each)
        frugal += calls_of(short, each)
        tokens += _spent(full, _per_draw(record.tokens, draws, split.test))
        cost += _spent(full, _per_draw(prices, draws, split.test))
        runs += 1
    tested = np.flatnonzero(times)
    per_question = total[tested] / times[tested]
    return Result(
        rule=rule,
        k=k,
        members=record.members,
        questions=len(tested),
        left_out=left_out,
        accuracy=float(np.mean(accuracies)),
        stderr=_stderr(per_question),
        ci95=bootstrap(per_question, seed=seed),
        union_accuracy=union / runs,
        calls_per_question=calls / runs,
        frugal_calls_per_question=frugal / runs,
        wins={name: float(share) for name, share in zip(record.members, wins / runs, strict=True)},
        tokens_per_question=_known(tokens / runs),
        cost_per_question=_known(cost / runs),
        threshold=threshold,
        repeats=runs,
        tested=tested,
        per_question=per_question,
    )


def compare(one: Result, other: Result, *, seed: int = 0) -> Difference:
    """The paired difference `one` − `other`.

    Raises:
        ConfigurationError: the two were tested on different questions.
    """
    if not np.array_equal(one.tested, other.tested):
        raise ConfigurationError(
            "Two results can only be compared on the same questions: replay both with the same splits."
        )
    differences = one.per_question - other.per_question
    interval = bootstrap(differences, seed=seed, least=-1.0)
    return Difference(
        one.accuracy - other.accuracy, _stderr(differences), interval, len(differences)
    )


def pooled_results(results: Sequence[Result], *, seed: int = 0) -> Result:
    """Results over several splits as one: each question's score is the mean over the splits that tested it.

    Of the members and what depends on them the last result's are told, as every split may have had its own.
    """
    size = max(int(result.tested.max()) for result in results) + 1
    total, times = np.zeros(size), np.zeros(size)
    for result in results:
        total[result.tested] += result.per_question
        times[result.tested] += 1
    tested = np.flatnonzero(times)
    per_question = total[tested] / times[tested]
    costs = [
        np.nan if result.cost_per_question is None else result.cost_per_question
        for result in results
    ]
    return dataclasses.replace(
        results[-1],
        questions=len(tested),
        accuracy=float(np.mean([result.accuracy for result in results])),
        stderr=_stderr(per_question),
        ci95=bootstrap(per_question, seed=seed),
        union_accuracy=float(np.mean([result.union_accuracy for result in results])),
        calls_per_question=float(np.mean([result.calls_per_question for result in results])),
        frugal_calls_per_question=float(
            np.mean([result.frugal_calls_per_question for result in results])
        ),
        cost_per_question=_known(float(np.mean(costs))),
        repeats=sum(result.repeats for result in results),
        tested=tested,
        per_question=per_question,
    )


def check_rule(rule: str, members: Sequence[str]) -> None:
    """Raises ConfigurationError unless `rule` is a name that `replay` takes."""
    name, _, member = rule.partition(":")
    if name not in RULE_NAMES or (member and name != "self_consistency"):
        raise ConfigurationError(
            f"There is no rule {rule!r} to replay: choose one of {', '.join(RULE_NAMES)}."
        )
    if member and member not in members:
        raise ConfigurationError(f"The rule {rule!r} names no member of {', '.join(members)}.")


def picks_of(
    rule: str, votes: Tally, accuracies: Sequence[float | None] | Floats, members: Sequence[str]
) -> Picks:
    """What a rule that needs no fitting picks."""
    name, _, member = rule.partition(":")
    order = by_accuracy(accuracies)
    if name == "pooled":
        return tally.pooled(votes)
    if name == "self_consistency":
        return tally.single(votes, list(members).index(member) if member else int(order[0]))
    return tally.consistency(votes, order)


def _runs(
    record: Record, splits: Sequence[Split], k: int, seed: int
) -> Iterator[tuple[Split, Ints | None]]:
    recorded = record.votes.shape[2]
    if not 1 <= k <= recorded:
        raise ConfigurationError(
            f"{record.source} holds {recorded} draws a member, k={k} cannot be replayed."
        )
    if k == recorded:
        yield from ((split, None) for split in splits)
        return
    random = np.random.default_rng(seed)
    for split in splits if len(splits) > 1 else list(splits) * RESAMPLES:
        yield split, draw_choices(record, k, random)


def _per_draw(values: Floats | None, draws: Ints | None, test: Ints) -> Floats | None:
    return None if values is None else _taken(values, draws)[test]


def _draws_spent(
    rule: str, test: Tally, accuracies: Floats, members: Sequence[str]
) -> tuple[Ints, Ints]:
    """[Q, M] draws under the full schedule and the frugal one. What `calibrated` is spared near the end is not counted here."""
    order = by_accuracy(accuracies)
    full = np.broadcast_to(test.k, test.shape[:2])
    name, _, member = rule.partition(":")
    if name == "self_consistency":
        one = np.zeros(test.shape[:2], np.int64)
        index = list(members).index(member) if member else int(order[0])
        one[:, index] = test.k[index]
        return one, one
    if name == "consistency":
        return full, schedules.frugal_draws(test, order)
    return (full, schedules.frugal_draws_pooled(test)) if name == "pooled" else (full, full)


def calls_of(draws: Ints, each: Floats | None) -> float:
    """Mean LM calls per question of the first `draws` [Q, M] draws of each member; one a draw where that was not recorded."""
    if each is None:
        return float(draws.sum(axis=1).mean())
    return _spent(draws, np.where(np.isnan(each), 1.0, each))


def _spent(draws: Ints, each: Floats | None) -> float:
    """Mean per question of what the first `draws` draws of each member took; NaN where that is unknown of any of them."""
    if each is None:
        return float("nan")
    return float(
        np.where(np.arange(each.shape[2]) < draws[..., None], each, 0.0).sum(axis=(1, 2)).mean()
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
