"""MuxOptimizer: a DSPy optimizer that chooses a mux's members, draws and rule by a study."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import dspy
from dspy.teleprompt import Teleprompter

from ..bank.collect import Metric
from ..bank.conductor import Cluster
from ..bank.questions import check_fit, questions_of
from ..bank.sample_bank import SampleBank
from ..bank.score import check_metric
from ..errors import ConfigurationError, check_number
from ..mux.saved import Schedule
from ..mux.saved_rule import check_asks
from ..mux.slm_mux import SLMMux
from ..mux.trust import Escalate
from ..replay.live import Policy
from ..voting.nearby import AUTO, context_field
from ..voting.rules import rule_of
from .aim import Aim
from .drawing import Drawing, DrawOptions
from .fitting import fit_best
from .operating import Aimed
from .operation import Operation, warn_of_threshold
from .options import DEFAULT_RULES, STUDY_NAME, ChoiceOptions, StudyOptions, check_least
from .plan import PROBABILITY
from .report import MuxReport
from .tune import halves, run_aimed, run_study
from .tuned import Tuned, set_up

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


class MuxOptimizer(Teleprompter):
    """Choose a mux's members, draws and rule on labelled examples. Requires the `optimize` extra.

    Every member is drawn `k_max` times on every example, and once more at temperature 0; an Optuna
    study over the recorded draws decides the rest (`tune`). Where servers give log-probabilities,
    rules that read them are tried too. Recorded evidence of a member with `logprobs=False` is not
    read, as its live draws would have none. The compiled mux is a copy with the chosen members,
    their k and temperature, their accuracies on the training split, the rule (fitted there too),
    and a `report`.

        >>> import dspy
        >>> from dspy.utils import DummyLM
        >>> from dspy_mux import Member, MuxOptimizer, SLMMux
        >>> def replies(right):  # a scripted model that knows the first `right` sums
        ...     return {f"{n} + {n}": {"answer": str(2 * n if n <= right else 0)}
        ...             for n in range(10, 30)}
        >>> pool = [Member(DummyLM(replies(right)), name=name)
        ...         for name, right in (("strong", 27), ("weak", 14))]
        >>> mux = SLMMux("question -> answer: int", pool, k=2, temperature=0.5)
        >>> train = [dspy.Example(question=f"{n} + {n}", answer=2 * n).with_inputs("question")
        ...          for n in range(10, 30)]
        >>> optimizer = MuxOptimizer(lambda e, p, trace=None: p.answer == e.answer, n_trials=4)
        >>> best = optimizer.compile(mux, trainset=train)
        >>> [member.name for member in best.members], best.report.tuned.best.value
        (['strong'], 0.9)

    Args:
        metric: `(example, prediction, trace=None)` → bool or number.
        bank: where draws are recorded and found again: a `SampleBank`, or its path or URL. None
            for a temporary one; DSPy's cache still has the replies.
        max_members, min_members: sizes of subset to try.
        k_max: draws per member, at most; None for the mux's own largest k.
        n_trials, seed, sampler, storage, study_name, study, n_jobs, timeout, callbacks: of the
            Optuna study, as for `tune`.
        rules: the rules to try beside the paper's, as for `tune`.
        greedy: also try one draw of each member at temperature 0.
        context: an input of the examples, such as a category, by which the calibrated rule may
            weigh, or "auto" for the question's text; the compiled mux reads it from its inputs.
        threshold: the score from which an answer counts as correct, when members are chosen and
            rules fitted; None for 1. A graded metric needs one that good answers reach. Scores
            outside 0 to 1 are refused without one; with one, answers are right or wrong by it.
        bound: let the compiled mux skip draws (`schedule="frugal"`): those that cannot change the
            answer and, if the rule is the calibrated one, those that probably do not. The bound (0
            to 1) is on the answers of questions that stop early: the share of them that all draws
            would change, on average (see `voting/early_stopping.py`). None makes all draws.
        minimize: a second objective, "calls_per_question" or "cost_per_question" (US dollars).
        budget: how much of the second objective the compiled mux may use per question.
        fewer_calls: compile the setting of the fewest calls that the most accurate one does not
            beat by more than the standard error of the difference.
        num_threads, retry_failed: of the drawing, as for `collect`.
        max_calls, max_cost: at most so many LM calls and US dollars for all that one compilation
            draws, as for `collect`. If the greedy draws do not fit, they are left out.
        progress: show the drawing's progress on stderr.
        cluster: machines to share the drawing, as for `collect`; a cluster of several machines
            needs a `bank` that is a PostgreSQL database.
        max_risk, confidence: give the compiled mux the threshold that trusts most answers, of which
            at most this share is wrong, with this confidence (`docs/risk.md`). It is chosen on the
            valset, or without one on a random half of the trainset, and nothing else is: the
            trials are cross-fitted on the rest, and the rule is fitted there.
        max_escalated, max_cost_per_question: at most this share of the questions may go to the
            large model, and at most so many US dollars be spent on a question. The compiled mux has
            the most accurate threshold within them.
        escalate: the large model that answers in place of what is not trusted, as in `SLMMux`;
            None for the mux's own, if it has one. It is drawn once on every example.

    Raises:
        ConfigurationError: an option that cannot work, such as an unknown rule.
    """

    def __init__(  # noqa: PLR0913  (public: DSPy's optimizers take keyword arguments)
        self,
        metric: Metric,
        *,
        bank: SampleBank | str | os.PathLike[str] | None = None,
        max_members: int = 3,
        min_members: int = 1,
        k_max: int | None = None,
        n_trials: int = 100,
        rules: Sequence[str] = DEFAULT_RULES,
        greedy: bool = True,
        context: str | None = None,
        threshold: float | None = None,
        bound: float | None = None,
        seed: int = 0,
        sampler: optuna.samplers.BaseSampler | None = None,
        storage: str | optuna.storages.BaseStorage | None = None,
        study_name: str = STUDY_NAME,
        study: optuna.Study | None = None,
        n_jobs: int = 1,
        timeout: float | None = None,
        callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]] = (),
        minimize: str | None = None,
        budget: float | None = None,
        fewer_calls: bool = False,
        num_threads: int = 16,
        max_calls: int | None = None,
        max_cost: float | None = None,
        retry_failed: bool = False,
        progress: bool = False,
        cluster: Cluster | None = None,
        max_risk: float | None = None,
        confidence: float = 0.9,
        max_escalated: float | None = None,
        max_cost_per_question: float | None = None,
        escalate: Escalate | None = None,
    ):
        super().__init__()
        if bound is not None:
            check_number("bound", bound, 0.02)
        if bound is not None and not 0 <= bound <= 1:
            raise ConfigurationError(
                f"bound must be a share between 0 and 1, or None, not {bound!r}."
            )
        self._aim = Aim.of(max_risk, confidence, max_escalated, max_cost_per_question, False)
        self._escalate = escalate
        if (bound is not None or fewer_calls) and (self._aim or escalate is not None):
            raise ConfigurationError(
                f"{'bound' if bound is not None else 'fewer_calls'} chooses by other figures than "
                "an operating point: leave it out, or max_risk, max_escalated, "
                "max_cost_per_question and escalate."
            )
        check_metric(metric)
        check_least("k_max", k_max)
        self.metric, self.k_max, self.bound = metric, k_max, bound
        self.fewer_calls = fewer_calls
        self.bank = bank if bank is None or isinstance(bank, SampleBank) else SampleBank(bank)
        # All recorded draws may be tried: `k_max` bounds the drawing already.
        self.options = ChoiceOptions(
            max_members, min_members, None, rules, context, threshold, minimize, budget, seed
        )
        self.study_options = StudyOptions(
            n_trials, timeout, n_jobs, callbacks, sampler, storage, study_name, study
        )
        self._draw_options = DrawOptions(
            greedy, num_threads, max_calls, max_cost, retry_failed, progress, cluster
        )

    def compile(
        self,
        student: SLMMux,
        *,
        trainset: list[dspy.Example],
        teacher: dspy.Module | None = None,
        valset: list[dspy.Example] | None = None,
    ) -> SLMMux:
        """Return a compiled copy of `student`, which itself is not changed.

        Args:
            trainset: measures the members, fits the rule and chooses the subset.
            valset: scores the trials; without one they are cross-fitted on `trainset`. Where an
                operating point is asked for, it chooses the threshold alone.
            teacher: not supported.

        Raises:
            ConfigurationError: the student is not an SLMMux, a teacher is given, the context is
                not an input, a rule was named that needs the log-probabilities that the student
                never asks for, an example is none or has inputs that the student would refuse, two
                examples have the same inputs and other labels, a value has no content by which
                questions are told apart, or there is nothing to choose, for example because no
                draw reaches the threshold. Or nothing can be promised, and the mux would withhold
                or escalate what is not trusted; or no operating point is within the bounds.
            MetricFailed: the metric raised; the draws made so far are kept.
            MissingExtra: Optuna is not installed.
            StorageError: the bank or the study's storage cannot be reached or written.
        """
        if not isinstance(student, SLMMux) or student.method != SLMMux.method:
            raise ConfigurationError(
                f"MuxOptimizer compiles an SLMMux, not {type(student).__name__}."
            )
        if teacher is not None:
            raise ConfigurationError(
                "MuxOptimizer learns from the members' own draws: leave the teacher out."
            )
        if not trainset:
            raise ConfigurationError("The trainset is empty.")
        _check_apart(trainset, valset or [])
        check_fit(student, trainset, within="the trainset")
        check_fit(student, valset or [], within="the valset")
        context = _input_context(self.options.context, [*trainset, *(valset or [])])
        options = replace(self.options, context=context)
        if tuple(self.options.rules) != DEFAULT_RULES and PROBABILITY in self.options.rules:
            check_asks(rule_of(PROBABILITY), student.members, student.pool.settings.logprobs)
        if self.bank is not None:
            return self._compiled(student, trainset, valset or [], self.bank, options)
        with tempfile.TemporaryDirectory() as folder:
            bank = SampleBank(Path(folder) / "bank.sqlite")
            try:
                return self._compiled(student, trainset, valset or [], bank, options)
            finally:
                bank.close()

    def _compiled(
        self,
        student: SLMMux,
        trainset: list[dspy.Example],
        valset: list[dspy.Example],
        bank: SampleBank,
        options: ChoiceOptions,
    ) -> SLMMux:
        goal = self._operation(student, len(trainset), len(valset))
        drawing = Drawing(student, self.metric, bank, self._draw_options, k_max=self.k_max)
        parts = {"train": trainset, **({"validation": valset} if valset else {})}
        draws = drawing.draw(parts)
        schedule: Schedule = "frugal" if self.bound is not None else student.schedule
        if goal is not None:
            split = halves(len(draws.sampled.questions), drawing.splits, options.seed)
            large = drawing.large(parts, goal.escalation)
            aimed = Aimed.of(goal.aim, large, draws.sampled, options.threshold)
            tuned, policy = run_aimed(
                draws, split, options, self.study_options, aimed, schedule=schedule
            )
            return goal.set_up(self._built(student, tuned, policy, drawing))
        tuned = run_study(draws, drawing.splits, options, self.study_options)
        policy = fit_best(
            self._report(tuned, drawing).compiled,
            draws,
            drawing.splits,
            options,
            bound=self.bound,
            schedule=schedule,
        )
        return self._built(student, tuned, policy, drawing)

    def _operation(self, student: SLMMux, train: int, validation: int) -> Operation | None:
        """Return what the compiled mux shall do below its threshold; None for as the student does.

        Raises:
            ConfigurationError: it cannot be done, or the labels are too few for it.
        """
        if self._aim is None and self._escalate is None:
            if student.points:
                raise ConfigurationError(
                    "The threshold of this mux was chosen for it as it is compiled: pass max_risk, "
                    "max_escalated or max_cost_per_question again, or compile a mux without points."
                )
            warn_of_threshold(student)
            return None
        split = halves(train + validation, None, 0)
        labels = validation or len(split.test)
        return Operation.of(student, self._aim or Aim(), self._escalate, labels)

    def _report(self, tuned: Tuned, drawing: Drawing) -> MuxReport:
        return MuxReport(
            tuned,
            {},
            drawing.collected,
            self.bound,
            drawing.greedy_left_out,
            self.fewer_calls,
            self.options.threshold,
        )

    def _built(self, student: SLMMux, tuned: Tuned, policy: Policy, drawing: Drawing) -> SLMMux:
        """Return a copy of the student set up as the study decided, and as it was fitted."""
        report = self._report(tuned, drawing)
        best = report.compiled
        mux = set_up(student, best, policy, tuned.points)
        mux.report = replace(
            report,
            accuracies=dict(mux.pool.accuracies),
            decided_by=getattr(mux.rule, "decided_by", mux.rule.name),
        )
        return mux


def _input_context(context: str | None, examples: Sequence[dspy.Example]) -> str | None:
    """Return the context by the input that it reads.

    A rule fitted by a field that the mux never sees would only seem to weigh by it.

    Raises:
        ConfigurationError: it is not an input of every example.
    """
    if context is None:
        return None
    inputs = [list(example.inputs().toDict()) for example in examples]
    shared = [name for name in inputs[0] if all(name in names for names in inputs)]
    field, text = context_field(context, shared)
    if field not in shared:
        raise ConfigurationError(
            f"context={field!r} is not an input of every example (they share "
            f"{', '.join(shared) or 'none'}), and a mux sees inputs alone: name one of them, or "
            "make it one with with_inputs."
        )
    return f"{AUTO}:{field}" if text else field


def _check_apart(trainset: Sequence[dspy.Example], valset: Sequence[dspy.Example]) -> None:
    inputs = {question.key for question in questions_of(trainset, within="the trainset")}
    shared = sum(question.key in inputs for question in questions_of(valset, within="the valset"))
    if shared:
        raise ConfigurationError(
            f"{shared} examples are in both trainset and valset, which would flatter the result: "
            "separate them."
        )
