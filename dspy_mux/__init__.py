"""dspy-mux: a pool of small language models as one DSPy program (SLM-MUX).

Names are loaded when they are first used: `import dspy_mux` alone imports nothing else, not even DSPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import CompletionAdapter, FewShotAdapter, JSONSchemaAdapter, PlainAdapter
    from .answers import AnswerKind, MathAnswer, Percent, answer_kind
    from .bank import SampleBank
    from .budget import Budgeted
    from .calibration import Calibrated
    from .collect import Collected
    from .errors import (
        AllMembersFailed,
        BankError,
        ConfigurationError,
        LocalModelError,
        MetricFailed,
        MuxError,
        PoolMismatch,
    )
    from .extracting import ExtractAnswer
    from .members import Member
    from .mux import SLMMux
    from .optimizer import MuxOptimizer, MuxReport
    from .record import Record, read_jsonl
    from .verdict import Turn, Verdict
    from .voting import Ballot, Choice, Frugal, Rule

_ROOMS = {
    "adapters": ("CompletionAdapter", "FewShotAdapter", "JSONSchemaAdapter", "PlainAdapter"),
    "answers": ("AnswerKind", "MathAnswer", "Percent", "answer_kind"),
    "bank": ("SampleBank",),
    "budget": ("Budgeted",),
    "calibration": ("Calibrated",),
    "collect": ("Collected",),
    "errors": (
        "AllMembersFailed",
        "BankError",
        "ConfigurationError",
        "LocalModelError",
        "MetricFailed",
        "MuxError",
        "PoolMismatch",
    ),
    "extracting": ("ExtractAnswer",),
    "members": ("Member",),
    "mux": ("SLMMux",),
    "optimizer": ("MuxOptimizer", "MuxReport"),
    "record": ("Record", "read_jsonl"),
    "verdict": ("Turn", "Verdict"),
    "voting": ("Ballot", "Choice", "Frugal", "Rule"),
}

__all__ = [
    "AllMembersFailed",
    "AnswerKind",
    "Ballot",
    "BankError",
    "Budgeted",
    "Calibrated",
    "Choice",
    "Collected",
    "CompletionAdapter",
    "ConfigurationError",
    "ExtractAnswer",
    "FewShotAdapter",
    "Frugal",
    "JSONSchemaAdapter",
    "LocalModelError",
    "MathAnswer",
    "Member",
    "MetricFailed",
    "MuxError",
    "MuxOptimizer",
    "MuxReport",
    "Percent",
    "PlainAdapter",
    "PoolMismatch",
    "Record",
    "Rule",
    "SLMMux",
    "SampleBank",
    "Turn",
    "Verdict",
    "answer_kind",
    "read_jsonl",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(importlib.import_module(f".{room}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
