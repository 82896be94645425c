"""Which of the options that a text mentions it decides for, if it decides at all.

The mentions are found by a kind (`Mention`); here is the grammar around them: denials, comparisons,
alternatives, reasons, corrections. In a text's *outline* every mention is one private character, so
that the options' own words never look like the grammar's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_FIRST, _LAST = "\ue000", "\uf8ff"
_PRIVATE = re.compile(f"[{_FIRST}-{_LAST}]")
_M = f"[{_FIRST}-{_LAST}]"
_P = rf"[^\w{_FIRST}-{_LAST}]{{0,6}}"  # punctuation
_OR = r"(?:and|or|nor|y|et|und|oder|o|ou|e|и|или|和|或者|或|と|및)"
_LIST = rf"{_M}(?:(?:{_P}{_M}){{0,12}}?{_P}\b{_OR}\b{_P}(?:the\s|options?\s|choices?\s)?{_M})?"
_FEW = rf"(?:[\w'’]+{_P}\s){{0,2}}?"
_MAX_MENTIONS = 1_000

_BE = (
    r"(?:is|are|was|were|be|being|seems?|looks?|appears?|remains?|would\sbe|must\sbe|can\sbe"
    r"|should\sbe|has\sbeen|have\sbeen|could\sbe|may\sbe|might\sbe)"
)
_WRONG = (
    r"(?:wrong|incorrect|false|untrue|eliminated|ruled\sout|excluded|unlikely|impossible|implausible"
    r"|improbable|invalid|irrelevant|out|rejected|discarded|distractors?|a\sdistractor|less|worse"
    r"|inaccurate|inappropriate|unsuitable|a\scommon\sm\w+|not|never|no\slonger|off|错误?的?|不对)"
)
_DENY = (
    r"(?:\b(?:not|never|cannot|neither|nor|except|excluding|without|unlike|hardly|barely|scarcely"
    r"|isn['’]?t|rather\sthan|instead\sof|other\sthan|far\sfrom|anything\sbut|(?:wrong|incorrect|false|mistake|error)\sto|opposed\sto|against"
    r"|(?:eliminat|exclud|discard|reject|dismiss)\w*|rul(?:e|es|ed|ing)\sout|absence\sof|lacks?"
    r"|opposite\sof|less|non|no\slonger|nicht|kein\w*|pas|nunca|ni|не|niet|nie|inte|ikke|não|non|không)\b|n['’]t\b|不是|并非|不选)"
)
_GAP = rf"(?:(?!\b(?:but|so|however|therefore|it\sis|only)\b)[^.;:,({_FIRST}-{_LAST}]){{0,40}}?"
_NO = re.compile(rf"\bno\s(?!doubt\b)(?:\w+\s)?(?P<list>{_LIST})", re.I)
_DENIED = [
    re.compile(rf"{_DENY}{_GAP}(?P<list>{_LIST})", re.I),
    re.compile(
        rf"(?P<list>{_LIST}){_P}\b(?:is|are|was|were|does|do|did|can|could|would|should|has|have"
        rf"|will|must|may|might)\s*(?:n['’]t|not)\b",
        re.I,
    ),
    re.compile(
        rf"(?P<list>{_LIST}){_P}\b(?:cannot|can['’]?t|won['’]?t|ain['’]?t|fails?|contradicts?)\b",
        re.I,
    ),
    re.compile(rf"(?P<list>{_LIST}){_P}\b{_BE}\s+{_FEW}{_WRONG}(?![\w-])", re.I),
    re.compile(
        rf"\b(?:wrong|incorrect|false|worst)\s(?:\w+\s)?{_BE}{_P}\s(?:option\s)?(?P<list>{_LIST})",
        re.I,
    ),
    re.compile(
        rf"(?P<list>{_M}(?:{_P}(?:和{_P})?{_M})*)(?:选项|項|项)?[是均都]{{0,2}}(?:错误|错|不正确|不对)"
    ),
    _NO,
]
_LIKEWISE = re.compile(
    rf"\b(?:so|neither|nor)\s(?:is|are|was|does|do|did)\s(?P<list>{_LIST})", re.I
)
_ASIDE = [
    re.compile(
        rf"\b(?:than|over|compared\s(?:to|with)|versus|vs\.?|like|similar\sto|close(?:r|st)?\sto"
        rf"|between|among|look\w*\sat|consider\w*)\s{_FEW}(?P<list>{_LIST})",
        re.I,
    ),
    re.compile(rf"\b(?:if|whether|unless)\s(?:[\w'’]+\s){{0,4}}?(?P<list>{_LIST})", re.I),
]
_COMPARED = re.compile(
    rf"(?P<list>{_LIST}){_P}\b{_BE}\s{_FEW}(?:\w+er|more\s\w+|less\s\w+)\s{_FEW}than\b", re.I
)
#: "A if it rains, otherwise B", "partly true".
_DIVIDED = re.compile(
    r"\botherwise\b|\bor\selse\b"
    rf"|\b(?:partially|partly|half|somewhat|mixed|in\spart)\W{{0,3}}{_M}",
    re.I,
)
_UNDECIDED = re.compile(
    rf"\b(?:none|neither)\b(?!\sof\sthe\s(?:others?|rest|remaining))|\bnothing\b(?!\selse)"
    rf"|\ball\s(?:of\s)?(?:the\s)?(?:above|these|them|those|options|choices|answers|two|three|four"
    rf"|five|correct|are)\b|\bany\s(?:of|option|one)\b|\bno\s(?:\w+\s){{0,2}}?(?:option|answer|choice"
    rf"|match)s?\b|\b(?:not|n['’]t)\s{_FEW}(?:sure|certain|clear|enough|possible|given|listed"
    r"|provided|applicable|known?|determin\w+|decid\w*|say|tell|answer|choose|conclude|there"
    r"|score|rate|grade|judge|classify|evaluate|assess)\b"
    r"|\b(?:cannot|can\snot|unable\sto|impossible\sto|hard\sto|difficult\sto)\s(?:be\s)?(?:\w+ly\s)?"
    r"(?:determin\w+|decid\w+|say|tell|answer\w*|choose|conclude|infer\w*|know\w*|definitively"
    r"|score|rate|grade|judge|classify|evaluate|assess)\b"
    r"|\b(?:unsure|unclear|uncertain|unknown|undetermined|undecided|inconclusive|ambiguous"
    r"|indeterminate|insufficient|debatable)\b|\bno\s(?:idea|way\sto)\b|\bdepends\son\b|\bn/a\b"
    rf"|\b(?:both|equally|tied?)\b(?=\W{{0,3}}(?:{_M}|of\b|options?\b|answers?\b|choices?\b"
    r"|are\s(?:\w+\s)?(?:correct|right|valid|possible|true|plausible|acceptable|good|fine|equal\w*"
    r"|wrong|incorrect|false|likely)\b|correct\b|valid\b|possible\b|likely\b|between\b|$))"
    r"|都不|皆可|均可|无法|不确定|以上都|都是|都对",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\b(?:because|since|as(?!\s(?:well|is\b))|due\sto|given|considering|which|where|who|whose|based\son"
    r"|according\sto|while|whereas|although|though|even\s(?:if|though)|so\sthat|in\sthat|when|thanks"
    r"|unless|for\sthe|weil|denn|da|car|parce|porque|ya\sque|perché|poiché|omdat|потому|так\sкак)\b"
    r"|因为|因為|由于"
)
_OPENING_REASON = re.compile(
    rf"^[^\w{_FIRST}-{_LAST}]*(?:because|since|as|given|although|though|while|if|considering)\b[^,]*,(?=.*{_M})",
    re.I,
)
_PARENTHESES = re.compile(r"\([^()]*\)")
_ALTERNATIVE = re.compile(
    rf"{_M}.*|\b(?:or|and|also|possibly|maybe|perhaps)\b", re.IGNORECASE | re.DOTALL
)
CORRECTION = re.compile(
    r"\b(?:wait|correction|scratch\sthat|on\ssecond\sthoughts?|oops|sorry|i\smean|i\smeant|or\srather"
    r"|make\sthat|hold\son|my\smistake|hmm+|actually|to\scorrect|let\sme\s(?:re\w+|correct|double))\b"
    r"|(?:^|[.!?;,—–-]\s?)\s*no\s?[,.!:—–-]\s*(?=\S)",
    re.IGNORECASE,
)
_LEAD = (
    r"(?:(?:so|therefore|thus|hence|then|ok|okay|well|probably|definitely|clearly|likely|most|very"
    r"|certainly|maybe|perhaps|possibly|i|i'd|i'll|i’d|would|will|say|think|believe|choose|pick"
    r"|select|go|with|for|guess|it|it's|it’s|is|be|must|should|option|choice|letter|answer|the|that"
    r"|my|best|correct|right|final|la|le|el|die|der|das|a|an|l|opción|opção|alternativa|opzione"
    r"|optie|вариант|c'est|es|est|ist|è|é|und|also|alors|donc|por|tanto|选项?|選項?|故|因此|所以|应)"
    r"\b[^\w\ue000-\uf8ff]{0,4})"
)
_TITLE = (
    r"(?![\w *]{0,30}\b(?:not|wrong|incorrect|except|eliminat|false|unless|if|least|opposite"
    r"|exclud|reject))"
    r"[\w *]{2,30}:\s"
)
_HEAD = re.compile(
    rf"^[^\w{_FIRST}-{_LAST}]*(?:{_TITLE})?{_LEAD}{{0,8}}(?P<head>{_M})(?P<own>(?:{_P}{_M})*?){_P}?"
    rf"(?:[:：.]\s|\s[-–—]+\s|\n|[,，]\s?(?={_M}[^\w{_FIRST}-{_LAST}]*$))(?P<rest>.*)$",
    re.DOTALL | re.IGNORECASE,
)
_JOINED = re.compile(rf"\s*(?:{_OR}\b|[/,&+|]|maybe\b|possibly\b|perhaps\b|but\b)", re.IGNORECASE)
_GO = (
    r"(?:choose|chose|choosing|pick|picked|select\w*|go(?:ing)?\swith|opt(?:ing)?\sfor|vote\sfor|say"
    r"|conclude|answer\swith|settle\son|stick\swith|选择?|選擇?|应选|故选|wähle|choisis|elijo"
    r"|escolho|scelgo|выбираю)"
)
_SO = (
    r"(?:therefore|thus|hence|so|consequently|accordingly|in\sconclusion|overall|finally"
    r"|因此|所以|故)"
)
_RIGHT = (
    r"(?:correct|right|true|accurate|appropriate|valid|best|better|fits?|matches|suitable|answer"
    r"|most\s\w+|the\sone|likel\w+|preferred|winner|wins|正确|对的|richtig|correcta?|giusta|rätt)"
)
_STRONG = [
    re.compile(rf"{_GO}[^\w{_FIRST}-{_LAST}]{{0,4}}{_LEAD}{{0,4}}(?P<list>{_LIST})", re.I),
    re.compile(rf"\b{_SO}\b{_P}{_LEAD}{{0,6}}(?P<list>{_LIST}){_P}$", re.I),
    re.compile(
        rf"\b(?:it\sis|it['’]?s|it\s(?:must|should|would|has\sto)\sbe|that\sis|that's|must\sbe"
        rf"|answer\sis|the\s(?:correct|right|best)\s\w+\s(?:is|would\sbe)){_P}{_LEAD}{{0,4}}"
        rf"(?P<list>{_LIST}){_P}$",
        re.I,
    ),
    re.compile(
        rf"(?P<list>{_LIST})(?:{_P}(?:is|are|was|seems?|looks?|appears?|would\sbe|must\sbe|是|ist|est"
        rf"|es|è|é|är)\s?(?:(?!n['’]t|not\b)[\w'’]+\s){{0,3}}?|\s){_RIGHT}",
        re.I,
    ),
]
#: In a sentence that has to decide, "the sentiment is positive" does.
_DECISIVE = [
    *_STRONG,
    re.compile(
        rf"(?:\b(?:is|are|be|was|means|as|to\sbe)\b|[:=→]){_P}{_LEAD}{{0,4}}(?P<list>{_LIST}){_P}$",
        re.I,
    ),
]
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])|\n+|[;；]")


class Mention(NamedTuple):
    """A place in a text that names an option, or one of several that share a name."""

    start: int
    end: int
    options: frozenset[int]


class Reading(NamedTuple):
    """What a text says of the options that it mentions.

    Attributes:
        option: the one that it decides for, or None.
        mentions: whether it says anything of an answer: an option's name, "none", "both".
    """

    option: int | None
    mentions: bool


SILENT = Reading(None, False)
UNDECIDED = Reading(None, True)


class _Sentence(NamedTuple):
    affirmed: frozenset[int]
    strong: frozenset[int]
    denied: frozenset[int]
    undecided: bool


_ASKED = _Sentence(frozenset(), frozenset(), frozenset(), False)


def decide(
    text: str, mentions: Sequence[Mention], *, of: int = 2, decisive: bool = False
) -> Reading:
    """Return which option a text decides for.

    Args:
        text: free text.
        mentions: where it mentions options, in order.
        of: how many options there are. The better one of two is chosen, one of five is not yet.
        decisive: whether a mere mention is not enough, as in "Let us look at (B)".
    """
    if len(mentions) > _MAX_MENTIONS:
        return UNDECIDED
    strong = _DECISIVE if decisive else _STRONG
    return _Outline(text, mentions, strong, of).read(decisive)


class _Outline:
    """A text with each mention replaced by a private character."""

    def __init__(
        self, text: str, mentions: Sequence[Mention], strong: Sequence[re.Pattern[str]], of: int
    ):
        self._mentions, self._strong = mentions, strong
        self._aside = _ASIDE if of == 2 else [*_ASIDE, _COMPARED]
        pieces, done = [], 0
        for number, mention in enumerate(mentions):
            before = text[done : mention.start]
            pieces += [_PRIVATE.sub(" ", before), chr(ord(_FIRST) + number)]
            done = mention.end
        pieces.append(_PRIVATE.sub(" ", text[done:]))
        self._text = "".join(pieces)

    def read(self, decisive: bool) -> Reading:
        text = self._text
        if corrections := list(CORRECTION.finditer(text)):
            before, rest = text[: corrections[-1].start()], text[corrections[-1].end() :]
            if _PRIVATE.search(rest) or _UNDECIDED.search(rest):
                text = rest
            elif _PRIVATE.search(before):
                return UNDECIDED
        head = self._head(text)
        if head is not None:
            return head
        sentences = [self._sentence(part) for part in _SENTENCES.split(text) if part.strip()]
        return self._conclude(sentences, decisive)

    def _options(self, text: str) -> set[int]:
        found: set[int] = set()
        for character in _PRIVATE.findall(text):
            found |= self._mentions[ord(character) - ord(_FIRST)].options
        return found

    def _head(self, text: str) -> Reading | None:
        """Return the option that a text starts with, where an explanation of it follows."""
        match = _HEAD.match(text)
        if match is None:
            return None
        options = self._options(match["head"] + match["own"])
        rest = match["rest"]
        if len(options) != 1 or _JOINED.match(rest):
            return UNDECIDED if len(self._options(match["head"])) > 1 else None
        (option,) = options
        alone = _PRIVATE.match(rest.strip()) and not re.search(r"\w", rest)
        if alone and self._options(rest) != options:
            return UNDECIDED  # "(A) Rome", where Rome is (B)
        other = self._conclude([self._sentence(part) for part in _SENTENCES.split(rest) if part])
        contradicts = option in self._denied(rest) or (
            any(pattern.search(rest) for pattern in _STRONG[:3])
            and other.option not in (option, None)
        )
        return UNDECIDED if contradicts else Reading(option, True)

    def _denied(self, text: str) -> set[int]:
        return {
            option
            for pattern in _DENIED
            for match in pattern.finditer(text)
            for option in self._options(match["list"])
        }

    def _sentence(self, text: str) -> _Sentence:
        if text.rstrip(" *_\"'").endswith(("?", "？")):
            return _ASKED
        text = _OPENING_REASON.sub("", text, count=1)
        text = _PARENTHESES.sub(
            lambda match: match.group() if _ALTERNATIVE.search(match.group()) else " ", text
        )
        if _DIVIDED.search(text):
            return _Sentence(frozenset(), frozenset(), frozenset(), True)
        first = _PRIVATE.search(text)
        reason = _REASON.search(text, first.end()) if first else None
        main = text[: reason.start()] if reason else text
        denied = self._denied(main)
        spans = [match.span("list") for pattern in _DENIED for match in pattern.finditer(main)]
        aside = [*self._aside, _LIKEWISE] if denied else self._aside
        spans += [match.span("list") for pattern in aside for match in pattern.finditer(main)]
        affirmed = "".join(
            match.group()
            for match in _PRIVATE.finditer(main)
            if not any(start <= match.start() < end for start, end in spans)
        )
        strong: set[int] = set()
        for pattern in self._strong:
            for match in pattern.finditer(main):
                strong |= self._options("".join(set(match["list"]) & set(affirmed)))
        return _Sentence(
            frozenset(self._options(affirmed)),
            frozenset(strong),
            frozenset(denied),
            bool(_UNDECIDED.search(main)),
        )

    def _conclude(self, sentences: list[_Sentence], decisive: bool = False) -> Reading:
        affirmed: set[int] = set()
        denied: set[int] = set()
        strong: frozenset[int] = frozenset()
        undecided = False
        for sentence in sentences:
            affirmed |= sentence.affirmed
            denied |= sentence.denied
            strong = sentence.strong or strong
            undecided = undecided or sentence.undecided
        undecided = undecided or (bool(sentences) and sentences[-1] is _ASKED)
        if not affirmed and not denied and not undecided:
            return SILENT
        affirmed -= denied
        weighs = not (undecided or decisive)
        for chosen in (affirmed if weighs else set(), strong - denied):
            if len(chosen) == 1:
                return Reading(next(iter(chosen)), True)
        return UNDECIDED
