"""Records of two members that are each right on half of the questions, and know when they are."""

from __future__ import annotations

import numpy as np

from dspy_mux.bank.record import Record


def knowing_record(count=22, draws=3, temperature=0.5, unsure=0.3, seed=0):
    """Each member answers its half of the questions rightly; the answers' probabilities tell.

    Their votes do not: either gives one answer to a question, however often it is asked. On
    `unsure` of the questions the probabilities are those of the other member.
    """
    right = np.zeros((count, 2, draws), bool)
    right[::2, 0] = right[1::2, 1] = True
    sure = right.copy()
    sure[np.random.default_rng(seed).random(count) < unsure] ^= True
    shape = right.shape
    return Record(
        members=("even", "odd"),
        questions=tuple(f"q{n}" for n in range(count)),
        votes=np.where(right, 0, 1),
        scores=right.astype(np.float32),
        fields={"half": tuple("ab"[n % 2] for n in range(count))},
        evidence={
            "answer_logprob": np.log(np.where(sure, 0.9, 0.2)),
            "temperature": np.full(shape, temperature),
        },
    )
