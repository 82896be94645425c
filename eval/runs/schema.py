"""The form of a run folder's files, checked as tables and reports read them.

A folder may come from a stranger or have been edited. A missing field is an error that names it;
unknown keys are left alone.
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

#: Text may hold lone surrogates: models send them, and pydantic's own type refuses them.
Text = InstanceOf[str]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True)


class _Member(_Checked):
    name: Text
    model: Text


class _Choice(_Checked):
    """What validation chose for a method; each field is optional."""

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
    large: _Member | None = None
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
    probabilities: list[FiniteFloat | None] = []

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
    escalated: bool = False
    pool_score: FiniteFloat | None = None


def mistake_in(value: object, form: type[BaseModel]) -> str | None:
    """Return the first mistake in `value`, as the end of a sentence that begins with "it"."""
    if not isinstance(value, Mapping):
        return "is not a JSON object"
    try:
        form.model_validate(value)
    except ValidationError as error:
        return first_mistake(error).rstrip(".")
    return None


#: The method id of SLM-MUX by the paper's rule, which others are compared with.
MUX = "slm_mux"
#: The method id of the large model alone.
LARGE = "large"
#: The split that measures members and fits rules.
VALIDATION = "validation"


def single(member: str) -> str:
    """Return the method id of a member alone."""
    return f"single:{member}"
