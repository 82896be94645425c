"""What becomes of answers below the threshold: flagged, kept back, or another model's."""

from __future__ import annotations

import asyncio
import pickle

import dspy
import pytest

from dspy_mux import AllMembersFailed, ConfigurationError, Member, NotTrusted, PoolMismatch, SLMMux
from dspy_mux.mux.open import open_mux
from dspy_mux.mux.pool_file import PoolFile

from ..support.scripted import scripted_lm

QA = "question -> answer"


def pool():
    """Two members: two of three for x, and no two alike."""
    return [scripted_lm("a", ["x", "x", "y"]), scripted_lm("b", ["u", "v", "w"])]


def asked(mux, how="sync"):
    return mux(question="?") if how == "sync" else asyncio.run(mux.acall(question="?"))


@pytest.fixture(params=["sync", "async"])
def how(request):
    return request.param


def test_without_a_threshold_nothing_is_said_of_trust(how):
    verdict = asked(SLMMux(dspy.Predict(QA), pool()), how).verdict
    assert (verdict.trusted, verdict.escalated) == (None, False)


@pytest.mark.parametrize(("threshold", "trusted"), [(0.6, True), (2 / 3, True), (0.7, False)])
def test_answers_below_the_threshold_are_flagged(threshold, trusted, how):
    prediction = asked(SLMMux(dspy.Predict(QA), pool(), threshold=threshold), how)
    assert (prediction.answer, prediction.verdict.trusted) == ("x", trusted)


def test_abstaining_makes_the_answer_none_where_its_type_admits_that(how):
    program = dspy.Predict("question -> answer: str | None, note")
    lms = [scripted_lm(name, [answer]) for name, answer in (("a", "x"), ("b", "y"))]
    mux = SLMMux(program, lms, k=1, threshold=0.9, otherwise="abstain", answer_field="answer")
    assert asked(mux, how).answer == "x"  # one draw is always sure of itself
    mux = SLMMux(
        dspy.Predict("question -> answer: str | None"), pool(), threshold=0.9, otherwise="abstain"
    )
    prediction = asked(mux, how)
    assert prediction.answer is None
    assert (prediction.verdict.answer, prediction.verdict.trusted) == ("x", False)


def test_abstaining_raises_where_the_answer_cannot_be_none(how):
    mux = SLMMux(dspy.Predict(QA), pool(), threshold=0.9, otherwise="abstain")
    with pytest.raises(NotTrusted, match=r"confidence 0\.67 is below the threshold 0\.9") as raised:
        asked(mux, how)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.verdict.answer, again.threshold, str(again)) == ("x", 0.9, str(raised.value))


@pytest.mark.parametrize("kind", ["lm", "member", "module", "mux"])
def test_another_model_answers_in_the_pools_place(kind, how):
    large = scripted_lm("large", ["z"])
    if kind == "module":
        other = dspy.Predict(QA)
        other.set_lm(large)
    elif kind == "mux":
        other = SLMMux(dspy.Predict(QA), [large], k=2)
    else:
        other = large if kind == "lm" else Member(large, name="large")
    mux = SLMMux(dspy.Predict(QA), pool(), threshold=0.9, otherwise="escalate", escalate=other)
    prediction = asked(mux, how)
    verdict = prediction.verdict
    assert prediction.answer == verdict.answer == "z"
    assert (verdict.trusted, verdict.escalated) == (False, True)
    assert verdict.calls + verdict.cached_calls == (8 if kind == "mux" else 7)
    assert verdict.confidence == pytest.approx(2 / 3)
    assert [ballot.member for ballot in verdict.ballots] == ["scripted/a", "scripted/b"]
    # What is trusted costs no call of the other model.
    sure = SLMMux(dspy.Predict(QA), pool(), threshold=0.5, otherwise="escalate", escalate=other)
    verdict = asked(sure, how).verdict
    assert verdict.calls + verdict.cached_calls == 6


def test_where_the_other_model_fails_the_pools_answer_stands_flagged(how):
    down = scripted_lm("large", lambda prompt, draw: ConnectionError("refused"))
    mux = SLMMux(dspy.Predict(QA), pool(), threshold=0.9, otherwise="escalate", escalate=down)
    verdict = asked(mux, how).verdict
    assert (verdict.answer, verdict.trusted, verdict.escalated) == ("x", False, False)
    assert "refused" in verdict.escalation_cause
    assert verdict.calls + verdict.cached_calls == 7


def test_a_mux_that_keeps_its_answer_back_has_failed_as_an_escalation(how):
    torn = [scripted_lm("c", ["c"]), scripted_lm("d", ["d"])]
    held = SLMMux(dspy.Predict(QA), torn, rule="pooled", threshold=0.9, otherwise="abstain")
    mux = SLMMux(dspy.Predict(QA), pool(), threshold=0.9, otherwise="escalate", escalate=held)
    prediction = asked(mux, how)
    assert (prediction.answer, prediction.verdict.trusted) == ("x", False)
    assert "NotTrusted" in prediction.verdict.escalation_cause
    assert prediction.verdict.calls == 12


def test_a_program_without_an_lm_is_named_where_it_is_escalated_to(how):
    bare = dspy.Predict(QA)
    mux = SLMMux(dspy.Predict(QA), pool(), threshold=0.9, otherwise="escalate", escalate=bare)
    with pytest.raises(ConfigurationError, match=r"The program in escalate= has no LM: give it"):
        asked(mux, how)


def test_a_pool_without_an_answer_escalates_too(how):
    silent = [scripted_lm(name, lambda prompt, draw: ConnectionError("down")) for name in "ab"]
    settings = {"threshold": 0.5, "otherwise": "escalate"}
    mux = SLMMux(dspy.Predict(QA), silent, escalate=scripted_lm("large", ["z"]), **settings)
    verdict = asked(mux, how).verdict
    assert (verdict.answer, verdict.escalated, verdict.confidence) == ("z", True, 0.0)
    assert verdict.ballots[0].abstentions
    mux = SLMMux(dspy.Predict(QA), silent, escalate=silent[0].copy(model="c"), **settings)
    with pytest.raises(AllMembersFailed):
        asked(mux, how)


def test_the_pool_is_not_told_by_optimizers_of_what_it_escalates_to():
    mux = SLMMux(
        dspy.Predict(QA),
        pool(),
        threshold=0.9,
        otherwise="escalate",
        escalate=scripted_lm("large", ["z"]),
    )
    assert len(mux.predictors()) == 2
    assert asked(mux.deepcopy()).answer == "z"


def test_a_saved_mux_keeps_its_threshold_and_asks_for_its_escalation(tmp_path):
    lms = {"a": pool()[0], "b": pool()[1]}
    large = Member(scripted_lm("large", ["z"]), name="large")
    mux = SLMMux(dspy.Predict(QA), lms, threshold=0.9, otherwise="escalate", escalate=large)
    mux.save(tmp_path / "mux.json")
    again = SLMMux.from_file(tmp_path / "mux.json", lms, escalate=large)
    assert asked(again).verdict.escalated
    with pytest.raises(PoolMismatch, match=r"escalates to 'large', this one to nothing: pass it"):
        SLMMux.from_file(tmp_path / "mux.json", lms)
    SLMMux(dspy.Predict(QA), lms, threshold=0.9).save(tmp_path / "flagged.json")
    assert asked(SLMMux.from_file(tmp_path / "flagged.json", lms)).verdict.trusted is False
    SLMMux(dspy.Predict(QA), lms).save(tmp_path / "plain.json")
    assert "threshold" not in (tmp_path / "plain.json").read_text()


def test_a_mux_loaded_as_one_that_flags_asks_nobody(tmp_path):
    flagging, saved = tmp_path / "flag.json", tmp_path / "mux.json"
    SLMMux(dspy.Predict(QA), pool()).save(flagging)
    silent = [scripted_lm(name, lambda prompt, draw: ConnectionError("down")) for name in "ab"]
    large = scripted_lm("large", ["z"])
    settings = {"threshold": 0.9, "otherwise": "escalate", "escalate": large}
    mux = SLMMux(dspy.Predict(QA), silent, **settings)
    escalating = mux.dump_state()
    mux.load(flagging)
    with pytest.raises(AllMembersFailed):
        asked(mux)
    mux.save(saved)
    assert SLMMux.from_file(saved, silent).pool.settings.otherwise == "flag"
    with pytest.raises(ConfigurationError, match="does not escalate, it has otherwise='flag'"):
        SLMMux.from_file(saved, silent, escalate=large)
    mux.load_state(escalating)
    assert asked(mux).verdict.escalated


def test_inside_a_larger_program(tmp_path):
    class Outer(dspy.Module):
        def __init__(self):
            super().__init__()
            self.mux = SLMMux(
                dspy.Predict(QA),
                pool(),
                threshold=0.9,
                otherwise="escalate",
                escalate=scripted_lm("large", ["z"]),
            )

        def forward(self, question):
            return self.mux(question=question)

    outer = Outer()
    assert outer(question="?").answer == "z"
    outer.save(tmp_path / "outer.json")
    other = Outer()
    other.load(tmp_path / "outer.json")
    assert other(question="?").answer == "z"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "threshold must be a confidence between 0 and 1"),
        ({"threshold": True}, "threshold must be"),
        ({"threshold": 0.5, "otherwise": "guess"}, "otherwise must be one of flag, abstain"),
        ({"otherwise": "abstain"}, "is for answers below a threshold"),
        ({"threshold": 0.5, "otherwise": "escalate"}, "go together"),
        ({"threshold": 0.5, "escalate": dspy.LM("openai/a")}, "go together"),
        (
            {"threshold": 0.5, "otherwise": "escalate", "escalate": "openai/a"},
            "escalate must be a dspy.LM",
        ),
        (
            {"threshold": 0.5, "otherwise": "escalate", "escalate": scripted_lm("a", ["x"])},
            "as a member of the pool is",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        SLMMux(dspy.Predict(QA), pool(), **settings)


def test_a_verdict_says_in_words_whether_it_is_trusted():
    told = {
        threshold: str(asked(SLMMux(dspy.Predict(QA), pool(), threshold=threshold)).verdict)
        for threshold in (None, 0.5, 0.9)
    }
    assert "trusted" not in told[None]
    assert "by the rule consistency; trusted" in told[0.5]
    assert "by the rule consistency; not trusted" in told[0.9]
    settings = {"threshold": 0.9, "otherwise": "escalate"}
    mux = SLMMux(dspy.Predict(QA), pool(), escalate=scripted_lm("large", ["z"]), **settings)
    text = str(asked(mux).verdict)
    assert "scripted/large, asked in place of the pool, whose answer x had confidence 0.67" in text


def test_a_pool_file_says_what_becomes_of_answers_below_a_threshold(tmp_path):
    (tmp_path / "pool.toml").write_text(
        'threshold = 0.8\notherwise = "escalate"\n'
        '[escalate]\nname = "large"\nmodel = "openai/large"\n'
        '[[members]]\nname = "small"\nmodel = "openai/small"\n'
    )
    mux = PoolFile.load(tmp_path / "pool.toml").mux()
    assert (mux.pool.settings.threshold, mux.escalation.name) == (0.8, "large")


def test_a_saved_mux_escalates_to_the_large_model_of_the_pool_file(tmp_path):
    path, saved, flagging = (tmp_path / name for name in ("pool.toml", "mux.json", "flag.json"))
    members = '[[members]]\nname = "small"\nmodel = "openai/small"\n'
    path.write_text(members + '[escalate]\nname = "large"\nmodel = "openai/large"\n')
    file = PoolFile.load(path)
    file.mux(threshold=0.8, otherwise="escalate").save(saved)
    file.mux(threshold=0.8, otherwise="flag", escalate=None).save(flagging)
    mux = open_mux(path, saved)
    assert (mux.pool.settings.otherwise, mux.escalation.name) == ("escalate", "large")
    assert open_mux(path, flagging).escalation is None
    path.write_text(members)
    with pytest.raises(PoolMismatch, match=r"escalates to 'large'.*or as \[escalate\] of the pool"):
        open_mux(path, saved)
