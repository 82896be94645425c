"""The names that options go by, and where a text mentions them."""

from __future__ import annotations

import enum
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from .decision import Mention
from .labels import label_mentions, labels_of
from .plain_text import fold, normalise

_JOINT = re.compile(r"(?<=[^\W\d_])[-_](?=[^\W\d_])|\s+")
_INTEGER = re.compile(r"\d{1,4}")
_SCALE = re.compile(r"(?<=\d)\s?(?:/|out\sof)\s?\d+$")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
#: Names that are also words of every sentence: "no" before a noun, the "right" of "right answer".
_WORDS = frozenset(
    {"no", "not", "a", "an", "in", "on", "up", "down", "it", "or", "and", "is", "the", "i"}
)
_ADJECTIVES = frozenset(
    {
        "right",
        "correct",
        "true",
        "best",
        "wrong",
        "incorrect",
        "false",
        "other",
        "final",
        "first",
        "last",
        "left",
    }
)
_NO_NOUN = r"(?!\s+(?!(?:because|since|as|and|or|but|nor|is|was|when|if|given|due)\b)[^\W_])"
_NO_ANSWER = (
    r"(?!\s+(?:answer|option|choice|one|label|response|statement|way|approach|side|of|hand)s?\b)"
)
#: "5 reasons" counts reasons; it is no rating.
_NO_COUNT = (
    r"(?!\s+(?!(?:stars?|points?|out|of|because|since|as|and|or|but|is|was|on|for|would|seems|due|if|to"
    r"|rather|instead|not|than|here|given|with|in|at)\b)[^\W\d_]{2,})"
)
#: What may stand before a name that is also the tail of another option's.
_FREE = re.compile(
    r"(?:^|[^\w\s-]|\b(?:is|are|be|was|the|an?|as|probably|likely|or|and|not|than|option|choice|answer"
    r"|it|either|choose|select|pick|with|for|in|at|from|of|to|near|by|into|say|label|sentiment|but|rather|actually|therefore|thus|so|hence))\W*$",
    re.IGNORECASE,
)


class OptionNames:
    """The options' names: texts, labels, and an Enum's values and names.

    A name that belongs to several options names none of them; an exact spelling, or an Enum's
    value, goes before a folded one, or its name.
    """

    def __init__(self, options: Sequence[Any]):
        self._exact: dict[str, set[int]] = defaultdict(set)
        self._folded: dict[str, set[int]] = defaultdict(set)
        self.labels: dict[str, int] = {}
        written = [
            str(option.value if isinstance(option, enum.Enum) else option) for option in options
        ]
        labels = labels_of(written)
        clashing: set[str] = set()
        for number, text in enumerate(written):
            label, after = labels.get(number, ("", ""))
            if label in self.labels:
                clashing.add(label)
            elif label:
                self.labels[label] = number
            self._add(text, number)
            self._add(after, number)
        for label in clashing:
            del self.labels[label]
        self.only_labels = all(not after for _, after in labels.values()) and len(labels) == len(
            written
        )
        self._add_member_names(options)
        self._names = self._pattern()

    def _add(self, name: str, number: int) -> None:
        if plain := _spaced(normalise(name).strip()):
            self._exact[plain].add(number)
        if folded := _key(name):
            self._folded[folded].add(number)

    def _add_member_names(self, options: Sequence[Any]) -> None:
        for number, option in enumerate(options):
            if isinstance(option, enum.Enum) and _key(option.name) not in self._folded:
                self._add(option.name, number)

    def named(self, text: str) -> frozenset[int]:
        """Return the options whose whole name a text is: none, one, or several that share it."""
        exact = self._exact.get(_spaced(normalise(text).strip()))
        if exact is not None and len(exact) == 1:
            return frozenset(exact)
        return frozenset(self._folded.get(_key(text), ()))

    def label(self, text: str) -> int | None:
        """Return the option whose label a text is."""
        text = text.strip()
        other = text.swapcase()
        if text in self.labels:
            return self.labels[text]
        return self.labels.get(other) if len(text) == 1 else None

    def mentions(self, text: str) -> list[Mention]:
        """Return where a text mentions options, by text or by label, in order, without overlaps."""
        found: list[Mention] = []
        if self._names is not None:
            for match in self._names.finditer(text):
                name = _SCALE.sub("", match.group())
                if self._stands_alone(name, text[max(0, match.start() - 40) : match.start()]):
                    found.append(Mention(*match.span(), self.named(name)))
        if self.labels:
            for start, end, label in label_mentions(
                text, self.labels, only_labels=self.only_labels
            ):
                # A letter that is no option's counts as one more option.
                number = -1 if label is None else self.labels[label]
                found.append(Mention(start, end, frozenset({number})))
        return _without_overlaps(found)

    def _stands_alone(self, name: str, before: str) -> bool:
        return _key(name) not in self._tails or bool(_FREE.search(before))

    def _pattern(self) -> re.Pattern[str] | None:
        single = set(map(str.casefold, self.labels))
        names = sorted(
            (name for name in self._folded if re.search(r"\w", name) and name not in single),
            key=len,
            reverse=True,
        )
        self._tails = {
            name
            for name in names
            if any(
                other.endswith(f" {name}") and self._folded[other] != self._folded[name]
                for other in names
            )
        }
        if not names:
            return None
        numbers = [int(name) for name in names if _INTEGER.fullmatch(name)]
        highest = max(numbers, default=None)
        return re.compile("|".join(_flexible(name, highest) for name in names), re.IGNORECASE)


def _without_overlaps(found: Iterable[Mention]) -> list[Mention]:
    """Return mentions in order; where two overlap, the longer one."""
    kept: list[Mention] = []
    for mention in sorted(found, key=lambda one: (one.start, -one.end)):
        if kept and mention.start < kept[-1].end:
            continue
        kept.append(mention)
    return kept


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _key(name: str) -> str:
    return _JOINT.sub(" ", fold(name)) if re.search(r"\w", name) else fold(name)


def _flexible(name: str, highest: int | None) -> str:
    """Return a pattern of a name, with hyphens and underscores for its spaces.

    A number may be followed by its scale: 4/5 is 4 where 5 is the highest.
    """
    body = r"[\s_-]{1,3}".join(map(re.escape, name.split(" ")))
    left = right = ""
    if highest is not None and _INTEGER.fullmatch(name):
        body += rf"(?:\s?(?:/|out\sof)\s?{highest}(?!\d))?"
    if re.match(r"[\d.+-]", name):
        left = r"(?<![\w.,/+:-])" if name[0].isdigit() else r"(?<![\w)])"
    elif re.match(r"\w", name) and not _UNSPACED.match(name):
        left = r"(?<!\w)(?<!\w[-'’])"
    if name[-1].isdigit():
        right = rf"(?![\w%^]|[.,/:-]\d|\s?[×x*+]\s?\d){_NO_COUNT}"
    elif re.search(r"\w$", name) and not _UNSPACED.match(name[-1]):
        right = r"(?!\w|-\w)"
    if name in _WORDS:
        right += _NO_NOUN
    elif name in _ADJECTIVES:
        right += _NO_ANSWER
    return f"{left}{body}{right}"
