"""The causes of abstentions, in a few words, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping

from ..adapters.fields import ECHOED_KEY
from ..answers.reply import CUT_OFF, ONLY_THINKING

# Causes of draws that got a response from which no answer could be taken.
UNPARSABLE = "unparsable response"
EMPTY = "empty response"
NO_TEXT = "empty answer"
UNUSABLE = "unusable answer"
#: The cause of abstentions in imported files that name none.
NO_CAUSE = "no answer"
RESPONSE_CAUSES = (
    UNPARSABLE, EMPTY, NO_TEXT, UNUSABLE, NO_CAUSE, CUT_OFF, ONLY_THINKING, ECHOED_KEY
)  # fmt: skip
#: What to do about a cause, where the user can do something.
REMEDIES = {
    CUT_OFF: "raise the member's max_tokens or ask for shorter replies",
    ONLY_THINKING: "raise the member's max_tokens or turn its thinking off",
    ECHOED_KEY: "its server sends back what it is sent, so change the key and tell its operator",
}
# Beginnings of the causes of draws whose program returned something other than its answer.
NO_FIELD = "the prediction has no field"
NO_PREDICTION = "the program returned"


def advice(causes: Mapping[str, int]) -> list[str]:
    """Return one sentence for each cause that the user can do something about, with its count.

    >>> print(*advice({"cut off at max_tokens": 3, "empty answer": 1}))
    3 draws were cut off at max_tokens: raise the member's max_tokens or ask for shorter replies.
    """
    sentences = []
    for cause, remedy in REMEDIES.items():
        if count := causes.get(cause, 0):
            draws = "1 draw was" if count == 1 else f"{count} draws were"
            sentences.append(f"{draws} {cause}: {remedy}.")
    return sentences


def advice_to(members: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return `advice` on causes of several members: each sentence once, after whom it concerns.

    >>> causes = {"small": {"cut off at max_tokens": 2}, "tiny": {"cut off at max_tokens": 1}}
    >>> advice_to(causes)[0].partition(": raise")[0]
    'small, tiny: 3 draws were cut off at max_tokens'
    """
    sentences = []
    for cause in REMEDIES:
        counts = {name: found[cause] for name, found in members.items() if found.get(cause)}
        names = ", ".join(counts)
        sentences += [f"{names}: {each}" for each in advice({cause: sum(counts.values())})]
    return sentences


def is_error(cause: str) -> bool:
    """Return whether a draw failed with an error, such as a timeout or a refused connection.

    Errors may pass when the draw is made again; other causes mean that the member responded.

    >>> is_error("no answer within 30 s"), is_error("unparsable response")
    (True, False)
    """
    return cause not in RESPONSE_CAUSES and not cause.startswith((NO_FIELD, NO_PREDICTION))
