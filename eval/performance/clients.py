"""Clients of a served mux, for locust: each asks again as soon as it has its answer.

What became of each question goes to the file that the environment variable OUTCOMES names, as
JSON: {"outcome": [[when it was asked, when it had its answer], …]}, in seconds. A client that is
refused with Retry-After waits that long.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task

#: Outcome → when each question was asked, and when it had its answer.
spans: dict[str, list[tuple[float, float]]] = defaultdict(list)


class Client(FastHttpUser):
    wait_time = constant(0)
    connection_timeout = network_timeout = 120.0

    @task
    def ask(self) -> None:
        said = f"What is the answer to question {uuid.uuid4()}?"
        body = {"model": "my-mux", "messages": [{"role": "user", "content": said}]}
        began = time.perf_counter()
        with self.client.post("/v1/chat/completions", json=body, catch_response=True) as reply:
            outcome = outcome_of(reply)
            if outcome.startswith("no answer"):
                reply.failure(outcome)
            else:
                reply.success()
        spans[outcome].append((began, time.perf_counter()))
        if outcome == "refused":
            gevent.sleep(float(reply.headers["retry-after"]))


def outcome_of(reply: Any) -> str:
    """Return "answered", "refused" or "failed", with a clean error; else why there is no answer."""
    try:
        body = json.loads(reply.text or "")
    except ValueError:
        return f"no answer: status {reply.status_code}, {reply.error or 'no JSON'}"
    if reply.status_code == 200 and body["choices"][0]["message"]["content"]:
        return "answered"
    if not body.get("error", {}).get("message"):
        return f"no answer: status {reply.status_code} without an error"
    if reply.status_code == 429 and "retry-after" in reply.headers:
        return "refused"
    return "failed"


@events.quitting.add_listener
def save(**_: object) -> None:
    Path(os.environ["OUTCOMES"]).write_text(json.dumps(spans), encoding="utf-8")
