"""The budget of a cluster's collection: an actor that each worker asks before each call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..bank.limits import Budget
from ..bank.remote_limits import Account


class BudgetKeeper:
    """Holds a budget and each worker's account of it; the class of a Ray actor."""

    def __init__(self, max_calls: int | None, max_cost: float | None, longest: Mapping[str, int]):
        self._budget = Budget(max_calls, max_cost, longest)
        self._accounts: dict[int, Account] = {}
        self._closed: set[int] = set()

    def answer(self, worker: int, question: str, details: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a worker; nothing to one that counts as dead."""
        if worker in self._closed:
            return {"share": None, "expected": None, "stopped": None, "unpriced": []}
        account = self._accounts.setdefault(worker, Account(self._budget))
        return account.answer(question, details)

    def close(self, worker: int) -> None:
        """Settle what a dead worker had under way: its calls may have been billed."""
        self._closed.add(worker)
        if (account := self._accounts.pop(worker, None)) is not None:
            account.close()
