"""The known pools of the public banks: a file, a dataset in it, and some of its members."""

from __future__ import annotations

from dataclasses import dataclass

_RGYM, _FAITHFUL, _TINY = (
    "rgym_short_dev.jsonl.gz",
    "faithful_cot_gsm8k_aqua.jsonl.gz",
    "tiny_slms_everyday.jsonl.gz",
)
_CLOSE = (
    "google/gemma-3-27b-it",
    "meta-llama/llama-3.3-70b-instruct",
    "mistralai/mistral-small-3.1-24b-instruct",
)
_WEAK = ("code001", "code002", "text002", "text003")


@dataclass(frozen=True)
class Pool:
    """A pool of a public bank.

    Attributes:
        members: None for all that the dataset has.
        context: the field that the calibrated rule weighs by.
    """

    name: str
    file: str
    dataset: str | None = None
    members: tuple[str, ...] | None = None
    context: str | None = None


POOLS = (
    Pool("reasoning-gym, 3 close members", _RGYM, members=_CLOSE),
    Pool("reasoning-gym, 5 uneven members", _RGYM),
    Pool("GSM8K, 4 weak members", _FAITHFUL, "GSM8K", _WEAK),
    Pool("GSM8K, 6 members, one dominant", _FAITHFUL, "GSM8K"),
    Pool("AQUA, 4 weak members", _FAITHFUL, "AQUA", _WEAK),
    Pool("AQUA, 6 members, one dominant", _FAITHFUL, "AQUA"),
    Pool("everyday, 3 tiny members", _TINY),
    Pool("reasoning-gym, 3 close, by task", _RGYM, members=_CLOSE, context="task"),
    Pool("reasoning-gym, 5 uneven, by task", _RGYM, context="task"),
    Pool("everyday, 3 tiny, by task", _TINY, context="task"),
)
