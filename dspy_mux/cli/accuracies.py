"""`dspy-mux accuracies`: members' accuracies, estimated from draws without scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .counts import counted
from .options import AsJson, AtTemperature, BankOptions, BankPath, Dataset, Draws, Members, Program
from .output import percent, print_json, say, table
from .step import step

if TYPE_CHECKING:
    from ..bank.record import Record

_COLUMNS = ("member", "estimated %", "measured %")


def accuracies(
    bank: BankPath,
    members: Members = None,
    k: Draws = None,
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the members' accuracies by how far their answers agree; no score is needed."""
    from ..replay.unlabelled import estimate_accuracies

    chosen, left_out = BankOptions(bank, dataset, program, members, temperature).record(
        k, scored=False
    )
    record = chosen if k is None else chosen.first(k)
    with step("estimating"):
        found = estimate_accuracies(record)
    known = _measured(record)
    draws, questions = record.votes.shape[2], len(record.questions)
    if as_json:
        print_json(
            {
                "accuracies": found,
                "measured": known,
                "k": draws,
                "questions": questions,
                "left_out": left_out,
            }
        )
        return
    table(
        f"k={draws}, {counted(questions, questions + left_out)}",
        _COLUMNS if known else _COLUMNS[:2],
        [
            [(name,), percent(value), *([percent(known[name])] if known else [])]
            for name, value in found.items()
        ],
    )
    say(
        "Agreement is not truth: members that share errors look better than they are, others worse."
    )


def _measured(record: Record) -> dict[str, float] | None:
    """Return the accuracies by the scores; None where a draw has none."""
    import numpy as np

    from ..voting.tally import Tally

    if np.isnan(record.scores).any():
        return None
    means = Tally(record.votes).plurality_scores(record.scores).mean(axis=0)
    return {name: float(value) for name, value in zip(record.members, means, strict=True)}
