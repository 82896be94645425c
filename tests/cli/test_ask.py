"""`dspy-mux ask`: what one question shows, and what it is made of."""

from __future__ import annotations

import io
import json
import math
import re

import dspy
import pytest

from dspy_mux.cli.ask_answer import Answer
from dspy_mux.cli.ask_inputs import InputFields
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.evidence import Evidence
from dspy_mux.voting.verdict import Verdict
from dspy_mux.voting.verdict_parts import MemberBallot

from ..support.http_models import model_server
from ..support.http_server import running
from ..support.logprob_server import LogprobServer
from ..support.scripted import marked

QUESTION = "What is 6 × 7?"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "cache"))
    with model_server() as server:
        yield server


@pytest.fixture
def pool(server, tmp_path):
    """Write a pool file: settings at its top, the answers of each member, and tables at its end."""

    def write(settings="", ends="", **answers):
        for name, said in answers.items():
            server.texts[name] = replies(said)
        members = "".join(
            f'[[members]]\nname = "{name}"\n{at_server(server, name)}' for name in answers
        )
        path = tmp_path / "pool.toml"
        path.write_text(f"temperature = 0.5\n{settings}\n{members}{ends}")
        return path

    return write


def at_server(server, name):
    return f'model = "openai/{name}"\napi_base = "{server.address}/v1"\noptions = {{cache=false}}\n'


def replies(said):
    answers = iter(said * 9)
    return lambda prompt: marked(reasoning="Easy.", answer=next(answers))


@pytest.fixture
def from_stdin(monkeypatch):
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_answer_comes_first_then_who_won_then_each_members_votes(pool, dspy_mux):
    path = pool("k = 3", sure=["42"], unsure=["41", "42", "forty-three or so"])
    code, out, err = dspy_mux("ask", "--pool", path, QUESTION)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:6] == [
        "42",
        "",
        "sure won: 3 of its 3 draws agree; confidence 1.00 by the rule consistency.",
        "",
        "member  answer              draws",
        "─────────────────────────────────",
    ]
    votes = sorted(line.replace("unsure", "").strip() for line in lines[7:10])
    assert lines[6] == "sure    42                 3 of 3"
    assert [vote.split("  ")[0] for vote in votes] == ["41", "42", "forty-three or so"]
    assert re.fullmatch(r"6 LM calls, 72 tokens, \d+\.\d s", lines[-1])


def test_a_long_answer_is_shown_whole_and_nothing_is_wider_than_the_terminal(pool, dspy_mux):
    long = "because " * 300 + "of\nthe \x1b[31mred end"
    code, out, _ = dspy_mux("ask", "--pool", pool("k = 2", a=[long], b=["no", long]), QUESTION)
    assert code == 0
    head, _, table = out.partition("\na won: ")
    assert head.strip() == long.strip().replace("\x1b", "␛")
    assert max(map(len, table.splitlines())) <= 80
    assert "…" in table
    assert "\x1b" not in out


def test_how_probable_the_draws_were(tmp_path, monkeypatch, dspy_mux):
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "cache"))
    with running(LogprobServer(lambda prompt: "[[ ## answer ## ]]\n42")) as server:
        server.weigh = lambda position, token: math.log(0.25) if token.strip() == b"42" else -0.5
        path = tmp_path / "pool.toml"
        members = "".join(
            f'[[members]]\nname = "{n}"\nmodel = "openai/{n}"\napi_base = "{server.address}"\n'
            for n in ("gives", "refuses")
        )
        path.write_text(f"k = 2\ntemperature = 0.5\nlogprobs = true\n{members}")
        out = dspy_mux("ask", "--pool", path, QUESTION)[1]
        assert ["member", "answer", "draws", "probability"] in [x.split() for x in out.splitlines()]
        assert "gives    42      2 of 2    0.25 0.25" in out
        assert "refuses  42      2 of 2\n" in out
        verdict = json.loads(dspy_mux("ask", "--pool", path, "--json", QUESTION)[1])
        assert verdict["confidence"] == 1.0
        gives, refuses = verdict["ballots"]
        assert gives["probabilities"] == pytest.approx([0.25, 0.25])
        assert refuses["probabilities"] == []
        path.write_text(path.read_text().replace("logprobs = true", "logprobs = false"))
        assert "probability" not in dspy_mux("ask", "--pool", path, QUESTION)[1]


@pytest.mark.parametrize("kind", ["str", "str | None"])
def test_an_answer_that_is_not_trusted_is_kept_back(kind, pool, dspy_mux):
    program = f'k = 2\nprogram = "question -> answer: {kind}"'
    settings = f'{program}\nthreshold = 0.9\notherwise = "abstain"'
    path = pool(settings, a=["1", "2"], b=["3", "4"])
    code, out, _ = dspy_mux("ask", "--pool", path, QUESTION)
    assert code == 1
    assert out.startswith("No answer: the pool's is not trusted.\n\na won: 1 of its 2 draws gave")
    assert "not trusted: it is below the threshold 0.9" in " ".join(out.split())
    code, out, _ = dspy_mux("ask", "--pool", path, "--json", QUESTION)
    assert (code, json.loads(out)["outputs"]) == (1, None)


def test_every_draw_is_accounted_for(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    given = [Evidence(answer_logprob=math.log(p)) for p in (0.5, 0.25, 0.8, 0.6, 0.7, 0.9)]
    ballots = [
        Ballot("a", (0, 1, 0, None), asked=6, evidence=(*given[:3], None)),
        Ballot("b", (*range(9), 8)),
        Ballot("c", (0,) * 4, evidence=tuple(given[2:])),
        Ballot("d", (), asked=2),
    ]
    causes = {"a": [None, None, None, "cut off at max_tokens"]}
    verdict = Verdict(
        answer="y0",
        member="c",
        confidence=1.0,
        tie_break="nothing",
        rule="consistency",
        group=0,
        calls=18,
        ballots=[
            MemberBallot.of(each, {g: f"y{g}" for g in each.counts}, causes.get(each.member, []))
            for each in ballots
        ],
    )
    answer = Answer({"question": "?"}, verdict, {"answer": "y0"}, ["answer"], None, False, 1.25)
    answer.show(as_json=False)
    out = capsys.readouterr().out
    rows = [re.split(r"  +", line.strip()) for line in out.splitlines()[6:-3] if line]
    assert rows[:4] == [
        ["a", "y0", "2 of 6", "0.50 0.80"],
        ["y1", "1 of 6", "0.25"],
        ["abstained: cut off at max_tokens", "1 of 6"],
        ["spared: could change nothing", "2 of 6"],
    ]
    assert rows[4:] == [
        ["b", "y8", "2 of 10"],
        *([f"y{n}", "1 of 10"] for n in range(7)),
        ["(1 other answer)", "1 of 10"],
        ["c", "y0", "4 of 4", "0.60 to 0.90"],
        ["d", "spared: could change nothing", "2 of 2"],
    ]
    assert "18 LM calls, 4 spared, 0 tokens, price unknown, 1.2 s" in out
    assert "a: 1 draw was cut off at max_tokens: raise" in out


def test_an_escalated_answer_has_no_confidence_of_its_own(pool, server, dspy_mux):
    settings = 'k = 2\nthreshold = 0.9\notherwise = "escalate"'
    large = f'[escalate]\nname = "large"\n{at_server(server, "large")}'
    server.texts["large"] = replies(["42"])
    out = dspy_mux("ask", "--pool", pool(settings, large, a=["1", "2"], b=["1", "4"]), QUESTION)[1]
    told = " ".join(out.split())
    assert out.startswith("42\n")
    assert "large answered in place of the pool, whose answer 1 had confidence 0.50" in told
    assert "(threshold 0.9); no confidence is known of large's own answer." in told


def test_inputs_by_name_and_other_outputs(pool, server, dspy_mux):
    program = 'program = "context, n: int, question -> answer, why"\nk = 1'
    path = pool(program, a=["42"], b=["42"])
    server.texts["a"] = lambda prompt: marked(reasoning="Easy.", answer="42", why="Six times 7.")
    named = ("--pool", path, "--input", "context=Here = there.", "--input", "n=3")
    code, out, err = dspy_mux("ask", *named, QUESTION)
    assert (code, err) == (0, "")
    assert out.startswith("42\nwhy: Six times 7.\n")
    sent = str(server.bodies[-1]["messages"])
    assert "Here = there." in sent
    answered = json.loads(dspy_mux("ask", *named, "--json", "--input", "question=42")[1])
    assert answered["inputs"] == {"context": "Here = there.", "n": 3, "question": "42"}
    assert answered["outputs"]["why"] == "Six times 7."
    assert answered["seconds"] >= 0


@pytest.mark.parametrize(
    ("inputs", "question", "message"),
    [
        (["context"], QUESTION, "--input takes NAME=VALUE, such as context=…, not 'context'."),
        (["n=1", "n=2"], QUESTION, "--input names 'n' twice."),
        (["m=1"], QUESTION, "The program has no input 'm'; it takes context, n, question."),
        (["n=1"], QUESTION, "takes 2 inputs (context, question), and a question is one of them"),
        (["n=one", "context=x"], QUESTION, "The input 'n' is wrong: input should be a valid int"),
        (["n=1", "context=x", "question=y"], QUESTION, "All inputs are given with --input"),
        ([], " ", "The question is empty."),
    ],
)
def test_wrong_inputs_are_refused(inputs, question, message, pool, refused):
    path = pool('program = "context, n: int, question -> answer"', a=["42"], b=["42"])
    options = [word for text in inputs for word in ("--input", text)]
    assert message in refused("ask", "--pool", path, *options, question)


def test_a_question_from_standard_input(pool, server, dspy_mux, from_stdin):
    from_stdin("What is\n6 × 7?\n")
    code, out, _ = dspy_mux("ask", "--pool", pool("k = 1", a=["42"], b=["42"]), "-")
    assert (code, out.splitlines()[0]) == (0, "42")
    assert "What is\n6 × 7?" in server.bodies[0]["messages"][-1]["content"]


def test_one_question_per_line(pool, dspy_mux, from_stdin):
    path = pool("k = 1", a=["1", "2"], b=["1", "2"])
    from_stdin("\ufeffone?\n\n  two?\n")
    code, out, err = dspy_mux("ask", "--pool", path, "--json")
    assert (code, err) == (0, "")
    told = [json.loads(line) for line in out.splitlines()]
    assert [each["inputs"]["question"] for each in told] == ["one?", "two?"]
    assert [each["answer"] for each in told] == ["1", "2"]
    from_stdin("three?\nfour?\n")
    out = dspy_mux("ask", "--pool", path)[1]
    assert out.startswith("> three?\n1\n\n")
    assert "\n\n> four?\n2\n\n" in out


def test_a_line_without_an_answer_does_not_end_the_others(pool, dspy_mux, from_stdin):
    path = pool('program = "context, question -> answer"\nk = 1', a=["42"], b=["42"])
    good = json.dumps({"context": "c", "question": "q"})
    from_stdin(f'{good}\nnot JSON\n{{"context": "c", "query": "q"}}\n{good}\n')
    code, out, err = dspy_mux("ask", "--pool", path, "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [each.get("line") for each in told] == [None, 2, 3, None]
    assert "line 2: The line is not a JSON object with context, question." in err
    assert "line 3: The input 'question' is wrong: field required." in err
    assert err.splitlines()[-1] == "dspy-mux: 2 of 4 questions had no answer."


def test_no_question_at_all(pool, refused, from_stdin, monkeypatch):
    from_stdin("\n\n")
    path = pool(a=["42"], b=["42"])
    assert "There is no question: name one" in refused("ask", "--pool", path)
    monkeypatch.setattr("sys.stdin", None)  # it was closed before Python began
    assert "There is no question: name one" in refused("ask", "--pool", path)


def test_an_input_that_only_the_rule_reads_may_be_given():
    fields = InputFields(dspy.Predict("question -> answer"), {"category": "7"}, "category")
    assert fields.open == ["question"]
    assert fields.of_question("Who?") == {"question": "Who?", "category": "7"}
    each = InputFields(dspy.Predict("a, b -> answer"), {}, "category")
    line = {"a": "1", "b": "2", "category": "x"}
    assert each.of_line(json.dumps(line)) == line
