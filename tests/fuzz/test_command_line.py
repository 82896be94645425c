"""The command line answers any arguments, or says in one line what is wrong; no traceback ever."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
import sys
import warnings

import pytest
from hypothesis import given, strategies as st

from dspy_mux import SampleBank
from dspy_mux.bank.import_export import import_file
from dspy_mux.cli.main import main

from ..support.limits import share, within
from .words import (
    COUNTS,
    HTML,
    ODD_BANKS,
    ODD_FILES,
    ODD_NUMBERS,
    ODD_WORDS,
    PASSWORD,
    RULES,
    SHARED,
    SIZES,
    SPLIT,
    STORAGES,
    mostly,
)

POOL = '[[members]]\nmodel = "openai/a"\napi_base = "http://127.0.0.1:9/v1"\n'
POOLS = {
    "one.toml": POOL,
    "unset.toml": POOL + 'api_key_env = "SURELY_NOT_SET"\n',
    "local.toml": '[[members]]\nlocal = "nowhere.gguf"\n',
    "broken.toml": "k = ",
}


def rows(questions, k):
    """Three members, right as often as their skill."""
    luck = random.Random(0)
    return [
        {
            "question_id": f"q{question}", "model": member, "draw": draw, "answer": answer,
            "correct": answer == "right", "split": ("train", "test")[question % 2],
            "task": "xy"[question % 2],
        }
        for question in range(questions)
        for member, skill in {"a": 0.7, "b": 0.6, "c": 0.5}.items()
        for draw in range(k)
        for answer in ["right" if luck.random() < skill else luck.choice(["wrong", "worse", ""])]
    ]  # fmt: skip


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with two banks, a file of draws without scores, some pool files, and things that are
    none of these.
    """
    folder = tmp_path_factory.mktemp("work")
    draws = rows(12, 3)
    bare = [{key: value for key, value in row.items() if key != "correct"} for row in draws]
    for name, told in (("bank.jsonl", draws), ("bare.jsonl", bare)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in told))
    bank = SampleBank(folder / "bank.sqlite")
    import_file(bank, folder / "bank.jsonl")
    bank.close()
    for name, text in POOLS.items():
        (folder / name).write_text(text)
    (folder / "text.sqlite").write_text("no bank\n" * 99)
    (folder / "text.csv").write_text("question,answer\nWhat?,That\n")
    (folder / "mux.json").write_text('{"pool": {}}')
    (folder / "folder").mkdir()
    return folder


def run(workplace, arguments, stdin=""):
    """(exit code, stdout, stderr) of one command in this process, as a terminal would have it."""
    streams = [
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors=errors)
        for errors in ("strict", "backslashreplace")
    ]
    before, here = (sys.argv, sys.stdin, logging.root.handlers[:]), os.getcwd()
    sys.argv, sys.stdin = ["dspy-mux", *arguments], io.StringIO(stdin)
    code = 0
    try:
        os.chdir(workplace)
        with (
            contextlib.redirect_stdout(streams[0]),
            contextlib.redirect_stderr(streams[1]),
            within(60),
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code or 0
    finally:
        os.chdir(here)
        sys.argv, sys.stdin, logging.root.handlers[:] = before
    for path in [*workplace.glob("out.*"), *workplace.glob("new.*"), *workplace.glob("page.*")]:
        path.unlink()
    for stream in streams:
        stream.flush()
    return code, *(stream.buffer.getvalue().decode() for stream in streams)


def answered(workplace, arguments, stdin=""):
    """The answer; or None where one line says what is wrong."""
    arguments = list(map(str, arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # a mean of nothing, a division by zero
        code, out, err = run(workplace, arguments, stdin)
    assert "Traceback" not in err
    if code == 0:
        if "--json" in arguments and out.startswith("{"):
            json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        return out
    assert code in (1, 2)
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("dspy-mux: ")
    assert len(lines[0]) > 20
    assert PASSWORD not in err
    return None


VERBS = {
    "replay": SHARED | SPLIT | {
        "--k": COUNTS, "--rule": RULES, "--holdout": mostly(["0.5", "0.2"], ODD_NUMBERS),
        "--repeats": COUNTS,
    },
    "search": SHARED | {
        "--k": COUNTS, "--sizes": mostly(["1", "2-3", "1,3"], SIZES),
        "--penalty": mostly(["1", "0.5"], ODD_NUMBERS), "--top": COUNTS,
        "--by": mostly(["objective", "accuracy"], ODD_WORDS), "--rule": RULES,
        "--time-limit": mostly(["1"], ODD_NUMBERS),
    },
    "scale": SHARED | SPLIT | {
        "--k": COUNTS, "--k-max": COUNTS, "--max-members": COUNTS,
        "--penalty": mostly(["1", "0.5"], ODD_NUMBERS), "--html": HTML,
    },
    "budget": SHARED | SPLIT | {
        "--k": COUNTS, "--bounds": mostly(["0.05", "0,0.1", "0.1,0.1"], ODD_NUMBERS),
        "--html": HTML,
    },
    "tune": SHARED | SPLIT | {
        "--trials": mostly(["1", "2"], st.sampled_from(["0", "-1", "x", ""])),
        "--max-members": COUNTS, "--k-max": COUNTS,
        "--minimize": mostly(["calls_per_question", "cost_per_question"], ODD_WORDS),
        "--budget": mostly(["3", "9"], ODD_NUMBERS), "--storage": STORAGES,
        "--study-name": ODD_WORDS,
    },
    "info": {"--dataset": SHARED["--dataset"], "--json": None},
    "export": {"--dataset": SHARED["--dataset"]}, "import": {"--dataset": SHARED["--dataset"]},
    "ask": {
        "--pool": mostly([*POOLS], ODD_FILES),
        "--mux": mostly(["mux.json", "bank.jsonl", "none.json"], ODD_FILES), "--k": COUNTS,
        "--json": None, "--timeout": mostly(["1"], ODD_NUMBERS), "--accept-license": None,
        "--input": mostly(["question=What?", "question=", "n=1"], ODD_WORDS),
    },
    "pull": {"--accept-license": None},
    "init": {
        "--pool": mostly(["new.toml"], ODD_FILES), "--task": mostly(["new.py"], ODD_FILES),
        "--questions": mostly(["text.csv"], ODD_FILES),
        "--address": mostly(["127.0.0.1:9"], ODD_WORDS),
        "--api-key-env": mostly(["HOME"], ODD_WORDS), "--models": mostly(["1-2", "all"], ODD_WORDS),
        "--no-task": None,
    },
    "collect": {
        "--pool": mostly([*POOLS], ODD_FILES), "--bank": mostly(["new.sqlite"], ODD_BANKS),
        "--k": COUNTS, "--split": ODD_WORDS, "--limit": COUNTS, "--num-threads": COUNTS,
        "--max-calls": COUNTS, "--max-cost": ODD_NUMBERS, "--timeout": ODD_NUMBERS, "--json": None,
        "--retry-failed": None,
    },
}  # fmt: skip
FILES = [
    "bank.jsonl",
    "bare.jsonl",
    "broken.toml",
    "mux.json",
    "text.sqlite",
    "folder",
    "none.parquet",
    "",
    "x" * 300 + ".jsonl",
]
TASKS = [
    "",
    ".",
    "..",
    ".x",
    "a..b",
    "1",
    "no.such.module",
    "os.",
    "json",
    "tests.support.limits",
    "a\nb",
    "a b",
    "x" * 9_999,
]
#: What follows the verb; odd words would do no harm, but one may be the name of weights that are
#: fetched, or of a module.
FIRST = {
    "import": st.tuples(st.just("new.sqlite"), mostly(FILES[:2], st.sampled_from(FILES))),
    "ask": st.tuples(mostly(["What?"], ODD_WORDS)),
    "init": st.just(("--no-ports", "--no-question", "--yes")),
    "pull": st.tuples(st.sampled_from(["smollm3", "", "-", "\n", "../x", "x" * 400])),
    "collect": st.tuples(st.sampled_from(TASKS)),
    "export": st.tuples(
        mostly(["bank.sqlite"], ODD_BANKS),
        st.sampled_from(
            [
                "out.jsonl",
                "out.parquet",
                "out.csv",
                "folder",
                "no/where.jsonl",
                "bank.jsonl",
                "",
                "\n.jsonl",
                "x" * 300 + ".jsonl",
            ]
        ),
    ),
}


@st.composite
def commands(draw, verb):
    """The verb with a bank and some options, most of them as they should be."""
    words = ["bank", verb] if verb in ("info", "export", "import") else [verb]
    words += (
        draw(FIRST[verb])
        if verb in FIRST
        else [draw(mostly(["bank.jsonl", "bank.sqlite"], ODD_BANKS))]
    )
    for name in draw(st.lists(st.sampled_from(sorted(VERBS[verb])), max_size=4, unique=True)):
        value = VERBS[verb][name]
        told = None if value is None else draw(value)
        words += (
            [name] if told is None else [f"{name}={told}"] if draw(st.booleans()) else [name, told]
        )
    if verb == "tune" and not any(str(word).startswith("--trials") for word in words):
        words += ["--trials", "2"]
    if draw(st.integers(0, 9)) == 0:
        words.insert(
            draw(st.integers(0, len(words))),
            draw(st.one_of(ODD_WORDS, st.sampled_from(sorted(SHARED)), st.just("--help"))),
        )
    return words


@pytest.mark.parametrize("verb", VERBS)
@share(0.2)
@given(st.data())
def test_a_verb_answers_or_fails_in_one_line(workplace, verb, data):
    answered(workplace, data.draw(commands(verb)))


# --------------------------------------------------------------------------------------------------
# What was found

REFUSED = [
    (["replay"], "run `dspy-mux replay --help` for its options"),
    (["replay", "bank.jsonl", "--k", "x"], "Invalid value for '--k'"),
    (["replay", "bank.jsonl", "--seed", "-1"], "Invalid value for '--seed'"),
    (["tune", "bank.jsonl", "--trials", "2", "--seed", str(2**32)], "Invalid value for '--seed'"),
    (
        ["replay", "bank.jsonl", "--repeats", str(2**31)],
        "repeats must be from 1 to 10000",
    ),
    (["replay", "bank.jsonl", "--threshold", "nan"], "nan is not a finite number"),
    (["search", "bank.jsonl", "--time-limit", "nan"], "Invalid value for '--time-limit'"),
    (["search", "bank.jsonl", "--time-limit", "-1"], "Invalid value for '--time-limit'"),
    (["search", "bank.jsonl", "--sizes", "2-9999999999999"], None),
    (
        ["search", "bank.jsonl", "--sizes", "9999999999999-9999999999999"],
        "Subsets of 3 members have from 1 to 3 members",
    ),
    (["scale", "bank.jsonl", "--penalty", "inf"], "inf is not a finite number"),
    (
        ["tune", "bank.jsonl", "--minimize", "calls_per_question", "--budget", "nan"],
        "nan is not a finite number",
    ),
    (
        ["collect", "json", "--pool", "one.toml", "--bank", "new.sqlite", "--max-cost", "nan"],
        "Invalid value for '--max-cost'",
    ),
    (["scale", "bank.jsonl", "--html", "folder"], "'folder' cannot hold a page"),
    (["budget", "bank.jsonl", "--html", "no/where.html"], "'no/where.html' cannot hold a page"),
    (["budget", "bank.jsonl", "--html", "x" * 300], "The page cannot be written to"),
    (["replay", ""], "A bank is a file or a database URL, and '' names neither"),
    (["bank", "info", "/"], "A bank is a file or a database URL, and '/' names neither"),
    (
        ["bank", "export", "bank.sqlite", "x" * 300 + ".jsonl"],
        "cannot be written: File name too long",
    ),
    (["nonsense"], "No such command 'nonsense'"),
    (
        ["scale", "bank.jsonl", f"postgresql://u:{PASSWORD}@127.0.0.1:9/none"],
        "postgresql://u:***@127.0.0.1:9/none",
    ),
    *(
        (
            ["collect", name, "--pool", "one.toml", "--bank", "new.sqlite"],
            f"'{name}' is not a module name: {told}",
        )
        for name, told in (
            *((name, "name the task's module") for name in ("", ".x", "a..b")),
            ("programs/everyday.py", "write programs.everyday"),
        )
    ),
]


@pytest.mark.parametrize(
    ("arguments", "told"), REFUSED, ids=[" ".join(arguments)[:40] for arguments, _ in REFUSED]
)
def test_one_line_says_what_is_wrong(workplace, arguments, told):
    assert (answered(workplace, arguments) is None) == (told is not None)
    assert told is None or told in run(workplace, arguments)[2]


def test_subsets_without_a_named_member_have_no_accuracy(workplace):
    told = json.loads(
        answered(
            workplace,
            ["search", "bank.jsonl", "--sizes", "2", "--rule", "self_consistency:a", "--json"],
        )
    )
    assert {("a" in each["members"], each["accuracy"] is None) for each in told["results"]} == {
        (True, False),
        (False, True),
    }


def test_no_verb_at_all_shows_what_there_is(workplace):
    code, out, err = run(workplace, [])
    assert code in (0, 2)  # as typer's version has it
    assert "replay" in out + err
