"""The methods that SLM-MUX is compared with, as DSPy modules with the same arguments and verdict.

    from dspy_mux.baselines import LLMDebate

    debate = LLMDebate("question -> answer: float", lms=[lm_a, lm_b, lm_c], rounds=2)
    pred = debate(question="…")
    pred.answer, pred.verdict.confidence, pred.verdict.turns, pred.verdict.calls

`SingleModel`, `SelfConsistency` and `AgentForest` draw independently, as SLM-MUX does. In
`MixtureOfAgents`, `LLMDebate` and `MultiAgentVerification` models see each other's text. Each
follows its authors' algorithm, with every choice a named argument. Optimizers see the steps of the
winning draw alone.
"""

from .agent_forest import AgentForest
from .debate import LLMDebate
from .mixture_of_agents import MixtureOfAgents
from .self_consistency import SelfConsistency
from .single import SingleModel
from .verification import ASPECTS, MultiAgentVerification

__all__ = [
    "ASPECTS",
    "AgentForest",
    "LLMDebate",
    "MixtureOfAgents",
    "MultiAgentVerification",
    "SelfConsistency",
    "SingleModel",
]
