"""Labels of options: which options have one, and where a text names an option by its label."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_LABEL = r"(?:\d{1,3}|[A-Za-z])"
#: Characters of words that are written with spaces: in "选B" the label follows without one.
_W = r"0-9A-Za-z_\u00c0-\u024f\u0370-\u052f"
_BARE = re.compile(r"[A-Za-z]")
_LETTER = re.compile(r"[A-Z]")
_WRAPPED = re.compile(rf"\s*[(\[]\s*({_LABEL})\s*[)\]]\s*[:.\-–]?\s*(.*)", re.DOTALL)
_NAMED = re.compile(rf"\s*([A-Za-z]{{3,20}})\s+[(\[]?({_LABEL})[)\]]?\s*()", re.DOTALL)
_DELIMITED = re.compile(
    rf"\s*({_LABEL})(?:[.)]\s+|\s*:\s+|\)|\s+[-–—]\s+(?!\d))(.*\S.*)", re.DOTALL
)
_KEYWORD = (
    r"(?:options?|choices?|responses?|assistants?|models?|systems?|versions?|outputs?|summary|passages?"
    r"|hypothesis|answers?|letters?|alternatives?|statements?|candidates?|opción|opcion|opção"
    r"|alternativa|réponse|reponse|antwort|respuesta|resposta|risposta|opzione|optie|antwoord|вариант"
    r"|ответ|选项|選項|选择|選擇|故选|应选|答案)"
)
#: After these words a capital letter is a label; after "vitamin" or "plan" it is not.
_BEFORE = re.compile(
    r"(?:^|[^\w\s'’.-]|[.!?]\s|[\u3040-\u9fff\uac00-\ud7af\u0900-\u0dff\u0600-\u06ff\u0e00-\u0e7f]"
    r"|(?:^|[\s\W])(?:is|are|be|was|s|re|d|ll|either|or|and|not|nor|neither|both|with|for|choose"
    r"|chose|choosing|pick|picked|select|selected|say|guess|therefore|thus|so|hence|then|than|over"
    r"|to|that|think|believe|because|since|as|if|whether|likely|probably|possibly|definitely"
    r"|meant|mean|clearly|maybe|perhaps|certainly|actually|exactly|but|like|of|eliminat\w+|exclud\w+|reject\w*|dismiss\w*|discard\w*|leaving|leaves|leave|remains|sondern|а|не|mais|sino|mas|ma"
    r"|maar|utan|lecz|ale|nicht|nie|niet|inte|ikke|não|pas|на"
    r"|out|reject|isn['’]t|aren['’]t|between|only|la|le|el|die|der|das|den|o|a|é|es|est|ist|è|là|ni"
    r"|adalah|lautet|som|er|är|je|jest|to|это|е|είναι|het|de|lo|il|un|una|et|und|y|ou|oder))\s*$",
    re.IGNORECASE,
)
#: What may follow a capital letter that is a label. "A good approach" names no option.
_AFTER = re.compile(
    r"\s*(?:$|[^\w\s'’+#*^=]|\+?\s?[A-Z](?![\w'’+])|\*\*|[\u3040-\u9fff\uac00-\ud7af\u0900-\u0dff\u0600-\u06ff]"
    r"|(?:because|since|as|is|are|was|were|isn|and|or|but|nor|not|rather|instead|over|than|due|given"
    r"|which|where|while|who|with|from|by|based|according|seems|looks|appears|would|must|should|can"
    r"|cannot|will|has|does|doesn|fits|matches|says|correctly|best|correct|right|wrong|here|better"
    r"|ist|est|es|är|er|và|weil|car|porque|perché|şıkkı|if|for|so|also|too|it|y|et|und|oder|ou"
    r"|therefore|thus|then|only|alone|definitely|probably|being|makes|describes|states)\b)",
    re.IGNORECASE,
)


_FORMS = re.compile(
    rf"(?<![\w$\\])(?P<wrapped>[(\[]{{1,2}}\s?(?P<l1>{_LABEL})\s?[)\]]{{1,2}})"
    rf"|(?P<bold>\*\*[(\[]?(?P<l2>{_LABEL})[)\].:]{{0,2}}\*\*|`[(\[]?(?P<l3>{_LABEL})[)\]]?`)"
    rf"|(?<!\w)(?P<word>{_KEYWORD}[\s:#]{{0,3}}[(\[\"'*]{{0,3}}(?P<l4>{_LABEL})(?![{_W}'’])[)\]\"'*]{{0,3}})"
    rf"|(?<![{_W}'’$\\^-])(?P<bare>(?P<l5>{_LABEL}))(?![{_W}'’]|-[{_W}])\)?",
    re.IGNORECASE,
)


_JOINT = re.compile(r"\s?(?:[,/&、]|,?\s(?:and|or|nor))\s?", re.IGNORECASE)


class LabelMention(NamedTuple):
    """A place in a text that names a label; None for a letter that is not one of them."""

    start: int
    end: int
    label: str | None


def labels_of(options: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Return the label of each option that has one, and the option's text after it.

    A letter is its own label, and so is what stands in parentheses before a text. "A. Paris" and
    "Option A" are labelled where every option is written like that; "-1" and "3.5" are not.

    >>> labels_of(["(A) Rome", "(B) Paris"])
    {0: ('A', 'Rome'), 1: ('B', 'Paris')}
    """
    found: dict[int, tuple[str, str]] = {}
    for number, option in enumerate(options):
        if match := _WRAPPED.fullmatch(option):
            found[number] = (match[1], match[2])
        elif _BARE.fullmatch(option):
            found[number] = (option, "")
    if found or len(options) < 2:
        return found
    named = [_NAMED.fullmatch(option) for option in options]
    if all(named) and len({match[1].casefold() for match in named if match}) == 1:
        return {number: (match[2], "") for number, match in enumerate(named) if match}
    delimited = [_DELIMITED.fullmatch(option) for option in options]
    labels = [match[1].casefold() for match in delimited if match]
    if len(labels) == len(options) and _is_run(labels):
        return {number: (match[1], match[2]) for number, match in enumerate(delimited) if match}
    return {}


def _is_run(labels: list[str]) -> bool:
    """Return whether labels count up from the first letter or number: a, b, c or 1, 2."""
    if not all(label.isdigit() for label in labels) and any(label.isdigit() for label in labels):
        return False
    numbers = [int(label) if label.isdigit() else ord(label) for label in labels]
    return numbers[0] in (0, 1, ord("a")) and all(
        after - before == 1 for before, after in itertools.pairwise(numbers)
    )


def label_mentions(
    text: str, labels: Mapping[str, object], *, only_labels: bool = True
) -> Iterator[LabelMention]:
    """Yield where a text names one of the labels, in order, none within another.

    Neither "A good approach" nor "vitamin C" nor "correct" names an option.

    Args:
        text: free text.
        labels: the existing labels.
        only_labels: whether the options are their labels alone, so that any text may follow one.
    """
    letters = any(_LETTER.fullmatch(label.upper()) for label in labels)
    listed = -1  # where a list of labels goes on: in "A, B and D" each is one
    for match in _FORMS.finditer(text):
        label = next(filter(None, (match[f"l{number}"] for number in range(1, 6))))
        known = _known(label, labels)
        if known is None and not (letters and _LETTER.fullmatch(label)):
            continue
        joined = listed >= 0 and _JOINT.fullmatch(text, listed, match.start())
        if match["bare"] and not joined and not _is_label(text, match, only_labels):
            continue
        if match["word"] and not _is_named(text, match, label):
            continue
        if known is not None or match["wrapped"] or match["word"] or label in "ABCDEFGH":
            listed = match.end()
            yield LabelMention(match.start(), match.end(), known)


def _known(label: str, labels: Mapping[str, object]) -> str | None:
    if label in labels:
        return label
    other = label.swapcase()
    return other if other != label and other in labels else None


def _is_named(text: str, match: re.Match[str], label: str) -> bool:
    """Return whether "answer a" names the option a: not in "answer a question"."""
    if label not in ("a", "A", "I", "i"):
        return True
    return bool(_AFTER.match(text, match.end("l4")))


def _is_label(text: str, match: re.Match[str], only_labels: bool) -> bool:
    """Return whether a lone letter or number is a label where it stands."""
    label, start, end = match["bare"], match.start("bare"), match.end("bare")
    opens = not text[:start].strip(" \t\n*_`\"'>#~(-[{$")
    after = _AFTER.match(text, end)
    delimited = re.match(r"[).:\]](?!\d)", text[end : end + 2])
    ends = not text[end:].strip(" \t\n*_`\"'.)!]}$:;,?")
    if label.isdigit():
        return opens and bool(delimited or ends)
    if label.islower():
        return bool((opens and (delimited or ends)) or (ends and len(text) < 40 and label != "a"))
    before = opens or _BEFORE.search(text, max(0, start - 20), start)
    if not before:
        return False
    if label == "I":
        return opens and bool(delimited or ends)
    if re.match(r"\.\s?[a-z]", text[end : end + 3]) and not opens:
        return False  # "E. coli"
    if opens and only_labels and label != "A":
        return not re.match(r"[+#^=*]", text[end : end + 1])
    return after is not None


def leading_label(answer: str) -> str | None:
    """Return the label that an answer starts with: `B`, `(B) Paris`, `B. Paris`, `Option B`.

    >>> leading_label("B. Paris")
    'B'
    """
    letters = {chr(code): None for code in range(ord("A"), ord("Z") + 1)}
    numbers = {str(number): None for number in range(1000)}
    for mention in label_mentions(answer[:200], {**letters, **numbers}):
        opens = not answer[: mention.start].strip(" \t\n*_`\"'>#")
        return mention.label if opens else None
    return None
