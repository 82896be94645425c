"""What a model says for its answer: its reply without thinking, and up to where it runs on."""

from __future__ import annotations


def final_text(reply: str) -> str | None:
    """Return the part of a reply that may hold the answer; None where there is none."""
    return reply
