"""What a draw spends: calls, tokens and money, from where DSPy reports them."""

from __future__ import annotations

import ipaddress
import os
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import dspy
from dspy.utils.usage_tracker import UsageTracker

from ..voting.verdict_parts import Spent

#: (address, model); "" for an LM's own address.
Server: TypeAlias = tuple[str, str]


@dataclass(eq=False)
class PricedCall:
    """One LM call under way.

    Attributes:
        billed: whether a response came that was not from DSPy's cache.
        cost: its price in US dollars, where it is known.
    """

    billed: bool = False
    cost: float | None = None


#: The LM call around this code, where calls are counted one by one.
current_call: ContextVar[PricedCall | None] = ContextVar("dspy_mux_call", default=None)


def own_cost(lm: dspy.BaseLM, cost: float | None) -> float | None:
    """Return what a call costs: nothing on this machine, whatever a model of that name costs.

    DSPy prices by the model's name alone. A proxy on this machine, which bills elsewhere, counts
    as free.
    """
    return 0.0 if cost is not None and is_loopback(address_of(lm)) else cost


def address_of(lm: dspy.BaseLM) -> object:
    """Return the address of an LM's server, where one is set."""
    prefix = str(lm.model).partition("/")[0].upper()
    return (
        lm.kwargs.get("api_base")
        or lm.kwargs.get("base_url")
        or os.environ.get(f"{prefix}_API_BASE")
        or os.environ.get(f"{prefix}_BASE_URL")
    )


def server_of(lm: dspy.BaseLM) -> Server:
    """Return which server an LM asks, for which model."""
    return str(address_of(lm) or ""), str(lm.model)


def is_loopback(address: object) -> bool:
    """Return whether an address is of this machine.

    >>> is_loopback("http://localhost:11434/v1"), is_loopback("https://api.openai.com/v1")
    (True, False)
    """
    try:
        host = urlsplit(str(address)).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Bill:
    """Stands in for a module's `history` in DSPy, and keeps only what the entries cost.

    It looks empty: DSPy drops the oldest entry of a history of `max_history_size`, and must never
    drop one of these.
    """

    def __init__(self) -> None:
        self.costs: list[float] = []

    def __len__(self) -> int:
        return 0

    def append(self, entry: dict[str, Any]) -> None:
        # An entry without usage was served from the cache: its cost was paid before.
        if entry["usage"] and entry["cost"] is not None:
            self.costs.append(entry["cost"])
            call = current_call.get()
            if call is not None:
                call.cost = entry["cost"]


def bill(entry: dict[str, Any]) -> None:
    """Tell the meters around a call what it cost, where its entry comes into no history."""
    for owner in dspy.settings.caller_modules or []:
        if isinstance(owner, DrawMeter):
            owner.history.append(entry)


class DrawMeter(UsageTracker):
    """Counts what a draw spends.

    It stands where DSPy reports to: as usage tracker, as LM callback and as an owner of history
    entries, which it has by `bill` where DSPy keeps no history.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history = _Bill()
        self.started = self.answered = self.billed = 0
        #: Of draws within this one.
        self.shared = self.unclaimed = 0
        self._no_calls = 0  # entries of choices of which no call was made

    def __deepcopy__(self, memo: dict[int, Any]) -> DrawMeter:
        return self  # dspy.Parallel copies the tracker for its threads, which spend for this draw

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        # Called for every response that is not from DSPy's cache, also for one without usage.
        self.billed += 1
        call = current_call.get()
        if call is not None:
            call.billed = True
        super().add_usage(lm, usage_entry)

    def add_unclaimed(self, lm: str, usage_entry: dict[str, Any], cost: float | None) -> None:
        """Add what a choice used and costs, of which no call was made."""
        self._no_calls += bool(usage_entry)
        super().add_usage(lm, usage_entry)
        if cost is not None:
            self.history.costs.append(cost)

    def on_lm_start(self, **_: Any) -> None:
        self.started += 1

    def on_lm_end(self, exception: BaseException | None = None, **_: Any) -> None:
        self.answered += exception is None

    def report_to(self, parent: UsageTracker | None, shared: int = 0, unclaimed: int = 0) -> None:
        """Hand the usage on to the tracker around the draw; the calls too, where it is a meter.

        Args:
            shared: calls that were answered by another draw's request.
            unclaimed: of these, those that no draw made.
        """
        if parent is None:
            return
        for lm, entries in list(self.usage_data.items()):
            parent.usage_data[lm].extend(entries)
        if isinstance(parent, DrawMeter):
            parent.started += self.started
            parent.answered += self.answered
            parent.billed += self.billed
            parent.shared += shared
            parent.unclaimed += unclaimed
            parent._no_calls += self._no_calls

    def spent(self) -> Spent:
        """Return calls, tokens and cost so far; a call under way or failed counts as made."""
        entries = [
            entry for lm_entries in list(self.usage_data.values()) for entry in list(lm_entries)
        ]
        billed = max(self.billed, len(entries) - self._no_calls)
        costs = list(self.history.costs)
        return Spent(
            calls=billed + max(0, self.started - self.answered),
            cached_calls=max(0, self.answered - billed),
            prompt_tokens=sum(entry.get("prompt_tokens") or 0 for entry in entries),
            completion_tokens=sum(entry.get("completion_tokens") or 0 for entry in entries),
            cost=sum(costs) if costs else None,
        )
