"""`python -m eval groupthink`: print what discussions did to the answers of a run.

`measure.py` holds the definition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from rich.console import Console

from dspy_mux import ConfigurationError, Member
from dspy_mux.cli.output import print_json

from ..runs.folder import Run
from ..tables.text import Shown, estimated, points, show
from .judge import Judged, judged
from .measure import CAUSES, DEFINITION, DIRECTIONS, Discussion, Rate, Row, discussions


def run(
    path: Path,
    *,
    task: str | None,
    method: str | None,
    judge: Member | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Print the figures of every method of the run whose agents saw one another's answers.

    Raises:
        ConfigurationError: the folder is not a run, or has no discussion of that task or method.
    """
    rows = [
        cast(Row, row)
        for row in Run.open(path).rows()
        if task in (None, row["task"]) and method in (None, row["method"])
    ]
    found = discussions(rows)
    if not found:
        asked = "".join(
            f" of {what} {name!r}"
            for what, name in (("task", task), ("method", method))
            if name is not None
        )
        raise ConfigurationError(
            f"The run {str(path)!r} holds no discussion{asked}: compare with the methods "
            "llm_debate or mixture_of_agents."
        )
    opinions: dict[tuple[str, str], Judged] = {}
    if judge is not None:
        for each in found:
            discussed = [
                row for row in rows if (row["task"], row["method"]) == (each.task, each.method)
            ]
            opinions[each.task, each.method] = judged(
                discussed, judge, console=Console(stderr=True)
            )
    if as_json:
        measured = [
            {
                **asdict(each),
                **{
                    name: asdict(rate.estimate()) | asdict(rate)
                    for name, rate in _rates(each).items()
                },
                "failed": each.failed,
                "judged": asdict(opinions[each.task, each.method]) if judge is not None else None,
            }
            for each in found
        ]
        print_json({"definition": DEFINITION, "discussions": measured})
        return
    tables = [_summary(found), _causes(found), *(_flips(each) for each in found), _rounds(found)]
    show(
        [*tables, *([_judged(opinions)] if opinions else [])],
        [*_notes(found), *_failures(opinions)],
        as_markdown=as_markdown,
    )


def _summary(found: Sequence[Discussion]) -> Shown:
    return Shown(
        "Discussions: shares in percent with 95 % intervals",
        [
            "task",
            "method",
            "n",
            "failed",
            "groupthink of the failed",
            *(f"{name}: share, times" for name in _rates(found[0])),
        ],
        [
            [
                each.task,
                each.method,
                str(each.questions),
                str(each.failed),
                estimated(each.groupthink),
                *(
                    f"{estimated(rate.estimate())}, {rate.hits}/{rate.chances}"
                    for rate in _rates(each).values()
                ),
            ]
            for each in found
        ],
        words=2,
    )


def _rates(each: Discussion) -> dict[str, Rate]:
    return {
        "given_up": each.given_up,
        "wrong_majority": each.wrong_majority,
        "right_majority": each.right_majority,
    }


def _causes(found: Sequence[Discussion]) -> Shown:
    return Shown(
        "Why failed questions failed: questions (the first two are groupthink)",
        ["task", "method", *CAUSES, "failed"],
        [
            [
                each.task,
                each.method,
                *(str(each.failures[name]) for name in CAUSES),
                str(each.failed),
            ]
            for each in found
        ],
        words=2,
    )


def _flips(each: Discussion) -> Shown:
    total = {way: sum(counted[way] for counted in each.flips.values()) for way in DIRECTIONS}
    return Shown(
        f"{each.task}, {each.method}: turns by the agent's turn before, "
        f"n = {each.questions - each.left_out} questions",
        ["member", *DIRECTIONS],
        [
            [name, *(str(counted[way]) for way in DIRECTIONS)]
            for name, counted in [*each.flips.items(), ("all", total)]
        ],
    )


def _rounds(found: Sequence[Discussion]) -> Shown:
    return Shown(
        "Accuracy by round, percent with 95 % intervals",
        [
            "task",
            "method",
            "round",
            "an agent, on average",
            "the agents' plurality",
            "n",
            "last − first (95 %)",
            "turned wrong / right",
        ],
        [
            [
                each.task,
                each.method,
                str(each_round.number),
                estimated(each_round.agents),
                estimated(each_round.plurality),
                str(each_round.plurality.n),
                points(each.change.mean, each.change.low, each.change.high)
                if each_round is each.rounds[-1]
                else "",
                f"{each.turned_wrong} / {each.turned_right}"
                if each_round is each.rounds[-1]
                else "",
            ]
            for each in found
            for each_round in each.rounds
        ],
        words=2,
    )


def _judged(opinions: Mapping[tuple[str, str], Judged]) -> Shown:
    judge = next(iter(opinions.values())).judge
    return Shown(
        f"Groupthink of the failed questions by the judge {judge}, beside the definition",
        [
            "task",
            "method",
            "judge",
            "definition, same questions",
            "agreement",
            "Cohen's kappa",
            "n",
            "judge failed",
            "not shown",
        ],
        [
            [
                task,
                method,
                estimated(each.groupthink),
                estimated(each.defined),
                estimated(each.agreement),
                "–" if each.kappa is None else f"{each.kappa:.2f}",
                str(each.groupthink.n),
                str(each.failures),
                str(each.silent),
            ]
            for (task, method), each in opinions.items()
        ],
        words=2,
    )


def _failures(opinions: Mapping[tuple[str, str], Judged]) -> list[str]:
    causes = Counter(
        opinion.failure
        for each in opinions.values()
        for opinion in each.opinions
        if opinion.failure is not None
    )
    return [
        f"The judge gave no opinion {count} times: {cause}"
        for cause, count in causes.most_common(3)
    ]


def _notes(found: Sequence[Discussion]) -> list[str]:
    notes = [
        DEFINITION,
        "given_up: of the agents right in the first round, those that are not in their last. "
        "wrong_majority, right_majority: of the turns whose agent did not share the answer that "
        "more than half of the round before gave, those that then gave it. Their intervals count "
        "questions, not agents. “none” is a turn without a readable answer.",
    ]
    notes += [
        f"{each.task}, {each.method}: on {each.left_out} of {each.questions} questions an error "
        "ended a turn, or none is recorded; no rate or round counts them, and where the answer is "
        "not right they count as failed (“error”, “no answer”)."
        for each in found
        if each.left_out
    ]
    return notes
