"""From a file of questions to a saved mux: `collect --file`, `tune --out`, `ask --mux`."""

from __future__ import annotations

import csv
import json
import re
import shlex

import pytest

from dspy_mux import SampleBank, SLMMux, load_pool
from dspy_mux.optimize.tuned import Tuned
from dspy_mux.replay.live import Policy

from ..support.http_models import model_server
from ..support.scripted import marked

#: Model → the sums that it gets wrong.
WRONG = {"a": {3, 4, 11, 12}, "b": {2, 3, 17, 18, 19}, "c": set(range(8, 20))}
POOL = 'program = "question -> answer: float"\nk = 2\ntemperature = 0.5\n'


def reply(model, wrong):
    def say(prompt):
        n = int(re.findall(r"What is (\d+)", prompt)[-1])
        return marked(reasoning="Easy.", answer=f"{n + n + (n in wrong) * (1 + ord(model))}.00")

    return say


@pytest.fixture
def server():
    with model_server() as server:
        server.texts.update({model: reply(model, wrong) for model, wrong in WRONG.items()})
        yield server


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """A folder with questions.csv and pool.toml, whose members are on a server."""
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "questions.csv").open("w", newline="") as file:
        rows = [(f"What is {n} + {n}?", 2 * n, ("train", "test")[n % 2]) for n in range(20)]
        csv.writer(file).writerows([("question", "answer", "split"), *rows])
    members = [
        f'[[members]]\nname = "{name}"\nmodel = "openai/{name}"\napi_base = "{server.address}/v1"\n'
        for name in WRONG
    ]
    (tmp_path / "pool.toml").write_text(POOL + "".join(members))
    return tmp_path


COLLECT = ("collect", "--file", "questions.csv", "--pool", "pool.toml", "--bank", "bank.sqlite")
TUNE = ("tune", "bank.sqlite", "--trials", 4, "--pool", "pool.toml", "--out", "mux.json")


def test_a_csv_becomes_a_mux_that_answers_as_its_replay(folder, server, as_json, dspy_mux):
    done = as_json(*COLLECT)
    assert (done["drawn"], done["missing"], done["abstained"]) == (120, 0, 0)
    asked = len(server.bodies)
    assert as_json(*COLLECT)["already"] == 120  # it resumes
    assert len(server.bodies) == asked
    bank = SampleBank("bank.sqlite")
    assert list(bank.datasets()) == ["questions"]
    record = bank.record()
    right = {"a": 16, "b": 15, "c": 8}
    assert dict(zip(record.members, record.scores.mean(axis=2).sum(axis=0), strict=True)) == right

    told = as_json(*TUNE)
    assert len(server.bodies) == asked
    best = told["best"]
    saved = Policy.of("mux.json")
    assert (saved.members, set(saved.k)) == (tuple(best["members"]), {best["k"]})
    assert saved.rule.name == best["rule"]
    assert dict(zip(saved.members, saved.accuracies, strict=True)) == {
        name: right[name] / 20 for name in saved.members
    }
    # Every draw of a member says the same here, so the recorded ones are those of a call.
    polls, _ = saved.decide(record.first(best["k"]))
    scores = [record.scores[at][record.votes[at] == poll.group] for at, poll in enumerate(polls)]
    mux = SLMMux.from_file("mux.json", load_pool("pool.toml"))
    answers = [mux(question=f"What is {n} + {n}?").answer == 2 * n for n in range(20)]
    assert answers == [bool(of.max()) for of in scores]
    assert 12 < sum(answers) < 20
    verdict = as_json("ask", "What is 3 + 3?", "--mux", "mux.json", "--pool", "pool.toml")
    assert {ballot["member"] for ballot in verdict["ballots"]} == set(best["members"])
    code, out, err = dspy_mux(*TUNE)
    assert code == 0
    assert "The mux is written anew in mux.json" in " ".join(err.split())


def test_draws_whose_settings_are_unknown_take_the_pools_word(folder, as_json, dspy_mux, refused):
    as_json(*COLLECT)
    assert dspy_mux("bank", "export", "bank.sqlite", "draws.jsonl")[0] == 0
    code, _, err = dspy_mux("tune", "draws.jsonl", *TUNE[2:])
    assert code == 0
    assert "were asked is not recorded, as their draws are imported" in " ".join(err.split())
    assert as_json("ask", "What is 5 + 5?", "--mux", "mux.json", "--pool", "pool.toml")
    pool = folder / "pool.toml"
    pool.write_text(pool.read_text().replace('"c"', '"d"'))
    assert "has no member 'c'" in refused("tune", "draws.jsonl", *TUNE[2:])


def test_a_split_of_the_file_and_a_threshold(folder, as_json):
    assert as_json(*COLLECT, "--split", "train")["drawn"] == 60
    assert as_json(*COLLECT)["drawn"] == 60
    split = ("--split-field", "split", "--max-risk", 0.5, "--confidence", 0.5)
    told = as_json(*TUNE, *split)["operating"]
    pool = json.loads((folder / "mux.json").read_text())["pool"]
    chosen = next(point for point in told["points"] if told["compiled"] in point["names"])
    assert pool["threshold"] == chosen["threshold"]
    assert pool["points"]["compiled"] == told["compiled"]


def test_a_large_model_answers_what_is_not_trusted(folder, as_json, refused):
    as_json(*COLLECT)
    asked = (*TUNE, "--escalate", "c", "--max-escalated", 0.9)
    assert "pool.toml has no [escalate]" in refused(*asked)
    pool = folder / "pool.toml"
    three = pool.read_text()
    pool.write_text(three.replace('[[members]]\nname = "c"', '[escalate]\nname = "c"'))
    told = refused(*asked)
    assert "pool.toml asks 'c' in another way" in told
    assert "the temperature (0.5 recorded, 0.0 here)" in told
    pool.write_text(f"{pool.read_text()}temperature = 0.5\n")
    found = as_json(*asked)["operating"]
    saved = json.loads((folder / "mux.json").read_text())["pool"]
    assert (saved["escalates_to"], saved["otherwise"]) == ("c", "escalate")
    assert saved["threshold"] in [point["threshold"] for point in found["points"]]
    told = as_json("ask", "What is 3 + 3?", "--mux", "mux.json", "--pool", "pool.toml")
    assert told["confidence"] < saved["threshold"] or not told["escalated"]


def test_a_pool_that_was_not_collected_with_is_refused(folder, as_json, refused):
    as_json(*COLLECT, "--split", "train", "--limit", 6)
    pool = (folder / "pool.toml").read_text()

    def changed(*of):
        (folder / "pool.toml").write_text(pool.replace(*of))
        return refused(*TUNE)

    assert "no member 'b', whose draws are recorded; it has a, bee, c" in changed('"b"', '"bee"')
    told = changed("temperature = 0.5", 'temperature = 0.7\nadapter = "plain"')
    assert "pool.toml asks 'a' in another way than was recorded" in told
    assert "the temperature (0.5 recorded, 0.7 here)" in told
    assert "the adapter" in told
    told = changed("answer: float", "answer")
    assert "the program's outputs (answer: float recorded, answer: str here)" in told
    (folder / "pool.toml").write_text(pool.replace("answer: float", "answer"))
    assert as_json(*TUNE, "--type", "float")["best"]["members"]
    (folder / "pool.toml").write_text(pool)
    (folder / "notes.json").write_text("[1]")
    assert "is not a saved mux" in refused(*TUNE, "--out", "notes.json")
    assert (folder / "notes.json").read_text() == "[1]"
    assert "pass --pool pool.toml" in refused("tune", "bank.sqlite", "--out", "mux.json")
    assert "--out mux.json" in refused("tune", "bank.sqlite", "--pool", "pool.toml")


def test_a_file_that_comes_while_the_study_runs_stays(folder, as_json, dspy_mux, monkeypatch):
    as_json(*COLLECT, "--split", "train", "--limit", 6)
    chosen = Tuned.mux

    def late(tuned, student):
        (folder / "mux.json").write_text("[1]")
        return chosen(tuned, student)

    monkeypatch.setattr(Tuned, "mux", late)
    code, _, err = dspy_mux(*TUNE)
    assert (code, (folder / "mux.json").read_text()) == (2, "[1]")
    assert "is not a saved mux" in err


def test_answers_that_look_like_labels_name_the_type_to_write(folder, dspy_mux, refused):
    pool = folder / "pool.toml"
    pool.write_text(pool.read_text().replace("answer: float", "answer"))

    def told(labels, *options, rows=12):
        cells = [(f"What is {n} + {n}?", labels[n % len(labels)]) for n in range(rows)]
        with (folder / "questions.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("question", "answer"), *cells])
        code, _, err = dspy_mux(*COLLECT, "--max-calls", 1, *options)
        assert code == 0, err
        return [line.strip() for line in err.splitlines() if "--type" in line or "labels" in line]

    sentence, written = told(["billing", " it's broken "])
    assert "the right answers look like 2 labels, and are compared as text" in sentence
    option = shlex.split(written)
    assert option == ["--type", 'Literal["billing", "it\'s broken"]']
    assert told(["billing", "it's broken"], *option) == []
    assert told(["Paris", "Lima", "Oslo", "Rome"], rows=11) == []
    assert told(["a -> b", "c"]) == []  # no type can hold it
    pool.write_text(pool.read_text().replace("-> answer", "-> answer: float"))
    (folder / "questions.csv").write_text("question,answer\nWhat is 1 + 1?,2\n ,4\n")
    assert "Row 2 of 'questions.csv' has nothing in the column 'question'" in refused(*COLLECT)


def test_mistakes_in_the_file_name_its_columns(folder, refused, dspy_mux):
    questions = folder / "questions.csv"
    assert "name a task" in refused("collect", *COLLECT[3:])
    assert "give one of them" in refused("collect", "a_task", *COLLECT[1:])
    questions.write_text("prompt,gold\nWhat is 1 + 1?,2\n")
    told = refused(*COLLECT)
    assert "no column 'question'" in told
    assert "its columns are prompt, gold" in told
    questions.write_text("question,result\nWhat is 1 + 1?,2\nWhat is 2 + 2?,four or so\n")
    assert "Name theirs with --answer" in refused(*COLLECT)
    assert "its columns are question, result" in refused(*COLLECT, "--answer", "gold")
    told = refused(*COLLECT, "--answer", "result", "--type", "bool")
    assert "Row 1 of 'questions.csv' has '2' in the column 'result'" in told
    questions.write_text("question,answer\nWhat is 1 + 1?,2\n")
    assert "no column 'split' to choose by" in refused(*COLLECT, "--split", "train")
    questions.write_text("question,result\nWhat is 1 + 1?,2\nWhat is 2 + 2?,four or so\n")
    pool = folder / "pool.toml"
    pool.write_text(pool.read_text().replace("answer: float", "answer"))
    code, _, err = dspy_mux(*COLLECT, "--answer", "result", "--max-calls", 1)
    assert "compared as text" not in err  # "four or so" is none
    questions.write_text("question,answer\nWhat is 1 + 1?,2\nWhat is 2 + 2?,4\n")
    code, _, err = dspy_mux(*COLLECT, "--max-calls", 1)
    assert "numbers, and are compared as text, so that 18 and 18.00" in " ".join(err.split())
    questions.write_text("question,answer\nWhat is 1 + 1?,2\n,4\n")
    assert "Row 2 of 'questions.csv' has nothing in the column 'question'" in refused(*COLLECT)
