"""The prompt of `dspy-mux ask`: a real process on a pseudo-terminal, and a server on loopback."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress

from ..support.http_models import model_server
from ..support.scripted import marked
from ..support.terminal import PATIENCE_S, terminal


def test_questions_at_a_prompt(tmp_path):
    asked, go_on = threading.Event(), threading.Event()

    def say(prompt):
        if "for ever" in prompt.rpartition("[[ ## question ## ]]")[2]:
            asked.set()
            go_on.wait()
        return marked(reasoning="Easy.", answer="42")

    with model_server() as server:
        server.texts = {"a": say, "b": say}
        (tmp_path / "pool.toml").write_text(
            'k = 1\nprogram = "n: list[int], question -> answer"\n'
            + "".join(
                f'[[members]]\nname = "{name}"\nmodel = "openai/{name}"\n'
                f'api_base = "{server.address}/v1"\noptions = {{cache = false}}\n'
                for name in server.texts
            )
        )
        command = [sys.executable, "-m", "dspy_mux", "ask", "--pool", "pool.toml"]
        try:
            with terminal(command, folder=tmp_path) as person:
                converse(person, server, asked)
        finally:
            go_on.set()


def converse(person, server, asked):
    assert "Ask a, b. Ctrl-C gives up an answer, Ctrl-D ends." in person.until("n> ")
    # An empty line is ignored; both inputs are asked for.
    person.type("\n")
    person.until("n> ")
    person.type("[6, 7]\n")
    person.until("question> ")
    person.type("What is their product?\n")
    answered = person.until("n> ")
    assert "\x1b[1;32m42\x1b[0m" in person.seen
    assert "a won: its one draw gave this answer; b agrees as often on the same answer" in answered
    assert "2 LM calls, 24 tokens" in answered
    assert "[6, 7]" in str(server.bodies[-1]["messages"])
    # A mistake costs no more than its question.
    person.type("six\n")
    person.until("question> ")
    person.type("Which?\n")
    assert "The input 'n' is wrong" in person.until("n> ")
    # Ctrl-C gives up an answer, and nothing else.
    person.type("[1]\n")
    person.until("question> ")
    person.type("How long is for ever?\n")
    assert asked.wait(PATIENCE_S)
    person.type("\x03")
    assert "given up." in person.until("n> ")
    # The history holds what was typed: four lines back is the product's.
    person.type("\x1b[A" * 6)
    person.type("\n")
    person.until("question> ")
    person.type("\x1b[A" * 6 + "\x01Now: \n")
    person.until("42")
    assert "Now: What is their product?" in str(server.bodies[-1]["messages"])
    # Ctrl-C at the prompt ends it, as Ctrl-D does.
    person.until("n> ")
    while person.process.poll() is None:  # between prompt and read, a signal does nothing
        person.type("\x03")
        with suppress(subprocess.TimeoutExpired):
            person.process.wait(timeout=10)
    assert person.end() == 0
    assert "4 questions, 4 LM calls, 48 tokens. 2 had no answer; what they took is not" in " ".join(
        person.text.split()
    )
