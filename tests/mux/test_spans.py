"""What MLflow and OpenInference record of a mux: one trace a question, each draw's span with its
member, number and cause, the mux's span with the verdict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from dspy_mux import SLMMux
from dspy_mux.adapters.fields import ECHOED_KEY

from ..support.echo import echo_server
from ..support.scripted import scripted_lm
from ..support.traced_run import KEYS

ROOT = Path(__file__).parents[2]


class Spans:
    """The spans of one scenario, and what the mux returned.

    Values of MLflow's attributes are JSON texts.
    """

    def __init__(self, tracer, spans, verdicts=(), usage=(), error=None):
        self.tracer, self.all, self.verdicts, self.usage = tracer, spans, verdicts, usage
        self.by_id = {span["id"]: span for span in spans}

    def ours(self, span):
        prefix = "dspy_mux."
        return {
            name.removeprefix(prefix): json.loads(value) if self.tracer == "mlflow" else value
            for name, value in span["attributes"].items()
            if name.startswith(prefix)
        }

    @property
    def roots(self):
        return [span["name"] for span in self.all if span["parent"] is None]

    @property
    def orphans(self):
        return [
            span["name"]
            for span in self.all
            if span["parent"] is not None and span["parent"] not in self.by_id
        ]

    @property
    def draws(self):
        """(member, number) → the other attributes, of the draws in all traces."""
        found = [self.ours(span) for span in self.all if "member" in self.ours(span)]
        assert len(found) == len({(draw["member"], draw["draw"]) for draw in found}), "one twice"
        return {(draw.pop("member"), draw.pop("draw")): draw for draw in found}

    @property
    def decided(self):
        """The verdicts on spans, by the spans' names."""
        return [
            (span["name"], self.read(self.ours(span)["verdict"]))
            for span in self.all
            if "verdict" in self.ours(span)
        ]

    def read(self, verdict):
        return verdict if self.tracer == "mlflow" else json.loads(verdict)

    def traces(self):
        """The spans of each trace."""
        ids = {span["trace"] for span in self.all}
        return [
            Spans(self.tracer, [span for span in self.all if span["trace"] == one]) for one in ids
        ]

    def below(self, span):
        """The spans below one as (name, those below it)."""
        inner = [other for other in self.all if other["parent"] == span["id"]]
        return [(other["name"], self.below(other)) for other in inner]


@pytest.fixture(scope="module", params=["mlflow", "openinference"])
def recorded(request):
    tracer = request.param
    with echo_server() as server:
        command = [sys.executable, "-m", "tests.support.traced_run", tracer, server.address]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert all(any(key in sent for sent in server.sent) for key in KEYS.values())
    told = json.loads(done.stdout.splitlines()[-1])
    return {name: Spans(tracer, **scenario) for name, scenario in told.items()}


CALLS = {("mlflow", "sync"): "forward", ("mlflow", "async"): "forward"} | {
    ("openinference", "sync"): "forward",
    ("openinference", "async"): "aforward",  # MLflow has one name for both
}


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_question_is_one_trace_in_which_each_draw_says_whose_it_is(recorded, way):
    spans = recorded[way]
    assert spans.roots == [f"SLMMux.{CALLS[spans.tracer, way]}"]
    assert spans.orphans == []
    assert spans.draws == {
        **{("a", number): {} for number in range(4)},
        ("b", 0): {},
        ("b", 1): {"abstention": "empty answer"},
        ("b", 2): {"abstention": "LMUnexpectedError: [scripted/b] the server is down"},
        ("b", 3): {"abstention": "unparsable response"},
    }


@pytest.mark.parametrize("way", ["sync", "async", "pipeline", "debate"])
def test_the_verdict_is_on_the_span_of_the_mux(recorded, way):
    ((name, verdict),) = recorded[way].decided
    assert name.split(".")[0] in ("SLMMux", "LLMDebate")
    assert [verdict] == recorded[way].verdicts


def test_the_causes_on_spans_are_those_of_the_verdict(recorded):
    spans = recorded["sync"]
    causes = Counter(draw["abstention"] for draw in spans.draws.values() if draw)
    assert causes == Counter(spans.verdicts[0]["ballots"][1]["abstentions"])


@pytest.mark.parametrize("way", ["sync", "async", "debate"])
def test_tokens_add_up_to_the_verdicts(recorded, way):
    spans = recorded[way]
    assert tokens(spans.usage) == spent(spans)
    if spans.tracer == "mlflow":  # OpenInference counts none
        assert traced_tokens(spans) == spent(spans)


def test_a_larger_program_is_one_trace_with_all_tokens(recorded):
    spans = recorded["pipeline"]
    assert (spans.roots[0].split(".")[0], len(spans.roots), spans.orphans) == ("Pipeline", 1, [])
    with_the_writers = (spent(spans)[0] + 10, spent(spans)[1] + 2)
    assert tokens(spans.usage) == with_the_writers
    if spans.tracer == "mlflow":
        assert traced_tokens(spans) == with_the_writers


def spent(spans):
    (verdict,) = spans.verdicts
    return verdict["prompt_tokens"], verdict["completion_tokens"]


def tokens(usage):
    models = [model for by_model in usage for model in by_model.values()]
    return tuple(
        sum(model[kind] for model in models) for kind in ("prompt_tokens", "completion_tokens")
    )


def traced_tokens(spans):
    counts = [
        json.loads(span["attributes"]["mlflow.chat.tokenUsage"])
        for span in spans.all
        if "mlflow.chat.tokenUsage" in span["attributes"]
    ]
    return tuple(sum(count[kind] for count in counts) for kind in ("input_tokens", "output_tokens"))


def test_questions_asked_in_four_threads_are_four_whole_traces(recorded):
    spans = recorded["threads"]
    assert len(spans.traces()) == 4
    for trace in spans.traces():
        assert (trace.roots, trace.orphans) == (["SLMMux.forward"], [])
        assert set(trace.draws) == {(name, at) for name in "ab" for at in range(4)}
        assert len(trace.decided) == 1


def test_questions_of_dspy_parallel_are_whole_traces_too(recorded):
    # DSPy's threads start without the caller's context, so the outer program is a trace of its own.
    spans = recorded["parallel"]
    assert spans.orphans == []
    assert sorted(spans.roots) == ["Questions.forward", *["SLMMux.forward"] * 4]
    sizes = sorted(len(trace.draws) for trace in spans.traces())
    assert sizes == [0, 8, 8, 8, 8]


@pytest.mark.parametrize("way", ["late", "late async"])
def test_a_draw_that_missed_its_deadline_says_so(recorded, way):
    spans = recorded[way]
    assert (len(spans.roots), spans.orphans) == (1, [])
    assert spans.draws == {
        ("slow", 0): {"abstention": "no answer within 0.3 s"},
        ("fast", 0): {},
    }


@pytest.mark.parametrize("way", ["withdrawn", "withdrawn async"])
def test_a_draw_that_is_no_longer_needed_is_no_abstention(recorded, way):
    spans = recorded[way]
    assert (len(spans.roots), spans.orphans) == (1, [])
    assert spans.draws == {("best", 0): {}, ("spare", 0): {"withdrawn": True}}


def test_where_all_members_fail_the_draws_say_why(recorded):
    spans = recorded["all failed"]
    assert spans.draws == {("a", 0): {"abstention": "empty answer"}}
    assert spans.decided == []


def test_a_long_verdict_is_cut(recorded):
    spans = recorded["long"]
    ((_, verdict),) = spans.decided
    assert len(json.dumps(verdict)) <= 8000
    assert verdict["left_out"] == ["turns", "ballots"]
    assert (len(verdict["answer"]), verdict["answer"][-1]) == (500, "…")
    assert verdict["calls"] == 60


def test_a_key_that_a_server_echoes_is_on_no_span_of_a_draw_or_a_mux(recorded):
    spans = recorded["keys"]
    assert "***" in spans.draws["refuses", 0]["abstention"]
    assert spans.draws["echoes", 0]["abstention"] == ECHOED_KEY
    # What a server sent is the tracers' own to record, on the span of the LM's call.
    written = json.dumps([span for span in spans.all if span["name"] != "LM.__call__"])
    assert [key for key in KEYS.values() if key in written] == []


def test_a_span_around_a_mux_gets_no_attribute(recorded):
    (span,) = recorded["mine"].all
    assert recorded["mine"].ours(span) == {}


#: The spans of a draw below its program's, as docs/tracing.md lists them.
BELOW = {
    "mlflow": [
        (
            "Predict.forward",
            [("ChatAdapter.format", []), ("LM.__call__", []), ("ChatAdapter.parse", [])],
        )
    ],
    "openinference": [
        (
            "Predict.forward",
            [
                (
                    "Predict(StringSignature).forward",
                    [("ChatAdapter.__call__", [("LM.__call__", [])])],
                )
            ],
        )
    ],
}


def test_a_draw_is_one_chain_of_spans(recorded):
    spans = recorded["sync"]
    draws = [span for span in spans.all if spans.ours(span).get("member") == "a"]
    assert {span["name"] for span in draws} == {"ChainOfThought.forward"}
    assert [spans.below(span) for span in draws] == [BELOW[spans.tracer]] * 4


def test_the_guides_example_runs():
    text = (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    subprocess.run([sys.executable, "-c", example], cwd=ROOT, check=True)


def test_a_tracer_that_fails_costs_no_draw(monkeypatch):
    fails = types.ModuleType("mlflow")
    fails.get_current_active_span = lambda: 1 / 0
    monkeypatch.setitem(sys.modules, "mlflow", fails)
    mux = SLMMux("question -> answer", [scripted_lm("a", lambda *_: {"answer": "4"})])
    with dspy.context(callbacks=[BaseCallback()]):
        assert mux(question="2 + 2?").answer == "4"
