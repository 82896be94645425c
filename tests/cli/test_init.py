"""`dspy-mux init`: what it finds, asks and writes, at a terminal and with options."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import get_args

import pytest

from dspy_mux.bank.task import load_task
from dspy_mux.cli.main import main
from dspy_mux.cli.start import offers, servers as places
from dspy_mux.mux.pool_file import PoolFile

from ..support.http_server import running
from ..support.local_servers import LLAMA_CPP_FILE, listed, llama_cpp, lm_studio, ollama, vllm
from ..support.terminal import terminal
from ..support.typist import at_a_terminal

OLLAMA_MODELS = (
    ("qwen2.5:3b", "3.1B", 1_929_912_432, "qwen2"),
    ("gemma3:1b", "999.89M", 815_319_791, "gemma3"),
    ("llama3.2:3b", "3.2B", 2_019_393_189, "llama"),
    ("nomic-embed-text:latest", "137M", 274_302_450, "nomic-bert"),
)


@pytest.fixture
def usual(tmp_path, monkeypatch):
    """An empty folder, and a function that runs servers on their usual ports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DSPY_MUX_CACHE", str(tmp_path / "weights"))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setattr(places, "USUAL_PORTS", {"Ollama": 9})
    for seconds in ("_CONNECT_S", "_READ_S", "_WHOLE_S"):  # a busy machine may be slow
        monkeypatch.setattr(places, seconds, 60.0)
    with ExitStack() as stack:

        def serve(**of_kinds):
            found = {kind: stack.enter_context(running(of_kinds[kind])) for kind in of_kinds}
            ports = {kind: server.server_port for kind, server in found.items()}
            monkeypatch.setattr(places, "USUAL_PORTS", ports)
            return found

        yield serve


@pytest.fixture
def refused_after(dspy_mux):
    """The one line of a mistake, on stderr, after what was found."""

    def run(*arguments):
        code, _, err = dspy_mux(*arguments)
        assert code == 2
        assert len(err.splitlines()) == 1, err
        return err

    return run


def init_at_a_terminal(monkeypatch, *answers, options=()):
    monkeypatch.setattr(sys, "argv", ["dspy-mux", "init", *options])

    def run():
        with pytest.raises(SystemExit) as ended:
            main()
        codes.append(ended.value.code)

    codes = []
    shown = at_a_terminal(monkeypatch, run, *answers)
    return codes[0] or 0, shown


def test_a_session_at_a_terminal(usual, monkeypatch):
    found = usual(Ollama=ollama(*OLLAMA_MODELS), vLLM=vllm("Qwen/Qwen2.5-7B-Instruct"))
    Path("questions.csv").write_text("question,answer\nWhat is 6 × 7?,42\nWhat is 1 + 1?,2\n")
    code, shown = init_at_a_terminal(
        monkeypatch,
        ("Which models?", "2"),
        ("Which models?", "8-99"),
        ("Which models?", "gemma3:2b,1"),
        ("Which models?", "4, 1 - 2"),
        ("A CSV file with columns question and answer [questions.csv]: ", "nowhere.csv"),
        ("A CSV file", ""),
        ("A question to try them with [What is 6 × 7?]: ", ""),
    )
    assert code == 0, shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "gemma3:1b is one model, and a mux chooses between several." in shown
    assert "8-99 is not among the numbers 1 to " in shown
    assert "There is no model 'gemma3:2b' to choose: did you mean gemma3:1b?" in shown
    assert "There is no file 'nowhere.csv'." in shown
    assert "Left out: nomic-embed-text:latest (for embedding)." in shown
    assert re.search(r"Asking: What is 6 × 7\?\n42(\.0)?\n", shown)
    assert "Right, by the file: 42" in shown
    pool = PoolFile.load("pool.toml")
    assert pool.program == "question -> answer: float"
    assert [(member.name, member.model) for member in pool.members] == [
        ("Qwen/Qwen2.5-7B-Instruct", "openai/Qwen/Qwen2.5-7B-Instruct"),
        ("qwen2.5:3b", "ollama_chat/qwen2.5:3b"),
        ("gemma3:1b", "ollama_chat/gemma3:1b"),
    ]
    assert pool.members[0].api_base == f"http://localhost:{found['vLLM'].server_port}/v1"
    assert {body["model"] for body in found["Ollama"].bodies} == {"qwen2.5:3b", "gemma3:1b"}
    assert len(found["vLLM"].bodies) == pool.k == 3
    assert len(load_task("task").examples()) == 2


def test_the_session_of_the_quick_start_is_one(usual, monkeypatch):
    page = Path(__file__).parents[2].joinpath("docs", "index.md").read_text("utf-8")
    (session,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # without the extra `local`
    server = ollama(*OLLAMA_MODELS)
    port = str(usual(Ollama=server)["Ollama"].server_port)
    for name, *_ in OLLAMA_MODELS:
        server.texts[name] = lambda prompt: "[[ ## answer ## ]]\nTripoli"
    rows = "".join(f"What is the name of star {n}?,Star {n}\n" for n in range(49))
    Path("questions.csv").write_text(
        f"question,answer\nWhat is the capital of Libya?,Tripoli\n{rows}"
    )
    code, shown = init_at_a_terminal(
        monkeypatch, ("Which models?", ""), ("A CSV file", ""), ("A question to try", "")
    )
    assert code == 0, shown
    before, _, after = session.partition("  …\n")
    shown = shown.replace(port, "11434").replace(": \n", ":\n")
    assert before in shown
    assert after in shown


def test_kinds_are_told_apart_on_any_port(usual, monkeypatch, dspy_mux):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody's business here
    usual(a=lm_studio(), b=llama_cpp(), c=vllm("bge-m3", "small"), d=ollama(*OLLAMA_MODELS))
    code, out, err = dspy_mux("init", "--models", "all", "--no-question", "--accept-license")
    assert code == 0, err
    places = [line.partition(" at ")[0] for line in out.splitlines() if " at http" in line]
    assert places == ["LM Studio", "llama.cpp", "vLLM 0.11.0", "Ollama 0.12.6"]
    left_out = next(line for line in out.splitlines() if line.startswith("Left out:"))
    assert all(name in left_out for name in ("text-embedding-nomic", "bge-m3 (", "nomic-embed"))
    entries = {member.name or member.local: member for member in PoolFile.load("pool.toml").members}
    assert entries["SmolLM2-135M-Instruct.Q4_1"].model == f"openai/{LLAMA_CPP_FILE}"
    assert "bge-m3" not in entries
    assert entries["smollm2-135m"].local == "smollm2-135m"


def test_ollama_itself_says_what_a_model_is_for(usual, dspy_mux):
    server = ollama(*(("a", "1B", 10**9, "qwen2"), ("b", "1B", 10**9, "qwen2")), *OLLAMA_MODELS[:1])
    server.shows = {"a": ["embedding"], "b": ["completion", "tools"]}
    usual(Ollama=server)
    out = dspy_mux("init", "--yes", "--no-question")[1]
    assert "Left out: a (for embedding)." in out
    assert [member.name for member in PoolFile.load("pool.toml").members] == ["b", "qwen2.5:3b"]


def test_two_servers_with_models_of_one_name(usual, dspy_mux):
    usual(vLLM=vllm("small"), other=vllm("small"))
    code, out, err = dspy_mux("init", "--models", "1,2")
    assert code == 0, err
    members = PoolFile.load("pool.toml").members
    assert [(member.name, member.options) for member in members] == [
        ("small", {"cache": False}),
        ("small-vllm", {"cache": False}),
    ]
    assert "6 LM calls" in " ".join(out.split())


def test_a_server_that_asks_for_a_key(usual, monkeypatch, dspy_mux, refused):
    server = usual(vLLM=vllm("a", "b"))["vLLM"]
    server.key = "key-of-mine-1"
    out = dspy_mux("init", "--yes", "--no-question")[1]
    assert f"asks for a key. Pass --address http://localhost:{server.server_port}/v1" in out
    monkeypatch.setenv("MY_KEY", server.key)
    answers = [
        ("The environment variable with the key of", answer) for answer in ("NONE", "MY_KEY")
    ]
    options = ("--force", "--no-task", "--no-question")
    last = ("Which models?", "1-2")
    code, shown = init_at_a_terminal(monkeypatch, *answers, last, options=options)
    assert code == 0, shown
    assert "No variable of that name is set" in shown
    assert {member.api_key_env for member in PoolFile.load("pool.toml").members} == {"MY_KEY"}
    text = Path("pool.toml").read_text()
    assert server.key not in text + shown
    where = ("--no-ports", "--address", f"127.0.0.1:{server.server_port}", *options)
    assert dspy_mux("init", *where, "--api-key-env", "MY_KEY", "--models", "a,b")[0] == 0
    assert "names no environment variable" in refused("init", *where, "--api-key-env", server.key)


def test_the_key_goes_to_the_given_address_alone(usual, monkeypatch, dspy_mux):
    found = usual(vLLM=vllm("a"), Ollama=ollama(*OLLAMA_MODELS))
    monkeypatch.setenv("MY_KEY", "key-of-mine-1")
    with running(vllm("b")) as given:
        bare = given.address.removeprefix("http://")  # as people write it
        where = ("--address", bare, "--api-key-env", "MY_KEY")
        assert dspy_mux("init", *where, "--models", "a,b", "--no-question")[0] == 0
    assert {key for _, key in given.asked} == {"Bearer key-of-mine-1"}
    assert {key for server in found.values() for _, key in server.asked} == {None}
    members = PoolFile.load("pool.toml").members
    assert {each.name: each.api_key_env for each in members} == {"a": None, "b": "MY_KEY"}
    assert members[1].api_base == f"{given.address}/v1"


def test_without_a_terminal_it_says_what_to_pass(usual, refused_after):
    usual(Ollama=ollama(*OLLAMA_MODELS))
    err = refused_after("init")
    assert "pass --models NAME,NAME, --models all, or --yes for qwen2.5:3b and gemma3:1b" in err
    assert list(Path().glob("*.*")) == []


def test_nothing_found(usual, monkeypatch, refused_after, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "There is no model and a mux chooses between several" in refused_after("init", "--yes")
    usual(vLLM=vllm("alone"), Ollama=ollama())
    assert "There is one model, alone, and a mux" in refused_after("init", "--yes")


def test_nothing_but_this_process(usual, dspy_mux, refused_after):
    out = dspy_mux("init", "--yes", "--no-question")[1]
    for start in ("Ollama: install it", "vLLM: `vllm serve", "llama.cpp: `llama-server"):
        assert f"- {start}" in out
    assert "253 MB to fetch, under the Gemma Terms of Use" in out
    members = [member.local for member in PoolFile.load("pool.toml").members]
    assert members == ["qwen2.5-coder-0.5b", "smollm2-135m"]  # the smallest, the larger first


def test_terms_that_are_not_accepted_write_nothing(usual, monkeypatch, refused_after):
    monkeypatch.delenv("DSPY_MUX_ACCEPT_LICENSE", raising=False)
    err = refused_after("init", "--models", "gemma3-270m,smollm2-135m")
    assert "comes under the Gemma Terms of Use" in err
    assert not Path("pool.toml").exists()


def test_files_that_are_there_stay(usual, dspy_mux, refused):
    usual(Ollama=ollama(*OLLAMA_MODELS))
    Path("pool.toml").write_text("mine")
    assert "'pool.toml' is there already" in refused("init", "--yes")
    Path("task.py").write_text("mine")
    code, out, _ = dspy_mux("init", "--yes", "--no-question", "--pool", "other.toml")
    assert code == 0
    assert "task.py is there already and stays as it is" in out
    assert [Path(name).read_text() for name in ("pool.toml", "task.py")] == ["mine", "mine"]
    assert dspy_mux("init", "--yes", "--no-question", "--force")[0] == 0
    assert len(PoolFile.load("pool.toml").members) == 3
    assert "def metric" in Path("task.py").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pool", "no/where.toml"], "There is no folder 'no'"),
        (["--pool", "."], "is a folder"),
        (["--pool", "a\nb.toml"], "has quotes or control characters"),
        (["--pool", "x" * 300], "cannot be written: File name too long"),
        (["--task", "my-task.py"], "name it like a module"),
        (["--pool", "./task.py"], "--pool and --task are both task.py"),
        (["--task", "csv.py"], "would hide Python's own module csv"),
        (["--task", "../task.py"], "is not below the current folder"),
        (["--questions", "none.csv"], "There is no file 'none.csv'"),
        (["--address", "http://u:p4ssword1@h"], "An --address holds a password or a key"),
        (["--address", "ftp://h"], "is not an address such as"),
        (["--api-key-env", "HOME"], "is for the servers at --address"),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_mistakes(usual, refused, options, said):
    assert said in refused("init", "--yes", *options)
    assert not Path("pool.toml").exists()


def test_a_file_that_comes_while_the_user_is_asked_stays(usual, dspy_mux, monkeypatch):
    usual(vLLM=vllm("a", "b"))
    found = offers.found_models

    def slowly(servers):
        Path("pool.toml").write_text("mine")
        return found(servers)

    monkeypatch.setattr(offers, "found_models", slowly)
    code, _, err = dspy_mux("init", "--yes", "--no-question")
    assert (code, Path("pool.toml").read_text()) == (2, "mine")
    assert "'pool.toml' is there already" in err
    assert os.listdir() == ["pool.toml"]


def test_an_address_of_ollama_that_is_none(usual, refused, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "http://[::1")
    assert "OLLAMA_HOST is no address" in refused("init", "--yes")


def test_an_address_where_no_server_is(usual, dspy_mux):
    usual(vLLM=vllm("a", "b"))
    with running(vllm()) as other:
        other.pages = {"/v1/models": (503, {"error": {"message": "Loading model"}})}
        where = ("--address", "127.0.0.1:9", "--address", other.address)
        code, out, _ = dspy_mux("init", "--yes", "--no-question", *where)
    assert code == 0
    assert "http://127.0.0.1:9/v1 cannot be reached (ConnectError)." in out
    assert f"{other.address}/v1 is not ready yet." in out


def test_what_a_server_says_of_itself_stays_a_comment(usual, dspy_mux):
    line = '1\n[[members]]\nmodel = "openai/evil"\n\x1b[31m'
    huge = ("huge", line, 10**400, "qwen2")
    usual(Ollama=ollama(huge, *OLLAMA_MODELS, version=line), llama=llama_cpp())
    code, out, err = dspy_mux("init", "--models", "1-3", "--no-question")
    assert code == 0, err
    assert "\x1b" not in out + Path("pool.toml").read_text()
    names = [member.name for member in PoolFile.load("pool.toml").members]
    assert names == ["huge", "qwen2.5:3b", "gemma3:1b"]


def test_names_that_a_pool_file_cannot_hold(usual, dspy_mux):
    odd = ('say "hi"', "back\\slash", "tab\there", "naïve/模型:1b", "a" * 300, 7, "")
    server = vllm("a")
    server.pages["/v1/models"] = listed("vllm", "a", *odd)
    usual(vLLM=server)
    code, out, err = dspy_mux("init", "--models", "1-5", "--no-question")
    assert code == 0, err
    names = [member.model for member in PoolFile.load("pool.toml").members]
    assert names == [f"openai/{name}" for name in ("a", *odd) if name and "\t" not in str(name)][:5]
    assert "Left out: tab␉here (a pool file cannot hold its name)." in out or "Left out: tab" in out


def test_an_interrupt_leaves_no_file(usual):
    """In a process of its own, at a terminal of its own, where Ctrl-C is a signal."""
    with running(ollama(*OLLAMA_MODELS)) as server:
        where = ("--no-ports", "--address", server.address)
        with terminal([sys.executable, "-m", "dspy_mux", "init", *where]) as there:
            there.until(r"Which models\?.*: ")
            there.type("1-2\n")
            there.until("A CSV file.*: ")
            while there.process.poll() is None:  # a signal before it reads does nothing
                time.sleep(0.3)
                there.type("\x03")
                with suppress(subprocess.TimeoutExpired):
                    there.process.wait(timeout=15)
            assert there.end() == 130, there.text
    assert "dspy-mux: interrupted; nothing was written." in " ".join(there.text.split())
    assert "Traceback" not in there.text
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("label", ['it\'s "no"', "a -> b", "back\\slash", "nein, 'nicht'"])
def test_the_pool_file_knows_the_labels(usual, dspy_mux, label):
    usual(Ollama=ollama(*OLLAMA_MODELS))
    with open("questions.csv", "w", newline="") as file:
        csv.writer(file).writerows([["question", "answer"], *[["a?", "yes"], ["b?", label]] * 4])
    code, _, err = dspy_mux("init", "--yes", "--no-question", "--no-task")
    assert (code, PoolFile.load("pool.toml").program) == (0, "question -> answer"), err
    code, out, err = dspy_mux("init", "--yes", "--no-question", "--force")
    assert code == 0, err
    said = "cannot hold a label with ->" if "->" in label else "each answer is one of 2 labels."
    assert said in out
    pool = PoolFile.load("pool.toml")
    kind = pool.mux().programs[0].predictors()[0].signature.output_fields["answer"].annotation
    assert kind is str if "->" in label else set(get_args(kind)) == {"yes", label}


def test_the_first_question_is_asked_by_the_labels(usual, dspy_mux):
    """Beside a task file that stays, too, and with a row that is left out."""
    labels = ("billing", "delivery", "it's broken", "other")
    server = ollama(*OLLAMA_MODELS)
    usual(Ollama=server)
    reply = "[[ ## reasoning ## ]]\nClear.\n\n[[ ## answer ## ]]\nbilling"
    server.texts.update({name: lambda prompt: reply for name, *_ in OLLAMA_MODELS})
    rows = [(f"Message {n}, please", labels[n % 4]) for n in range(50)]
    with open("messages.csv", "w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *rows, ("Late?", " ")])
    Path("task.py").write_text("mine")
    code, out, err = dspy_mux("init", "--yes", "--questions", "messages.csv")
    assert code == 0, err
    assert Path("task.py").read_text() == "mine"
    assert "Wrote pool.toml: 3 models; each answer is one of 4 labels." in out
    said = " ".join(out.split())
    assert "Row 51 of messages.csv lacks a question or an answer: it is left out here" in said
    program = 'question -> answer: Literal["billing", "delivery", "it\'s broken", "other"]'
    assert PoolFile.load("pool.toml").program == program
    assert all("billing; delivery; " in str(body["messages"]) for body in server.bodies)
    assert len(server.bodies) == 9
    again = [row for row in rows if "'" not in row[1]] * 2
    with open("messages.csv", "w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *again, ("", "x"), ("Late?", "")])
    options = ("--no-task", "--questions", "messages.csv", "--force")
    code, out, err = dspy_mux("init", "--yes", "--no-question", *options)
    assert code == 0, err
    assert "2 rows of messages.csv, the first row" in " ".join(out.split())
    written = """program = 'question -> answer: Literal["billing", "delivery", "other"]'\n"""
    assert written in Path("pool.toml").read_text()


def test_base_models_are_proposed_only_if_need_be(usual, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    fetched = {"gemma3-270m", "smollm2-135m", "qwen2.5-coder-0.5b"}
    monkeypatch.setattr("dspy_mux.local.path", lambda name: name if name in fetched else None)

    def proposed():
        found = offers.found_models([])
        lines = [line for line, _ in offers.listing(found, 80)]
        assert [line for line in lines if "a base model" in line] == lines[-1:]
        return [found.offers[at].name for at in offers.proposed(found.offers)]

    assert proposed() == ["qwen2.5-coder-0.5b", "smollm2-135m"]
    fetched.remove("smollm2-135m")
    assert proposed() == ["qwen2.5-coder-0.5b", "gemma3-270m"]
    fetched.clear()
    assert proposed() == ["qwen2.5-coder-0.5b", "smollm2-135m"]


def test_what_fails_half_way_leaves_no_file(usual, monkeypatch, refused_after):
    usual(Ollama=ollama(*OLLAMA_MODELS))

    def fail(part, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    err = refused_after("init", "--yes", "--no-question")
    assert "'pool.toml' cannot be written: No space left on device." in err
    assert list(Path().iterdir()) == []
