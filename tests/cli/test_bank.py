"""`bank import`, `bank info`, `bank export`, and banks as the other verbs read them."""

from __future__ import annotations

import pytest

from ..support.rows import a_result_file, jsonl
from .rows import some_rows


def test_a_bank_is_filled_told_and_written_out(bank, tmp_path, dspy_mux, as_json):
    made = tmp_path / "bank.sqlite"
    code, out, err = dspy_mux("bank", "import", made, bank, "--dataset", "sums")
    assert (code, out) == (0, f"{bank}: 480 draws added, 0 there already\n")
    assert "answers are compared as text" in err
    assert (
        dspy_mux("bank", "import", made, bank, "--dataset", "sums")[1]
        == f"{bank}: 0 draws added, 480 there already, which stay as they are\n"
    )
    told = as_json("bank", "info", made)
    assert [
        (row["dataset"], row["member"], row["questions"], row["draws"]) for row in told["draws"]
    ] == [("sums", member, 40, 160) for member in "abc"]
    out = tmp_path / "out.jsonl"
    assert dspy_mux("bank", "export", made, out) == (0, f"{out}: 480 draws\n", "")
    assert as_json("replay", made) == as_json("replay", bank)
    assert as_json("replay", out) == as_json("replay", bank)


def test_every_verb_reads_banks_and_files_alike(bank, tmp_path, dspy_mux, as_json):
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, bank)
    for verb in (("search",), ("scale", "--k", 2)):
        one, two = (as_json(verb[0], where, *verb[1:]) for where in (made, bank))
        one.pop("seconds", None)
        two.pop("seconds", None)
        assert one == two


def test_several_files_are_imported_at_once(tmp_path, dspy_mux, as_json):
    made = tmp_path / "bank.sqlite"
    one = a_result_file(tmp_path / "a.json", "org/a", {"2+2?": ["4", "5"], "1+3?": ["4", "4"]})
    two = a_result_file(tmp_path / "b.json", "org/b", {"2+2?": ["5", "5"], "1+3?": ["6", "4"]})
    code, out, _ = dspy_mux("bank", "import", made, one, two)
    assert (code, len(out.splitlines())) == (0, 2)
    assert [(row["member"], row["draws"]) for row in as_json("bank", "info", made)["draws"]] == [
        ("org/a", 4),
        ("org/b", 4),
    ]


def test_a_second_unnumbered_file_adds_draws(bank, tmp_path, dspy_mux, as_json):
    made, row = tmp_path / "bank.sqlite", {"model": "a", "correct": True}
    files = [
        jsonl(
            tmp_path / f"{name}.jsonl",
            [{**row, "question_id": f"q{n}", "answer": f"{name}{n % 2}"} for n in range(9)],
        )
        for name in "xy"
    ]
    code, out, _ = dspy_mux("bank", "import", made, *files, files[0])
    assert (code, out.splitlines()) == (
        0,
        [
            f"{files[0]}: 9 draws added, 0 there already",
            f"{files[1]}: 9 draws added, 0 there already",
            f"{files[0]}: 0 draws added, 9 there already, which stay as they are",
        ],
    )
    assert as_json("bank", "info", made)["draws"][0]["draws"] == 18


def test_bank_info_shows_a_table(bank, tmp_path, dspy_mux):
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, bank)
    code, out, _ = dspy_mux("bank", "info", made)
    assert code == 0
    assert "160" in out
    assert "default" in out


@pytest.mark.parametrize("kind", ["bank.sqlite", "rows.jsonl"])
def test_bank_info_counts_the_causes_of_abstentions(tmp_path, dspy_mux, as_json, kind):
    cut_off = "cut off at max_tokens"
    causes = {
        "a": ["empty response"] * 2 + [cut_off],
        "b": [cut_off, *(f"no {n}" for n in "ABCDE")],
    }
    rows = [
        {"question_id": f"q{n}", "model": member, "draw": 0, "answer": "", "cause": cause}
        for member, each in causes.items()
        for n, cause in enumerate(each)
    ]
    path = jsonl(tmp_path / "rows.jsonl", [*rows, *some_rows(skill={"c": 0.5}, count=2)])
    dspy_mux("bank", "import", tmp_path / "bank.sqlite", path)

    told = {
        row["member"]: row["causes"] for row in as_json("bank", "info", tmp_path / kind)["draws"]
    }
    assert told["a"] == {"empty response": 2, cut_off: 1}
    assert told["b"] == {cut_off: 1, **{f"no {n}": 1 for n in "ABCDE"}}
    assert told["c"] == {"no answer": 3}

    code, out, _ = dspy_mux("bank", "info", tmp_path / kind)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "a empty response 2" in lines
    assert "b 2 other causes 2" in lines
    # Said once for all members.
    assert " ".join(lines).count("raise the member's max_tokens") == 1
    assert any(line.startswith("a, b: 2 draws were cut off at max_tokens: raise") for line in lines)


@pytest.mark.parametrize("kind", ["bank.sqlite", "rows.jsonl"])
def test_bank_info_is_of_the_dataset_asked_for(tmp_path, dspy_mux, as_json, refused, kind):
    path = jsonl(
        tmp_path / "rows.jsonl",
        [{**row, "dataset": name} for name in "de" for row in some_rows(count=3)],
    )
    dspy_mux("bank", "import", tmp_path / "bank.sqlite", path)
    told = as_json("bank", "info", tmp_path / kind, "--dataset", "e")["draws"]
    assert [(row["dataset"], row["member"], row["draws"]) for row in told] == [
        ("e", member, 12) for member in "abc"
    ]
    code, out, _ = dspy_mux("bank", "info", tmp_path / kind, "--dataset", "e")
    assert (code, "dataset e" in out, "dataset d" in out) == (0, True, False)
    for more in ((), ("--json",)):
        assert "has no dataset 'z'; it has d, e" in refused(
            "bank", "info", tmp_path / kind, "--dataset", "z", *more
        )


def test_an_empty_banks_info_has_no_rows(tmp_path, as_json):
    from dspy_mux import SampleBank

    with SampleBank(tmp_path / "bank.sqlite").writing():
        pass
    assert as_json("bank", "info", tmp_path / "bank.sqlite") == {"draws": []}


def test_export_refuses_what_it_would_overwrite(bank, tmp_path, dspy_mux, refused):
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, bank)
    (tmp_path / "out.jsonl").write_text("mine")
    assert "is there already" in refused("bank", "export", made, tmp_path / "out.jsonl")
    assert "must end in" in refused("bank", "export", made, tmp_path / "out.csv")
    assert "no folder" in refused("bank", "export", made, tmp_path / "no folder" / "out.jsonl")


def test_names_in_brackets_are_text_and_no_markup(tmp_path, dspy_mux):
    path = jsonl(tmp_path / "bank.jsonl", some_rows(skill={"[red]a[/red]": 0.5, "[/b]": 0.5}))
    code, out, err = dspy_mux("replay", path)
    assert code == 0, err
    assert "[red]a[/red]" in out


def test_program_chooses_between_two_programs(tmp_path, dspy_mux, as_json, refused):
    made = tmp_path / "bank.sqlite"
    for program in ("1111", "2222"):
        rows = [
            {**row, "program": program * 16}
            for row in some_rows(skill={"a": 1.0 if program == "1111" else 0.0})
        ]
        dspy_mux("bank", "import", made, jsonl(tmp_path / f"{program}.jsonl", rows))
    assert "by 2 programs (111111111111, 222222222222)" in refused("replay", made)
    assert as_json("replay", made, "--program", "1111")["accuracy"] == 1
    assert as_json("replay", made, "--program", "latest")["accuracy"] == 0
    assert "no program '3333'" in refused("replay", made, "--program", "3333")


def test_errors_in_a_bank_are_counted_and_shown(tmp_path, dspy_mux, as_json):
    rows = [
        {"question_id": f"q{n}", "model": m, "draw": 0, "answer": "x", "correct": True}
        for n in range(8)
        for m in "ab"
    ]
    rows[3] |= {"answer": "", "correct": False, "cause": "LMTimeoutError: too late"}
    rows[5] |= {"answer": "", "correct": False, "cause": "unparsable response"}
    made = tmp_path / "bank.sqlite"
    dspy_mux("bank", "import", made, jsonl(tmp_path / "rows.jsonl", rows))
    assert [
        (row["abstentions"], row["errors"]) for row in as_json("bank", "info", made)["draws"]
    ] == [(0, 0), (2, 1)]
    code, out, err = dspy_mux("replay", made)
    assert code == 0
    assert "errors cost 1 of 16 draws, which count as abstentions here" in err
    assert "errors" not in out
    assert "errors" not in dspy_mux("replay", made, "--members", "a")[2]
