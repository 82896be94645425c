"""What costs a draw and what is raised, and what the log says of a member that abstains."""

from __future__ import annotations

import dataclasses
import gc
import logging

import dspy
import pytest
from dspy.utils import DummyLM

from dspy_mux import AllMembersFailed, ConfigurationError, SampleBank, SLMMux, collect
from dspy_mux.baselines import AgentForest, LLMDebate
from dspy_mux.sampling import notices
from tests.support.scripted import scripted_lm


class Broken(dspy.Module):
    """A program with a bug after its LM call."""

    def __init__(self, bug):
        super().__init__()
        self.predict, self.bug = dspy.Predict("question -> answer"), bug

    def forward(self, question):
        prediction = self.predict(question=question)
        self.bug(prediction)
        return prediction


def _misspells(prediction):
    return predicton.answer  # noqa: F821


def _reads_as_a_number(prediction):
    return int(prediction.answer)


def _asks_a_server(prediction):
    raise ConnectionError("the search index is down")


def _pool(**members):
    given = members or {"a": ["x"], "b": ["y"]}
    return {name: scripted_lm(name, answers) for name, answers in given.items()}


BUGS = [
    (_misspells, NameError),
    (_reads_as_a_number, ValueError),
    (_asks_a_server, ConnectionError),
]


@pytest.mark.parametrize(("bug", "error"), BUGS)
async def test_an_exception_in_the_users_program_is_raised(bug, error):
    mux = SLMMux(Broken(bug), _pool())
    with pytest.raises(error):
        mux(question="?")
    with pytest.raises(error):
        await mux.acall(question="?")


@pytest.mark.parametrize(("bug", "error"), BUGS)
async def test_on_error_abstain_counts_it_as_an_abstention(bug, error):
    mux = SLMMux(Broken(bug), _pool(), on_error="abstain")
    with pytest.raises(AllMembersFailed, match=error.__name__):
        mux(question="?")
    with pytest.raises(AllMembersFailed, match=error.__name__):
        await mux.acall(question="?")


def test_on_error_takes_two_words():
    with pytest.raises(ConfigurationError, match="on_error must be 'raise' or 'abstain'"):
        SLMMux("question -> answer", _pool(), on_error="ignore")


def test_on_error_is_saved_with_the_mux(tmp_path):
    SLMMux("question -> answer", _pool(), on_error="abstain").save(tmp_path / "mux.json")
    mux = SLMMux("question -> answer", _pool())
    mux.load(tmp_path / "mux.json")
    assert mux.pool.settings.on_error == "abstain"


@pytest.mark.parametrize("method", [AgentForest, LLMDebate])
def test_the_baselines_raise_it_too(method):
    with pytest.raises(NameError):
        method(Broken(_misspells), _pool())(question="?")


def test_a_bug_ends_the_draws_that_would_repeat_it():
    lms = {name: scripted_lm(name, ["x"], latency=0.05) for name in "abcd"}
    with pytest.raises(NameError):
        SLMMux(Broken(_misspells), lms, k=5, num_threads=1)(question="?")
    assert sum(lm.engine.calls for lm in lms.values()) <= 2


def test_a_collection_ends_at_the_users_bug_and_keeps_what_arrived(tmp_path):
    class BreaksOnTwo(Broken):
        def forward(self, question):
            if question == "2":
                raise KeyError(question)
            return self.predict(question=question)

    examples = [dspy.Example(question=str(n), answer="x").with_inputs("question") for n in range(4)]
    bank = SampleBank(tmp_path / "bank.sqlite")
    mux = SLMMux(BreaksOnTwo(None), _pool(), k=1)
    with pytest.raises(KeyError):
        collect(mux, examples, lambda *_: 1.0, bank, num_threads=1)
    assert len(bank.record().keys) == 2


class Wraps(dspy.Module):
    """Turns the LM's error into one of its own."""

    def __init__(self, explicit):
        super().__init__()
        self.predict, self.explicit = dspy.Predict("question -> answer"), explicit

    def forward(self, question):
        try:
            return self.predict(question=question)
        except Exception as error:
            if self.explicit:
                raise RuntimeError("the first step failed") from error
            raise RuntimeError("the first step failed")  # noqa: B904


class BugInHandler(Wraps):
    def forward(self, question):
        try:
            return self.predict(question=question)
        except Exception:  # noqa: BLE001
            return answr  # noqa: F821


def test_a_misspelt_name_in_an_adapter_of_the_users_own_is_raised():
    class Misspells(dspy.ChatAdapter):
        def parse(self, signature, completion):
            return super().parse(signature, complet1on)  # noqa: F821

    with pytest.raises(NameError, match="complet1on"):
        SLMMux("question -> answer", _pool(), adapter=Misspells())(question="?")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["forward", "__call__"])
def test_what_an_lm_of_the_users_own_raises_costs_the_draw(method):
    def fail(*args, **settings):
        raise KeyError("no such shard")

    down = type("Down", (DummyLM,), {method: fail})

    class AsksItDirectly(dspy.Module):
        def forward(self, question):
            return dspy.Prediction(answer=dspy.settings.lm(question)[0])

    up = DummyLM([{"answer": "y"}] * 3, adapter=dspy.JSONAdapter())
    mux = SLMMux(AsksItDirectly(), {"down": down([]), "up": up}, answer_field="answer")
    assert "y" in mux(question="?").answer


@pytest.mark.parametrize("explicit", [True, False])
def test_an_lm_error_that_the_program_wraps_costs_the_draw(explicit):
    lms = _pool(a=[ValueError("gone")], b=["y"])
    pred = SLMMux(Wraps(explicit), lms)(question="?")
    assert pred.answer == "y"
    assert list(pred.verdict.ballots[0].abstentions) == ["RuntimeError: the first step failed"]


def test_a_bug_in_the_handler_of_an_lm_error_is_raised():
    with pytest.raises(NameError):
        SLMMux(BugInHandler(True), _pool(a=[ValueError("gone")], b=["y"]))(question="?")


class LegacyLM(dspy.BaseLM):
    """Overrides `forward`, as LMs did before engines, and raises whatever its client raises."""

    def __init__(self, error):
        super().__init__("legacy/model", cache=False)
        self.error = error

    def forward(self, prompt=None, messages=None, **kwargs):
        raise self.error


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("error", [KeyError("choices"), TypeError("bad body"), OSError("reset")])
def test_whatever_a_client_raises_is_of_the_lm(error):
    pred = SLMMux("question -> answer", {"old": LegacyLM(error), **_pool(b=["y"])})(question="?")
    assert pred.answer == "y"
    assert sum(pred.verdict.ballots[0].abstentions.values()) == 3


class Refuses(dspy.ChatAdapter):
    def parse(self, signature, completion):
        raise KeyError("cannot read this")


def test_what_an_adapter_raises_while_it_parses_costs_the_draw():
    mux = SLMMux("question -> answer", _pool(), adapter=Refuses())
    with pytest.raises(AllMembersFailed, match="cannot read this"):
        mux(question="?")


def test_a_timeout_within_the_program_costs_the_draw():
    def waits(prediction):
        raise TimeoutError("the retriever took too long")

    with pytest.raises(AllMembersFailed, match="took too long"):
        SLMMux(Broken(waits), _pool())(question="?")


def test_a_predictor_that_is_called_wrongly_is_the_programs_bug():
    class Positional(dspy.Module):
        def __init__(self):
            super().__init__()
            self.predict = dspy.Predict("question -> answer")

        def forward(self, question):
            return self.predict(question)

    with pytest.raises(ValueError, match="Positional arguments"):
        SLMMux(Positional(), _pool())(question="?")


class Rejects:
    """An interpreter that no code pleases."""

    tools: dict = {}  # noqa: RUF012

    def start(self):
        pass

    def execute(self, code, variables=None):
        raise SyntaxError("unexpected end of file")

    def shutdown(self):
        pass


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_code_that_no_model_gets_right_costs_the_draw():
    code = {"reasoning": "", "generated_code": "```python\n1 +\n```"}
    program = dspy.ProgramOfThought("question -> answer", 1, interpreter_factory=Rejects)
    lms = {name: DummyLM([code] * 3) for name in "ab"}
    with pytest.raises(AllMembersFailed, match="Max hops"):
        SLMMux(program, lms, k=1)(question="?")


# What the log says.


def _logged(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "dspy_mux" and record.levelno == logging.WARNING
    ]


async def test_a_dead_member_is_logged_once(caplog):
    mux = SLMMux("question -> answer", _pool(dead=[ValueError("no route")], fine=["y"]))
    for number in range(3):
        mux(question=f"{number}?")
        await mux.acall(question=f"{number}?")
    (line,) = _logged(caplog)
    assert line.startswith("Member 'dead' abstains: LMUnexpectedError")
    assert "no route" in line


def test_each_cause_is_logged(caplog):
    SLMMux("question -> answer", _pool(a=["", ValueError("gone"), "x"], b=["y"]))(question="?")
    assert sorted(line.partition(": ")[2].partition(":")[0] for line in _logged(caplog)) == [
        "LMUnexpectedError",
        "empty answer.",
    ]


def test_a_cause_is_repeated_after_a_minute_with_a_count(caplog, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(notices.time, "monotonic", lambda: now[0])
    member = SLMMux("question -> answer", _pool(a=["x"])).members[0]
    for seconds in (0, 10, 20, 59, 61, 70, 200):
        now[0] = 1000.0 + seconds
        notices.warn_of_abstention(member, f"ConnectionError: no route to port {8000 + seconds}")
    assert _logged(caplog) == [
        "Member 'a' abstains: ConnectionError: no route to port 8000.",
        "Member 'a' abstained in 4 more draws of the last 61 s: "
        "ConnectionError: no route to port 8061.",
        "Member 'a' abstained in 2 more draws of the last 139 s: "
        "ConnectionError: no route to port 8200.",
    ]


def test_causes_without_end_do_not_grow_the_memory(caplog):
    member = SLMMux("question -> answer", _pool(a=["x"])).members[0]
    for number in range(300):
        notices.warn_of_abstention(member, "x" * number)
    assert len(notices._seen[id(member.lm)]) == notices._MOST_CAUSES


def test_an_exception_in_the_program_is_logged_where_it_abstains(caplog):
    mux = SLMMux(Broken(_reads_as_a_number), _pool(a=["x"], b=["7"]), on_error="abstain")
    assert mux(question="?").answer == "7"
    (line,) = _logged(caplog)
    assert line.startswith("Member 'a' abstains: ValueError: invalid literal")


def test_what_is_raised_is_not_logged_too(caplog):
    with pytest.raises(NameError):
        SLMMux(Broken(_misspells), _pool())(question="?")
    assert _logged(caplog) == []


def test_copies_of_a_mux_log_a_member_once(caplog):
    mux = SLMMux("question -> answer", _pool(dead=[ValueError("no route")], fine=["y"]))
    for copy in (mux, mux.deepcopy(), mux.subset(["fine", "dead"])):
        copy(question="?")
    assert len(_logged(caplog)) == 1


def test_a_member_that_is_late_is_logged(caplog):
    lms = {"late": scripted_lm("late", ["x"], latency=1.0), "b": scripted_lm("b", ["y"])}
    SLMMux("question -> answer", lms, timeout=0.2)(question="?")
    assert _logged(caplog) == ["Member 'late' abstains: no answer within 0.2 s."]


def test_spared_draws_are_not_logged(caplog):
    lms = {"a": scripted_lm("a", ["x"]), "b": scripted_lm("b", ["y"], latency=0.5)}
    mux = SLMMux("question -> answer", lms, schedule="frugal", accuracies={"a": 0.9, "b": 0.1})
    assert mux(question="?").answer == "x"
    assert _logged(caplog) == []


@dataclasses.dataclass
class WithoutHash(dspy.BaseLM):
    """Has fields by which it is compared, and so no hash."""

    model: str

    def __post_init__(self):
        super().__init__(self.model, cache=False)

    def forward(self, prompt=None, messages=None, **kwargs):
        raise ConnectionError("no route")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_lm_without_a_hash_is_logged_like_any_other(caplog):
    lms = {"odd": WithoutHash("odd"), **_pool(b=["y"])}
    mux = SLMMux("question -> answer", lms, timeout=60)
    assert mux(question="?").answer == "y"
    (line,) = _logged(caplog)
    assert line == "Member 'odd' abstains: ConnectionError: no route."


def test_a_member_that_is_gone_is_forgotten():
    gc.collect()
    before = len(notices._seen)
    member = SLMMux("question -> answer", _pool(a=["x"])).members[0]
    notices.warn_of_abstention(member, "empty answer")
    assert len(notices._seen) == before + 1
    del member
    gc.collect()
    assert len(notices._seen) <= before
