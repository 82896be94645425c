"""Terminals: no text from a model, a file or a name reaches one as anything but text. Every verb,
its errors too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dspy_mux import SampleBank
from dspy_mux.bank.import_export import import_file
from dspy_mux.cli.main import main
from eval.__main__ import app as eval_app
from eval.compare import command
from eval.compare.methods import Options
from eval.compare.pools import ComparedPool, PoolOptions
from eval.tables import text
from eval.tables.comparison import Comparison

from ..support.hostile_texts import EVERYTHING, HTML, MARKUP, RED, TEXTS, TURNED, obeyed
from ..support.scripted import scripted_lm
from ..support.synthetic_run import STRENGTHS, scripted_member, synthetic_run, synthetic_task

MEMBERS = (f"a {RED}", f"b {MARKUP}{TURNED}", f"c {HTML}")
DATASET = f"set {RED}{TURNED}"


def rows(**more):
    """Rows of three members whose names, questions and answers are hostile."""
    for question in range(24):
        for at, member in enumerate(MEMBERS):
            for draw in range(3):
                right = (question + at * draw) % 3 > 0
                told = {
                    "split": "test" if question % 2 else "train",
                    "kind": f"{RED}{question % 2}",
                    RED: TURNED,
                }
                answer = EVERYTHING if right else f"wrong {RED}{draw}"
                yield {
                    "question_id": f"q{question} {RED}",
                    "model": member,
                    "draw": draw,
                    "answer": answer,
                    "correct": right,
                    **told,
                    **more,
                }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same rows as a JSONL file and as a bank, in a folder with an escape in its name."""
    folder = tmp_path_factory.mktemp("bank") / f"folder {RED.replace(chr(0), '')}"
    folder.mkdir()
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(dataset=DATASET)))
    import_file(SampleBank(folder / "bank.sqlite"), path)
    return folder


@pytest.fixture
def ran(capsys, monkeypatch):
    def run(*arguments, entry=main, code=0):
        monkeypatch.setattr(sys, "argv", ["dspy-mux", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "300")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            entry()
        told = capsys.readouterr()
        assert (ended.value.code or 0) == code, told.err
        assert obeyed(told.out + told.err) == set()
        assert "Traceback" not in told.err
        return told.out if code == 0 else told.err

    return run


VERBS = [
    ["replay", "{}", "--k", 2, "--rule", "all"],
    [
        "replay",
        "{}",
        "--k",
        2,
        "--rule",
        "calibrated",
        "--context",
        "kind",
        "--split-field",
        "split",
    ],
    ["search", "{}", "--sizes", "1-2"],
    ["tune", "{}", "--trials", 3],
    ["scale", "{}", "--k", 2],
    ["budget", "{}", "--bounds", "0.1", "--split-field", "split"],
    ["bank", "info", "{}"],
]


@pytest.mark.parametrize(
    "verb", VERBS, ids=lambda verb: " ".join(map(str, verb[:2])).removesuffix(" {}")
)
@pytest.mark.parametrize("kind", ["rows.jsonl", "bank.sqlite"])
def test_no_verb_hands_a_terminal_more_than_text(files, ran, verb, kind):
    out = ran(*(str(part).format(files / kind) for part in verb))
    if verb[0] not in ("budget", "replay") or "all" in verb:
        assert "␛[31mred" in out
        assert (
            "[link=https://example.org/]press" in out.replace("\n", "") or verb[0] == "bank"
        )  # its narrow cells are wrapped


@pytest.mark.parametrize(
    "verb", VERBS, ids=lambda verb: " ".join(map(str, verb[:2])).removesuffix(" {}")
)
def test_json_prints_the_exact_text_in_ascii(files, ran, verb):
    told = ran(*(str(part).format(files / "rows.jsonl") for part in verb), "--json")
    if verb[0] != "budget":
        assert MEMBERS[0] in json.dumps(json.loads(told), ensure_ascii=False).replace(
            "\\u001b", "\x1b"
        ).replace("\\u0007", "\x07")


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "{}", "--k", 9],
        ["replay", "{}", "--members", RED],
        ["replay", "{}", "--rule", RED],
        ["replay", "{}", "--context", f"no {RED}", "--rule", "calibrated"],
        ["replay", "{}", "--split-field", f"no {RED}"],
        ["replay", "{}", "--dataset", RED],
        ["replay", f"no {RED} file.jsonl"],
        ["bank", "export", "{}", f"no {RED} folder/x.jsonl"],
        ["bank", "import", "x.sqlite", f"no {RED} file.json"],
        ["ask", "--pool", f"no {RED} file.toml", "?"],
        ["ask", "--mux", f"no {RED} file.json", "?"],
        ["collect", f"no.{RED}", "--pool", "x.toml", "--bank", "x.sqlite"],
        ["tune", "{}", "--storage", f"nosuch://{RED}"],
        ["pull", RED],
        ["report", f"no {RED} run"],
        ["groupthink", f"no {RED} run"],
        ["compare", "--task", RED],
        ["search", f"no {RED} bank.sqlite"],
    ],
    ids=lambda arguments: (
        " ".join(map(str, arguments)).encode("ascii", "backslashreplace").decode()[:40]
    ),
)
def test_no_error_hands_a_terminal_more_than_text(files, ran, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)

    def of_eval():
        from dspy_mux.cli.main import one_line_errors

        with one_line_errors():
            eval_app()

    by_eval = arguments[0] in ("report", "groupthink", "compare") or (
        "no" in arguments[1][:3] and arguments[0] == "search"
    )
    err = ran(
        *(str(part).format(files / "rows.jsonl") for part in arguments),
        entry=of_eval if by_eval else main,
        code=2,
    )
    assert len(err.strip().splitlines()) == 1


def test_import_and_export_print_file_names_as_text(files, ran, tmp_path):
    out = ran("bank", "import", tmp_path / f"b{RED.replace('/', '')}.sqlite", files / "rows.jsonl")
    assert "␛[31mred" in out
    assert "216 draws" in out
    assert "216 draws" in ran("bank", "export", files / "bank.sqlite", tmp_path / f"x{RED}.jsonl")


def test_a_database_s_password_is_not_printed(ran):
    told = ran("bank", "info", "postgresql://user:p4ss-81c5@127.0.0.1:1/db", code=2)
    assert "p4ss-81c5" not in told


# --- ask


@pytest.fixture
def answering(monkeypatch):
    """`ask` with a pool of scripted members, whose names and answers are hostile."""

    def with_answers(*answers):
        from dspy_mux import Member, SLMMux

        members = [
            Member(scripted_lm(f"m{at}", [said]), name=name)
            for at, (name, said) in enumerate(zip(MEMBERS, answers, strict=False))
        ]
        mux = SLMMux("question -> answer", members, k=1)
        monkeypatch.setattr("dspy_mux.mux.open.open_mux", lambda *given, **more: mux)

    return with_answers


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"marker"}))
@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
def test_ask_shows_an_answer_as_text(ran, answering, name, as_json):
    answering(TEXTS[name], ValueError(f"down {EVERYTHING}"))
    out = ran(
        "ask",
        "--pool",
        "x",
        f"? {EVERYTHING}".replace("\ud800", "").replace("\0", ""),
        *(["--json"] if as_json else []),
    )
    if as_json:
        verdict = json.loads(out)
        assert verdict["answer"].split() == TEXTS[name].replace("\ud800", "\ufffd").split()
        assert verdict["ballots"][0]["member"] == MEMBERS[0]


def test_ask_prints_causes_of_failure_as_text(ran, answering):
    answering(ValueError(f"down {EVERYTHING}"), ValueError(f"[[ ## answer ## ]] {RED}"))
    err = ran("ask", "--pool", "x", "?", code=1)
    assert "␛[31mred" in err
    assert len(err.strip().splitlines()) == 1


def test_terminals_without_unicode_still_show_answers(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "dspy_mux"]
    shown = subprocess.run(
        [*command, "bank", "info", str(path)], capture_output=True, env=environment, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    assert b"\\u241b[31mred" in shown.stdout
    asked = subprocess.run(
        [*command, "ask", "--pool", "x.toml", "-"],
        input=b"\xff\xfe?",
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=60,
    )
    assert (asked.returncode, asked.stderr.splitlines()[0][:10]) == (2, b"dspy-mux: ")


# --- eval


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pool = [
        scripted_member(name, strengths)
        for name, strengths in zip(MEMBERS, STRENGTHS.values(), strict=True)
    ]
    methods = ("single", "slm_mux", "self_consistency", "llm_debate")
    made = synthetic_run(
        tmp_path_factory.mktemp("run"),
        tasks=[synthetic_task(validation=6, test=6, name=f"t {RED}")],
        members=lambda: pool,
        methods=methods,
    )
    made.manifest["notes"] = [EVERYTHING]
    made.manifest["command"] = f"compare {EVERYTHING}"
    return made


def test_the_comparison_s_table_and_notes_are_text(run, ran, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "compare", lambda *given, **more: run)
    monkeypatch.setattr(PoolOptions, "load", lambda self: ComparedPool(lambda task: []))
    monkeypatch.setenv("COLUMNS", "300")
    command.run(
        command.Command([], [], PoolOptions(), None, None, Options(), tmp_path, None, False)
    )
    told = capsys.readouterr()
    assert obeyed(told.out + told.err) == set()
    assert "␛[31mred" in told.out
    assert obeyed((run.path / "table.md").read_text()) == set()
    assert obeyed(json.dumps(Comparison.of(run).as_dict()).replace("\n", "")) == set()


@pytest.mark.parametrize("as_markdown", [False, True])
def test_every_other_verbs_tables_and_notes_are_text(capsys, as_markdown):
    text.show(
        [text.Shown(EVERYTHING, [EVERYTHING], [[EVERYTHING]])],
        [EVERYTHING],
        as_markdown=as_markdown,
    )
    assert obeyed(capsys.readouterr().out) == set()
