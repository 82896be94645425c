"""Muxes on a server that gives log-probabilities, refuses them or ignores the question."""

from __future__ import annotations

import asyncio

import dspy

from dspy_mux import SLMMux

ENGINES = ("lm15", "litellm")


def an_lm(server, name, engine="lm15", **settings):
    settings = {"cache": False, **settings}
    return dspy.LM(
        f"openai/{name}", api_base=server.address, api_key="none", engine=engine, **settings
    )


def a_mux(server, *names, engine="lm15", cache=False, k=2, **arguments):
    lms = {name: an_lm(server, name, engine, cache=cache) for name in names}
    return SLMMux(dspy.Predict("question -> answer"), lms, k=k, **arguments)


def ask(mux, how):
    if how == "sync":
        return mux(question="Capital of France?")
    return asyncio.run(mux.acall(question="Capital of France?"))
