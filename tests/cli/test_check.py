"""`dspy-mux check`: what it prints, and how it ends."""

from __future__ import annotations

import sys

import pytest

from dspy_mux import progress
from dspy_mux.local import weights

from ..support.choice_server import choice_server
from ..support.fault_server import Fault, always, fault_server
from ..support.scripted import marked
from ..support.terminal import terminal

KEY = "sk-aVeryPrivateKey42"
TWO_INPUTS = 'program = "a, b -> answer"'


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with choice_server(lambda prompt, number: marked(reasoning="Known.", answer="Paris")) as server:
        yield server


def pool_file(folder, server, *names, above="", below=""):
    members = "".join(
        f'[[members]]\nname = "{name}"\nmodel = "openai/{name}"\napi_base = "{server.address}"\n'
        for name in names
    )
    path = folder / "pool.toml"
    path.write_text(f"{above}\n{members}\n{below}")
    return path


def test_a_row_for_each_member(tmp_path, server, dspy_mux):
    code, out, err = dspy_mux("check", pool_file(tmp_path, server, "fine", "ignores-one-choice"))
    assert code == 0, err
    assert out.startswith("What is the capital of France?\n")
    lines = [line.split() for line in out.splitlines()]
    assert lines[2] == ["member", "format", "log-probs", "n", "seconds", "tokens/s"]
    rows = {line[0]: line for line in lines[4:6]}
    assert rows["fine"][1:4] == ["chat", "yes", "yes"]
    assert rows["ignores-one-choice"][1:4] == ["chat", "no", "no"]
    assert float(rows["fine"][4]) >= 0  # a server of this machine may take less than 5 ms
    assert float(rows["fine"][5]) > 0
    assert "2 of 2 answered; 6 LM calls, " in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_sentence_for_what_fails(tmp_path, server, dspy_mux, monkeypatch):
    monkeypatch.delenv("CHECK_KEY", raising=False)
    keyless = f'[[members]]\nname = "keyless"\nmodel = "openai/k"\napi_base = "{server.address}"\n'
    path = pool_file(tmp_path, server, "fine", below=f'{keyless}api_key_env = "CHECK_KEY"\n')
    code, out, _ = dspy_mux("check", path)
    assert code == 1
    said = " ".join(out.split())
    assert "keyless – – – – – " in said
    assert "keyless takes its key from the environment variable CHECK_KEY, which is not" in said
    assert "1 of 2 answered; 3 LM calls" in said
    assert dspy_mux("check", pool_file(tmp_path, server, below=keyless))[0] == 0


def test_a_key_is_never_printed(tmp_path, dspy_mux, monkeypatch):
    monkeypatch.setenv("CHECK_KEY", KEY)
    with fault_server(always(Fault.UNAUTHORIZED)) as server:
        path = pool_file(tmp_path, server, "a", below='api_key_env = "CHECK_KEY"\n')
        for options in ((), ("--json",)):
            code, out, err = dspy_mux("check", path, *options)
            assert code == 1
            assert "refuses" in out
            assert KEY not in out + err


def test_json_is_one_object(tmp_path, server, as_json):
    large = f'[escalate]\nname = "large"\nmodel = "openai/large"\napi_base = "{server.address}"\n'
    above = 'program = "question -> answer"\nthreshold = 0.5\notherwise = "escalate"\n'
    told = as_json("check", pool_file(tmp_path, server, "fine", above=above, below=large))
    assert (told["answered"], told["calls"]) == (2, 4)
    assert told["inputs"] == {"question": "What is the capital of France?"}
    fine, escalated = told["members"]
    assert (fine["name"], fine["suits"], fine["several"]) == ("fine", "chat", True)
    assert (escalated["name"], escalated["escalates"], escalated["several"]) == (
        "large",
        True,
        None,
    )
    assert fine["spent"]["calls"] == 3


def test_what_the_file_insists_on_for_all_is_told(tmp_path, server, dspy_mux):
    path = pool_file(tmp_path, server, "ignores", above="logprobs = true")
    assert "ignores gives no log-probabilities, which" in dspy_mux("check", path)[1]


def test_the_file_is_asked_by_its_own_settings(tmp_path, dspy_mux):
    with choice_server(lambda prompt, number: "It is 42.") as server:
        above = 'program = "a: int, b: int -> sum: int"\nadapter = "plain"\ntemperature = 0.6\n'
        path = pool_file(tmp_path, server, "fine", above=above)
        code, out, _ = dspy_mux("check", path, "--input", "a=40", "--input", "b=2")
        assert code == 0
        assert out.startswith('{"a": 40, "b": 2}\n')
        assert " plain " in out
        assert server.bodies[0]["messages"][-1]["content"] == "A: 40\nB: 2"
        assert {body["temperature"] for body in server.bodies} == {0.6}


@pytest.mark.parametrize(
    ("above", "options", "told"),
    [
        ("", ("--input", "text=Why?"), "has no input 'text'; it takes question"),
        ('program = "a, b -> answer"', ("--question", "Why?"), "takes 2 inputs (a, b), and"),
        (
            'program = "a, b -> answer"',
            ("--input", "a=1"),
            "The input 'b' is wrong: field required",
        ),
        ("k = 2\ntemperature = 0\n", (), "would draw 2 times at temperature 0"),
        ("", ("--timeout", "0"), "--timeout"),
    ],
)
def test_a_mistake_of_the_file_or_the_command(tmp_path, server, dspy_mux, above, options, told):
    code, out, err = dspy_mux("check", pool_file(tmp_path, server, "a", "b", above=above), *options)
    assert (code, out) == (2, "")
    assert told in err
    assert server.bodies == []


def test_no_bar_hides_the_question_about_terms(tmp_path, server, dspy_mux, monkeypatch):
    shown = []
    monkeypatch.setattr(weights, "_ask", lambda entry: shown.append(progress._shown.get()))
    monkeypatch.setenv("DSPY_MUX_CACHE", str(tmp_path))
    monkeypatch.delenv("DSPY_MUX_ACCEPT_LICENSE", raising=False)
    path = pool_file(tmp_path, server, "a", below='[[members]]\nlocal = "gemma3-270m"\n')
    code, out, _ = dspy_mux("check", path)
    assert (code, shown) == (1, [None])
    assert "Gemma Terms of Use" in " ".join(out.split())


def test_a_terminal_shows_who_is_waited_for_and_ctrl_c_ends_it(tmp_path):
    with fault_server(always(Fault.HANG)) as server:
        path = pool_file(tmp_path, server, "hangs")
        command = [sys.executable, "-m", "dspy_mux", "check", path, "--timeout", "500"]
        with terminal(command, DSPY_CACHEDIR=str(tmp_path)) as screen:
            screen.until("0 of 1 members, waiting for hangs")
            while not server.requests:
                screen.until(".")  # the spinner goes on
            screen.type("\x03")
            screen.until("dspy-mux: interrupted; a check keeps nothing.")
            assert screen.end() == 130
