"""Rows of recorded draws, as a file holds them."""

from __future__ import annotations


def row(question="q", model="a", answer="1", **more):
    return {"question_id": question, "model": model, "answer": answer, "correct": True, **more}


def without(told, *keys):
    return {key: value for key, value in told.items() if key not in keys}
