"""One small trial for every optimizer of DSPy: its program in a mux, and a mux as its student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy
import dspy.experimental

from .module_trials import (
    EXAMPLES,
    Trial,
    any_lm,
    asked,
    embed,
    fails,
    metric,
    mux_of,
    no_place,
    works,
)


def feedback(example: Any, pred: Any, trace: Any = None, *_: Any) -> dspy.Prediction:
    return dspy.Prediction(score=metric(example, pred), feedback="Add.")


def compiled(optimizer: Callable[[], Any], **more: Any) -> Callable[[Any], Any]:
    def compile_(program: Any) -> Any:
        return optimizer().compile(program, trainset=EXAMPLES[:4], **more)

    return compile_


def pair(
    compile_: Callable[[Any], Any],
    around: str,
    inside: str = "",
) -> tuple[Trial, Trial]:
    """An optimizer that works both ways."""
    return (
        works(
            inside or "every member gets a copy of the compiled program",
            lambda: asked(mux_of(compile_(dspy.Predict("question -> answer")))),
        ),
        works(around, lambda: asked(compile_(mux_of()))),
    )


def ensemble(program: Callable[[], Any]) -> Any:
    return dspy.Ensemble(reduce_fn=dspy.majority).compile([program() for _ in range(2)])


ITS_OWN_DEMOS = "every member gets demos of its own"
ITS_OWN_TEXT = "every member gets instructions of its own"
OPTIMIZERS: dict[str, tuple[Trial, Trial]] = {
    "LabeledFewShot": pair(compiled(lambda: dspy.LabeledFewShot(k=2)), ITS_OWN_DEMOS),
    "BootstrapFewShot": pair(
        compiled(lambda: dspy.BootstrapFewShot(metric=metric, max_rounds=2)), ITS_OWN_DEMOS
    ),
    "BootstrapFewShotWithRandomSearch": pair(
        compiled(
            lambda: dspy.BootstrapFewShotWithRandomSearch(
                metric=metric, num_candidate_programs=1, num_threads=1
            )
        ),
        ITS_OWN_DEMOS,
    ),
    "BootstrapFewShotWithOptuna": pair(
        compiled(
            lambda: dspy.BootstrapFewShotWithOptuna(
                metric=metric, num_candidate_programs=2, num_threads=1
            ),
            max_demos=1,
        ),
        ITS_OWN_DEMOS,
    ),
    "KNNFewShot": pair(
        lambda program: dspy.KNNFewShot(
            k=2, trainset=EXAMPLES[:4], vectorizer=dspy.Embedder(embed), metric=metric
        ).compile(program),
        "demos are chosen for every question, for every member",
    ),
    "COPRO": pair(
        compiled(
            lambda: dspy.COPRO(metric=metric, breadth=2, depth=1),
            eval_kwargs={"num_threads": 1, "display_progress": False},
        ),
        ITS_OWN_TEXT,
    ),
    "MIPROv2": pair(
        compiled(
            lambda: dspy.MIPROv2(
                metric=metric,
                auto=None,
                num_candidates=2,
                num_threads=1,
                max_bootstrapped_demos=1,
                max_labeled_demos=1,
            ),
            num_trials=2,
            valset=EXAMPLES[4:],
            minibatch=False,
        ),
        "every member gets instructions and demos of its own",
    ),
    "SIMBA": pair(
        compiled(
            lambda: dspy.SIMBA(metric=metric, bsize=2, num_candidates=2, max_steps=1, num_threads=1)
        ),
        "every member gets demos and rules of its own; trajectories are rollouts of the pool",
    ),
    "GEPA": pair(
        compiled(
            lambda: dspy.GEPA(
                metric=feedback,
                max_metric_calls=12,
                reflection_lm=any_lm("reflection"),
                num_threads=1,
            ),
            valset=EXAMPLES[4:],
        ),
        "every member's instructions change by its own draws",
    ),
    "InferRules": pair(
        compiled(
            lambda: dspy.InferRules(metric=metric, num_candidates=1, num_rules=1, num_threads=1),
            valset=EXAMPLES[4:],
        ),
        "every member gets rules in its own instructions",
    ),
    "BetterTogether": (
        no_place("it requires an LM set on every predictor, which members bring themselves"),
        fails(
            "it requires an LM set on every predictor, and members keep their own",
            lambda: dspy.BetterTogether(metric=metric, p=dspy.LabeledFewShot(k=1)).compile(
                mux_of(), trainset=EXAMPLES[:4], strategy="p"
            ),
            "must have a language model set on every predictor",
        ),
    ),
    "Ensemble": (
        works(
            "every draw is what the programs reduce to",
            lambda: asked(mux_of(ensemble(lambda: dspy.Predict("question -> answer")))),
        ),
        works(
            "of several muxes, with `reduce_fn=dspy.majority`",
            lambda: asked(ensemble(mux_of)),
        ),
    ),
    "BootstrapFinetune": (
        no_place("it trains one model's weights: make the trained LM a member"),
        fails(
            "it trains the one LM that every predictor has set, and members keep their own",
            lambda: dspy.BootstrapFinetune(metric=metric).compile(mux_of(), trainset=EXAMPLES[:4]),
            "does not have an LM assigned",
        ),
    ),
    "ReAnchor": (
        no_place("it fits thresholds of decision fields by one LM's cached probabilities"),
        fails(
            "it needs a predictor with a decision output, cached under one LM",
            lambda: compiled(lambda: dspy.experimental.ReAnchor(metric))(mux_of()),
            "at least one Predict with a decision output",
        ),
    ),
    "AvatarOptimizer": (
        no_place("DSPy's own is broken: it needs `dspy.TypedPredictor`, which is gone"),
        fails(
            "DSPy's own is broken: it needs `dspy.TypedPredictor`, which is gone",
            lambda: dspy.AvatarOptimizer(metric=metric),
            "TypedPredictor",
        ),
    ),
}
