"""The server keeps to its OpenAPI document, whatever it is sent.

    python -m tests.serve.test_openapi 500

tries so many requests of each kind for each endpoint, and new ones at each run.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress

import dspy
import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode

from dspy_mux import SLMMux
from dspy_mux.serve.chat import chat_mux
from dspy_mux.serve.settings import ServeSettings

from ..support.scripted import scripted_lm
from ..support.served import served

KEY = "a-key-for-these-tests-4"
SIGNED = {"Authorization": f"Bearer {KEY}"}


def api():
    typed = dspy.Predict("city: str, year: int -> answer")
    muxes = {
        "chat": chat_mux({"a": scripted_lm("a", lambda prompt, draw: "Hello.")}, k=1),
        "typed": SLMMux(typed, {"b": scripted_lm("b", ["7"])}, k=1),
    }
    return served(muxes, ServeSettings(keys={"TEST_KEY": KEY}))


@pytest.fixture(scope="module")
def operations():
    with api() as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield [found.ok() for found in schema.get_all_operations()]


def check(operation, mode: GenerationMode, examples: int) -> None:
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def holds(case):
        case.call_and_validate(headers=SIGNED)

    # An endpoint without any input has none that is wrong.
    with suppress(hypothesis.errors.Unsatisfiable) if mode.is_negative else nullcontext():
        holds()


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_every_endpoint_keeps_to_the_document(operations, mode):
    for operation in operations:
        check(operation, mode, examples=5)


if __name__ == "__main__":
    hypothesis.settings.register_profile("long", derandomize=False)
    hypothesis.settings.load_profile("long")
    with api() as url:
        for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
            for mode in GenerationMode:
                print(found.ok().label, mode.value, flush=True)
                check(found.ok(), mode, int(sys.argv[1]))
