"""What the files of a run folder hold, as small as it can be."""

from __future__ import annotations

from eval.runs.folder import VERSION


def manifest(**changes):
    return {
        "version": VERSION,
        "command": "python -m eval compare",
        "versions": {},
        "seed": 0,
        "split": "test",
        "limit": None,
        "validation_limit": None,
        "k": 3,
        "temperature": 0.5,
        "pool": [
            {"name": "a", "model": "m/a", "adapter": None, "temperature": 0.5, "max_tokens": 16}
        ],
        "tasks": [a_task()],
        "methods": [
            {"id": "slm_mux", "title": "SLM-MUX", "settings": {"k": 3}, "discussion": False}
        ],
        "created": "2026-01-01T00:00:00+0000",
        "num_threads": 8,
        "notes": [],
        **changes,
    }


def a_task(**changes):
    told = {
        "name": "sums",
        "fingerprint": "f",
        "context": None,
        "max_tokens": {"a": 16},
        "settings": {"slm_mux": "one"},
    }
    return {
        **told,
        "questions": 2,
        "validation_questions": 2,
        "accuracies": {"a": 0.5},
        "choices": {},
        **changes,
    }


def row(number, **changes):
    return {
        **{
            "task": "sums",
            "method": "slm_mux",
            "settings": "one",
            "question_id": f"q{number}",
            "inputs": {"question": "1 + 1"},
        },
        **{
            "gold": "2",
            "context": None,
            "score": 1.0,
            "answer": "2",
            "member": "a",
            "confidence": 1.0,
            "tie_break": None,
        },
        **{
            "cause": None,
            "calls": 3,
            "prompt_tokens": 9,
            "completion_tokens": 3,
            "cost": None,
            "seconds": 0.5,
            "turns": [],
        },
        "ballots": [
            {
                "member": "a",
                "votes": [0, None],
                "answers": [an_answer()],
                "abstentions": {"timeout": 1},
            }
        ],
        **changes,
    }


def an_answer(**changes):
    return {"answer": "2", "count": 1, "group": 0, "score": 1.0, **changes}


def a_turn(**changes):
    told = {
        "round": 1,
        "agent": 1,
        "member": "a",
        "text": "2",
        "answer": "2",
        "group": 0,
        "cause": None,
        "approvals": None,
    }
    return {**told, "score": 1.0, **changes}


def without(told, name):
    return {key: value for key, value in told.items() if key != name}
