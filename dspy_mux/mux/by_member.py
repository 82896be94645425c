"""`by_member`: a metric that judges every member of a mux by its own answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import dspy

from ..errors import ConfigurationError
from .traces import Step, drawn_with, is_a_members

#: The attribute of a prediction that remembers its score: GEPA wants it back with the feedback.
_SCORE = "_dspy_mux_score"


def by_member(metric: Callable[..., Any]) -> Callable[..., Any]:
    """Return a metric that gives `dspy.GEPA` feedback on each member's own answer.

    GEPA scores a program's prediction, and asks for feedback on each of its predictors with that
    same prediction: a metric that looks at nothing else tells every member of a mux how the winner
    did. This one shows the metric the answer of the member that is asked about. Everywhere else it
    is the metric itself.

    Args:
        metric: takes an example and a prediction, then a trace, or all five arguments that GEPA
            gives. It returns a bool, a number, or a prediction with `score` and `feedback`.

    Returns:
        A metric of five arguments, for any optimizer and `dspy.Evaluate`. In a larger program the
        metric sees the program's prediction, in which the member's fields replace those of the
        same name. A member's draw without a usable answer gets its cause as feedback.

    Raises:
        ConfigurationError: `metric` is not callable, or takes other arguments.

    >>> metric = by_member(lambda example, pred, trace=None: pred.answer == example.answer)
    >>> metric(dspy.Example(answer="4"), dspy.Prediction(answer="4"))
    True
    """
    most = _arguments(metric)

    def of_a_member(
        example: dspy.Example,
        pred: dspy.Prediction,
        trace: Sequence[Step] | None = None,
        pred_name: str | None = None,
        pred_trace: Sequence[Step] | None = None,
    ) -> Any:
        own = _own(pred, trace or (), pred_trace or ())
        if isinstance(own, str):
            judged: Any = dspy.Prediction(
                score=0.0, feedback=f"Your reply gave no usable answer: {own}."
            )
        else:
            shown = pred if own is None else own
            judged = metric(*(example, shown, trace, pred_name, pred_trace)[:most])
        if own is not None:
            return _feedback(judged, pred)
        if not pred_trace and isinstance(pred, dspy.Prediction):
            object.__setattr__(pred, _SCORE, _value(judged))
        return judged

    functools.update_wrapper(of_a_member, metric)
    del of_a_member.__wrapped__  # type: ignore[attr-defined]  # GEPA counts the arguments
    return of_a_member


def _own(
    pred: dspy.Prediction, trace: Sequence[Step], pred_trace: Sequence[Step]
) -> dspy.Prediction | str | None:
    """Return the prediction with a member's own fields, or why its draw abstained.

    None where no member is asked about, or none of its fields is one of the prediction's.
    """
    if not pred_trace or not is_a_members(pred_trace[-1][0]):
        return None
    outputs = pred_trace[-1][2]
    drawn = drawn_with(outputs, trace)
    if isinstance(drawn, str):
        return drawn
    fields = {name: value for name, value in (drawn or outputs).items() if name in pred}
    return pred.copy(**fields) if fields else None


def _feedback(judged: Any, pred: dspy.Prediction) -> dspy.Prediction:
    """Return what GEPA shows a member: its own feedback, with the score of the whole program."""
    value = _value(judged)
    told = judged.get("feedback") if isinstance(judged, dspy.Prediction) else None
    return dspy.Prediction(
        score=getattr(pred, _SCORE, value),
        feedback=f"This trajectory got a score of {value}." if told is None else told,
    )


def _value(judged: Any) -> Any:
    return judged.score if isinstance(judged, dspy.Prediction) else judged


def _arguments(metric: Callable[..., Any]) -> int:
    """Return how many of GEPA's five arguments a metric takes.

    Raises:
        ConfigurationError: it cannot be called with 2, 3 or 5.
    """
    for count in (5, 3, 2):
        try:
            inspect.signature(metric).bind(*[None] * count)
            return count
        except TypeError:
            continue
        except ValueError:  # a builtin, which says nothing
            return 3
    raise ConfigurationError(
        f"by_member takes a metric of an example, a prediction and a trace, not {metric!r}."
    )
