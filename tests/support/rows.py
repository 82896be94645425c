"""Files of recorded draws, as they are imported."""

from __future__ import annotations

import gzip
import json


def a_row(question="q0", model="a", draw=0, answer="x", correct=True, **more):
    return {
        "question_id": question,
        "model": model,
        "draw": draw,
        "answer": answer,
        "correct": correct,
        **more,
    }


def jsonl(path, rows):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return path


def a_result_file(path, model, answers, text="problem", gold="4"):
    """`answers`: question → the extracted answer of each round; right where it is `gold`."""
    responses = [
        {
            text: question,
            "answer": gold,
            "samples": [
                {
                    "round": at,
                    "model_response": f"I think {answer}",
                    "extracted_answer": answer,
                    "token_usage": {
                        "prompt_tokens": 20,
                        "completion_tokens": 3,
                        "total_tokens": 23,
                    },
                    "is_correct": answer == gold,
                }
                for at, answer in enumerate(drawn)
            ],
        }
        for question, drawn in answers.items()
    ]
    told = {
        "model": model,
        "timestamp": "2025-01-01",
        "temperature": 0.7,
        "sample_size": 3,
        "accuracy": 0.5,
        "responses": responses,
    }
    path.write_text(json.dumps(told))
    return path
