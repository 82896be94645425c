"""`MuxOptimizer(max_risk=…, escalate=…)`: the threshold, and the points to pick from."""

from __future__ import annotations

import asyncio
import json

import dspy
import numpy as np
import pytest

from dspy_mux import (
    ConfigurationError,
    DataError,
    Member,
    MuxOptimizer,
    NotTrusted,
    Record,
    SampleBank,
    SLMMux,
    collect,
    load_program,
    tune,
)
from dspy_mux.optimize.aim import CHEAPEST, MOST_ACCURATE, MOST_ANSWERED, Aim
from dspy_mux.optimize.operating import Aimed, Large
from dspy_mux.replay.splits import Split, folds

from ..support.scripted import scripted_lm
from ..support.skilled import QA, a_member, calls, metric, questions
from ..support.tuning import skilled_record

SETTINGS = {"metric": metric, "n_trials": 4, "greedy": False, "max_members": 2}
EXAMPLES = questions(100)
TRAIN, VALIDATION = EXAMPLES[:50], EXAMPLES[50:]


def a_pool(**settings):
    members = [a_member("a", 0.7), a_member("b", 0.6)]
    return SLMMux(dspy.Predict(QA), members, k=3, temperature=0.5, logprobs=False, **settings)


def a_large():
    return a_member("large", 0.95)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return SampleBank(tmp_path_factory.mktemp("bank") / "bank.sqlite")


def compiled(bank, mux=None, trainset=TRAIN, valset=VALIDATION, **settings):
    optimizer = MuxOptimizer(bank=bank, **{**SETTINGS, **settings})
    return optimizer.compile(mux or a_pool(), trainset=trainset, valset=valset)


def trusted_share(mux, examples=VALIDATION):
    verdicts = [mux(**example.inputs()).verdict for example in examples]
    return sum(verdict.trusted for verdict in verdicts) / len(verdicts)


# --- the promise


@pytest.mark.parametrize(
    ("rule", "schedule"),
    [("consistency", "full"), ("pooled", "full"), ("pooled", "frugal"), ("calibrated", "frugal")],
)
def test_a_point_counts_what_the_live_mux_trusts(bank, rule, schedule):
    student = a_pool(schedule=schedule)
    best = compiled(bank, student, max_risk=0.3, rules=[rule], min_members=2)
    point = best.points[MOST_ANSWERED]
    assert best.points.compiled == MOST_ANSWERED
    assert best.pool.settings.threshold == point.threshold
    assert point.promised
    assert trusted_share(best) == pytest.approx(point.coverage)
    answers = [best(**example.inputs()) for example in VALIDATION]
    trusted = [answer for answer in answers if answer.verdict.trusted]
    wrong = sum(answer.answer != "right" for answer in trusted)
    assert wrong / len(trusted) == pytest.approx(point.risk)
    assert "at most 30 % wrong among the answered, with 90 % confidence" in best.points.promise
    assert best.points.promise in best.report.note


def test_the_labels_that_choose_the_threshold_choose_nothing_else(bank):
    def state(valset):
        best = compiled(bank, valset=valset, max_risk=0.4, rules=["calibrated", "pooled"])
        saved = best.pool.dump_state()
        return saved, {saved.pop("points")["promise"], saved.pop("threshold", None)}

    golds = ("right", "a")
    other = [each.copy(answer=golds[at % 2]) for at, each in enumerate(VALIDATION)]
    (ours, threshold), (theirs, another) = state(VALIDATION), state(other)
    assert ours == theirs
    assert threshold != another


def test_without_a_valset_half_of_the_trainset_chooses_the_threshold(bank):
    best = compiled(bank, trainset=EXAMPLES, valset=None, max_risk=0.3)
    assert (best.points.questions, best.report.tuned.questions) == (50, 50)


def test_too_few_labels_make_no_threshold(bank, caplog):
    best = compiled(bank, valset=VALIDATION[:20], max_risk=0.05)
    assert best.pool.settings.threshold is None
    assert best(question="q1?").verdict.trusted is None
    assert len(best.points) == 0
    told = "20 labelled questions choose the threshold: 5 % at 90 % confidence needs at least 45"
    for text in (caplog.text, best.report.note, best.report.to_html()):
        assert told in text
    with pytest.raises(ConfigurationError, match="no operating point to pick: 20 labelled"):
        best.pick(MOST_ANSWERED)


@pytest.mark.parametrize("otherwise", ["abstain", "escalate"])
def test_what_cannot_be_promised_is_not_answered_instead(otherwise, tmp_path):
    large = {"escalate": a_large()} if otherwise == "escalate" else {}
    student = a_pool(otherwise=otherwise, threshold=0.9, **large)
    with pytest.raises(
        ConfigurationError, match=f"at least 45.*otherwise='{otherwise}' would give"
    ):
        compiled(tmp_path / "b.sqlite", student, valset=VALIDATION[:20], max_risk=0.05)
    assert calls(student) == [0, 0]  # so few labels are known before anything is drawn
    with pytest.raises(ConfigurationError, match="would give every answer"):
        compiled(None, student, max_risk=0.05)


def test_answers_below_the_threshold_are_kept_back(bank):
    best = compiled(bank, a_pool(otherwise="abstain", threshold=1.0), max_risk=0.3)
    outcomes = []
    for example in VALIDATION:
        try:
            outcomes.append(best(**example.inputs()).verdict.trusted)
        except NotTrusted:
            outcomes.append(False)
    assert sum(outcomes) / len(outcomes) == pytest.approx(best.points[MOST_ANSWERED].coverage)


# --- with a large model


@pytest.fixture
def escalating(bank):
    return compiled(bank, escalate=a_large(), max_escalated=0.6)


def test_a_large_model_answers_what_is_not_trusted(escalating):
    points = escalating.points
    assert (points.compiled, points.large, points.promise) == (MOST_ACCURATE, "large", None)
    shares = [point.escalated for point in points]
    accuracies = [point.accuracy for point in points]
    assert shares == sorted(shares)
    assert accuracies == sorted(set(accuracies))
    assert shares[-1] <= 0.6
    for name in points.names:
        point, mux = points[name], escalating.pick(name)
        assert 1 - trusted_share(mux) == pytest.approx(point.escalated)
        answers = [mux(**example.inputs()).answer for example in VALIDATION]
        right = sum(answer == "right" for answer in answers) / len(answers)
        assert right == pytest.approx(point.accuracy)
    verdict = escalating.pick(len(points) - 1)(question="q61?").verdict
    assert verdict.trusted or (verdict.escalated and verdict.member == "large")


def test_points_are_picked_by_name_position_and_threshold(escalating):
    points = escalating.points
    threshold = points[CHEAPEST].threshold
    for which in (CHEAPEST, 0, threshold, -len(points)):
        assert escalating.pick(which).pool.settings.threshold == threshold
    assert escalating.pool.settings.threshold == points[MOST_ACCURATE].threshold  # a copy was set
    for which in ("best", len(points), 0.123, True):
        with pytest.raises(ConfigurationError, match="pick one of 'cheapest', 'balanced', 'most"):
            escalating.pick(which)
    with pytest.raises(ConfigurationError, match="has no operating points: MuxOptimizer measures"):
        a_pool().pick("cheapest")


def test_points_are_saved_with_the_mux(escalating, tmp_path):
    path = tmp_path / "mux.json"
    escalating.pick("balanced").save(path)
    again = SLMMux.from_file(path, a_pool().members, escalate=a_large())
    assert again.points == escalating.points
    assert again.pool.settings.threshold == escalating.points["balanced"].threshold
    assert again.pick(CHEAPEST).pool.settings.threshold == escalating.points[CHEAPEST].threshold
    verdict = asyncio.run(again.acall(question="q60?")).verdict
    assert verdict.trusted in (True, False)
    saved = json.loads(path.read_text())
    saved["pool"]["points"]["points"][0]["threshold"] = 7
    path.write_text(json.dumps(saved))
    with pytest.raises(DataError, match="The points of the saved mux"):
        SLMMux.from_file(path, a_pool().members, escalate=a_large())


def test_a_larger_program_keeps_the_points(escalating, tmp_path):
    class Outer(dspy.Module):
        def __init__(self, mux):
            super().__init__()
            self.mux = mux

        def forward(self, question):
            return self.mux(question=question)

    Outer(escalating.pick(CHEAPEST)).save(tmp_path / "outer.json")
    fresh = a_pool(threshold=1.0, otherwise="escalate", escalate=a_large())
    loaded = load_program(Outer(fresh), tmp_path / "outer.json")
    assert loaded.mux.points == escalating.points
    assert loaded.mux.pool.settings.threshold == escalating.points[CHEAPEST].threshold
    assert loaded(question="q62?").verdict.trusted is not None


def test_other_members_draws_or_accuracies_are_refused(escalating, tmp_path):
    name = escalating.pool.names[0]
    refusal = "The threshold of this mux was chosen for"
    if len(escalating.pool.names) > 1:
        with pytest.raises(ConfigurationError, match=refusal):
            escalating.subset([name])
    escalating.save(tmp_path / "mux.json")
    for other in ({"k": 1}, {"accuracies": {name: 0.1}}):
        with pytest.raises(ConfigurationError, match=f"{refusal}|was fitted"):
            SLMMux.from_file(tmp_path / "mux.json", a_pool().members, escalate=a_large(), **other)


def test_a_threshold_does_not_outlive_what_it_was_chosen_for(bank):
    best = compiled(bank, max_risk=0.3)
    with pytest.raises(ConfigurationError, match="was chosen for it as it is compiled"):
        compiled(bank, best)
    again = compiled(bank, best, max_risk=0.3)
    assert again.points.questions == len(VALIDATION)


def test_a_recorded_large_model_is_not_asked_again(bank):
    large = a_large()
    alone = SLMMux(dspy.Predict(QA), [large], k=1, temperature=0.0, logprobs=False)
    collect(alone, EXAMPLES, metric, bank, dataset="mux_split")
    asked = large.lm.engine.calls
    best = compiled(bank, escalate=large, max_risk=0.3)
    assert large.lm.engine.calls == asked
    assert best.points.compiled == CHEAPEST  # the promise with the fewest calls
    assert all(point.promised for point in best.points)


def test_the_muxs_own_large_model_is_used(bank):
    student = a_pool(threshold=1.0, otherwise="escalate", escalate=a_large())
    assert compiled(bank, student, max_risk=0.3).points.large == "large"
    with pytest.raises(ConfigurationError, match="escalate= is given, and the mux has"):
        compiled(bank, student, escalate=a_large())


def test_a_program_as_large_model_needs_a_promise(bank):
    other = dspy.Predict(QA)
    other.set_lm(scripted_lm("program", ["right"]))
    with pytest.raises(ConfigurationError, match="What a module's calls are worth"):
        compiled(bank, escalate=other, max_escalated=0.5)
    best = compiled(bank, escalate=other, max_risk=0.3)
    assert (best.points.large, best.escalation.name) == (None, "Predict")


# --- bounds on calls and money, on records


def records(count=200, cost=(0.001, 0.001, 0.01)):
    record = skilled_record([0.6, 0.5, 0.95], count, draws=3, cost=cost)
    return record.of(["a", "b"], 3)[0], record.of(["c"], 1)[0]


def test_the_balanced_point_is_the_cheapest_that_is_not_clearly_worse():
    # Of 200 questions in each half 100 are sure and right, 80 less sure with 3 wrong, 20 unsure
    # with 10 wrong. The large model is wrong on 2 of the 80.
    votes = np.repeat([[0, 0, 0], [0, 0, 1], [0, 1, 2]], [100, 80, 20], axis=0)
    right, large = np.ones(200), np.ones(200)
    right[[100, 101, 102, *range(180, 190)]] = 0
    large[[110, 111]] = 0
    both, names = np.r_[right, right], tuple(f"q{at}" for at in range(400))
    votes = np.concatenate([votes, votes])[:, None]
    pool = Record(("a",), names, votes, (votes == 0) * both[:, None, None], {})
    scores = np.r_[large, large][:, None, None]
    other = Record(("c",), names, np.zeros((400, 1, 1), int), scores, {})
    halves = [Split(np.arange(200), np.arange(200, 400))]
    found = tune(pool, splits=halves, escalate=other, n_trials=1, rules=["consistency"]).points
    assert [point.names for point in found] == [("cheapest",), ("balanced",), ("most accurate",)]
    assert [point.escalated for point in found] == pytest.approx([0, 0.1, 0.5])
    assert [point.accuracy for point in found] == pytest.approx([0.935, 0.985, 0.99])
    assert [point.risk for point in found] == pytest.approx([13 / 200, 3 / 180, 0])
    assert found.compiled == "balanced"


def test_money_is_of_the_pools_draws_and_the_large_models_calls():
    pool, large = records()
    found = tune(pool, n_trials=4, escalate=large, max_cost_per_question=0.009)
    draws = found.best.k * len(found.best.members)
    for point in found.points:
        assert point.cost == pytest.approx(0.001 * draws + 0.01 * point.escalated)
        assert point.cost <= 0.009
    free, _ = records(cost=None)
    found = tune(free, n_trials=4, escalate=large, max_cost_per_question=0.004)
    assert found.points[MOST_ACCURATE].cost == pytest.approx(
        0.01 * found.points[MOST_ACCURATE].escalated
    )


def test_bounds_out_of_reach_are_refused():
    pool, large = records()
    with pytest.raises(ConfigurationError, match="stays within max_cost_per_question=1e-05"):
        tune(pool, n_trials=3, escalate=large, max_cost_per_question=1e-5)
    with pytest.raises(ConfigurationError, match="that keeps max_risk=0.08 stays within max_e"):
        tune(pool, n_trials=3, escalate=large, max_risk=0.08, max_escalated=0.01)


def test_the_study_knows_which_trials_break_the_aim():
    pool, large = records()
    study = tune(pool, n_trials=5, escalate=large, max_cost_per_question=0.004).study
    broken = {trial.constraints["cost"] > 0 for trial in study.trials}
    assert broken == {True, False}
    with pytest.raises(ConfigurationError, match=r"of other data \(aim differ\)"):
        tune(pool, n_trials=6, escalate=large, max_cost_per_question=0.005, study=study)


def test_draws_that_tell_what_to_trust_serve_a_promise_and_not_accuracy():
    random = np.random.default_rng(0)
    right = random.random((200, 1, 1)) < 0.75
    # The first draw is the answer; the others agree with it where it is right.
    votes = np.concatenate([np.zeros((200, 1, 1), int), np.where(right, 0, [[[1, 2]]])], axis=2)
    scores = (right & (votes == 0)).astype(float)
    record = Record(("a",), tuple(f"q{at}" for at in range(200)), votes, scores, {})
    options = {"n_trials": 16, "rules": ("consistency",)}
    assert tune(record, **options).best.k == 1
    found = tune(record, **options, max_risk=0.05)
    assert found.best.k > 1
    assert found.points[MOST_ANSWERED].coverage > 0.6
    every = np.zeros((200, 1, 1), int)
    large = Record(("c",), record.questions, every, every + 1.0, {})
    found = tune(record, **options, escalate=large, max_escalated=0.4)
    assert found.best.k > 1
    assert found.points[MOST_ACCURATE].accuracy == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_risk": 0}, r"max_risk \(--max-risk\) must lie between 0 and 1, not 0"),
        ({"max_risk": 1.5}, r"max_risk \(--max-risk\) must lie between 0 and 1, not 1.5"),
        (
            {"max_risk": 0.1, "confidence": 90},
            r"confidence \(--confidence\) must lie between 0 and 1, not 90",
        ),
        ({"max_escalated": 2}, "max_escalated must be a share between 0 and 1, not 2"),
        ({"max_cost_per_question": 0}, "max_cost_per_question must be a number of US dollars"),
        ({"max_risk": 0.1, "bound": 0.1}, "bound chooses by other figures"),
        ({"max_risk": 0.1, "fewer_calls": True}, "fewer_calls chooses by other figures"),
        ({"max_risk": 0.1, "metric": None}, "metric must be a function"),
    ],
)
def test_options_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        MuxOptimizer(**{**SETTINGS, **wrong})


@pytest.mark.parametrize(
    ("student", "settings", "message"),
    [
        ({}, {"max_escalated": 0.5}, "bound the calls of a large model: name it"),
        ({"schedule": "hedged"}, {"max_risk": 0.3}, "Under schedule='hedged'"),
        ({}, {"escalate": "gpt"}, "lm must be a dspy.LM, not str"),
        ({}, {"escalate": Member(scripted_lm("x", ["y"]), name="a")}, "as a member of the pool is"),
        (
            {"otherwise": "abstain", "threshold": 0.9},
            {"escalate": scripted_lm("x", ["y"])},
            "otherwise='abstain' of its own",
        ),
    ],
)
def test_students_that_cannot_be_compiled_so_are_refused(student, settings, message):
    mux = a_pool(**student)
    with pytest.raises(ConfigurationError, match=message):
        compiled(None, mux, **settings)
    assert calls(mux) == [0, 0]


def test_a_large_model_must_have_the_questions_and_for_money_a_price():
    pool, large = records()
    with pytest.raises(ConfigurationError, match="has no draw of 'c' for 5 of the 200 questions"):
        tune(pool, escalate=large.rows(range(195)), max_escalated=0.5)
    priceless = Large.of(records(cost=None)[1], pool, None)
    with pytest.raises(ConfigurationError, match="No draw of 'c' has a recorded price"):
        Aimed(Aim(max_cost=1.0), priceless)
    with pytest.raises(ConfigurationError, match="needs one split.*5 are given"):
        tune(pool, escalate=large, splits=folds(200), n_trials=2)


def test_the_report_shows_the_points_and_the_compiled_one(escalating):
    markdown, page = escalating.report.to_markdown(), escalating.report.to_html()
    assert "most accurate (compiled)" in markdown
    assert "goes to large, one call a question; no promise is of its answers" in markdown
    for words in (
        "cheapest",
        "questions escalated, %",
        "Operating points, with large",
        "width=device",
    ):
        assert words in page
