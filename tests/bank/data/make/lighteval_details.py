"""Make the details of `lighteval/`, through lighteval's own classes (pip install lighteval).

python lighteval_details.py FOLDER
"""

import sys
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

SUMS = [
    ("What is 9 + 9?", "18", "The answer is 18."),
    ("What is 20 - 5?", "15", "It is 14."),
    ("What is 6 * 7?", "42", "42"),
]
OPTIONS = [" green", " blue", " red"]
COLOURS = [("What colour is the sky?", 1), ("What colour is grass?", 0)]
LIKELIHOODS = [-2.5, -0.1, -3.0]


def write(name, rows):
    """Write details as lighteval's `EvaluationTracker` does."""
    details = Dataset.from_list(rows)
    details = details.select_columns(sorted(details.column_names))
    with (Path(sys.argv[1]) / f"details_{name}_2026-11-27T18-50-00.000000.parquet").open("wb") as f:
        details.to_parquet(f)


def detail(doc, response, **metric):
    return {"doc": asdict(doc), "model_response": asdict(response), "metric": metric}


write(
    "sums__0",
    [
        detail(
            Doc(query=q, choices=[gold], gold_index=0, id=str(at), task_name="sums|0"),
            ModelResponse(
                input=q,
                text=[reply],
                output_tokens=[[1] * len(reply.split())],
                input_tokens=[1] * 8,
            ),
            extractive_match=int(gold in reply),
        )
        for at, (q, gold, reply) in enumerate(SUMS)
    ],
)
write(
    "colours__0",
    [
        detail(
            Doc(query=q, choices=OPTIONS, gold_index=gold, id=str(at), task_name="colours|0"),
            ModelResponse(input=q, logprobs=LIKELIHOODS, input_tokens=[1] * 6),
            acc=int(gold == 1),
        )
        for at, (q, gold) in enumerate(COLOURS)
    ],
)
