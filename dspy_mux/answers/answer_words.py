"""The words that state an answer, in the languages that models answer in."""

from __future__ import annotations

import re
from typing import NamedTuple


class _Language(NamedTuple):
    """How a language states an answer.

    Attributes:
        words: for "answer".
        copulas: what may stand between the word and the answer, a colon apart.
        ends: what may follow the answer and is no part of it.
    """

    words: str
    copulas: str
    ends: str = ""


_LANGUAGES = [
    _Language("antwort|antwortmöglichkeit|endergebnis|ergebnis", "ist|lautet|sind|wäre"),
    _Language("réponse|reponse", "est|serait|sera|sont"),
    _Language("respuesta", "es|sería|será|son"),
    _Language("resposta", "é|seria|será|são"),
    _Language("risposta", "è|é|sarebbe|e'"),
    _Language("antwoord", "is|luidt|zijn"),
    _Language("svaret|svar", "är|er|blir|bliver"),
    _Language("vastaus", "on"),
    _Language("odpowiedź|odpowiedz|odpowiedzią", "to|jest|brzmi"),
    _Language("odpověď|odpoveď", "je|zní"),
    _Language("válasz", "az|a"),
    _Language("răspunsul|răspuns|raspunsul|raspuns", "este|e"),
    _Language("cevap|yanıt|cevabı|yanıtı", "", r"['’]?(?:dir|dır|dur|dür|tir|tır)|şıkkıdır"),
    _Language("đáp án|câu trả lời|trả lời", "là"),
    _Language("jawaban|jawapan", "adalah|ialah"),
    _Language("jibu", "ni"),
    _Language("ответ", "это"),
    _Language("відповідь", "це"),
    _Language("отговорът|отговор", "е"),
    _Language("απάντηση", "είναι"),
    _Language("答案|答曰|答复|答", "应该是|應該是|应为|就是|是|为|為|选|選", "选项|項|项"),
    _Language("答え|回答|解答|正解", "は|が", "です|である|だ|となります|になります"),
    _Language("정답|답변|대답|답", "은|는|이|가", "입니다|이다|이에요|예요"),
    _Language("الإجابة|الاجابة|إجابة|اجابة|الجواب|جواب", "هي|هو"),
    _Language("התשובה|תשובה", "היא|הוא"),
    _Language("پاسخ", "برابر", "است"),
    _Language("उत्तर|जवाब", "", "है|हैं"),
    _Language("উত্তর", "হল|হলো|হচ্ছে"),
    _Language("సమాధానం|பதில்|விடை|ഉത്തരം|જવાબ|ਜਵਾਬ|जबाफ|ಉತ್ತರ", ""),
    _Language("คำตอบ", "คือ"),
]

_BREAK = r".:：=＝\n。!?！？"
#: Scripts that write no space between words.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_COLON = r"[*_]{0,3}[ \t]?(?:[:：=＝ঃ]|->|→|[–—-](?=[ \t]))"


def _is_spaced(word: str) -> bool:
    return not _UNSPACED.match(word)


def _statement(language: _Language) -> re.Pattern[str]:
    """Return what stands between the word and the answer, which starts at the match's end."""
    spaced = _is_spaced(language.words)
    ways = _COLON
    if language.copulas and spaced:
        ways += rf"|(?<!\w)(?:{language.copulas})(?!\w)[ \t]*:?"
    elif language.copulas:
        ways += rf"|(?:{language.copulas})[ \t]*[:：]?"
    before = _BREAK if spaced else f"{_BREAK}不非没沒"
    return re.compile(
        rf"[ \t]{{0,2}}[*_]{{0,3}}(?:[^{before}]{{0,{40 if spaced else 8}}}?(?:{ways})"
        r"|(?=[ \t]*[(（]?[A-J1-9](?!\w)))[ \t]*[*_]{0,3}[ \t]*",
        re.IGNORECASE,
    )


STATEMENTS: dict[str, re.Pattern[str]] = {}
_ENDS: list[str] = []
for _language in _LANGUAGES:
    for _word in _language.words.split("|"):
        STATEMENTS[_word] = _statement(_language)
    _ENDS += filter(None, [_language.ends])
del _language, _word


def _alternatives(words: list[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_WORDS = {
    spaced: [word for word in STATEMENTS if _is_spaced(word) is spaced] for spaced in (True, False)
}
#: An answer word; where words are spaced, a whole one.
ANSWER_WORD = re.compile(
    rf"(?<!\w)(?:{_alternatives(_WORDS[True])})(?!\w)|(?:{_alternatives(_WORDS[False])})",
    re.IGNORECASE,
)
#: What ends a statement in some languages, and is no part of the answer.
ENDS = re.compile(rf"(?<=\S)[ \t]*(?:{'|'.join(_ENDS)})[ \t]*[.。।]?$")
