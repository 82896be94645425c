"""What a score means: a share from 0 to 1, or by a stated threshold right or wrong.

Accuracies, their intervals, members' ranks and saved muxes are shares. A metric from 0 to 10 would
make an accuracy of 900 %, so one rule holds wherever scores become figures: outside 0 to 1 they are
refused, unless a threshold is stated. Then an answer is right from that score on, else wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..voting.tally import Floats

#: From this score on an answer is correct, if no threshold is stated.
CORRECT = 1.0


def graded(record: Record, threshold: float | None) -> tuple[Record, float]:
    """Return a record with scores from 0 to 1, and the score from which one is correct.

    Scores from 0 to 1 stay as they are. Others become 1 for a correct answer and 0 for a wrong one.
    An abstention is never correct, whatever the threshold.

    Args:
        threshold: the score from which an answer is correct; None where none is stated.

    Raises:
        ConfigurationError: scores outside 0 to 1, and no threshold.

    >>> import numpy as np
    >>> votes, scores = np.array([[[0, 1, -1]]]), np.array([[[9.0, 3.0, 0.0]]])
    >>> graded(Record(("a",), ("q",), votes, scores, {}), 7)[0].scores.tolist()
    [[[1.0, 0.0, 0.0]]]
    """
    (found,), correct = graded_alike([record], threshold)
    return found, correct


def graded_alike(records: Sequence[Record], threshold: float | None) -> tuple[list[Record], float]:
    """Do what `graded` does with records of one metric: the scores of all of them say what it is.

    Raises:
        ConfigurationError: as `graded`.
    """
    outside = next((record for record in records if _outside(record.scores)), None)
    if outside is None:
        return list(records), CORRECT if threshold is None else threshold
    if threshold is None:
        raise _refusal(outside.scores, outside.source)
    return [_right_or_wrong(record, threshold) for record in records], CORRECT


def _right_or_wrong(record: Record, threshold: float) -> Record:
    right = record.tally().correct(record.scores, threshold)
    scores = np.where(np.isnan(record.scores), np.nan, right).astype(record.scores.dtype)
    return replace(record, scores=scores)


def check_shares(scores: Floats, source: str) -> None:
    """Raise ConfigurationError unless scores lie between 0 and 1.

    Args:
        source: what has them, to begin the sentence.
    """
    if _outside(scores):
        raise _refusal(scores, source)


def _outside(scores: Floats) -> bool:
    known = scores[~np.isnan(scores)]
    return bool(len(known)) and not 0 <= float(known.min()) <= float(known.max()) <= 1


def _refusal(scores: Floats, source: str) -> ConfigurationError:
    least, most = float(np.nanmin(scores)), float(np.nanmax(scores))
    lifted = "" if least >= 0 else f", with {-least:g} added"
    return ConfigurationError(
        f"{source} has scores from {least:g} to {most:g}, and accuracies are shares from 0 to 1: "
        f"divide the metric by its range{lifted}, or state the score from which an answer counts "
        "as correct (threshold=…, --threshold …)."
    )
