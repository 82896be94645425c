"""A server that calls a mux and reads its bank before it forks its workers (`preload_app`)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from ..support.fault_server import fault_server

APP = """
import json, os
from urllib.parse import unquote
import dspy
from dspy_mux import SampleBank, SLMMux, collect

dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
lm = dspy.LM("openai/a", api_base=os.environ["MODELS"], api_key="none")
mux = SLMMux("question -> answer", [lm], k=3)
bank = SampleBank(os.environ["BANK"])

def draw(question):
    example = dspy.Example(question=question).with_inputs("question")
    collect(mux, [example], lambda example, prediction, trace=None: True, bank)
    return bank.record().questions

draw("before")

def app(environ, start_response):
    question = unquote(environ["QUERY_STRING"])
    answer = mux(question=question).answer
    told = {"answer": answer, "recorded": len(draw(question)), "worker": os.getpid()}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""


def test_workers_answer_and_record(tmp_path, bank_url):
    pytest.importorskip("gunicorn")
    (tmp_path / "served.py").write_text(APP)
    with fault_server(lambda _: None, lambda request: request.question, latency=0.02) as models:
        environment = {
            **os.environ,
            "MODELS": models.address,
            "BANK": bank_url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
        }
        command = ["-m", "gunicorn", "--preload", "--workers=3", "--bind=127.0.0.1:0", "served:app"]
        server = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stderr is not None
            address = next(
                found[0] for line in server.stderr if (found := re.search(r"http://\S+", line))
            )

            def ask(question):
                with urlopen(f"{address}/?{quote(question)}", timeout=120) as response:
                    return json.load(response)

            asked = [f"question {n}" for n in range(24)]
            with ThreadPoolExecutor(6) as pool:
                told = list(pool.map(ask, asked))
        finally:
            server.terminate()
            server.communicate(timeout=60)
        assert [each["answer"] for each in told] == asked
        assert max(each["recorded"] for each in told) == len(asked) + 1
        assert len({each["worker"] for each in told}) > 1
        assert server.returncode == 0
