"""Echoes of a prompt's template, such as `{answer}` or `[your answer]`: no answers."""

from __future__ import annotations

import re

_SLOT = (
    r"(?:answers?|letters?|options?|choices?|labels?|values?|numbers?|integers?|results?|responses?"
    r"|solutions?|text|category|class|here|réponse|respuesta|antwort|resposta|答案)"
)
_MODIFIER = (
    r"(?:your|the|my|a|an|one|final|correct|right|single|exact|short|brief|chosen|selected"
    r"|numeric|numerical|insert|put|write|enter|give|provide|fill|in|of|for|to|goes|capital|only"
    r"|is|as|e\.g\.?)"
)
_SLOT_PHRASE = (
    rf"(?:{_MODIFIER}[\s_-]+){{0,6}}{_SLOT}(?:[\s_-]+(?:{_MODIFIER}[\s_-]+){{0,4}}{_SLOT}){{0,3}}"
)
_TEMPLATE = re.compile(
    rf"\W{{0,3}}(?:[{{<\[(]{{1,2}}[\s$]{{0,3}}{_SLOT_PHRASE}[\s.!]{{0,3}}[}}>\])]{{1,2}}"
    rf"|(?:your|insert|enter|write|put|fill)[\s_]+{_SLOT_PHRASE}"
    r"|\$\{?[A-Z_]{3,20}\}?(?![\w$])|_{2,}|\.{3}|…|\?{2,})\W{0,3}",
    re.IGNORECASE,
)


def is_template(answer: str) -> bool:
    """Return whether a marked answer is the blank of a template.

    >>> is_template("[your answer here]"), is_template("[4]")
    (True, False)
    """
    return len(answer) <= 80 and bool(_TEMPLATE.fullmatch(answer))
