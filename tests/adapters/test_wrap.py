"""The bases of adapters: one generator for sync and async calls, and what draws share."""

from __future__ import annotations

import asyncio
import threading

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from dspy_mux import SLMMux
from dspy_mux.adapters.wrap import AdapterCall, WrappingAdapter

from ..support.scripted import scripted_lm
from ..support.wait import PATIENCE_S

QA = dspy.Signature("question -> answer")


class Twice(WrappingAdapter):
    """Asks again, louder, where a reply cannot be parsed."""

    def _exchange(self, call: AdapterCall):
        try:
            return (yield from super()._exchange(call))
        except AdapterParseError:
            louder = call._replace(inputs={"question": call.inputs["question"].upper()})
            return (yield from super()._exchange(louder))


def asked(adapter, lm, how):
    call = AdapterCall(lm, {}, QA, [], {"question": "which?"})
    return adapter(*call) if how == "call" else asyncio.run(adapter.acall(*call))


@pytest.mark.parametrize("how", ["call", "acall"])
def test_an_exchange_can_ask_again(how):
    lm = scripted_lm("a", lambda prompt, _: {"answer": "W"} if "WHICH" in prompt else "?")
    adapter = Twice(dspy.ChatAdapter(use_json_adapter_fallback=False))
    assert asked(adapter, lm, how) == [{"answer": "W"}]
    assert lm.engine.calls == 2


@pytest.mark.parametrize("how", ["call", "acall"])
def test_an_error_of_the_exchange_is_raised(how):
    lm = scripted_lm("a", lambda *_: "?")
    with pytest.raises(AdapterParseError):
        asked(Twice(dspy.ChatAdapter(use_json_adapter_fallback=False)), lm, how)
    assert lm.engine.calls == 2


def test_draws_that_share_an_adapter_do_not_mix():
    """Each draw's response is unparsable, and its answer found while the others' are."""
    everyone = threading.Barrier(8, timeout=PATIENCE_S)

    def reply(prompt, draw):
        everyone.wait()
        return f"The answer is {draw}."

    mux = SLMMux(dspy.Predict("question -> answer: int"), [scripted_lm("a", reply)], k=8)
    draws = mux.draws(0, range(8), {"question": "?"})
    threads = [threading.Thread(target=draw.run) for draw in draws]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [draw.prediction.answer for draw in draws] == list(range(8))
