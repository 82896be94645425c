"""`dspy.streamify` over a mux, and over programs that contain one."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

import dspy
import pytest
from dspy.streaming import StreamListener, StreamResponse

from dspy_mux import AllMembersFailed, Choice, ConfigurationError, MuxStatusMessageProvider, SLMMux
from dspy_mux.baselines import LLMDebate, MultiAgentVerification
from dspy_mux.voting.verdict_parts import Spent

from ..support.http_models import model_server
from ..support.pools import QA, mux_of
from ..support.scripted import TwoSteps, calls, marked, scripted_lm
from .streams import WAYS, chunks, read, texts

DOCS = Path(__file__).parent.parent.parent / "docs" / "streaming.md"


class TestStatus:
    @WAYS
    def test_a_message_follows_every_draw(self, way):
        mux = mux_of(["Rome", "Oslo"], ["Paris", "Paris"], k=2, num_threads=1)
        *before, last = read(mux, way=way)
        assert texts(before) == [
            "1 of 4 draws, leading: Rome",
            "2 of 4 draws, leading: Rome",
            "3 of 4 draws, leading: Rome",
            "4 of 4 draws, leading: Paris",
        ]
        assert len(before) == 4
        assert last.answer == "Paris"
        assert last.verdict.confidence == 1

    @WAYS
    def test_progress_says_whose_draw_settled_and_with_what(self, way):
        class Told(MuxStatusMessageProvider):
            def draw_settled_status_message(self, instance, progress):
                return f"{progress.member}: {progress.answer} ({progress.cause})"

        mux = mux_of(["Rome", " "], [RuntimeError("down"), "Par\nis"], k=2, num_threads=1)
        sent = read(mux, way=way, status_message_provider=Told())
        assert texts(sent) == [
            "a: Rome (None)",
            "a: None (empty answer)",
            "b: None (LMUnexpectedError: [scripted/b] down)",
            "b: Par is (None)",
        ]

    @WAYS
    def test_draws_side_by_side_have_one_message_each(self, way):
        mux = mux_of(*[["Paris"] * 4] * 3, k=4)
        assert [text.split(",")[0] for text in texts(read(mux, way=way))] == [
            f"{number} of 12 draws" for number in range(1, 13)
        ]

    @pytest.mark.parametrize("schedule", ["frugal", "hedged"])
    @WAYS
    def test_spared_draws_have_none(self, way, schedule):
        mux = mux_of(["Paris"] * 2, ["Rome"] * 2, k=2, schedule=schedule, num_threads=1)
        *before, last = read(mux, way=way)
        settled = sum(len(ballot.votes) for ballot in last.verdict.ballots)
        # One that settles while the others are withdrawn counts, and nobody is told of it.
        assert settled - (schedule == "hedged") <= len(before) <= settled
        assert texts(before)[0] == "1 of 4 draws, leading: Paris"

    def test_abstentions_lead_nothing(self):
        mux = mux_of([ConnectionError("down"), "Paris"], k=2, num_threads=1)
        assert texts(read(mux)) == ["1 of 2 draws", "2 of 2 draws, leading: Paris"]

    def test_an_error_is_the_streams(self):
        with pytest.raises(AllMembersFailed):
            read(mux_of([ConnectionError("down")], k=1))

    @pytest.mark.parametrize(("rule", "leading"), [("consistency", "Rome"), ("pooled", "Paris")])
    def test_the_rule_decides_what_leads(self, rule, leading):
        answers = ["Rome", "Rome"], ["Paris", "Paris"], ["Paris", "Oslo"]
        items = read(mux_of(*answers, k=2, rule=rule, num_threads=1))
        assert texts(items)[-1] == f"6 of 6 draws, leading: {leading}"
        assert items[-1].answer == leading

    def test_a_rule_that_reads_whole_ballots_is_shown_no_others(self):
        items = read(mux_of(["Rome", "Rome"], ["Paris", "Oslo"], k=2, rule=Last(), num_threads=1))
        assert texts(items)[-1] == "4 of 4 draws, leading: Rome"  # the most frequent answer
        assert items[-1].answer == "Oslo"

    def test_models_text_is_shortened_and_harmless(self):
        mux = mux_of(["\x1b[31m\u202eParis\n" + "x" * 10_000], k=1)
        (text,) = texts(read(mux))
        assert text.isprintable()
        assert len(text) < 120
        assert "Paris xx" in text

    def test_structures_are_read_as_in_a_verdict(self):
        program = dspy.Predict("q -> answer: list")
        mux = mux_of([{"answer": '["Rome", "Bern"]'}], program=program, k=1)
        (text,) = texts(read(mux, inputs={"q": "?"}))
        assert text == '1 of 1 draws, leading: ["Rome", "Bern"]'


class Last:
    """A rule of the user's own, which reads complete ballots alone."""

    name = "last"

    def choose(self, ballots):
        assert all(len(ballot.votes) == 2 for ballot in ballots)
        return Choice(ballots[-1].votes[-1], ballot=len(ballots) - 1, confidence=0.5)


class TestAnswer:
    @WAYS
    def test_fields_of_the_winner_are_streamed_once_it_is_decided(self, way):
        program = dspy.Predict("question -> reasoning, answer: list[int]")
        replies = [{"reasoning": f"Step {n}.", "answer": f"[{n}]"} for n in (1, 2, 2)]
        mux = mux_of(replies, program=program, num_threads=1)
        listeners = [StreamListener(name, predict=mux) for name in ("answer", "reasoning")]
        items = read(
            mux,
            way=way,
            stream_listeners=listeners,
            include_final_prediction_in_output_stream=False,
        )
        assert len(texts(items[:3])) == 3
        assert [(type(item), item.is_last_chunk) for item in items[3:]] == [
            (StreamResponse, True),
            (StreamResponse, True),
        ]
        assert chunks(items) == [("answer", "[2]"), ("reasoning", "Step 2.")]

    def test_a_listener_is_reused_where_it_says_so(self):
        mux = mux_of(["Paris"], k=1)
        for allowed in (True, False):
            listener = StreamListener("answer", mux, "capital", allow_reuse=allowed)
            twice = [chunks(read(mux, stream_listeners=[listener])) for _ in range(2)]
            assert twice == [[("answer", "Paris")], [("answer", "Paris")] if allowed else []]

    @WAYS
    def test_models_text_is_whole(self, way):
        answer = "\x1b[31m" + "x" * 10_000
        mux = mux_of([answer], k=1)
        items = read(mux, way=way, stream_listeners=[StreamListener("answer", mux)])
        assert chunks(items) == [("answer", items[-1].answer)]
        assert len(items[-1].answer) > 10_000

    def test_a_program_of_the_users_own_may_lack_the_field(self, caplog):
        mux = mux_of([{"idea": "x", "answer": "y"}], program=TwoSteps(), k=1)
        with caplog.at_level(logging.WARNING, "dspy_mux"):
            items = read(mux, stream_listeners=[StreamListener("anwser", mux)])
        assert items[-1].answer == "y"
        assert "StreamListener('anwser') was sent nothing" in caplog.text


class Pipeline(dspy.Module):
    def __init__(self, mux):
        super().__init__()
        self.rewrite, self.mux = dspy.Predict("question -> search"), mux

    def forward(self, question):
        return self.mux(question=self.rewrite(question=question).search)

    async def aforward(self, question):
        return await self.mux.acall(question=(await self.rewrite.acall(question=question)).search)


#: An adapter, and how models that it asks reply.
ADAPTERS = pytest.mark.parametrize(
    ("adapter", "reply"),
    [(dspy.ChatAdapter(), lambda fields: marked(**fields)), (dspy.JSONAdapter(), json.dumps)],
    ids=["chat", "json"],
)


class TestServers:
    @ADAPTERS
    @WAYS
    def test_a_larger_program_streams_its_own_predictors_beside_the_mux(self, way, adapter, reply):
        with model_server() as server, dspy.context(adapter=adapter):
            outer, small, tiny = (lm_of(server, name) for name in ("outer", "small", "tiny"))
            search = {"search": "the capital of France"}
            answer = {"reasoning": "Known.", "answer": "Paris"}
            for name, fields in (("outer", search), ("small", answer), ("tiny", answer)):
                server.replies[name] = ({"content": reply(fields)}, "stop")
            pipeline = Pipeline(SLMMux(QA, [small, tiny], k=2))
            listeners = [StreamListener("search"), StreamListener("answer", predict=pipeline.mux)]
            with dspy.context(lm=outer):
                items = read(pipeline, way=way, stream_listeners=listeners)
                first = items[-1].verdict
                # Draws do not stream, so that their entries in the cache are those of any call.
                again = read(pipeline, way=way, stream_listeners=listeners)[-1].verdict

        sent = chunks(items)
        assert "".join(text for name, text in sent if name == "search").strip('" ') == (
            "the capital of France"
        )
        assert [text for name, text in sent if name == "answer"] == ["Paris"]
        assert len(texts(items)) == 4
        assert {body["model"] for body in server.bodies if body.get("stream")} == {"outer"}
        assert [body["model"] for body in server.bodies].count("small") == 2
        assert (first.calls, first.prompt_tokens, again.cached_calls) == (4, 40, 4)

    @WAYS
    def test_without_listeners_draws_do_not_stream_either(self, way):
        with model_server() as server, dspy.context(lm=lm_of(server, "outer")):
            server.replies["outer"] = ({"content": marked(search="the answer")}, "stop")
            items = read(Pipeline(SLMMux(QA, [lm_of(server, "small")], k=2)), way=way)
        assert [body["model"] for body in server.bodies if body.get("stream")] == ["outer"]
        assert texts(items) == ["1 of 2 draws, leading: 42", "2 of 2 draws, leading: 42"]
        assert items[-1].answer == "42"


def lm_of(server, name):
    return dspy.LM(f"openai/{name}", api_base=server.address + "/v1", api_key="none", engine="lm15")


class TestRefusals:
    @pytest.mark.parametrize("which", ["predictor", "module", "original"])
    @WAYS
    def test_no_listener_hears_the_inside(self, way, which):
        program = dspy.ChainOfThought(QA)
        mux = mux_of(["Paris"], ["Rome"], program=program)
        target = {
            "predictor": mux.programs[1].predict,
            "module": mux.programs[0],
            "original": program.predict,
        }[which]
        with pytest.raises(ConfigurationError, match=r"StreamListener\('answer', predict=mux\)"):
            read(mux, way=way, stream_listeners=[StreamListener("answer", predict=target)])
        assert [calls(member.lm) for member in mux.members] == [0, 0]

    def test_nor_one_that_dspy_finds_inside(self):
        mux = mux_of(["Paris"], ["Rome"])
        with pytest.raises(ValueError, match="Please specify the predictor"):
            read(mux, stream_listeners=[StreamListener("answer")])
        alone = mux_of(["Paris"])
        with pytest.raises(ConfigurationError, match="predict=mux"):
            read(alone, stream_listeners=[StreamListener("answer")])

    def test_a_verifier_is_inside_too(self):
        mav = MultiAgentVerification(QA, [scripted_lm("a", ["x"])], n=1)
        target = mav.verifiers[0].predict
        with pytest.raises(ConfigurationError, match="predict=mux"):
            read(mav, stream_listeners=[StreamListener("correct", predict=target)])

    def test_the_original_may_run_beside_the_mux(self):
        class Both(dspy.Module):
            def __init__(self):
                super().__init__()
                self.alone = dspy.Predict(QA)
                self.mux = mux_of(["Paris"], program=self.alone, k=1)

            def forward(self, question):
                return self.mux(question=question)

        both = Both()
        items = read(both, stream_listeners=[StreamListener("answer", predict=both.alone)])
        assert items[-1].answer == "Paris"

    def test_a_field_that_is_not_there(self):
        mux = mux_of(["Paris"], k=1)
        with pytest.raises(ConfigurationError, match="does not have; it has answer"):
            read(mux, stream_listeners=[StreamListener("anwser", predict=mux)])


class TestThreads:
    def test_a_tool_that_blocks_the_loop_blocks_no_stream(self):
        """More draws than DSPy's stream has room for, while nothing can be read from it."""
        mux = mux_of(["Paris"], k=40)

        class Blocking(dspy.Module):
            async def aforward(self, question):
                return mux(question=question)

        listener = StreamListener("answer", mux)
        items = read(Blocking(), way="awaited", stream_listeners=[listener])
        assert 0 < len(texts(items)) <= 16
        assert chunks(items) == [("answer", "Paris")]
        assert items[-1].answer == "Paris"

    def test_a_thread_of_the_programs_own_sends_nothing(self):
        mux = mux_of(["Paris"], k=1)

        class Side(dspy.Module):
            async def aforward(self, question):
                return await asyncio.to_thread(mux, question=question)

        class Parallel(dspy.Module):
            def forward(self, question):
                run = dspy.Parallel(num_threads=2, disable_progress_bar=True)
                return run([(mux, dspy.Example(question=question).with_inputs("question"))] * 2)[0]

        for program, way in ((Side(), "awaited"), (Parallel(), "thread")):
            (only,) = read(program, way=way)
            assert only.answer == "Paris"

    @WAYS
    def test_baselines_stream_what_they_decide(self, way):
        debate = LLMDebate(QA, [scripted_lm(name, ["Paris"] * 4) for name in "abc"])
        reply = {"reasoning": "Known.", "answer": "Paris", "correct": "True"}
        mav = MultiAgentVerification(QA, [scripted_lm("judge", [reply])], n=2)
        for method, last in ((debate, "3 of 3 draws, leading: Paris"), (mav, "9 of 9 draws")):
            items = read(method, way=way, stream_listeners=[StreamListener("answer", method)])
            assert chunks(items) == [("answer", "Paris")]
            assert texts(items)[-1] == last
            again = method(question="?").verdict
            spent = set(Spent.model_fields)
            assert items[-1].verdict.model_dump(exclude=spent) == again.model_dump(exclude=spent)
            assert len(texts(items)) == items[-1].verdict.calls


def test_the_page_runs_from_top_to_bottom(capsys):
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    exec(compile("\n".join(blocks), str(DOCS), "exec"), {})
    shown = capsys.readouterr().out
    printed = re.search(r"prints:\n\n```\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert printed[1] in shown
