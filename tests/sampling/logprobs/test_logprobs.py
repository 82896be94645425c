"""Log-probabilities from real servers: one gives them, one refuses, one ignores the question."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math

import dspy
import pytest

from dspy_mux import Choice, ConfigurationError, Member, SLMMux, collect

from ...support.logprob_server import words
from ...support.scripted import marked
from .pools import ENGINES, a_mux, an_lm, ask


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["sync", "async"])
def test_all_members_vote_and_those_that_can_bring_evidence(server, engine, how, caplog):
    mux = a_mux(server, "gives", "refuses", "ignores", engine=engine, logprobs=True)
    with caplog.at_level(logging.WARNING, "dspy_mux"):
        verdict = ask(mux, how).verdict
        ask(mux, how)
    gives, refuses, ignores = verdict.ballots
    assert gives.probabilities == pytest.approx([math.exp(-0.25)] * 2)
    assert refuses.probabilities == ignores.probabilities == []
    assert [ballot.votes for ballot in verdict.ballots] == [[0, 0]] * 3
    assert "probability" in str(verdict)
    (warning,) = [record for record in caplog.records if record.name == "dspy_mux"]
    assert "openai/refuses gives no log-probabilities" in warning.getMessage()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["sync", "async"])
def test_the_cache_keeps_log_probabilities(server, engine, how):
    mux = a_mux(server, "gives", engine=engine, cache=True, logprobs=True)
    first, again = ask(mux, how).verdict, ask(mux, how).verdict
    assert (first.calls, again.calls, again.cached_calls) == (2, 0, 2)
    assert first.ballots[0].probabilities == again.ballots[0].probabilities != []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pool_that_does_not_ask_has_the_requests_it_had(server, engine):
    settings = {"engine": engine, "cache": True}
    a_mux(server, "gives", **settings)(question="?")
    assert server.asked() == [False] * 2
    assert "logprobs" not in server.bodies[0]
    # Nor does a pool whose server has refused: it is answered by the entries of the other.
    a_mux(server, "refuses", **settings)(question="?")
    a_mux(server, "refuses", **settings, logprobs=True)(question="?")
    assert server.asked()[2:].count(False) == 2


def test_collected_draws_answer_a_live_mux_that_asks_too(server, tmp_path):
    examples = [dspy.Example(question="?", answer="Paris").with_inputs("question")]
    collect(
        a_mux(server, "gives", cache=True), examples, lambda *given: 1.0, tmp_path / "bank.sqlite"
    )
    assert a_mux(server, "gives", cache=True)(question="?").verdict.calls == 2
    asking = a_mux(server, "gives", cache=True, logprobs=True)
    assert asking(question="?").verdict.calls == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_sees_the_replies_it_would_see_anyhow(server, engine):
    seen = []

    class Direct(dspy.Module):
        def __init__(self):
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question):
            seen.extend(dspy.settings.lm("Say something."))
            return self.ask(question=question)

    mux = SLMMux(Direct(), [an_lm(server, "gives", engine)], k=1, logprobs=True)
    prediction = mux(question="?")
    assert prediction.keys() == ["answer"]
    assert seen == [marked(answer="Paris")]


class ByEvidence:
    """Reads evidence: of the ballots, the one whose first draw is most probable."""

    name = "by evidence"
    reads_evidence = True

    def choose(self, ballots):
        best = max(range(len(ballots)), key=lambda at: ballots[at].evidence[0].probability)
        return Choice(ballots[best].votes[0], best, ballots[best].evidence[0].probability)


def test_auto_asks_where_the_rule_reads_evidence(server):
    a_mux(server, "gives", k=1)(question="?")
    verdict = a_mux(server, "gives", "better", k=1, rule=ByEvidence())(question="?").verdict
    assert server.asked() == [False, True, True]
    assert verdict.confidence == pytest.approx(math.exp(-0.25))
    with pytest.raises(ConfigurationError, match="asks for none"):
        a_mux(server, "gives", k=1, rule=ByEvidence(), logprobs=False)


def test_a_member_says_otherwise_than_its_mux(server):
    pool = [
        Member(an_lm(server, "asks"), logprobs=True),
        Member(an_lm(server, "keeps-quiet"), logprobs=False),
        Member(an_lm(server, "as-the-mux")),
    ]
    SLMMux(dspy.Predict("question -> answer"), pool, k=1)(question="?")
    SLMMux(dspy.Predict("question -> answer"), pool, k=1, logprobs=True)(question="?")
    asked = {}
    for body, was_asked in zip(server.bodies, server.asked(), strict=True):
        asked.setdefault(body["model"], []).append(was_asked)
    assert asked == {
        "asks": [True, True], "keeps-quiet": [False, False], "as-the-mux": [False, True]
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"logprobs of member 'openai/a' must be"):
        Member(dspy.LM("openai/a"), logprobs="yes")


def test_an_abstention_has_the_evidence_of_its_text(server):
    server.say = lambda prompt: "I would rather not say."
    mux = a_mux(server, "gives", k=1, logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    assert draw.cause is not None
    assert draw.evidence.text_logprob == -3.0
    assert draw.evidence.answer_logprob is None
    assert (draw.evidence.temperature, draw.evidence.finish_reason) == (0.3, "stop")


def test_characters_split_between_tokens_are_put_together(server):
    server.say = lambda prompt: marked(answer="Київ")
    server.split = lambda text: [text.encode()[at : at + 3] for at in range(0, len(text) + 4, 3)]
    mux = a_mux(server, "gives", k=1, logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    assert draw.prediction.answer == "Київ"
    assert draw.evidence.answer_tokens in (3, 4)


def test_tokens_that_do_not_make_up_the_text_tell_nothing_of_the_answer(server):
    server.split = lambda text: [b"Rome", b" it", b" is"]
    mux = a_mux(server, "gives", k=1, logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    assert draw.evidence.answer_logprob is None
    assert draw.evidence.text_logprob == -1.5


def test_a_text_that_the_tokens_hold_twice_tells_nothing_of_the_answer(server):
    server.split = lambda text: words(text) * 2  # of the reasoning beside the reply too
    mux = a_mux(server, "gives", k=1, logprobs=True)
    (draw,) = mux.draws(0, [0], {"question": "?"})
    draw.run()
    assert draw.evidence.answer_logprob is None


def test_a_draw_asks_on_after_a_call_that_failed_either_way(server):
    class Patient(dspy.Module):
        def __init__(self):
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question):
            server.refuses_all = True
            with contextlib.suppress(dspy.LMError):
                self.ask(question=question)
            server.refuses_all = False
            return self.ask(question=question)

    mux = SLMMux(Patient(), [an_lm(server, "gives")], k=1, logprobs=True)
    assert mux(question="?").verdict.ballots[0].probabilities
    assert server.asked() == [True, False, True]


def test_logprobs_are_saved_where_they_are_not_auto(server, tmp_path):
    mux = a_mux(server, "gives", logprobs=True)
    mux.save(tmp_path / "mux.json")
    lms = {"gives": an_lm(server, "gives")}
    assert SLMMux.from_file(tmp_path / "mux.json", lms=lms).pool.settings.logprobs is True
    assert "logprobs" not in a_mux(server, "gives").pool.dump_state()


class AtOnce(dspy.Module):
    """Makes two calls at once, which both may be refused."""

    def __init__(self):
        super().__init__()
        self.predict = dspy.Predict("question -> answer")

    def forward(self, question):
        calls = dspy.Parallel(num_threads=2, disable_progress_bar=True)
        return calls([(self.predict, {"question": f"{question} {n}"}) for n in range(2)])[0]

    async def aforward(self, question):
        calls = [self.predict.acall(question=f"{question} {n}") for n in range(2)]
        return (await asyncio.gather(*calls))[0]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_two_calls_of_a_draw_may_be_refused_at_once(server, how):
    mux = SLMMux(AtOnce(), {"refuses": an_lm(server, "refuses")}, k=1, logprobs=True)
    assert ask(mux, how).answer == "Paris"


def test_a_log_probability_that_is_null_costs_no_draw(server):
    server.weigh = lambda position, token: None
    verdict = a_mux(server, "gives", logprobs=True)(question="Capital of France?").verdict
    assert verdict.ballots[0].abstentions == {}


def test_a_rule_that_reads_them_is_not_loaded_where_nobody_asks(server, tmp_path):
    once = {"k": 1, "temperature": 0.0}
    a_mux(server, "gives", rule="probability", **once).save(tmp_path / "mux.json")
    other = a_mux(server, "gives", logprobs=False, **once)
    with pytest.raises(ConfigurationError, match="logprobs=False asks for none"):
        other.load(tmp_path / "mux.json")
    pool = {"gives": an_lm(server, "gives")}
    with pytest.raises(ConfigurationError, match="logprobs=False asks for none"):
        SLMMux.from_file(tmp_path / "mux.json", pool, logprobs=False)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_draw_counts_the_tokens_that_the_server_bills(server, engine, how):
    server.count = lambda text: 40  # hidden reasoning among them
    mux = a_mux(server, "gives", engine=engine, cache=engine == "lm15", k=1, logprobs=True)
    for _ in range(2):
        assert tokens_counted(mux, how) == 40


def test_a_server_that_bills_nothing_leaves_the_tokens_to_be_counted(server):
    server.count = lambda text: 0
    mux = a_mux(server, "gives", k=1, logprobs=True)
    assert tokens_counted(mux, "sync") == len(words(marked(answer="Paris")))


def tokens_counted(mux, how):
    (draw,) = mux.draws(0, [0], {"question": "?"})
    if how == "sync":
        draw.run()
    else:
        asyncio.run(draw.arun())
    return draw.evidence.completion_tokens
