"""dspy-mux: a pool of small language models as one DSPy program (SLM-MUX)."""

from .adapters import CompletionAdapter, ExtractAnswer, JSONSchemaAdapter, PlainAdapter
from .answers import AnswerKind, MathAnswer, Percent, answer_kind
from .errors import AllMembersFailed, ConfigurationError, LocalModelError, MuxError, PoolMismatch
from .members import Member
from .mux import SLMMux
from .voting import Ballot, Choice, Rule, Verdict

__all__ = [
    "AllMembersFailed",
    "AnswerKind",
    "Ballot",
    "Choice",
    "CompletionAdapter",
    "ConfigurationError",
    "ExtractAnswer",
    "JSONSchemaAdapter",
    "LocalModelError",
    "MathAnswer",
    "Member",
    "MuxError",
    "Percent",
    "PlainAdapter",
    "PoolMismatch",
    "Rule",
    "SLMMux",
    "Verdict",
    "answer_kind",
]

__version__ = "0.1.0"
