"""The rule in a saved mux: a built-in one by its parameters, a user's own by what it is.

A user's own rule is never made from a file. It is handed in, and compared with what the file says.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError, PoolMismatch
from ..sampling.logprobs import AskLogprobs
from ..sampling.members import Member
from ..voting.ballot import ChecksMembers, Rule, reads_evidence
from ..voting.calibrated import Calibrated
from ..voting.confidence import RuleScale
from ..voting.early_stopping import EarlyStopping
from ..voting.rules import RULES
from .identity import identify
from .saved_checks import checked_part

#: The built-in rules, which are saved with their parameters.
_BUILT_IN: dict[str, type[Any]] = {**RULES, "calibrated": Calibrated, "budgeted": EarlyStopping}


def rule_state(rule: Rule | None) -> dict[str, Any]:
    """Return what is saved of a rule: parameters, or what the user's own is and its state.

    Raises:
        ConfigurationError: the rule's `dump_state()` returns what JSON cannot hold.
    """
    if rule is None:
        return {}
    if _is_built_in(rule):
        return dataclasses.asdict(rule)  # type: ignore[call-overload]
    state = {"name": rule.name, "code": identify(rule)}
    dump = getattr(rule, "dump_state", None)
    if not callable(dump):
        return state
    try:
        return {**state, "state": json.loads(json.dumps(dump()))}
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"The rule {rule.name!r} cannot be saved: its dump_state() returns what JSON cannot "
            f"hold ({error})."
        ) from error


def check_asks(rule: Rule | None, members: Sequence[Member], logprobs: AskLogprobs) -> None:
    """Raise ConfigurationError where the rule reads evidence, and no member is asked for any."""
    asked = any(member.asks(logprobs) for member in members)
    if rule is not None and reads_evidence(rule) and not asked:
        raise ConfigurationError(
            f"The rule {rule.name!r} reads log-probabilities, and logprobs=False asks for none: "
            'leave logprobs at "auto", or choose another rule.'
        )


def load_rule(saved: Mapping[str, Any], ours: Rule) -> Rule:
    """Return the saved rule: made from its parameters, or `ours` where it is the user's own.

    Raises:
        DataError: its parameters are damaged.
        PoolMismatch: the saved rule or `ours` is the user's own, and they are not the same.
    """
    if not is_own(saved) and _is_built_in(ours):
        return _made(saved)
    check_is_saved(ours, saved)
    return ours


def check_is_saved(ours: Rule, saved: Mapping[str, Any]) -> None:
    """Raise PoolMismatch unless `ours` is the saved rule."""
    if not is_saved_as(ours, saved):
        raise PoolMismatch(
            f"The saved mux uses the rule {_named(saved)}, this one {_named(rule_state(ours))}: "
            "build this one with the saved rule, or hand that in, SLMMux.from_file(…, rule=…)."
        )


def is_saved_as(rule: Rule, saved: Mapping[str, Any]) -> bool:
    """Return whether a rule is the saved one.

    Of a user's own rule, versions before 0.2 saved the name alone.
    """
    if is_own(saved) and "code" not in saved:
        return not _is_built_in(rule) and saved.get("name") == rule.name
    if not is_own(saved) and _is_built_in(rule):
        saved = rule_state(_made(saved))  # with the parameters that an old file lacks
    ours, theirs = (json.dumps(state, sort_keys=True) for state in (rule_state(rule), saved))
    return ours == theirs


def is_own(saved: Mapping[str, Any]) -> bool:
    """Return whether what was saved is a rule of the user's own."""
    return "code" in saved or saved.get("name") not in list(_BUILT_IN)


def _is_built_in(rule: object) -> bool:
    return type(rule) in _BUILT_IN.values()


def check_rule(rule: Rule | None, members: Sequence[Member]) -> None:
    """Check a rule against the members before anything is drawn.

    Raises:
        ConfigurationError: the rule was fitted for other members or another k.
    """
    if isinstance(rule, ChecksMembers):
        rule.check_members([(member.label, member.k or 1) for member in members])


def _made(saved: Mapping[str, Any]) -> Rule:
    parameters = {name: value for name, value in saved.items() if name != "name"}
    rule: Rule = checked_part("rule", _BUILT_IN[saved["name"]], parameters)
    return rule


def load_scale(saved: Mapping[str, Any]) -> RuleScale:
    """Return the saved scale of a rule's confidence.

    Raises:
        DataError: it is damaged.
    """
    return checked_part("scale", RuleScale, saved)


def _named(saved: Mapping[str, Any]) -> str:
    name = repr(str(saved.get("name"))[:100])
    if not is_own(saved):
        return f"{name}, which is built in"
    code = str(saved.get("code") or "of its name alone")[:200]
    state = " with its state" if "state" in saved else ""
    return f"{name}, which is not built in ({code!r}{state})"
