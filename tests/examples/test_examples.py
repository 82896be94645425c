"""Every program of examples/ runs as its reader would run it, its models on a scripted server."""

from __future__ import annotations

import csv
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from ..docs.world import world
from ..support.scripted import asked, marked

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
NOTEBOOK = EXAMPLES / "collect_tune_look.ipynb"
LESSON = "Give the colour alone."


def last(prompt: str, field: str) -> str:
    """The value of an input field in the last turn of a prompt."""
    return asked(prompt[prompt.rindex(f"[[ ## {field} ## ]]") :], field)


def run(name: str, *arguments: str) -> None:
    """Run a program of examples/ as `python examples/NAME ARGUMENTS` does."""
    file = str(EXAMPLES / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [file, *arguments])
        runpy.run_path(file, run_name="__main__")


def test_a_pool_on_ollama_answers(tmp_path, monkeypatch, capsys):
    with world(tmp_path, monkeypatch):
        run("ollama_pool.py", "What is the capital of Libya?")
        run("ollama_pool.py")
    asked_one, *others = re.findall(
        r"  (\S+)  \((\S+), confidence (\S+)\)", capsys.readouterr().out
    )
    assert asked_one == ("Tripoli", "openai/qwen2.5:3b", "1.00")  # the scripted server's name
    assert [answer for answer, *_ in others] == ["Tripoli", "42"]


def test_a_pool_without_an_answer_is_told_plainly(tmp_path, monkeypatch):
    with (
        world(tmp_path, monkeypatch, lambda prompt, number: marked(reasoning="", answer="")),
        pytest.raises(SystemExit, match="Does Ollama run at http://localhost:11434"),
    ):
        run("ollama_pool.py", "What is the capital of Libya?")


def at_the_desk(prompt: str, number: int) -> str:
    """Answer from the passages, at first in too many words; as the teacher, say how to."""
    if "[[ ## passages ## ]]" not in prompt or "new_instruction" in prompt:
        is_json = "Respond with a JSON object" in prompt
        return (
            json.dumps({"new_instruction": LESSON}) if is_json else marked(new_instruction=LESSON)
        )
    part = re.search(r"colour of the (\w+)", last(prompt, "question")).group(1)
    colour = re.search(rf"The {part} is (\w+)", last(prompt, "passages")).group(1)
    answer = colour if LESSON in prompt else f"It's {colour}."
    return marked(reasoning="As the manual says.", answer=answer)


def test_gepa_teaches_the_desk(tmp_path, monkeypatch, capsys):
    with world(tmp_path, monkeypatch, at_the_desk):
        run("rag_gepa.py")
    assert "0 % right before, 100 % after, n = 4" in capsys.readouterr().out
    assert LESSON in (tmp_path / "desk.json").read_text("utf-8")


def of_invoices(prompt: str, number: int) -> str:
    """Read the invoice as a model would: one total in two spellings, and now and then nonsense."""
    message = last(prompt, "message")
    if "invoice A-17" not in message:
        return marked(invoice="null")
    total = ("1200.00", "1200", "-5")[number % 3]
    return marked(invoice=f'{{"number": "A-17", "total": {total}, "due": "2026-03-03"}}')


def test_invoices_are_read(tmp_path, monkeypatch, capsys):
    with world(tmp_path, monkeypatch, of_invoices):
        run("extraction.py")
    found, nothing = capsys.readouterr().out.splitlines()
    assert found == "A-17: 1200.00, due 2026-03-03 (confidence 0.67)"  # -5 is no total
    assert nothing == "no invoice (confidence 1.00): Thank you for lunch! See you in spring."


def of_capitals() -> dict[str, str]:
    with (ROOT / "programs" / "everyday.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == "capital"]
    return {row["subject"]: row["answer"] for row in rows}


def test_a_large_model_answers_the_rest(tmp_path, monkeypatch, capsys):
    capitals = of_capitals()

    def small_and_large(prompt: str, number: int) -> str:
        """Know most capitals; of every fourth country, say something else each time."""
        subject = last(prompt, "question").removeprefix("What is the capital of ").rstrip("?")
        unsure = list(capitals).index(subject) % 4 == 0 and number < 3
        return marked(answer=f"Nowhere {number}" if unsure else capitals[subject])

    with world(tmp_path, monkeypatch, small_and_large):
        run("escalation.py")
    promise, result = capsys.readouterr().out.splitlines()[-2:]
    assert "at most 20 % wrong" in promise
    assert re.fullmatch(r"\d+ of 10 right, [1-9]\d* by the large model", result)


def of_boxes(prompt: str, number: int) -> str:
    """Count the balls; forget to round where the red ones are odd, now and then."""
    red, blue = (
        int(count) for count in re.findall(r"(\d+) (?:red|blue)", last(prompt, "question"))
    )
    return marked(answer=(red + blue + 1) // 2 + (number % 3 if red % 4 == 1 else 0))


def cells(kind: str) -> list[dict]:
    return [cell for cell in notebook()["cells"] if cell["cell_type"] == kind]


def notebook() -> dict:
    return json.loads(NOTEBOOK.read_text("utf-8"))


def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna")
    names: dict = {}
    with world(tmp_path, monkeypatch, of_boxes):
        for cell in cells("code"):
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["pred"].answer == 22
    assert "calls" in names["best"].report._repr_html_()
    assert re.search(r"consistency +\d+\.\d% \(.*\), n = 12", capsys.readouterr().out)
    assert (tmp_path / "boxes.json").exists()


def test_the_notebook_is_one_without_outputs():
    whole = notebook()
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells("code"))
    ids = [cell["id"] for cell in whole["cells"]]
    assert len(set(ids)) == len(ids)
    assert "".join(cells("markdown")[0]["source"]).startswith("# ")


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.name)
def test_a_program_says_how_to_run_it(file):
    text = file.read_text("utf-8")
    assert f"\n    python examples/{file.name}" in text.split('"""')[1]
    assert 30 <= len(text.splitlines()) <= 80
    assert f"{file.name})" in (ROOT / "docs" / "examples.md").read_text("utf-8")
