"""`tune`: choose members, draws, λ and rule by an Optuna study over recorded draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ..bank.record import Record
from ..errors import ConfigurationError
from ..mux.saved import Schedule
from ..replay.live import Policy
from ..replay.resample import check_record, complete
from ..replay.splits import Split, check_apart, holdout
from ..sampling.interrupt import Interrupt
from .aim import Aim
from .choose import Chooser
from .fitting import fit_best, fit_setting
from .objective import Objective
from .operating import Aimed, find_points
from .options import DEFAULT_RULES, STUDY_NAME, ChoiceOptions, StudyOptions
from .plan import Recorded, paired
from .storage import StudyLock
from .study import open_study, opening_errors, storage_errors
from .tuned import Tuned
from .turns import Turns

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


def tune(  # noqa: PLR0913  (public: keyword arguments that users of Optuna know)
    record: Record,
    *,
    greedy: Record | None = None,
    splits: Sequence[Split] | None = None,
    max_members: int = 3,
    min_members: int = 1,
    k_max: int | None = None,
    rules: Sequence[str] = DEFAULT_RULES,
    n_trials: int = 100,
    seed: int = 0,
    context: str | None = None,
    threshold: float | None = None,
    minimize: str | None = None,
    budget: float | None = None,
    study: optuna.Study | None = None,
    storage: str | optuna.storages.BaseStorage | None = None,
    study_name: str = STUDY_NAME,
    sampler: optuna.samplers.BaseSampler | None = None,
    n_jobs: int = 1,
    timeout: float | None = None,
    callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]] = (),
    left_out: int = 0,
    max_risk: float | None = None,
    confidence: float = 0.9,
    max_escalated: float | None = None,
    max_cost_per_question: float | None = None,
    escalate: Record | None = None,
) -> Tuned:
    """Find the best mux over the members of a record. Requires the `optimize` extra.

    Every trial is replayed on recorded draws, so a study costs no LM call. Its first trials are the
    paper's setting (three draws, λ = 1, `consistency`; section "Main Results").

        >>> import numpy as np
        >>> from dspy_mux import Record, tune
        >>> right = np.zeros((10, 3, 2), bool)  # 10 questions, 3 members, 2 draws
        >>> right[:6, 0] = right[4:, 1] = right[:2, 2] = True
        >>> record = Record(
        ...     members=("a", "b", "c"),
        ...     questions=tuple(f"q{n}" for n in range(10)),
        ...     votes=np.where(right, 0, [[[1, 2]]]),  # classes of answers within a question
        ...     scores=right.astype(float),
        ...     fields={},
        ... )
        >>> tuned = tune(record, n_trials=4, max_members=2)
        >>> tuned.best.members, tuned.best.rule, tuned.best.value
        (('a', 'b'), 'consistency', 1.0)
        >>> tuned.single.value < tuned.best.value
        True

    Args:
        record: scored draws of every member. Questions of which one lacks draws are left out, and
            counted in `Tuned.left_out`. Where they have evidence, rules
            that read it are tried too.
        greedy: a draw at temperature 0 of the same members on the same questions in the same
            order; a trial then chooses between that one and k of the others.
        splits: training and test parts; None for five folds, which cross-fit every figure.
        max_members, min_members: sizes of subset to try.
        k_max: draws per member, at most; None for all that are recorded.
        rules: the rules to try; the paper's is always among them, and of the default ones
            `probability` only where draws have log-probabilities.
        n_trials: trials that the study shall have, of the sizes and draws asked for: processes
            that share a study run as many together, and one that is continued runs those it lacks.
        seed: of the folds and the sampler.
        context: a field of the questions by which the calibrated rule may weigh, or "auto" for
            their text.
        threshold: the score from which an answer counts as correct; None for 1, which refuses
            scores outside 0 to 1 (`grading.py`).
        minimize: a second objective, "calls_per_question" or "cost_per_question" (US dollars).
        budget: how much of the second objective the chosen setting may use per question; None for
            the most accurate setting on the front.
        study, storage, study_name, sampler, n_jobs, timeout, callbacks: as in Optuna. A study that
            exists is continued if it is of the same data; of its trials, those within the sizes
            and draws asked for count.
        left_out: questions that are not in the record, to pass on to the result.
        max_risk, confidence, max_escalated, max_cost_per_question: also find the operating points
            of the best setting (`Tuned.points`), as for `MuxOptimizer`. Their thresholds are chosen
            on the test part of a single split, or on a random half of the questions; the others
            choose the setting.
        escalate: draws of one member that stands for a large model, on the same questions.

    Raises:
        ConfigurationError: nothing to choose from, greedy draws of other members or questions, a
            rule that needs evidence where there is none, no draw that reaches the threshold, an
            unknown rule or objective, a study of other data, no setting within the budget, or no
            operating point within its bounds.
        MissingExtra: Optuna is not installed.
        StorageError: the study's storage cannot be reached or written.
    """
    for each in filter(None, (record, greedy, escalate)):
        check_record(each)
    record, lacking = complete(record, splits, k_max)
    left_out += lacking
    if lacking and greedy is not None:
        record, greedy, alone = paired(record, greedy)
        left_out += alone
    draws = Recorded(record, greedy)
    options = ChoiceOptions(
        max_members, min_members, k_max, rules, context, threshold, minimize, budget, seed
    )
    study_options = StudyOptions(
        n_trials, timeout, n_jobs, callbacks, sampler, storage, study_name, study
    )
    aim = Aim.of(max_risk, confidence, max_escalated, max_cost_per_question, escalate is not None)
    if aim is None:
        tuned = run_study(draws, splits, options, study_options, left_out=left_out)
        return replace(tuned, policy=fit_best(tuned.best, draws, splits, options))
    tuned, policy = run_aimed(
        draws,
        halves(len(record.questions), splits, seed),
        options,
        study_options,
        Aimed.of(aim, escalate, record, threshold),
        left_out=left_out,
    )
    return replace(tuned, policy=policy)


def halves(questions: int, splits: Sequence[Split] | None, seed: int) -> Split:
    """Return what chooses the setting, and what chooses the threshold: random halves for None.

    Raises:
        ConfigurationError: several splits, one whose parts overlap, or a single question.
    """
    if splits is None:
        return holdout(questions, repeats=1, seed=seed)[0]
    if len(splits) != 1:
        raise ConfigurationError(
            "An operating point needs one split: its training part chooses the setting, its test "
            f"part the threshold. {len(splits)} are given."
        )
    check_apart(splits[0])
    return splits[0]


def run_study(
    draws: Recorded,
    splits: Sequence[Split] | None,
    options: ChoiceOptions,
    study_options: StudyOptions,
    *,
    aimed: Aimed | None = None,
    left_out: int = 0,
) -> Tuned:
    """Run a study and choose its best setting; raises what `tune` raises."""
    objective = Objective(draws, splits, options, aimed)
    shared = study_options.storage if study_options.study is None else None
    with ExitStack() as stack:
        with opening_errors():
            lock = stack.enter_context(closing(StudyLock(shared, study_options.study_name)))
            with lock:
                study = open_study(
                    study_options,
                    seed=options.seed,
                    minimize=options.minimize,
                    constrained=aimed is not None,
                )
        stack.enter_context(storage_errors())
        interrupt = stack.enter_context(Interrupt(insistent=True))
        turns = Turns(study, lock, objective.allows, study_options, interrupt)
        with lock:
            objective.comparable().check(study)
            for params in objective.first_trials()[: max(0, turns.missing())]:
                study.enqueue_trial(params, skip_if_exists=True)
        turns.run(objective)
        return Chooser(objective).tuned(study, left_out)


def run_aimed(
    draws: Recorded,
    split: Split,
    options: ChoiceOptions,
    study_options: StudyOptions,
    aimed: Aimed,
    *,
    schedule: Schedule = "full",
    left_out: int = 0,
) -> tuple[Tuned, Policy]:
    """Choose a setting and fit it on one part of the questions, and its threshold on the other.

    The study cross-fits on the first part. What chooses a threshold, promised or not, must have
    had no part in the choice of members, rule and k, nor in any fit: else their luck on these
    questions passes for a lower risk. Cross-fitting the threshold too would use all questions, but
    it would belong to several fitted rules, none of which is the one compiled.

    Args:
        split: what chooses and fits, and what chooses the threshold.
        aimed: over all questions.

    Returns:
        What the study found, with its points, and the best setting, fitted.
    """
    chosen_on = draws.rows(split.train)
    tuned = run_study(
        chosen_on,
        None,
        options,
        study_options,
        aimed=aimed.rows(split.train),
        left_out=left_out,
    )
    chosen_on, correct = chosen_on.graded(options.threshold)
    held, _ = draws.rows(split.test).graded(options.threshold)
    options, best = replace(options, threshold=correct), tuned.best
    fitted, held_part = (each.of(best.plan).of(best.members, None)[0] for each in (chosen_on, held))
    policy = fit_setting(best, fitted, options, schedule=schedule)
    points = find_points(aimed.rows(split.test), policy, fitted, held_part, correct)
    return replace(tuned, points=points), policy
