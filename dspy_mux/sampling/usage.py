"""What a draw spends: calls, tokens and money, from where DSPy reports them."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from dspy.utils.usage_tracker import UsageTracker

from ..voting.verdict import Spent


@dataclass(eq=False)
class Call:
    """One LM call under way.

    Attributes:
        billed: whether a response came that was not from DSPy's cache; cost: its price in US dollars, where that is known.
    """

    billed: bool = False
    cost: float | None = None


#: The LM call around this code, where somebody counts calls one by one.
call_under_way: ContextVar[Call | None] = ContextVar("dspy_mux_call", default=None)


class _Bill:
    """Stands as a module's `history` in DSPy, and keeps only what the entries cost.

    It looks empty, so that DSPy, which drops old entries from a history of `max_history_size`, never drops one of ours.
    """

    def __init__(self) -> None:
        self.costs: list[float] = []

    def __len__(self) -> int:
        return 0

    def append(self, entry: dict[str, Any]) -> None:
        # An entry without usage was served from the cache: its cost is history, not money spent now.
        if entry["usage"] and entry["cost"] is not None:
            self.costs.append(entry["cost"])
            call = call_under_way.get()
            if call is not None:
                call.cost = entry["cost"]


class Meter(UsageTracker):
    """What a draw spends. It stands where DSPy reports to: as usage tracker, as LM callback and as owner of history entries.

    With `dspy.configure(disable_history=True)` DSPy tells nobody what a call cost: the cost is then None, unknown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history = _Bill()
        self.started = self.answered = self.billed = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Meter:
        return self  # dspy.Parallel copies the tracker for each of its threads; what they spend is this draw's all the same

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        # DSPy calls this for every response that did not come from its cache, also for one that reports no usage.
        self.billed += 1
        call = call_under_way.get()
        if call is not None:
            call.billed = True
        super().add_usage(lm, usage_entry)

    def on_lm_start(self, **_: Any) -> None:
        self.started += 1

    def on_lm_end(self, exception: BaseException | None = None, **_: Any) -> None:
        self.answered += exception is None

    def report_to(self, parent: UsageTracker | None) -> None:
        """Hand the usage on to the tracker around the draw; to the meter of an outer mux, the calls as well."""
        if parent is None:
            return
        for lm, entries in list(self.usage_data.items()):
            parent.usage_data[lm].extend(entries)
        if isinstance(parent, Meter):
            parent.started += self.started
            parent.answered += self.answered
            parent.billed += self.billed

    def spent(self) -> Spent:
        """Calls, tokens and cost so far. A call still under way, or failed, counts as made."""
        entries = [
            entry for lm_entries in list(self.usage_data.values()) for entry in list(lm_entries)
        ]
        billed = max(self.billed, len(entries))
        costs = list(self.history.costs)
        return Spent(
            calls=billed + max(0, self.started - self.answered),
            cached_calls=max(0, self.answered - billed),
            prompt_tokens=sum(entry.get("prompt_tokens") or 0 for entry in entries),
            completion_tokens=sum(entry.get("completion_tokens") or 0 for entry in entries),
            cost=sum(costs) if costs else None,
        )
