"""Evidence: what a draw says beyond its vote."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: The fields of `Evidence` that rules read; arrays of them are NaN where one is unknown.
FIGURES: Final = (
    "answer_logprob",
    "answer_tokens",
    "text_logprob",
    "completion_tokens",
    "lowest_logprob",
    "temperature",
)


@dataclass(frozen=True)
class Evidence:
    """What a server reports of one draw beside its text; None where it is unknown.

    Log-probabilities are natural logarithms under the model's own distribution, as the server
    gives them (llama.cpp and vLLM: before any sampling temperature).

    Attributes:
        answer_logprob: of the answer, summed over the tokens of its span.
        answer_tokens: how many tokens that span has.
        text_logprob: of the whole completion, summed over its tokens.
        completion_tokens: how many tokens the completion has; those of all calls, where a draw
            makes several.
        lowest_logprob: the lowest mean over `WINDOW` tokens in a row ("lowest group confidence",
            DeepConf, arXiv 2508.15260); over the whole text where it is shorter.
        temperature: the temperature the draw was sampled at.
        finish_reason: why the completion ended, in the server's word.
        stated: the probability that the model states for its answer itself, in [0, 1]; it is
            shown, and no rule takes it for a measured one.

    >>> import math
    >>> Evidence(answer_logprob=math.log(0.25), answer_tokens=2).probability
    0.25
    >>> Evidence(stated=0.9).probability is None
    True
    """

    answer_logprob: float | None = None
    answer_tokens: int | None = None
    text_logprob: float | None = None
    completion_tokens: int | None = None
    lowest_logprob: float | None = None
    temperature: float | None = None
    finish_reason: str | None = None
    stated: float | None = None

    @property
    def probability(self) -> float | None:
        """The probability of the answer's tokens, in [0, 1]."""
        return None if self.answer_logprob is None else min(1.0, math.exp(self.answer_logprob))


#: Tokens of the window of `Evidence.lowest_logprob`.
WINDOW: Final = 16


def any_of(evidence: Sequence[Evidence | None]) -> tuple[Evidence | None, ...]:
    """Return the evidence of a ballot's draws, in their order; empty where none has any."""
    return tuple(evidence) if any(one is not None for one in evidence) else ()


def measured(
    logprobs: Sequence[float],
    span: tuple[int, int] | None,
    *,
    temperature: float | None = None,
    finish_reason: str | None = None,
    stated: float | None = None,
) -> Evidence:
    """Return the evidence of a completion.

    Args:
        logprobs: natural logarithms, one a token.
        span: the first token of the answer, and the one after its last; None where it is unknown.

    >>> measured([-0.5, -0.25, -0.125], (1, 3)).answer_logprob
    -0.375
    """
    known = bool(logprobs) and all(math.isfinite(value) for value in logprobs)
    values = [min(0.0, value) for value in logprobs] if known else []  # servers round above 0
    answer = values[slice(*span)] if span is not None else []
    return Evidence(
        answer_logprob=sum(answer) if answer else None,
        answer_tokens=len(answer) or None,
        text_logprob=sum(values) if values else None,
        completion_tokens=len(logprobs) or None,
        lowest_logprob=_lowest(values) if values else None,
        temperature=temperature,
        finish_reason=finish_reason,
        stated=stated,
    )


def _lowest(values: Sequence[float]) -> float:
    """Return the lowest mean over `WINDOW` values in a row, or over all where they are fewer."""
    width = min(WINDOW, len(values))
    sums = [0.0, *itertools.accumulate(values)]
    return min(end - start for start, end in zip(sums, sums[width:], strict=False)) / width
