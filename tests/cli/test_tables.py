"""Tables at 80 columns: whatever members are called, no word is broken and no number folded."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len

from dspy_mux.layout import Sheet, Table
from dspy_mux.text import number, signed

from ..support.printed_tables import checked
from ..support.rows import jsonl
from .rows import some_rows
from .test_drift import line as logged, rows as drift_rows

NAMES = (
    "qwen2.5-0.5b-instruct-q4_k_m@0.5",
    "smollm2-360m",
    "gemma-3-270m",
    "meta-llama/llama-3.3-70b-instruct",
    "mistralai/mistral-small-3.1-24b-instruct",
    "qwen2.5-coder-0.5b",
    "通义千问-小模型",
    "phi-4-mini",
)
VERBS = [
    ("bank", "info"),
    ("replay", "--rule", "all", "--repeats", 4),
    ("search", "--sizes", "2-4", "--top", 5),
    ("scale", "--max-members", 4, "--k-max", 2),
    ("accuracies",),
    ("risk", "--rule", "all", "--max-risk", 0.4, "--repeats", 3, "--escalate", "phi-4-mini"),
    ("tune", "--trials", 2, "--max-risk", 0.4, "--max-members", 3),
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Three members with everyday names, and eight."""
    folder = tmp_path_factory.mktemp("pools")
    skill = {name: 0.4 + 0.05 * at for at, name in enumerate(NAMES)}
    few = {name: skill[name] for name in (*NAMES[:3], NAMES[-1])}
    return {
        3: jsonl(folder / "few.jsonl", some_rows(count=60, k=3, skill=few)),
        8: jsonl(folder / "many.jsonl", some_rows(count=60, k=3, skill=skill)),
    }


@pytest.fixture(autouse=True)
def in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_the_second_line_of_a_phrase_is_no_row():
    rows = [("a", "a phrase of many words", "1"), ("", "another one", "2")]
    lines = [
        line for line, _ in Sheet([Table("", ("who", "what", "n"), rows, words=2)], (), 26).lines()
    ]
    assert lines[2:] == [
        "a    a phrase of many    1",
        "       words",
        "     another one         2",
    ]


def assert_fits(out):
    # An address is one word, however long.
    assert [line for line in out.splitlines() if cell_len(line) > 80 and " " in line] == []
    assert re.findall(r"(?<![\w.~/-])-\d.*", out) == []


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_a_verb_prints_80_columns(dspy_mux, pool, tables, verb):
    first = 2 if verb[0] == "bank" else 1
    code, out, err = dspy_mux(*verb[:first], pool[8], *verb[first:])
    assert code == 0, err
    assert tables
    assert_fits(out)


def test_a_bank_of_many_programs_prints_80_columns(dspy_mux, pool, tables, tmp_path):
    bank = tmp_path / "bank.sqlite"
    for dataset in ("everyday", "reasoning-gym-short"):
        code, _, err = dspy_mux("bank", "import", bank, pool[8], "--dataset", dataset)
        assert code == 0, err
    code, out, _ = dspy_mux("bank", "info", bank)
    assert (code, len(tables)) == (0, 2)
    assert_fits(out)


def test_drift_prints_80_columns(dspy_mux, tables, tmp_path):
    def renamed(row):
        text = json.dumps(row).replace('"a"', json.dumps(NAMES[0]))
        return text.replace('"b"', json.dumps(NAMES[4]))

    bank = jsonl(tmp_path / "bank.jsonl", map(renamed, drift_rows()))
    lines = [logged(q, abstains=q % 4 == 0) for q in range(60)]
    log = jsonl(tmp_path / "log.jsonl", map(renamed, lines))
    code, out, err = dspy_mux("drift", bank, log)
    assert (code, len(tables)) == (0, 1), err
    assert_fits(out)


def test_long_names_are_listed_once_above(dspy_mux, pool):
    _, out, _ = dspy_mux("search", pool[8], "--sizes", "2-4")
    above = [line.split() for line in out.partition("\n\n")[0].splitlines()]
    met = [name for _, name in above]
    assert [at for at, _ in above] == [f"m{at}" for at in range(1, len(met) + 1)]
    assert met == [name for name in NAMES if name in met]
    assert [out.count(name) for name in met] == [1] * len(met)


def test_names_that_fit_stay(dspy_mux, pool):
    _, out, _ = dspy_mux("accuracies", pool[8])
    assert "m1" not in out
    assert all(name in out for name in NAMES)


def test_questions_that_are_left_out_are_explained(dspy_mux, tmp_path):
    rows = some_rows(count=60, k=3)
    kept = [row for row in rows if (row["question_id"], row["model"]) != ("q7", "b")]
    bank = jsonl(tmp_path / "bank.jsonl", kept)
    code, out, err = dspy_mux("search", bank)
    assert code == 0
    assert "n = 59 of 60 questions" in out
    assert "1 of 60 questions is left out, for lack of 3 draws of each member" in err
    assert "of 'b' for 1 (such as 'q7', which has 0)" in err
    assert "`dspy-mux collect` again makes what is missing), or ask for a smaller --k" in err


def test_questions_that_no_split_reports_are_explained(dspy_mux, pool):
    _, out, _ = dspy_mux("replay", pool[3], "--repeats", 1)
    assert "n = 30 of 60 questions" in out
    told = " ".join(out.split())
    assert "30 of 60 questions are by chance on the fitted side of every random split" in told
    assert "More --repeats report all." in told
    _, out, _ = dspy_mux("replay", pool[3], "--split-field", "split")
    assert "The other 30 of 60 questions are not of the part 'test'." in " ".join(out.split())


NAME = st.text(st.characters(exclude_categories=["Z", "C", "M"]), min_size=1, max_size=30)
PHRASE = st.lists(st.text("abcdé漢-", min_size=1, max_size=16), max_size=9).map(" ".join)
NUMBER = st.floats(-1e6, 1e6).map(lambda value: f"{number(value, '.2f')} ({signed(value)})")


@given(st.data())
def test_whatever_is_printed_fits(data):
    columns = data.draw(st.integers(1, 9))
    words = data.draw(st.integers(1, min(2, columns)))
    kinds = [st.lists(NAME, min_size=1, max_size=5).map(tuple), PHRASE][:words]
    kinds += [NUMBER] * (columns - len(kinds))
    rows = data.draw(st.lists(st.tuples(*kinds), max_size=4))
    heads = data.draw(st.lists(PHRASE, min_size=columns, max_size=columns))
    table = Table(data.draw(PHRASE), heads, rows, words)
    list(checked(Sheet((table,), (), 80), (table,), 80))


def test_controls_in_names_are_shown():
    table = Table("", ("member", "k"), [(("red\x1b[31m\nblue",), "3")])
    lines = [line for line, _ in Sheet((table,), (), 80).lines()]
    assert lines[-1].split() == ["red␛[31m␊blue", "3"]
