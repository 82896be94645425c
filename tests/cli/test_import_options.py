"""`bank import` of other tools' files, and `bank export` to logs: options, and what is said."""

from __future__ import annotations

import json

import pytest

from ..bank.formats import files
from ..support.rows import jsonl

pytest.importorskip("pyarrow", reason="logs compressed by Zstandard")


def test_a_log_is_imported_replayed_and_written_out_again(tmp_path, dspy_mux, as_json):
    made, logs = tmp_path / "bank.sqlite", tmp_path / "logs"
    code, out, err = dspy_mux(
        "bank", "import", made, files.SMALL_LOG, files.LARGE_LOG, "--type", "float"
    )
    assert (code, out.count(": 9 draws added, 0 there already")) == (0, 2)
    assert err.count("read as a log of Inspect") == 2
    assert "1 answer could not be read as float: counted as abstained" in err
    assert as_json("replay", made, "--rule", "pooled")["accuracy"] == 1.0
    assert dspy_mux("bank", "export", made, logs, "--format", "inspect")[0] == 0
    again = tmp_path / "again.sqlite"
    code, _, err = dspy_mux("bank", "import", again, *sorted(logs.iterdir()))
    assert (code, "compared as text" in err) == (0, False)  # the logs say which are equal
    assert as_json("replay", again, "--rule", "pooled")["accuracy"] == 1.0


def test_it_is_said_once_that_answers_are_compared_as_text(tmp_path, dspy_mux):
    made = tmp_path / "bank.sqlite"
    _, _, err = dspy_mux("bank", "import", made, files.SMALL_LOG, files.LARGE_LOG)
    assert err.count("answers are compared as text, so that 18 and 18.00 are two") == 1


def test_a_first_import_without_a_type_says_how_to_come_to_a_score(tmp_path, dspy_mux, refused):
    rows = [
        {"question": question, "model": name, "text": text, "gold": "18"}
        for question in ("9 + 9?", "10 + 8?")
        for name, text in (("small", "It is 18."), ("tiny", "$18"))
    ]
    path, made = jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "bank.sqlite"

    _, _, err = dspy_mux("bank", "import", made, path)
    assert "4 answers have no score, which replay and most verbs need: import the file into" in err
    assert "into a new bank with --type or --program" in refused("replay", made)

    _, out, err = dspy_mux("bank", "import", made, path, "--type", "float")
    assert out == f"{path}: 0 draws added, 4 there already, which stay as they are\n"
    assert "4 draws were there already and keep the answers and scores that they have" in err
    assert "were compared with the right one" not in err

    _, _, err = dspy_mux("bank", "import", tmp_path / "new.sqlite", path, "--type", "float")
    assert "4 answers without a score were compared with the right one" in err
    assert dspy_mux("replay", tmp_path / "new.sqlite")[0] == 0


def test_answers_without_a_right_one_are_said_to_lack_a_score(tmp_path, dspy_mux):
    rows = [{"question": "9 + 9?", "model": "small", "text": "It is 18."}]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    _, _, err = dspy_mux("bank", "import", tmp_path / "bank.sqlite", path, "--type", "float")
    assert (
        "1 answer has no score, which replay and most verbs need: the file states no right" in err
    )


def test_a_map_is_saved_and_used_again(tmp_path, dspy_mux, as_json):
    said = {"run": {"who": "small"}, "said": [{"x": "18"}, {"x": "18.0"}], "ok": "C"}
    rows = [{"id": "q0", **said}, {"id": "q1", **said}]
    path, saved = jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "map.toml"
    columns = "question_id=id,model=run.who,answer=x,correct=ok"
    code, out, _ = dspy_mux(
        *("bank", "import", tmp_path / "one.sqlite", path, "--map", columns, "--each", "said"),
        *("--type", "float", "--save-map", saved),
    )
    assert (code, out) == (0, f"{path}: 4 draws added, 0 there already\n")
    assert dspy_mux("bank", "import", tmp_path / "two.sqlite", path, "--map", f"@{saved}")[0] == 0
    one, two = (as_json("replay", tmp_path / f"{name}.sqlite") for name in ("one", "two"))
    assert one == two
    assert one["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--map", "answer"], "--map must be like answer=resp.text"),
        (["--map", "@none.toml"], "There is no file 'none.toml' with a layout"),
        (["--type", "flaot"], "'flaot' is not a type of answers"),
        (["--type", "float", "--program", "programs.gsm8k"], "give one of them"),
        (["--program", "none_such"], "There is no task module 'none_such'"),
        (["--format", "excel"], "There is no format 'excel'"),
        (["--format", "helm"], "is no file of the format helm"),
        (["--questions", "none.csv"], "There is no file 'none.csv'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, refused, options, told):
    path = jsonl(tmp_path / "rows.jsonl", [{"question_id": "q", "model": "a", "answer": "x"}])
    assert told in refused("bank", "import", tmp_path / "bank.sqlite", path, *options)
    assert not (tmp_path / "bank.sqlite").exists()


def test_a_saved_map_with_other_settings_is_refused(tmp_path, refused):
    (tmp_path / "map.toml").write_text('modle = "a"\n')
    path = jsonl(tmp_path / "rows.jsonl", [{"question_id": "q", "answer": "x"}])
    err = refused("bank", "import", tmp_path / "b.sqlite", path, "--map", f"@{tmp_path}/map.toml")
    assert "has modle, which no option of bank import has" in err


def test_a_document_of_no_known_format_asks_for_a_map(tmp_path, refused, dspy_mux):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"model": "a", "items": [{"q": "1 + 1?", "out": "2", "ok": True}]}))
    err = refused("bank", "import", tmp_path / "bank.sqlite", path)
    assert "is in no format that is known: it has model, items. Lay it out with --map" in err
    columns = "question=q,answer=out,correct=ok,model=model"
    code, out, _ = dspy_mux(
        *("bank", "import", tmp_path / "bank.sqlite", path, "--each", "items", "--map", columns)
    )
    assert (code, out) == (0, f"{path}: 1 draws added, 0 there already\n")
