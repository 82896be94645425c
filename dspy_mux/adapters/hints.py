"""Pass the hints of a `dspy.Refine` around a mux on to every member's own adapter.

Refine configures an adapter that adds a hint to each prompt and hands on to the one configured
before. Members with an adapter of their own would never see the hint, and the guards of the others
would be left out: so the hint is added here, and the adapter beneath is used.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

import dspy

from ..errors import ConfigurationError
from .wrap import AdapterCall, WrappingAdapter

#: The last member's program in a predictor's name, such as `mux.programs[1].predict`.
_PROGRAM = re.compile(r"programs\[\d+\](?!.*programs\[)")


@dataclass(frozen=True)
class Hints:
    """What a `dspy.Refine` around this call advises.

    Attributes:
        beneath: the adapter that was configured before; None for DSPy's own.
        advice: hints by the names of predictors.
        names: those names, by signature; members share theirs, and it has one of their names.
    """

    beneath: dspy.Adapter | None
    advice: Mapping[str, str]
    names: Mapping[type[dspy.Signature], str]

    @classmethod
    def of(cls, adapter: dspy.Adapter | None) -> Hints | None:
        """Return the hints that an adapter of `dspy.Refine` would add; None for any other.

        Refine offers them nowhere: they are read of the closure of its adapter's `__call__`.

        Raises:
            ConfigurationError: this DSPy's Refine names them otherwise. Refine reports it, and goes
                on without advice.
        """
        kind = type(adapter)
        if kind.__module__ != dspy.Refine.__module__:
            return None
        held = inspect.getclosurevars(kind.__call__).nonlocals
        try:
            beneath, advice, names = held["adapter"], held["advice"], held["signature2name"]
        except KeyError as missing:
            raise ConfigurationError(
                f"The Refine of DSPy {dspy.__version__} keeps no {missing} where a mux looks "
                "for its hints: use dspy.BestOfN around the mux, or another version of DSPy."
            ) from None
        default = dspy.ChatAdapter()
        is_default = type(beneath) is type(default) and vars(beneath) == vars(default)
        return cls(None if is_default else beneath, advice, names)

    def hint(self, signature: type[dspy.Signature], member: int) -> str:
        """Return the hint for a member's predictor, as Refine words it where there is none."""
        name = self.names.get(signature, "")
        own = _PROGRAM.sub(f"programs[{member}]", name)
        return self.advice.get(own) or self.advice.get(name) or "N/A"


class HintingAdapter(WrappingAdapter):
    """Adds Refine's hint to what one member is asked.

    Args:
        inner: the member's adapter.
        hints: of the `dspy.Refine` around the mux.
        member: the member's position in the pool.
    """

    def __init__(self, inner: dspy.Adapter, hints: Hints, member: int):
        super().__init__(inner)
        self.hints, self.member = hints, member

    def _prepare(self, call: AdapterCall) -> AdapterCall:
        hint = dspy.InputField(desc="A hint to the module from an earlier run")
        return call._replace(
            signature=call.signature.append("hint_", hint),
            inputs={**call.inputs, "hint_": self.hints.hint(call.signature, self.member)},
        )
