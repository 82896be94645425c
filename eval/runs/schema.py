"""What the files of a run folder hold: what tables and reports read of them, checked as it is read. Unknown keys are left alone.

A folder may be a stranger's, or have been edited; what is missing is told in a sentence, and no table is made without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    InstanceOf,
    ValidationError,
    model_validator,
)

from dspy_mux.errors import first_mistake

#: Half a character is text too: models send them, and pydantic's own type refuses them.
Text = InstanceOf[str]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True)


class _Member(_Checked):
    name: Text
    model: Text


class _Choice(_Checked):
    """What validation chose for a method: some of these."""

    member: Text = ""
    members: list[Text] = []
    rule: Text = ""


class _Task(_Checked):
    name: Text
    context: Text | None
    validation_questions: int
    accuracies: dict[Text, FiniteFloat]
    choices: dict[Text, _Choice]
    settings: dict[Text, Text]


class _Method(_Checked):
    id: Text
    title: Text
    settings: dict[Text, Any]
    discussion: bool


class Manifest(_Checked):
    """`run.json`."""

    command: Text
    created: Text
    versions: dict[Text, Any]
    seed: int
    split: Text
    k: int = Field(ge=1)
    temperature: FiniteFloat
    pool: list[_Member] = Field(min_length=1)
    tasks: list[_Task]
    methods: list[_Method]
    num_threads: int
    notes: list[Text]


class _Answer(_Checked):
    answer: Any
    count: int
    group: int
    score: FiniteFloat


class _Ballot(_Checked):
    member: Text
    votes: list[int | None]
    answers: list[_Answer]
    abstentions: dict[Text, int]

    @model_validator(mode="after")
    def _votes_are_for_answers(self) -> _Ballot:
        if not {vote for vote in self.votes if vote is not None} <= {
            answer.group for answer in self.answers
        }:
            raise ValueError("a vote is for none of the answers")
        return self


class _Turn(_Checked):
    round: int
    agent: int
    member: Text
    text: Text
    answer: Any
    group: int | None
    cause: Text | None
    approvals: dict[Text, bool] | None
    unjudged: dict[Text, Text] = {}
    score: FiniteFloat


class Row(_Checked):
    """A line of `results.jsonl`."""

    task: Text
    method: Text
    settings: Text
    question_id: Text
    inputs: dict[Text, Any]
    gold: Any
    context: Any
    score: FiniteFloat
    answer: Any
    member: Text | None
    confidence: FiniteFloat | None
    tie_break: Text | None
    cause: Text | None
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: FiniteFloat | None
    seconds: FiniteFloat
    ballots: list[_Ballot]
    turns: list[_Turn]


def mistake_in(told: Any, form: type[BaseModel]) -> str | None:
    """What keeps `told` from being of that form, as what follows "it"; None where it is."""
    if not isinstance(told, Mapping):
        return "is no JSON object"
    try:
        form.model_validate(told)
    except ValidationError as error:
        return first_mistake(error).rstrip(".")
    return None


VALIDATION = "validation"


def single(member: str) -> str:
    """The id of a member alone."""
    return f"single:{member}"
