"""The model selection table, on a bank whose figures were worked out by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from dspy_mux import ConfigurationError, SampleBank
from dspy_mux.bank.import_export import import_file
from dspy_mux.errors import DataError
from eval.paper.search import search_rows
from eval.paper.sources import SourceOptions, datasets_of, sources

from ...support.banks import rows, written
from ...support.commands import python_m_eval, run_here

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def bank(tmp_path):
    return written(tmp_path / "hand.jsonl", rows())


def one_source(bank, **asked):
    return sources(SourceOptions([str(bank)], **asked), 3)[0]


def hash_of(row):
    """A coin for each question, the same at every run."""
    return random.Random(row["question_id"]).random() < 0.8


def command(*arguments):
    return run_here(python_m_eval, *arguments)


def test_the_table_has_hand_worked_figures(bank):
    source = one_source(bank, split_field="split", train="val")
    (line,) = search_rows(source, [2], k=3, penalty=1.0)
    # Each block: steady and twin are right on the first three of five, other on the last two, where
    # steady is unsure; nobody is ever sure of a wrong answer. So steady + other is right on all
    # five; twin stands after steady in the pool.
    assert line.composed.members == ("steady", "other")
    assert (line.composed.accuracy, line.composed.share, line.composed.distinct) == (1.0, 1.0, 1)
    assert (line.union_accuracy, line.contradiction, line.objective) == (1.0, 0.0, 1.0)
    # By strength alone it would be the two that are right on the same questions.
    assert line.strongest.members == ("steady", "twin")
    assert line.strongest.accuracy == pytest.approx(3 / 5)
    assert line.gain_strongest.mean == pytest.approx(2 / 5)
    # The single member: 8 of 15 draws a block, 3 of 5 pluralities.
    assert line.single.members == ("steady",)
    assert line.one_draw == pytest.approx(8 / 15)
    assert line.single.accuracy == pytest.approx(3 / 5)
    assert line.gain.mean == pytest.approx(1 - 8 / 15)
    assert line.gain_consistency.mean == pytest.approx(2 / 5)
    assert line.gain.low < line.gain.mean < line.gain.high
    assert (line.questions, line.left_out, line.repeats) == (20, 0, 1)


def test_a_sure_wrong_answer_is_a_contradiction(tmp_path):
    # "loud" is sure and wrong where steady is right twice of three: the wrong answer wins.
    extra = [
        {**row, "model": "loud", "answer": "L", "correct": False}
        for row in rows()
        if row["model"] == "steady" and row["question_id"].endswith("-2")
    ]
    extra += [
        {**row, "model": "loud", "answer": "R", "correct": True}
        for row in rows()
        if row["model"] == "steady" and not row["question_id"].endswith("-2")
    ]
    source = one_source(
        written(tmp_path / "loud.jsonl", rows(), extra),
        split_field="split",
        train="val",
        members="steady,loud",
    )
    (line,) = search_rows(source, [2], k=3, penalty=0.5)
    assert (line.union_accuracy, line.contradiction) == (1.0, pytest.approx(1 / 5))
    assert line.objective == pytest.approx(1 - 0.5 / 5)
    assert line.composed.accuracy == pytest.approx(4 / 5)


def test_nothing_is_chosen_on_scored_questions(tmp_path):
    # "other" is worthless on the val half and completes the pair on the test half.
    part = [
        {**row, "answer": "W", "correct": False}
        if row["model"] == "other" and row["split"] == "val"
        else row
        for row in rows()
    ]
    source = one_source(written(tmp_path / "turned.jsonl", part), split_field="split", train="val")
    (line,) = search_rows(source, [2], k=3, penalty=1.0)
    assert line.composed.members == ("steady", "twin")
    assert line.composed.accuracy == pytest.approx(3 / 5)


def test_several_sizes_also_have_a_joint_row(bank):
    source = one_source(bank)
    told = search_rows(source, [2, 3, 4, 5], k=3, penalty=1.0)
    assert [line.sizes for line in told] == [(2,), (3,), (2, 3)]
    assert told[2].composed.members == ("steady", "other")  # the smaller of equals
    assert [line.size() for line in told] == ["2", "3", "2–3"]


def test_fewer_draws_are_redrawn_by_seed(bank):
    source = one_source(bank, split_field="split", train="val")
    one, again, other = (
        search_rows(source, [2], k=2, penalty=1.0, seed=seed)[0] for seed in (0, 0, 1)
    )
    assert one == again != other
    assert one.repeats == 20


def test_each_random_half_is_scored_once(bank):
    source = one_source(bank, repeats=3, seed=5)
    assert len(source.splits) == 6
    for one, other in zip(source.splits[::2], source.splits[1::2], strict=True):
        assert one.train.tolist() == other.test.tolist()
        assert sorted([*one.train, *one.test]) == list(range(40))
    assert len({tuple(split.test.tolist()) for split in source.splits}) == 6
    (line,) = search_rows(source, [2], k=3, penalty=1.0)
    assert (line.questions, line.repeats) == (40, 6)
    assert line.composed.ci95[0] <= line.composed.accuracy <= line.composed.ci95[1]


def test_splits_that_choose_differently_all_count(tmp_path):
    # A fourth member as good as "other", on other questions: each half takes either by chance.
    fourth = [
        {
            **row,
            "model": "fourth",
            "answer": "R" if hash_of(row) else "W",
            "correct": bool(hash_of(row)),
        }
        for row in rows()
        if row["model"] == "steady"
    ]
    (line,) = search_rows(
        one_source(written(tmp_path / "four.jsonl", rows(), fourth), repeats=5),
        [2],
        k=3,
        penalty=1.0,
    )
    assert 0 < line.composed.share <= 1
    assert (line.composed.distinct == 1) == (line.composed.share == 1)
    assert line.composed.accuracy <= line.union_accuracy + 1e-12


def test_a_size_above_the_pool_is_refused(bank):
    with pytest.raises(ConfigurationError, match="Subsets of 3 members"):
        search_rows(one_source(bank), [5], k=3, penalty=1.0)


# --- which recorded draws ------------------------------------------------------------------------


def test_every_dataset_of_every_bank_is_a_source(tmp_path):
    both = written(tmp_path / "both.jsonl", rows(dataset="one"), rows(dataset="two"))
    third = written(tmp_path / "third.jsonl", rows(dataset="one"))
    assert datasets_of(str(both)) == ["one", "two"]
    found = sources(SourceOptions([str(both), str(third)]), 3)
    assert [source.name for source in found] == ["one (both)", "two", "one (third)"]
    assert [
        source.name
        for source in sources(SourceOptions([str(both), str(third)], datasets=["one"]), 3)
    ] == ["one (both)", "one (third)"]


def test_a_database_gives_what_its_rows_give(bank, tmp_path):
    import_file(SampleBank(tmp_path / "hand.sqlite"), bank)
    options = {"split_field": "split", "train": "val"}
    of_rows, of_database = (
        one_source(bank, **options),
        one_source(tmp_path / "hand.sqlite", **options),
    )
    assert of_database.name == "hand"
    assert search_rows(of_database, [2], k=3, penalty=1.0) == search_rows(
        of_rows, [2], k=3, penalty=1.0
    )


def test_rows_without_a_dataset_take_the_files_name(tmp_path):
    plain = [{key: value for key, value in row.items() if key != "dataset"} for row in rows()]
    assert one_source(written(tmp_path / "plain.jsonl", plain)).name == "plain"


def test_questions_that_lack_draws_are_left_out(bank, tmp_path):
    short = [
        row
        for row in rows()
        if not (row["question_id"] == "hand-0-0" and row["draw"] == 2 and row["model"] == "twin")
    ]
    source = one_source(written(tmp_path / "short.jsonl", short))
    assert (len(source.record.questions), source.left_out) == (39, 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "Name a bank"),
        ({"datasets": ["nine"]}, "none of the datasets nine; it has hand"),
        ({"datasets": ["hand", "nine"]}, "No bank that was named has the dataset 'nine'"),
        ({"members": "steady,nobody"}, "no member 'nobody'"),
        ({"split_field": "split"}, "No question has split='train'"),
    ],
)
def test_wrong_sources_are_refused(bank, asked, said):
    banks = [str(bank)] if asked else []
    with pytest.raises(ConfigurationError, match=said):
        sources(SourceOptions(banks, **asked), 3)


def test_a_missing_public_bank_is_refused():
    with pytest.raises(DataError, match="There is no bank"):
        sources(SourceOptions(data=Path("nowhere")), 3)


def test_an_empty_bank_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no draws"):
        datasets_of(str(written(tmp_path / "empty.jsonl")))


@pytest.mark.skipif(not DATA.exists(), reason="the public banks are not here")
def test_each_known_pool_is_a_source_once():
    found = sources(SourceOptions(data=DATA, repeats=1), 3)
    assert len({source.name for source in found}) == len(found) == 7
    assert {len(source.record.members) for source in found} == {3, 4, 5, 6}


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_one_json_object(bank):
    ran = command(
        "search", bank, "--sizes", "2", "--split-field", "split", "--train", "val", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    (row,) = told["rows"]
    assert row["composed"]["members"] == ["steady", "other"]
    assert told["protocol"] == "chosen where split is 'val', scored where it is 'test'"


def test_the_command_prints_the_papers_markdown_table(bank):
    ran = command("search", bank, "--sizes", "2-3", "--markdown")
    assert ran.returncode == 0, ran.stderr
    head = next(line for line in ran.stdout.splitlines() if line.startswith("| task"))
    assert head.split(" | ")[1:8] == [
        "size",
        "selected members",
        "chosen",
        "best single",
        "single",
        "composed",
        "gain (95 %)",
    ]
    assert "steady + other" in ran.stdout
    assert "10 times (seed 0)" in ran.stdout


def test_a_mistake_is_one_line_on_stderr(bank):
    ran = command("search", bank, "--k", "9")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].startswith("dspy-mux: ")
