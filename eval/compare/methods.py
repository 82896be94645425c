"""The methods of a comparison: their ids, titles and declared settings, and the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dspy_mux.bank.conductor import Cluster
from dspy_mux.baselines import ASPECTS
from dspy_mux.baselines.debate import PUBLISHED_AGENTS
from dspy_mux.errors import ConfigurationError

from ..runs.schema import LARGE, single

#: The method that needs log-probabilities; without any it is left out.
PROBABILITY = "probability"
#: Methods whose doubtful answers a large model may give; `escalated:ID` are the methods that do so.
_ESCALATING = ("slm_mux", "agent_forest", PROBABILITY, "calibrated")
#: Declared for a member that validation chooses.
MOST_ACCURATE = "the most accurate on validation"


@dataclass(frozen=True)
class Options:
    """Options of a comparison, the same for all its tasks.

    Attributes:
        methods: ids, or "all"; "single" is every member alone.
        k: draws per member and question.
        temperature: of the draws, for members without their own.
        split: the questions reported; the first `limit` of them, None for all.
        validation_limit: validation questions, which measure the members and fit the rules; None
            for all.
        num_threads: draws in flight at once.
        timeout: seconds until a draw abstains.
        retry_failed: ask again what failed with an error, but not unusable answers.
        cluster: machines that share the draws; discussions are held in this process.
        moa_layers, debate_agents, debate_rounds, mav_n, mav_aspects: settings of the discussion
            methods, by default the published ones. Agents None is 3, or one per member if there
            are more; aspects None is all.
        large: the name of the model that doubtful answers are escalated to; None for none.
        max_risk, confidence: the threshold of confidence is the lowest from which on at most this
            share of the pool's answers is wrong, with this probability.
    """

    methods: tuple[str, ...] = ("all",)
    k: int = 3
    temperature: float = 0.5
    split: str = "test"
    limit: int | None = None
    validation_limit: int | None = None
    seed: int = 0
    num_threads: int = 16
    timeout: float | None = None
    retry_failed: bool = False
    cluster: Cluster | None = None
    moa_layers: int = 3
    debate_agents: int | None = None
    debate_rounds: int = 2
    mav_n: int = 16
    mav_aspects: tuple[str, ...] | None = None
    large: str | None = None
    max_risk: float = 0.1
    confidence: float = 0.9


@dataclass(frozen=True)
class Method:
    """One method as a run declares it.

    Attributes:
        id: its name in rows; title: its name in tables.
        settings: its declared settings. A member or subset chosen on validation is in the task's
            entry of the manifest.
        discussion: whether members see or verify each other's text: it is then run live.
        least_members: in a smaller pool it is the same as another method.
    """

    id: str
    title: str
    settings: dict[str, Any]
    discussion: bool = False
    least_members: int = 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "settings": self.settings,
            "discussion": self.discussion,
        }

    @property
    def escalates(self) -> bool:
        """Whether a large model gives the answers that the pool is not sure of."""
        return self.id.startswith("escalated:")

    @property
    def asks_large(self) -> bool:
        """Whether a large model beside the pool is asked."""
        return self.escalates or self.id == LARGE

    @property
    def needs_probabilities(self) -> bool:
        return PROBABILITY in self.id.split(":")


def registry(members: Sequence[str], options: Options) -> list[Method]:
    """Return every method over these members, in the order of the table."""
    own = _of_the_pool(members, options)
    if options.large is None:
        return own
    settings = {
        "k": options.k,
        "large": options.large,
        "max_risk": options.max_risk,
        "confidence": options.confidence,
        "seed": options.seed,
    }
    alone = Method(LARGE, f"{options.large} alone", {"k": 1, "temperature": 0.0})
    escalating = [
        Method(
            f"escalated:{method.id}",
            f"{method.title} + {options.large}",
            settings,
            least_members=method.least_members,
        )
        for method in own
        if method.id in _ESCALATING
    ]
    first_discussion = next(at for at, method in enumerate(own) if method.discussion)
    return [*own[:first_discussion], alone, *escalating, *own[first_discussion:]]


def _of_the_pool(members: Sequence[str], options: Options) -> list[Method]:
    k = options.k
    return [
        *(Method(single(name), f"{name} alone", {"k": 1}) for name in members),
        Method("self_consistency", "self-consistency", {"k": k, "member": MOST_ACCURATE}),
        Method(
            "self_consistency_equal",
            "self-consistency, as many calls as SLM-MUX",
            {"k": k * len(members), "member": MOST_ACCURATE},
            least_members=2,
        ),
        Method("agent_forest", "Agent Forest", {"k": k}, least_members=2),
        Method("slm_mux", "SLM-MUX", {"k": k}),
        Method(PROBABILITY, "SLM-MUX, by probability", {"k": k}),
        Method("calibrated", "SLM-MUX, calibrated rule", {"k": k}),
        Method(
            "searched",
            "SLM-MUX, searched subset",
            {"k": k, "sizes": f"2 to {len(members)}", "λ": 1.0},
            least_members=2,
        ),
        Method(
            "mixture_of_agents",
            "Mixture-of-Agents",
            {"layers": options.moa_layers, "aggregator": MOST_ACCURATE, "temperature": 0.7},
            discussion=True,
        ),
        Method(
            "llm_debate",
            "LLM-Debate",
            {
                "agents": options.debate_agents or max(PUBLISHED_AGENTS, len(members)),
                "rounds": options.debate_rounds,
                "temperature": 1.0,
            },
            discussion=True,
        ),
        Method(
            "multi_agent_verification",
            "Multi-Agent Verification",
            {
                "n": options.mav_n,
                "aspects": list(options.mav_aspects or ASPECTS),
                "generator": MOST_ACCURATE,
                "verifiers": "the members in turn, reasoning where the program does",
                "temperature": 0.7,
            },
            discussion=True,
        ),
    ]


def chosen(members: Sequence[str], options: Options) -> tuple[list[Method], list[str]]:
    """Return the methods that the options name, and notes on what "all" leaves out.

    Raises:
        ConfigurationError: an unknown id, a method that needs more members, or no method.
    """
    known = registry(members, options)
    fits = [method for method in known if len(members) >= method.least_members]
    if options.methods == ("all",):
        left_out = [method.title for method in known if method not in fits]
        note = f"Left out, being another method over one member: {', '.join(left_out)}."
        return fits, [note] if left_out else []
    for name in options.methods:
        if not any(_named(method, name) for method in known):
            families = list(dict.fromkeys(method.id.partition(":")[0] for method in known))
            raise ConfigurationError(
                f"There is no method {name!r}: choose all, or some of {', '.join(families)}."
            )
        if not any(_named(method, name) for method in fits):
            raise ConfigurationError(
                f"The method {name!r} needs two members or more; the pool is {', '.join(members)}."
            )
    found = [method for method in fits if any(_named(method, name) for name in options.methods)]
    if not found:
        raise ConfigurationError("Name the methods to compare, or all.")
    return found, []


def _named(method: Method, name: str) -> bool:
    return name in (method.id, method.id.partition(":")[0])
