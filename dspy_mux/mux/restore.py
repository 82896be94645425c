"""Build a mux as it was saved, from its file and a pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
from typing_extensions import Unpack

from ..errors import ConfigurationError, PoolMismatch
from ..sampling.members import Pool, members_of
from ..voting.ballot import Rule
from ..voting.rules import rule_of
from .compared import answer_of_label
from .options import SharedOptions
from .saved_file import arranged, load_errors, read_saved, saved_members, saved_module
from .saved_rule import check_is_saved
from .trust import Escalate


def restore(
    kind: Any,
    path: Path,
    lms: Pool | None,
    *,
    program: str | type[dspy.Signature] | dspy.Module | None,
    rule: str | Rule | None,
    escalate: Escalate | None,
    accept_license: bool,
    **shared: Unpack[SharedOptions],
) -> Any:
    """Return a mux of the class `kind`; `Ensemble.from_file` documents the arguments."""
    state = read_saved(path)
    if state.method != kind.method:
        raise PoolMismatch(
            f"{str(path)!r} is of the method {state.method!r}, not {kind.method!r}: "
            "open it with the class that saved it."
        )
    pool = (
        saved_members(state, path, accept_license=accept_license)
        if lms is None
        else members_of(lms)
    )
    arguments: dict[str, Any] = {"answer_field": answer_of_label(state.answer_field), **shared}
    if rule is not None:
        check_is_saved(rule_of(rule), state.rule)
        arguments["rule"] = rule
    if escalate is not None and state.otherwise != "escalate":
        raise ConfigurationError(
            f"The saved mux does not escalate, it has otherwise={state.otherwise!r}: leave "
            "escalate= out."
        )
    if escalate is not None:
        arguments |= {
            "escalate": escalate,
            "otherwise": state.otherwise,
            "threshold": state.threshold,
        }
    mux = kind(program or saved_module(state, path), arranged(state, pool, path), **arguments)
    with load_errors(path):
        mux.load(path)
    mux.pool.change(shared)
    return mux
