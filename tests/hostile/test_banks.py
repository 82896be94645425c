"""Banks: no character, number or shape in what a model or a file says costs a draw, its own or
another's."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import dspy
import pytest

from dspy_mux import ConfigurationError, DataError, Member, SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.jsonl import read_jsonl
from eval.compare.command import write_table
from eval.report import write
from programs.tasks import task

from ..support.hostile_texts import EVERYTHING, NUMBERS, TEXTS, obeyed
from ..support.scripted import scripted_lm
from ..support.synthetic_run import STRENGTHS, scripted_member, synthetic_run, synthetic_task

HALF = "half \ud800 and \x00"


def example(name, text):
    made = dspy.Example(
        question=f"{name} {text}",
        answer="7",
        question_id=f"{name} {text}",
        kind=text,
        **{"extra": text},
    )
    return made.with_inputs("question")


def test_an_entirely_hostile_collection_loses_no_draw(tmp_path):
    """Questions, their names and fields, answers, reasons, errors, members' names, the dataset's:
    each text, all at once."""
    said = {**TEXTS, **NUMBERS}
    names = list(said)

    def reply(prompt, draw):
        at = next(
            at
            for at, name in enumerate(names)
            if f"\n{name} " in prompt or f"{name} " in prompt.partition("## question ## ]]\n")[2]
        )
        text = said[names[at]]
        return (
            ValueError(f"down {text[:5000]}") if draw == 1 else {"reasoning": text, "answer": text}
        )

    members = [
        Member(scripted_lm(f"m{at}", reply), name=name)
        for at, name in enumerate(TEXTS.values())
        if "\ud800" not in name
    ]
    mux = SLMMux("question -> answer", members, k=3)
    bank = SampleBank(tmp_path / "bank.sqlite")
    examples = [example(name, text[:2000]) for name, text in said.items()]
    done = collect(
        mux,
        examples,
        lambda given, prediction, trace=None: prediction.answer == "7",
        bank,
        dataset=EVERYTHING,
    )
    assert (done.drawn, done.missing) == (len(examples) * len(members) * 3, 0)
    rows = list(bank.rows())
    assert len(rows) == done.drawn
    assert all(obeyed(row["cause"] or "") == set() for row in rows)
    assert {row["model"] for row in rows if "\0" not in row["model"]} <= {
        member.name for member in members
    }
    again = collect(mux, examples, lambda *given, **more: False, bank, dataset=EVERYTHING)
    assert (again.drawn, again.already) == (0, done.drawn)
    for ending in (".jsonl", ".parquet"):
        path = tmp_path / f"out{ending}"
        assert export_file(bank, path) == done.drawn
        copy = SampleBank(tmp_path / f"copy{ending}.sqlite")
        assert import_file(copy, path).added == done.drawn
        assert len(list(copy.rows())) == done.drawn
    votes = read_jsonl(tmp_path / "out.jsonl").votes
    assert (votes == bank.record().votes).all()


ROW = {"question_id": "q", "model": "m", "draw": 0, "answer": "x", "correct": True}


@pytest.mark.parametrize(
    "more",
    [
        {"answer": HALF}, {"answer": [HALF, {HALF: HALF}]}, {"answer": 10**3000},
        {"answer": json.loads("[" * 300 + "]" * 300)},
        {"dataset": HALF}, {"program": HALF}, {"question_fingerprint": HALF},
        {"answer": "", "cause": HALF}, {"text": HALF},
        {"field": HALF}, {HALF: "x"}, {"answer_class": HALF}, {"answer_class": 10**400},
        {"calls": 10**30}, {"cost": 1e308},
        {"prompt_tokens": -(10**30)}, {"created": 1e999}, {"seconds": 1e999},
        {"question_id": 10**30}, {"field": 10**30},
    ],
    ids=range(20),
)  # fmt: skip
def test_a_row_is_stored_whole_or_refused(tmp_path, more):
    path, bank = tmp_path / "rows.jsonl", SampleBank(tmp_path / "bank.sqlite")
    path.write_text(
        "".join(
            json.dumps(row) + "\n"
            for row in ({**ROW, "question_id": "q2"}, {"dataset": "default", **ROW, **more})
        )
    )
    try:
        assert import_file(bank, path).added == 2
    except DataError as error:
        assert f"Line 2 of {path}" in str(error)  # noqa: PT017
        assert not bank.exists()
        return
    for number, (dataset, count) in enumerate(bank.datasets().items()):
        for ending in (".jsonl", ".parquet"):
            out = tmp_path / f"out{number}{ending}"
            assert export_file(bank, out, dataset=dataset) == count
            assert (
                import_file(SampleBank(tmp_path / f"copy{number}{ending}.sqlite"), out).added
                == count
            )
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("score", ["1e999", "-1e999", "1" + "0" * 400, '"x"', "[1]"])
def test_a_score_that_is_no_number_writes_nothing(tmp_path, score):
    path, bank = tmp_path / "rows.jsonl", SampleBank(tmp_path / "bank.sqlite")
    good = json.dumps(ROW)
    path.write_text(f"{good}\n" + good.replace('"q"', '"q2"').replace("true", score) + "\n")
    with pytest.raises(DataError, match="Line 2 of .* has the score"):
        import_file(bank, path)
    assert not bank.exists()


def test_a_result_file_with_lone_surrogates_is_imported(tmp_path):
    sample = {"extracted_answer": HALF, "is_correct": True, "model_response": HALF}
    path = tmp_path / "org_model.json"
    path.write_text(
        json.dumps(
            {
                "model": "m",
                "responses": [
                    {"problem": f"{text} {HALF}", "samples": [sample]} for text in TEXTS.values()
                ],
            }
        )
    )
    assert import_file(SampleBank(tmp_path / "bank.sqlite"), path).added == len(TEXTS)


def test_a_surrogate_in_a_members_name_is_refused():
    with pytest.raises(ConfigurationError, match="lone surrogate") as refusal:
        Member(scripted_lm("a", ["x"]), name=HALF)
    assert obeyed(str(refusal.value)) == set()


@pytest.fixture
def filled(tmp_path):
    """The path of a bank of two questions, and a connection to change it by."""
    path = tmp_path / "bank.sqlite"
    bank = SampleBank(path)
    mux = SLMMux("question -> answer", [scripted_lm("m", ["7"])], k=2)
    collect(mux, [example(name, "?") for name in "ab"], lambda *given: True, bank)
    bank.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield path, connection


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "DELETE FROM mux_questions WHERE id = 2",
            r"has 2 draws of a question that .* \(the first is row \d of mux_draws\)",
        ),
        ("DELETE FROM mux_programs", "has 4 draws of a program that is not in mux_programs"),
        (
            "UPDATE mux_draws SET question = 99 WHERE id = 2",
            r"has a draw of a question that is not in mux_questions \(row 2 of mux_draws\)",
        ),
    ],
)
def test_draws_of_unknown_questions_or_programs_are_not_left_out(filled, change, said):
    path, connection = filled
    connection.execute(change)
    bank = SampleBank(path)
    for read in (bank.record, bank.info, lambda: list(bank.rows())):
        with pytest.raises(DataError, match=f"^The bank {path} {said}"):
            read()


@pytest.mark.parametrize("table", ["mux_draws", "mux_questions", "mux_programs"])
def test_a_row_without_an_id_is_named(filled, table):
    path, connection = filled
    column = "question" if table == "mux_draws" else "id"
    # As it is after `pandas.DataFrame.to_sql`: without keys and constraints.
    connection.execute(f"CREATE TABLE copied AS SELECT * FROM {table}")
    connection.execute(f"DROP TABLE {table}")
    connection.execute(f"ALTER TABLE copied RENAME TO {table}")
    if table != "mux_draws":
        unique = "dataset, fingerprint" if table == "mux_questions" else "member, fingerprint"
        connection.execute(f"CREATE UNIQUE INDEX named ON {table} ({unique})")
    connection.execute(f"UPDATE {table} SET {column} = NULL WHERE rowid = 1")
    said = f"has None as the {column} in row (1|None) of {table}, which must be a whole number"
    with pytest.raises(DataError, match=said):
        SampleBank(path).record()
    mux = SLMMux("question -> answer", [scripted_lm("m", ["7"])], k=3)
    if table == "mux_draws":
        return
    with pytest.raises(DataError, match=said):
        collect(mux, [example(name, "?") for name in "ab"], lambda *given: True, path)


def test_names_that_are_paths_make_no_files(tmp_path, monkeypatch):
    """Members, datasets, tasks and questions: none of their names is ever a file's."""
    home = tmp_path / "a" / "b" / "c"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    names = ["../../evil", "/tmp/evil-of-dspy-mux", "..\\evil"]
    pool = [
        scripted_member(name, strengths)
        for name, strengths in zip(names, STRENGTHS.values(), strict=True)
    ]
    run = synthetic_run(
        home / "run",
        tasks=[synthetic_task(validation=6, test=6, name="../../../evil")],
        members=lambda: pool,
        methods=("single", "slm_mux", "self_consistency", "llm_debate"),
    )
    write_table(run)
    write(run.path, home / "report.html")
    export_file(SampleBank(run.bank), home / "out.jsonl", dataset="../../../evil")
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert all(
        name.startswith("a/b/c/run/") for name in made - {"a/b/c/report.html", "a/b/c/out.jsonl"}
    )
    assert not any("evil" in name for name in made)
    assert not Path("/tmp/evil-of-dspy-mux").exists()


@pytest.mark.parametrize(
    "name", ["reasoning_gym:../../evil", "../everyday", "os", "gsm8k:x", "programs.everyday"]
)
def test_a_task_name_imports_nothing(name):
    with pytest.raises(ConfigurationError):
        task(name)
