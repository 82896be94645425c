"""The method by probability: from what servers report of their draws, to a row and the report."""

from __future__ import annotations

import dataclasses
import json
import re
from contextlib import ExitStack, closing

import dspy
import pytest

from dspy_mux import Member, SampleBank, SLMMux
from dspy_mux.bank.score import recorded
from dspy_mux.voting.calibration import Training
from dspy_mux.voting.probability_fit import fit_probability
from eval.report.accuracy import by_confidence
from eval.report.questions import list_questions
from eval.report.read import read
from eval.tables.comparison import Comparison

from ...support.comparisons import SMALL, compared, rows_of
from ...support.http_server import running
from ...support.logprob_server import LogprobServer
from ...support.small_task import small_task


def says(answer):
    """The reply to question i, such as "t3 + 1", in DSPy's chat format."""

    def reply(prompt):
        asked = int(re.findall(r"[vt](\d+) \+ 1", prompt)[-1])
        return f"[[ ## answer ## ]]\n{answer(asked)}\n\n[[ ## completed ## ]]"

    return reply


@pytest.fixture
def members():
    """Two that agree on a wrong answer and are unsure of it, and a third that knows."""
    with ExitStack() as stack:

        def member(name, answer):
            server = stack.enter_context(running(LogprobServer(says(answer))))
            lm = dspy.LM(f"openai/{name}", api_base=server.address, api_key="none", engine="lm15")
            logprob = -0.05 if name == "sure" else -1.5
            server.weigh = lambda _, token: logprob if token.strip().isdigit() else 0.0
            return Member(lm, name=name)

        yield [
            member("unsure", lambda i: i + 7),
            member("unsure too", lambda i: i + 7),
            member("sure", lambda i: i + 1),
        ]


def test_the_most_probable_answer_wins_as_it_does_live(members, tmp_path):
    options = dataclasses.replace(SMALL, k=2, methods=("agent_forest", "slm_mux", "probability"))
    task = small_task(validation=12)
    run = compared(tmp_path / "run", members, options, task)
    assert "SLM-MUX, by probability" in Comparison.of(run).markdown()
    assert {row["score"] for row in rows_of(run, "agent_forest").values()} == {0.0}
    live = SLMMux(task.program(), members, k=2, temperature=0.5, rule=_fitted(run, task, members))
    for example in task.examples("test"):
        row = rows_of(run, "probability")[example.question_id]
        verdict = live(**example.inputs()).verdict.model_dump(mode="json")
        assert (row["score"], row["member"]) == (1.0, "sure")
        assert row["confidence"] == pytest.approx(verdict["confidence"])
        assert [ballot["probabilities"] for ballot in row["ballots"]] == [
            pytest.approx(ballot["probabilities"]) for ballot in verdict["ballots"]
        ]
    (answers,) = read(run)
    drawn = list_questions(answers)["questions"][0]["draws"]
    assert [ballot["probabilities"] for ballot in drawn] == [
        pytest.approx([expected] * 2, abs=0.001) for expected in (0.223, 0.223, 0.951)
    ], json.dumps(drawn)
    assert "SLM-MUX, by probability" in {row[0] for row in by_confidence(answers).rows}


def _fitted(run, task, members):
    """Return the rule that the run decided by: fitted on the validation questions."""
    mux = SLMMux(task.program(), members, k=2, temperature=0.5)
    with closing(SampleBank(run.bank)) as bank:
        record = recorded(mux, task.examples("validation"), task.metric, bank, dataset="sums", k=2)
    rule = fit_probability(Training(record.tally(), record.scores, record.members))
    assert rule.trained_on == 12
    return rule


def test_without_log_probabilities_the_method_is_left_out(tmp_path):
    with running(LogprobServer(says(lambda i: i + 1))) as server:
        lm = dspy.LM("openai/refuses", api_base=server.address, api_key="none", engine="lm15")
        options = dataclasses.replace(SMALL, methods=("slm_mux", "probability"))
        run = compared(tmp_path / "run", [Member(lm, name="a")], options)
    assert [method["id"] for method in run.manifest["methods"]] == ["slm_mux"]
    assert {row["score"] for row in rows_of(run, "slm_mux").values()} == {1.0}
    assert rows_of(run, "probability") == {}
