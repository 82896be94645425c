"""The larger program of docs/programs.md, as it is: trained, saved, served anew and traced."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest

from ..support.http_models import model_server
from ..support.scripted import asked, marked

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"```python\n# (\w+\.py)\n(.*?)```", (ROOT / "docs" / "programs.md").read_text(), re.DOTALL
)

MANUAL = """
import re

import dspy
import numpy as np

PASSAGES = [f"The {part} is {colour}." for part, colour in [
    ("pump", "green"), ("valve", "red"), ("filter", "blue"), ("hose", "black"), ("tank", "white"),
    ("seal", "brown"), ("lamp", "yellow"), ("fan", "grey"),
]]
WORDS = sorted({word for text in PASSAGES for word in re.findall("[a-z]+", text.lower())})


def embed(texts):
    counts = [[text.lower().count(word) for word in WORDS] for text in texts]
    return np.array(counts, dtype=np.float32) + 0.01


def example(passage):
    part, colour = re.findall("The (.*) is (.*)[.]", passage)[0]
    return dspy.Example(question=f"What is the colour of the {part}?", answer=colour).with_inputs(
        "question"
    )


TRAINSET = [example(passage) for passage in PASSAGES[:4]]
VALSET = [example(passage) for passage in PASSAGES[4:]]
"""
POOL = """
[[members]]
name = "ada"
model = "openai/ada"
engine = "lm15"
api_base = "{address}/v1"
api_key_env = "DESK_KEY"

[[members]]
name = "bob"
model = "openai/bob"
engine = "lm15"
api_base = "{address}/v1"
api_key_env = "DESK_KEY"
"""
KEY = "sk-made-up-for-the-desk-0123456789"
LESSON = "Give the colour alone."


def colour_of(prompt):
    last = prompt[prompt.rindex("[[ ## question ## ]]") :]
    part = re.search(r"colour of the (\w+)", last).group(1)
    passages = asked(prompt[prompt.rindex("[[ ## passages ## ]]") :], "passages")
    return re.search(rf"The {part} is (\w+)", passages).group(1)


def ada(prompt):
    """Never answers twice the same: so it wins nothing once bob knows how."""
    return marked(reasoning="ada thinks", answer=f"a guess {time.monotonic_ns()}")


def bob(prompt):
    colour = colour_of(prompt)
    return marked(reasoning="bob thinks", answer=colour if LESSON in prompt else f"It's {colour}.")


@pytest.fixture
def desk(tmp_path):
    """The chapter's files, its models on a real server, and what they were told."""
    reflections = []

    def teacher(prompt):
        reflections.append(prompt)
        text = LESSON if "bob thinks" in prompt else "Guess on."
        is_json = "Respond with a JSON object" in prompt
        return json.dumps({"new_instruction": text}) if is_json else marked(new_instruction=text)

    for name, code in BLOCKS:
        (tmp_path / name).write_text(code)
    (tmp_path / "manual.py").write_text(MANUAL)
    with model_server() as server:
        server.texts.update({"ada": ada, "bob": bob, "gpt-5-mini": teacher})
        (tmp_path / "pool.toml").write_text(POOL.format(address=server.address))
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DSPY_CACHEDIR": str(tmp_path / "cache"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "OPENAI_API_BASE": f"{server.address}/v1",
            "OPENAI_API_KEY": "none",
            "DESK_KEY": KEY,
        }
        yield tmp_path, environment, reflections


def test_the_chapter_runs_from_start_to_end(desk):
    folder, environment, reflections = desk
    assert [name for name, _ in BLOCKS] == ["desk.py", "train.py", "serve.py", "traced.py"]
    train(folder, environment)
    check_what_was_learnt(folder / "desk.json", reflections)
    is_traced = find_spec("openinference") is not None
    log = serve("traced:app" if is_traced else "serve:app", folder, environment)
    assert "Error handling request" not in log
    if is_traced:
        check_traces(spans_of(log))


def train(folder, environment):
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def check_what_was_learnt(path, reflections):
    saved = json.loads(path.read_text())
    assert KEY not in path.read_text()
    instructions = {
        name: part["signature"]["instructions"]
        for name, part in saved.items()
        if name.endswith("predict")
    }
    assert instructions["answer.programs[1].predict"] == LESSON
    # Each reflection is on one member, in the words of the metric on that member's answer.
    assert all(("ada thinks" in text) != ("bob thinks" in text) for text in reflections)
    of_bob = [text for text in reflections if "bob thinks" in text]
    assert any("Not It's " in text for text in of_bob)
    assert not any("Not a guess" in text for text in of_bob)


def serve(app, folder, environment):
    """Serve as the page says, on a socket instead of a port; return what the server printed."""
    socket, log = folder / "desk.sock", folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "aiohttp.web", app, "--path", str(socket)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while not socket.exists():
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
        asyncio.run(ask_all(socket))
    finally:
        server.terminate()
        server.wait()
    return log.read_text()


async def ask_all(socket):
    questions = {f"What is the colour of the {part}?": colour for part, colour in PARTS.items()}
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session:

        async def ask(question):
            async with session.get("http://desk/", params={"question": question}) as response:
                return await response.json()

        replies = await asyncio.gather(*map(ask, questions))
    assert [reply["answer"] for reply in replies] == list(questions.values())
    for reply in replies:
        assert (reply["verdict"]["member"], reply["verdict"]["confidence"]) == ("bob", 1.0)
        assert [ballot["member"] for ballot in reply["verdict"]["ballots"]] == ["ada", "bob"]


def spans_of(log):
    """The spans among the lines that the server printed."""
    decoder, spans = json.JSONDecoder(), []
    for start in re.finditer(r"^\{$", log, re.MULTILINE):
        spans.append(decoder.raw_decode(log, start.start())[0])
    return spans


def check_traces(spans):
    """One trace a question, rooted in the program, with a span for the mux and for each draw."""
    roots = [span for span in spans if span["parent_id"] is None]
    assert Counter(span["name"] for span in roots) == {"Desk.aforward": len(PARTS)}
    ids = {span["context"]["span_id"] for span in spans}
    assert {span["parent_id"] for span in spans} - {None} <= ids
    draws = Counter(
        (span["context"]["trace_id"], span["attributes"]["dspy_mux.member"])
        for span in spans
        if "dspy_mux.member" in span["attributes"]
    )
    traces = {span["context"]["trace_id"] for span in roots}
    assert draws == {(trace, member): 3 for trace in traces for member in ("ada", "bob")}
    verdicts = [
        json.loads(span["attributes"]["dspy_mux.verdict"])
        for span in spans
        if "dspy_mux.verdict" in span["attributes"]
    ]
    assert {verdict["answer"] for verdict in verdicts} == set(PARTS.values())


PARTS = {"pump": "green", "valve": "red", "filter": "blue", "hose": "black", "tank": "white"}
