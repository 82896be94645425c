"""The caption and the notes beside a run's table: how it was made, and what cost answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from dspy_mux.replay.intervals import mcnemar, paired_difference
from dspy_mux.sampling.causes import advice

from ..runs.folder import errors_in
from ..runs.schema import MUX, single
from .text import p_value, points


def caption(manifest: Mapping[str, Any]) -> str:
    """Return the caption: k, temperature, questions, and the discussion methods' settings."""
    measured = ", ".join(
        f"{task['name']} {task['validation_questions']}" for task in manifest["tasks"]
    )
    parts = [
        f"Split {manifest['split']}; k = {manifest['k']} draws per member at temperature "
        f"{manifest['temperature']:g}; members measured and rules fitted on validation questions "
        f"({measured}); seconds with up to {manifest['num_threads']} calls in flight."
    ]
    escalating = [
        method["settings"] for method in manifest["methods"] if "max_risk" in method["settings"]
    ]
    for asked in escalating[:1]:
        parts.append(
            f"{asked['large']} is asked once where the confidence is below a threshold: at most "
            f"{100 * asked['max_risk']:g} % wrong among the answers above it, with "
            f"{100 * asked['confidence']:g} % confidence; one half of the validation questions "
            "fits the rule, the other chooses the threshold."
        )
    for method in manifest["methods"]:
        if method["discussion"]:
            settings = "; ".join(
                f"{name} {_value(value)}" for name, value in method["settings"].items()
            )
            parts.append(f"{method['title']}: {settings}.")
    return " ".join(parts)


def on_errors(rows: Mapping[tuple[str, str], list[dict[str, Any]]]) -> list[str]:
    """Note where errors cost answers, which is the servers' fault and not the method's."""
    met: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for (task, _), of_method in rows.items():
        for row in of_method:
            if errors := errors_in(row):
                met[task].setdefault(row["question_id"], []).extend(errors)
    notes = []
    for task, questions in met.items():
        most = Counter(cause for errors in questions.values() for cause in errors).most_common(1)[
            0
        ][0]
        asked = len(
            {
                row["question_id"]
                for (name, _), of_method in rows.items()
                if name == task
                for row in of_method
            }
        )
        notes.append(
            f"{task}: errors cost draws or turns on {len(questions)} of {asked} questions, "
            f"most often {most!r}; --retry-failed asks them again."
        )
    return notes


def on_replies(rows: Mapping[tuple[str, str], list[dict[str, Any]]]) -> list[str]:
    """Note replies that the user can make whole, with the remedy."""
    causes: dict[str, Counter[str]] = defaultdict(Counter)
    for (task, method), of_method in rows.items():
        for ballot in (ballot for row in of_method for ballot in row["ballots"]):
            if method == MUX:
                causes[f"{task}, {ballot['member']}"].update(ballot["abstentions"])
    return [f"{where}: {each}" for where, counts in causes.items() for each in advice(counts)]


def on_discussion(
    manifest: Mapping[str, Any], rows: Mapping[tuple[str, str], list[dict[str, Any]]]
) -> list[str]:
    """Note whether discussions helped or hurt, against one draw of the best member.

    The paper claims that they hurt small models.
    """
    notes = []
    for task in manifest["tasks"]:
        if not task["accuracies"]:
            continue  # not measured yet
        best = max(task["accuracies"], key=task["accuracies"].__getitem__)
        alone = {
            row["question_id"]: row["score"] for row in rows.get((task["name"], single(best)), [])
        }
        for method in manifest["methods"]:
            pairs = [
                (row["score"], alone[row["question_id"]])
                for row in rows.get((task["name"], method["id"]), [])
                if row["question_id"] in alone
            ]
            if not method["discussion"] or not pairs:
                continue
            gap = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
            p = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
            clear = gap.low > 0 or gap.high < 0
            effect = (
                ("helps" if gap.mean > 0 else "hurts")
                if clear
                else "neither helps nor hurts by more than chance"
            )
            by = (
                "" if p is None else f"; McNemar p {p_value(p) if p < 0.001 else f'= {p_value(p)}'}"
            )
            notes.append(
                f"{task['name']}: {method['title']} against one draw of the best member ({best}): "
                f"{points(gap.mean, gap.low, gap.high)} points (95 % interval, paired, "
                f"n = {gap.n}{by}): it {effect}."
            )
    return notes


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
