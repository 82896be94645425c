"""Truth words: find whether a text says yes or no, true or false."""

from __future__ import annotations

import re

from .decision import CORRECTION, SILENT, UNDECIDED, Mention, Reading, decide
from .marks import unlatex_text
from .plain_text import TAIL, fold, normalise, unwrap

_SHORT = 300  # characters; a longer text tells by its first or last words
_YES = (
    "yes|true|yeah|yep|yup|affirmative|correct|right|y|t|1|✓|✔|✅|ja|jawohl|wahr|richtig|oui|vrai|sí|si"
    "|cierto|verdadero|correcto|sim|verdadeiro|sì|vero|да|верно|правда|истина|так|tak|prawda|evet|doğru"
    "|vâng|đúng|có|igen|kyllä|ano|nai|ναι|waar|sant|iya|ya|benar|ndiyo|हाँ|हां|जी हाँ|सही|হ্যাঁ"
    "|نعم|صحيح|بله|כן|是|是的|对|對|正确|正確|真|はい|正しい|예|네|맞습니다|참|ใช่"
)
_NO = (
    "no|false|nope|nah|incorrect|wrong|untrue|n|f|0|✗|✘|❌|nein|falsch|non|faux|falso|não|nao|нет|неверно"
    "|ложь|ні|nie|fałsz|hayır|yanlış|không|sai|nem|ei|ne|όχι|nee|onwaar|nej|nei|tidak|salah|hapana|नहीं"
    "|गलत|না|لا|خطأ|خیر|לא|否|不|不是|不对|错|错误|錯|假|いいえ|ちがう|아니요|아니오|거짓|ไม่ใช่|ไม่"
)
_WHOLE = dict.fromkeys(_YES.split("|"), True) | dict.fromkeys(_NO.split("|"), False)
_TITLE = re.compile(
    r"(?!.{0,30}\b(?:explanation|reason|note|comment|why|because))"
    r"[A-Za-z][\w ]{1,40}[*_]{0,2}:[*_]{0,2}\s*(?=\S)",
    re.I,
)
_SINGLE = re.compile(r"[a-z\d]")
#: In a sentence of another language these are words like others ("si", "no", "ja").
_HEAD_WORDS = [word for word in _WHOLE if not _SINGLE.fullmatch(word) and re.match(r"\w", word)]
_HEAD = re.compile(
    r"[\s*_`\"'#>(]*"
    rf"(?P<word>{'|'.join(sorted(map(re.escape, _HEAD_WORDS), key=len, reverse=True))})"
    r"(?![\w'-])[*_`\"')]{0,3}(?P<stop>\s?[,.:;!，。！、：—–؛،।-]|\n|\s*$)",
    re.IGNORECASE,
)
_MENTION = re.compile(
    r"(?<![\w'-])(?P<not>(?:(?:is|are|was|were|does|be|do)?(?:n['’]t|\snot|not)|never|far\sfrom|hardly)"
    r"(?:\s(?:quite|really|at\sall|actually|entirely|completely|the\scase\sthat\sit\sis|exactly))?\s)?"
    r"(?P<word>yes|no|true|false|untrue|correct|incorrect)(?![\w'-])",
    re.IGNORECASE,
)
#: "It is true that many believe this, but …"
_CONCEDED = re.compile(r"\s(?:that|,)[^.\n]{1,200}\b(?:but|however)\b", re.IGNORECASE)
_JUDGED = re.compile(
    r"\b(?:statement|claim|assertion|proposition|sentence|it|this|that|which|is|are|was|answer|equation"
    r"|verdict|conclusion)\W{0,3}(?:\w+\W+){0,2}$",
    re.IGNORECASE,
)
_NO_IS_A_WORD = re.compile(
    r"\W*$|\s*[,.;:!)\]|/\"'*_—–-]|\n|\s+(?:because|since|as|and|or|but|if|nor|no)\b", re.I
)
_UNSURE = re.compile(
    r"\b(?:could|might|may)\s(?:\w+\s)?(?:be|say|argue|think)\b[^.]{0,30}$|\bnecessarily\W*$", re.I
)


def read_truth(text: str) -> bool | None:
    """Return the truth value of a text that is one truth word; None for any other text.

    >>> read_truth("Ja."), read_truth("N"), read_truth("maybe")
    (True, False, None)
    """
    return _WHOLE.get(fold(text))


def truth_in_text(text: str) -> bool | None:
    """Return the truth value that a text settles on, or None.

    A whole line counts first, then the first word, then what the sentences say. A "no" before a
    noun does not count, and a text that says both yes and no settles on neither.

    >>> truth_in_text("Yes, there is no doubt.")
    True
    >>> truth_in_text("It is neither yes nor no.") is None
    True
    """
    option = read_truth_of(text).option
    return None if option is None else bool(option)


def read_truth_of(text: str) -> Reading:
    """Return what a text says: option 1 for true, 0 for false."""
    text = unlatex_text(normalise(text[-TAIL:])).replace("\\n", "\n")
    text = text.strip(" \t\n*_`\"'#>")
    whole = [value for line in text.splitlines() if (value := _line(line)) is not None]
    if whole:
        return Reading(int(whole[-1]), True) if len(set(whole)) == 1 else UNDECIDED
    if (head := _head(text)) is not None:
        return head
    if len(text) > _SHORT:
        return _last_sentence(text)
    words = [word for word in re.findall(r"[^\W\d_]{2,}", text.lower()) if word in _WHOLE]
    foreign = any(not _MENTION.fullmatch(word) for word in words)
    if foreign and len(text) < 40 and len({_WHOLE[word] for word in words}) > 1:
        return UNDECIDED  # "Sí y no"
    return decide(text, _mentions(text))


def truth_of_line(line: str) -> Reading:
    """Return the value of the truth word that a line is, or begins with."""
    line = unlatex_text(normalise(line[-TAIL:]))
    value = _line(line)
    return Reading(int(value), True) if value is not None else _head(line) or SILENT


def _line(line: str) -> bool | None:
    """Return the value of a line that is one truth word, as whole lines of a text are."""
    word = unwrap(_TITLE.sub("", unwrap(line), count=1))
    return None if len(word) > 20 else read_truth(word)


def _head(text: str) -> Reading | None:
    """Return the value of the truth word that a text starts with, if the rest lets it stand."""
    match = _HEAD.match(text)
    if match is None:
        return None
    value = _WHOLE[match["word"].lower()]
    rest = text[match.end("word") :]
    answers = [
        mention
        for mention in _mentions(rest)
        if rest[mention.start : mention.end].lower() in ("yes", "no")
    ]
    others = [mention for mention in answers if mention.options != {int(value)}]
    if not others and not (CORRECTION.search(rest) and not answers):
        return Reading(int(value), True)
    correction = next(reversed(list(CORRECTION.finditer(rest))), None)
    if correction is None:
        return UNDECIDED
    later = read_truth_of(rest[correction.end() :])
    return later if later.option is not None else UNDECIDED


def _last_sentence(text: str) -> Reading:
    """Return what the last sentence of a long text says, if it was written to its end."""
    last = re.split(r"(?<=[.!?])\s+|\n+", text[-_SHORT:])[-1]
    if not re.search(r"[.!*_)\"'`]\s*$", last) and not _MENTION.search(last[-8:]):
        return SILENT
    return decide(last, _mentions(last), decisive=True)


def _mentions(text: str) -> list[Mention]:
    found = []
    for match in _MENTION.finditer(text):
        word, before = match["word"].lower(), text[: match.start()][-60:]
        if word == "no" and not _NO_IS_A_WORD.match(text, match.end()):
            continue
        if word in ("correct", "incorrect") and not _is_judged(text, match):
            continue
        if word == "true" and _CONCEDED.match(text, match.end()):
            continue
        if _UNSURE.search(before):
            found.append(Mention(match.start(), match.end(), frozenset({0, 1})))
            continue
        value = _WHOLE[word]
        negated = bool(match["not"]) and word not in ("yes", "no")
        start = match.start() if negated else match.start("word")
        found.append(Mention(start, match.end(), frozenset({int(value is not negated)})))
    return found


def _is_judged(text: str, match: re.Match[str]) -> bool:
    """Return whether "correct" judges a statement: "this is correct", not "the correct one"."""
    ends = re.match(r"\W*$|\s*[,.;!:)]|\s+(?:because|since|as|and|or)\b", text[match.end() :])
    return bool(
        ends
        and (_JUDGED.search(text, max(0, match.start() - 60), match.start()) or match.start() == 0)
    )
