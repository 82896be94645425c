"""Evidence in files and banks: read, checked, kept by every round trip, and equal to a live one."""

from __future__ import annotations

import math

import dspy
import numpy as np
import pytest

from dspy_mux import ConfigurationError, DataError, SampleBank, SLMMux, read_jsonl
from dspy_mux.bank.collect import collect
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.jsonl import jsonl_info, jsonl_temperatures
from dspy_mux.bank.storage.salvage import salvage
from dspy_mux.replay.replay import replay
from dspy_mux.voting.evidence import FIGURES

from ..support.fill import a_draw, a_program, some_questions, write
from ..support.http_server import running
from ..support.logprob_server import LogprobServer
from ..support.rows import a_row, jsonl

FULL = {
    "answer_logprob": -0.1 - 0.2,  # no short decimal number
    "answer_tokens": 2,
    "text_logprob": -12.625,
    "completion_tokens": 9,
    "lowest_logprob": -1.75,
    "temperature": 0.7,
    "finish_reason": "stop",
    "stated_probability": 0.875,
}


def figures(record, question=0, member=0, draw=0):
    return {name: values[question, member, draw] for name, values in record.evidence.items()}


def test_a_row_says_all_that_evidence_holds(tmp_path):
    file = jsonl(tmp_path / "rows.jsonl", [a_row(**FULL), a_row(draw=1)])
    record = read_jsonl(file)
    assert figures(record) == {name: FULL[name] for name in FIGURES}
    assert all(np.isnan(value) for value in figures(record, draw=1).values())
    assert record.fields.keys() == {"question_id"}


def test_tokens_stand_for_their_sum_and_number(tmp_path):
    rows = [
        a_row(token_logprobs=[-0.25, -0.5]),
        a_row(draw=1, token_logprobs=[-0.25, -0.5], answer_logprob=-0.7512, answer_tokens=2),
        a_row(draw=2, token_logprobs=[0.0004, -0.5]),
        a_row(draw=3, answer="", token_logprobs=[]),
        a_row(draw=4, answer_logprob=0.0, answer_tokens=0),
    ]
    record = read_jsonl(jsonl(tmp_path / "rows.jsonl", rows))
    assert record.evidence["answer_logprob"][0, 0, :3].tolist() == [-0.75, -0.7512, -0.5]
    assert record.evidence["answer_tokens"][0, 0, :3].tolist() == [2, 2, 2]
    # An answer of no tokens has no probability, least of all 1.
    assert np.isnan(record.evidence["answer_logprob"][0, 0, 3:]).all()


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("answer_logprob", 0.5, "finite numbers of 0 or less"),
        ("answer_logprob", "0.5", "finite numbers of 0 or less"),
        ("text_logprob", float("-inf"), "finite numbers of 0 or less"),
        ("answer_logprob", True, "finite numbers of 0 or less"),
        ("answer_logprob", -(10**400), "finite numbers of 0 or less"),
        ("token_logprobs", -0.5, "a list of numbers"),
        ("token_logprobs", [-0.5, None], "whose element 2 is None: .*finite numbers of 0 or less"),
        ("token_logprobs", ["-0.5"], "whose element 1 is '-0.5': .*finite numbers of 0 or less"),
        ("token_logprobs", [-0.5, 0.5], "whose element 2 is 0.5: .*finite numbers of 0 or less"),
        ("token_logprob", [-0.5], "which no rule reads: call it token_logprobs, or"),
        ("answerLogProbs", -0.5, "which no rule reads: call it answer_logprob, or"),
        ("answer_tokens", 1.5, "a whole number"),
        ("completion_tokens", -1, "a whole number"),
        ("temperature", "hot", "a number from 0"),
        ("temperature", -0.5, "a number from 0"),
        ("temperature", 10**400, "a number from 0"),
        ("stated_probability", 1.5, "a number from 0 to 1"),
        ("finish_reason", 7, "text"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_line_and_key(tmp_path, key, value, what):
    file = jsonl(tmp_path / "rows.jsonl", [a_row(), a_row(draw=1, **{key: value})])
    bank = SampleBank(tmp_path / "bank.sqlite")
    for read in (lambda: read_jsonl(file), lambda: import_file(bank, file)):
        with pytest.raises(DataError, match=rf"^Line 2 of .*rows.jsonl has {key}\b.*{what}"):
            read()
    assert not bank.exists()


@pytest.mark.parametrize("more", [{"answer_logprob": -0.5}, {"answer_tokens": 3}])
def test_tokens_that_contradict_the_row_are_refused(tmp_path, more):
    file = jsonl(tmp_path / "rows.jsonl", [a_row(token_logprobs=[-0.4, -0.2], **more)])
    with pytest.raises(DataError, match=rf"^Line 1 of .* has {next(iter(more))} .*give one of"):
        read_jsonl(file)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"answer_logprob": -0.1, "answer_tokens": 0}, "answer_logprob -0.1 of answer_tokens 0"),
        ({"answer_logprob": -3, "text_logprob": -2.5}, "text_logprob -2.5 and answer_logprob -3:"),
        ({"token_logprobs": [-3.0], "text_logprob": 0}, "text_logprob 0 and answer_logprob -3:"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(tmp_path, more, what):
    row, bank = a_row(draw=1, **more), SampleBank(tmp_path / "bank.sqlite")
    tables = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = jsonl(tmp_path / "rows.jsonl", [a_row(), row])
    columns = {key: [a_row().get(key), value] for key, value in row.items()}
    tables[1].write_table(tables[0].table(columns), tmp_path / "rows.parquet")
    for file, noun in ((rows, "Line"), (tmp_path / "rows.parquet", "Row")):
        with pytest.raises(DataError, match=rf"^{noun} 2 of .*rows.* has {what}"):
            import_file(bank, file)


def test_rounding_is_no_contradiction(tmp_path):
    rows = [
        a_row(answer_logprob=-0.5, text_logprob=-0.495),
        a_row(draw=1, token_logprobs=[-0.33, -0.33, -0.34], text_logprob=-0.985),
        a_row(draw=2, answer_logprob=0.0, answer_tokens=0, text_logprob=-1.5),
    ]
    record = read_jsonl(jsonl(tmp_path / "rows.jsonl", rows))
    assert record.evidence["text_logprob"].ravel().tolist() == [-0.495, -0.985, -1.5]


def test_a_questions_field_that_looks_like_evidence_keeps_its_name(bank, tmp_path):
    rows = [a_row(question_fields={"token_logprob": 7}), a_row("q1", token_logprob=None)]
    import_file(bank, jsonl(tmp_path / "rows.jsonl", rows))
    before = list(bank.rows())
    assert bank.record().fields["token_logprob"] == ("7", None)
    export_file(bank, tmp_path / "out.jsonl")
    again = SampleBank(tmp_path / "again.sqlite")
    import_file(again, tmp_path / "out.jsonl")
    assert list(again.rows()) == before


def test_round_trips_through_every_format_change_nothing(bank, tmp_path):
    rows = [
        a_row(**FULL),
        a_row(draw=1, answer="", cause="no answer", text_logprob=-3.5, temperature=0.7),
        a_row(draw=2, token_logprobs=[-1 / 3, -1 / 7], temperature=0.7),
        a_row(model="b"),
        a_row("q1", "b", temperature=0.0, finish_reason="length"),
    ]
    assert import_file(bank, jsonl(tmp_path / "rows.jsonl", rows)).added == 5
    before = list(bank.rows())
    for at, ending in enumerate([".jsonl", ".parquet", ".jsonl"]):
        export_file(bank, tmp_path / f"{at}{ending}")
        bank = SampleBank(tmp_path / f"{at}.sqlite")
        import_file(bank, tmp_path / f"{at}{ending}")
        assert list(bank.rows()) == before
        bank.close()
    salvage(tmp_path / "2.sqlite", tmp_path / "saved.sqlite")
    assert list(SampleBank(tmp_path / "saved.sqlite").rows()) == before
    read = read_jsonl(tmp_path / "2.jsonl")
    record = bank.record()
    assert FULL.items() <= before[0].items()
    assert read.evidence.keys() == record.evidence.keys() == set(FIGURES)
    for name, values in record.evidence.items():
        assert np.array_equal(values, read.evidence[name], equal_nan=True)


def test_a_row_without_evidence_is_as_short_as_ever(bank):
    write(bank, a_draw(some_questions(bank)[0], a_program(bank), 0))
    assert bank.rows().__next__().keys().isdisjoint(FULL.keys() - {"completion_tokens"})
    assert bank.record().evidence.keys() == {"completion_tokens"}


def test_a_wrong_figure_in_a_bank_is_named(bank):
    asked, made_by = some_questions(bank), a_program(bank)
    write(bank, a_draw(asked[0], made_by, 0, answer_logprob=0.5))
    for read in (bank.record, lambda: list(bank.rows())):
        with pytest.raises(DataError, match=r"has 0.5 as the answer_logprob in row 1 of mux_draws"):
            read()


# --- temperatures


@pytest.fixture
def two(tmp_path):
    """A greedy draw and two at 0.5 of each member; each answer's question says its temperature."""
    rows = [
        a_row(question, member, draw, f"{member}{temperature}", temperature=temperature)
        for question in ("q0", "q1")
        for member in "ab"
        for temperature, draws in ((0.5, 2), (0.0, 1))
        for draw in range(draws)
    ]
    return jsonl(tmp_path / "two.jsonl", rows)


SEVERAL = (
    "holds draws of 'a' at the temperatures 0, 0.5, which never mix: choose one, as with "
    r"--temperature 0.5, or --temperature each for members of their own, such as a@0.5\.$"
)


def test_draws_of_several_temperatures_are_read_by_choice_alone(two, bank):
    assert import_file(bank, two).added == 12
    assert import_file(bank, two).already == 12
    assert bank.temperatures() == jsonl_temperatures(two) == {"a": [0.0, 0.5], "b": [0.0, 0.5]}
    for read in (bank.record, lambda **chosen: read_jsonl(two, **chosen)):
        with pytest.raises(ConfigurationError, match=SEVERAL):
            read()
        greedy, sampled, each = (read(temperature=chosen) for chosen in (0.0, 0.5, "each"))
        assert (greedy.votes.shape, sampled.votes.shape) == ((2, 2, 1), (2, 2, 2))
        assert set(greedy.evidence["temperature"].ravel()) == {0.0}
        assert set(sampled.evidence["temperature"].ravel()) == {0.5}
        # One answer has one class at all temperatures.
        assert set(greedy.votes.ravel()).isdisjoint(sampled.votes.ravel())
        assert set(each.members) == {"a@0", "a@0.5", "b@0", "b@0.5"}
        assert each.of(["b@0", "a@0.5"], 1)[0].votes.shape == (2, 2, 1)
        with pytest.raises(ConfigurationError, match=r"no draws at temperature 0.7; it has 0, 0.5"):
            read(temperature=0.7)
        for wrong in (-1, float("nan"), "hot", True):
            with pytest.raises(
                ConfigurationError, match="must be a number of 0 or more, or 'each'"
            ):
                read(temperature=wrong)
    assert [row["temperature"] for row in bank.info()] == [0.5, 0.0, 0.5, 0.0]
    assert [row["member"] for row in jsonl_info(two)] == ["a@0.5", "a@0", "b@0.5", "b@0"]


def test_members_of_one_temperature_each_need_no_choice(tmp_path, bank):
    rows = [a_row(temperature=0.0), a_row(model="b", temperature=0.7), a_row(model="c")]
    file = jsonl(tmp_path / "rows.jsonl", rows)
    import_file(bank, file)
    for record in (read_jsonl(file), bank.record()):
        assert record.members == ("a", "b", "c")
    assert bank.record(temperature=0.7).members == ("b",)


def test_unknown_temperatures_go_with_the_one_that_is_known(tmp_path, bank):
    numberless = {"draw": None}
    rows = [a_row(answer=""), a_row(temperature=0.5), a_row(answer="")]
    rows = [{key: row[key] for key in row if key not in numberless} for row in rows]
    file = jsonl(tmp_path / "rows.jsonl", rows)
    import_file(bank, file)
    for record in (read_jsonl(file), bank.record(), bank.record(temperature=0.5)):
        assert record.votes.tolist() == [[[-1, 0, -1]]]
        assert np.isnan(record.evidence["temperature"]).tolist() == [[[True, False, True]]]


def test_unknown_temperatures_beside_several_are_a_choice_too(tmp_path):
    rows = [a_row(temperature=value) for value in (None, 0.0, 0.5)]
    file = jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ConfigurationError, match=r"at the temperatures 0, 0\.5, unknown, which"):
        read_jsonl(file)
    assert read_jsonl(file, temperature=0.5).votes.tolist() == [[[0]]]
    with pytest.raises(
        ConfigurationError,
        match=r"at temperature 0\.7; it has 0, 0\.5, and draws whose temperature was not recorded",
    ):
        read_jsonl(file, temperature=0.7)
    assert read_jsonl(file, temperature="each").members == ("a", "a@0", "a@0.5")


# --- collected


SURE = {"4": -0.25, "5": -2.0}


@pytest.fixture
def server():
    with running(LogprobServer(lambda prompt: "4" if "2 + 2" in prompt else "5")) as found:
        found.weigh = lambda position, token: SURE.get(token.decode().strip(), -0.5)
        yield found


def a_mux(server, k, temperature, **settings):
    lms = {
        name: dspy.LM(
            f"openai/{name}", api_base=server.address, api_key="none", engine="lm15", cache=False
        )
        for name in ("gives", "refuses")
    }
    return SLMMux(
        dspy.Predict("question -> answer: int"), lms, k=k, temperature=temperature, **settings
    )


EXAMPLES = [
    dspy.Example(question=f"What is {n} + 2?", answer=n + 2).with_inputs("question") for n in (2, 3)
]


def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


def test_a_bank_of_greedy_and_sampled_draws_replays_as_it_was_drawn(server, bank):
    sampled, greedy = a_mux(server, 2, 0.5), a_mux(server, 1, 0.0)
    assert collect(sampled, EXAMPLES, metric, bank).drawn == 8
    assert collect(greedy, EXAMPLES, metric, bank).drawn == 4
    with pytest.raises(ConfigurationError, match="'gives' at the temperatures 0, 0.5"):
        bank.record()
    for temperature in (0.5, 0.0):
        record = bank.record(temperature=temperature)
        assert record.evidence["answer_logprob"][0, 0, 0] == SURE["4"]
        assert np.isnan(record.evidence["answer_logprob"][:, 1]).all()  # the server refuses
        assert set(record.evidence["temperature"].ravel()) == {temperature}
        assert replay(record, "consistency", k=record.votes.shape[2]).accuracy == 1.0
    assert {(row["member"], row["evidence"]) for row in bank.info()} == {
        ("gives", 4),
        ("gives", 2),
        ("refuses", 0),
    }


def test_evidence_of_a_bank_equals_that_of_the_live_mux(server, bank):
    mux = a_mux(server, 2, 0.5, rule="probability")
    collect(mux, EXAMPLES, metric, bank)
    record = bank.record()
    for at, example in enumerate(EXAMPLES):
        for member, ballot in enumerate(mux(question=example.question).verdict.ballots):
            recorded = record.evidence["answer_logprob"][at, member]
            assert [None if np.isnan(one) else math.exp(one) for one in recorded] == (
                ballot.probabilities or [None, None]
            )
    assert not np.isnan(record.evidence["text_logprob"][:, 0]).any()


class InTwoSteps(dspy.Module):
    def __init__(self):
        super().__init__()
        self.think = dspy.Predict("question -> thought")
        self.answer = dspy.Predict("question, thought -> answer: int")

    def forward(self, question):
        return self.answer(question=question, thought=self.think(question=question).thought)


def test_the_tokens_of_all_calls_of_a_draw_are_counted(server, bank):
    thought, answer = '{"thought": "four"}', '{"answer": 4}'  # of 7 tokens
    server.say = lambda prompt: answer if "four" in prompt else thought
    server.count = lambda text: 5
    lm = a_mux(server, 1, 0.5).members[0].lm
    mux = SLMMux(InTwoSteps(), {"gives": lm}, k=1, logprobs=True, adapter=dspy.JSONAdapter())
    collect(mux, EXAMPLES, metric, bank)
    record = bank.record()
    assert record.tokens.ravel().tolist() == [30.0] * len(EXAMPLES)  # twice 10 and 5
    assert record.evidence["completion_tokens"].ravel().tolist() == [10.0] * len(EXAMPLES)
    assert not np.isnan(record.evidence["answer_logprob"]).any()
