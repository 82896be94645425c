"""`python -m tests.support.traced_run TRACER ADDRESS`: what mlflow or openinference records of
muxes, as JSON, by scenario.

In a process of its own, as both change DSPy's classes for good.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dspy_mux import AllMembersFailed, Member, SLMMux
from dspy_mux.baselines import LLMDebate
from dspy_mux.sampling import draw
from dspy_mux.sampling.threads import workers

from .pools import mux_of
from .scripted import scripted_lm
from .wait import until

#: What the members of the scenario `keys` send, by where it is set.
VARIABLE = "MY_GATEWAY_KEY"
KEYS = {"argument": "sk-fake-A1b2C3d4E5f6G7h8", "variable": "gw-C0ffee-1234567890"}

exporter = InMemorySpanExporter()


def trace_with_openinference() -> None:
    from openinference.instrumentation.dspy import DSPyInstrumentor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    DSPyInstrumentor().instrument(tracer_provider=provider)
    dspy.configure(track_usage=True)


def trace_with_mlflow() -> None:
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://127.0.0.1:9"
    import mlflow.dspy
    from mlflow.tracing import provider

    provider.get_otlp_exporter = lambda: exporter  # in memory, in place of the one to the address
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    mlflow.dspy.autolog()


def spans() -> list[dict[str, Any]]:
    """All spans that have ended since the last call."""
    if "mlflow" in sys.modules:
        from mlflow.tracing.provider import provider

        if provider.get() is not None:
            provider.get().force_flush()
    ended = exporter.get_finished_spans()
    exporter.clear()
    return [
        {
            "name": span.name,
            "id": span.context.span_id,
            "trace": span.context.trace_id,
            "parent": span.parent.span_id if span.parent else None,
            "attributes": dict(span.attributes),
        }
        for span in ended
    ]


class Pipeline(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mux = good_and_bad()
        self.after = dspy.Predict("answer -> note")

    def forward(self, question: str) -> dspy.Prediction:
        pred = self.mux(question=question)
        return dspy.Prediction(note=self.after(answer=pred.answer).note, verdict=pred.verdict)


class Questions(dspy.Module):
    """Asks its mux four questions at once."""

    def __init__(self) -> None:
        super().__init__()
        self.mux = good_and_bad()

    def forward(self, question: str) -> dspy.Prediction:
        examples = [
            dspy.Example(question=f"{question} {at}").with_inputs("question") for at in range(4)
        ]
        at_once = dspy.Parallel(num_threads=4, disable_progress_bar=True)
        return dspy.Prediction(all=at_once([(self.mux, example) for example in examples]))


def good_and_bad() -> SLMMux:
    """A mux of two members; the second one's draws are an answer, then a fault of each kind."""
    faulty = ["x", "", RuntimeError("the server is down"), {"reasoning": "?"}]
    return mux_of(["x"] * 4, faulty, program=dspy.ChainOfThought("question -> answer"), k=4)


def with_a_slow_member() -> SLMMux:
    lms = {"slow": scripted_lm("slow", ["y"], latency=1.0), "fast": scripted_lm("fast", ["x"])}
    return SLMMux(dspy.Predict("question -> answer"), lms, k=1, timeout=0.3)


def with_a_spare_member() -> SLMMux:
    """The more accurate member answers first, so that the other is no longer needed."""
    lms = {"best": scripted_lm("best", ["x"]), "spare": scripted_lm("spare", ["y"], latency=1.0)}
    return SLMMux(
        dspy.Predict("question -> answer"),
        lms,
        k=1,
        schedule="hedged",
        accuracies={"best": 0.9, "spare": 0.1},
    )


def asked(program: dspy.Module) -> dict[str, Any]:
    return told([program(question="?")])


def awaited(program: dspy.Module) -> dict[str, Any]:
    return told([asyncio.run(program.acall(question="?"))])


def told(preds: list[dspy.Prediction]) -> dict[str, Any]:
    verdicts = [pred.verdict.model_dump(mode="json") for pred in preds]
    return {"verdicts": verdicts, "usage": [pred.get_lm_usage() for pred in preds]}


def in_threads() -> dict[str, Any]:
    mux = good_and_bad()
    with ThreadPoolExecutor(4) as threads:
        return told(list(threads.map(lambda at: mux(question=f"? {at}"), range(4))))


def in_parallel() -> dict[str, Any]:
    pred = Questions()(question="?")
    return {**told(pred.all), "usage": [pred.get_lm_usage()]}


def all_failed() -> dict[str, Any]:
    try:
        mux_of([""], k=1)(question="?")
    except AllMembersFailed as error:
        return {"error": str(error)}
    raise AssertionError


def debate() -> dict[str, Any]:
    lms = {name: scripted_lm(name, ["x"]) for name in "abc"}
    return asked(LLMDebate(dspy.ChainOfThought("question -> answer"), lms, rounds=2))


def long_answers() -> dict[str, Any]:
    lms = {
        f"m{at}": scripted_lm(f"m{at}", [f"{at} {'long ' * 400}{n}" for n in range(3)])
        for at in range(20)
    }
    return asked(SLMMux(dspy.Predict("question -> answer"), lms, k=3))


def echoed_keys(address: str) -> dict[str, Any]:
    os.environ[VARIABLE] = KEYS["variable"]
    members = [
        Member(
            dspy.LM(f"openai/{name}", api_base=f"{address}/v1", api_key=KEYS[key], engine="lm15"),
            name,
        )
        for name, key in [("echoes", "argument"), ("refuses", "argument"), ("answers", "variable")]
    ]
    return asked(SLMMux("question -> answer", members, k=1))


def in_a_span_of_mine() -> dict[str, Any]:
    """A mux where nothing traces DSPy, in a span of the user's."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("mine").start_as_current_span("Answer a question"):
        return asked(good_and_bad())


def main(tracer: str, address: str) -> None:
    draw.first_seed = lambda member, inputs: 0  # scripted models know a draw by its seed
    dspy.configure_cache(enable_disk_cache=False)
    dspy.configure(lm=scripted_lm("writer", lambda prompt, draw: {"note": "Noted."}))
    recorded = {"mine": {**in_a_span_of_mine(), "spans": spans()}}
    {"mlflow": trace_with_mlflow, "openinference": trace_with_openinference}[tracer]()
    scenarios: dict[str, Callable[[], dict[str, Any]]] = {
        "sync": lambda: asked(good_and_bad()),
        "async": lambda: awaited(good_and_bad()),
        "threads": in_threads,
        "parallel": in_parallel,
        "pipeline": lambda: asked(Pipeline()),
        "late": lambda: asked(with_a_slow_member()),
        "late async": lambda: awaited(with_a_slow_member()),
        "withdrawn": lambda: asked(with_a_spare_member()),
        "withdrawn async": lambda: awaited(with_a_spare_member()),
        "all failed": all_failed,
        "debate": debate,
        "long": long_answers,
        "keys": lambda: echoed_keys(address),
    }
    for name, scenario in scenarios.items():
        dspy.configure_cache(enable_disk_cache=False)
        outcome = scenario()
        until(lambda: workers._idle == workers._threads)  # draws that nobody waited for
        recorded[name] = {**outcome, "spans": spans()}
    print(json.dumps(recorded))


if __name__ == "__main__":
    main(*sys.argv[1:])
