r"""What a reply says for its answer: without thinking, template tokens and what it runs on into.

Reasoning models think aloud before they answer, in tags of their own (`<think>`, `[THINK]`,
`<|channel|>analysis`, …). Base models go on after their answer with a question of their own making.
Neither is the answer. A reply that was cut off at `max_tokens` has one only where it had stated it
in full before.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection

from .marks import marked_answer

#: Why a reply has no answer, whoever reads it.
CUT_OFF = "cut off at max_tokens"
ONLY_THINKING = "all thinking and no answer"


class CutOffText(str):
    """A reply, or its end, that the server cut off at `max_tokens`."""

    __slots__ = ()


# ------------------------------------------------------------------------------------------------
# Thinking

_NAMES = (
    r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|analysis"
    r"|tool_calls?|function_calls?)"
)
_OPEN = (
    rf"<{_NAMES}(?:\s[^<>]{{0,80}})?>",  # DeepSeek R1, Qwen3, EXAONE, Seed, Claude's
    r"\[THINK\]",  # Magistral
    r"◁think▷",  # Kimi
    r"<\|START_THINKING\|>",  # Command
    r"<\|begin_of_thought\|>",  # Sky-T1, OpenThinker
    r"<\|inner_prefix\|>",  # Apertus
    r"<\|think\|>|<\|think:start\|>",  # Solar
    r"\[unused16\]",  # Pangu
    r"<\|plamo:begin_think:plamo\|>",
    r"\A\s*Thinking\.\.\.[ \t]*\n",  # as Ollama prints it
    r"<unused94>(?:thought\b)?",  # MedGemma
    r"<\|channel>thought\b",  # Gemma
    r"<\|channel\|>\s*(?:analysis|commentary)\b[^<\n]{0,80}(?:<\|constrain\|>\w{0,20}\s?)?"
    r"<\|message\|>",  # gpt-oss
    r"<\|START_ACTION\|>|\[TOOL_CALLS\]",  # a call of a tool is no answer either
)
_CLOSE = (
    rf"</{_NAMES}\s*>",
    r"\[/THINK\]",
    r"◁/think▷",
    r"<\|END_THINKING\|>|<\|END_ACTION\|>",
    r"<\|end_of_thought\|>",
    r"<\|inner_suffix\|>",
    r"<\|/think\|>|<\|content\|>|<\|think:end\|>",
    r"\[unused17\]",
    r"<\|plamo:end_think:plamo\|>",
    r"\.\.\.done thinking\.",
    r"<unused95>",
    r"<channel\|>",
    r"<\|channel\|>\s*final\b[^<\n]{0,80}<\|message\|>",
)
_THINKING = re.compile(f"(?P<open>{'|'.join(_OPEN)})|(?P<close>{'|'.join(_CLOSE)})", re.I)
#: gpt-oss without its special tokens, as some servers send it.
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z])")
_BARE_FINAL = "assistantfinal"
_GRANITE = re.compile(r"\s*Here(?: is|'s) my thought process:", re.I)
_GRANITE_FINAL = re.compile(r"Here(?: is|'s) my response:[ \t]*", re.I)


def _without_thinking(text: str, fields: Collection[str]) -> str | None:
    """Return what stands outside of thinking blocks; None where one is not closed."""
    if _BARE_ANALYSIS.match(text):
        return text.rpartition(_BARE_FINAL)[2] if _BARE_FINAL in text else None
    if _GRANITE.match(text):
        responses = list(_GRANITE_FINAL.finditer(text))
        return text[responses[-1].end() :] if responses else None
    kept: list[str] = []
    start: int | None = 0  # of what is outside of a block; None inside
    own = {tag for name in fields if f"<{name}>" in text for tag in (f"<{name}>", f"</{name}>")}
    for tag in _THINKING.finditer(text):
        if tag.group() in own:
            continue
        if tag["close"]:
            # A block that the prompt had opened, or one within another: all before it is thinking.
            kept = [] if start is not None else kept
            start = tag.end()
        elif start is not None:
            kept.append(text[start : tag.start()])
            start = None
    if start is None:
        return None
    parts = [part for part in (*kept, text[start:]) if part.strip()]
    return parts[0] if len(parts) == 1 else "\n".join(part.strip() for part in parts)


#: An agent's step that calls a tool: its answer is still to come.
_TOOL_STEP = re.compile(r"^[ \t]*Action Input[ \t]*:|\A\s*\{\s*\"tool_calls\"\s*:", re.MULTILINE)
_FINAL_STEP = re.compile(r"^[ \t*#]*Final Answer\b|^[ \t]*Observation[ \t]*:", re.M | re.I)


# ------------------------------------------------------------------------------------------------
# The end of the turn

_END = re.compile(
    r"<\|[A-Za-z_]{2,40}(?::\w{1,40}){0,2}\|>|<[a-z_]{2,40}\|>"  # of most chat templates
    r"|<(?:end_of_turn|eos|/s|end_of_utterance)>|<start_of_turn>\s*user"
    r"|<｜(?:end▁of▁sentence|User)｜>|\[/?INST\]"
)
_START = re.compile(
    r"\s*(?:(?:<bos>|<\|begin_of_text\|>|<｜Assistant｜>|<\|(?:im_start|start)\|>(?:assistant)?"
    r"|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<start_of_turn>\s*model"
    r"|<\|assistant\|>|<\|START_RESPONSE\|>|<\|begin_of_solution\|>|<\|message\|>)\s*)+"
)
_QUESTION_WORDS = (
    "Frage|Pregunta|Pergunta|Domanda|Vraag|Pytanie|Otázka|Fråga|Soru|Câu hỏi|Întrebare|Kérdés"
    "|Вопрос|Питання|Ερώτηση|问题|問題|问|質問|질문|문제|سؤال|السؤال|प्रश्न|প্রশ্ন"
)
_ANSWER_WORDS = (
    "Antwort|Respuesta|Réponse|Resposta|Risposta|Antwoord|Odpowiedź|Odpověď|Svar|Cevap|Đáp án"
    "|Trả lời|Răspuns|Válasz|Ответ|Відповідь|Απάντηση|答案|回答|答え|答|답변|정답|답|الجواب|الإجابة"
    "|उत्तर|উত্তর"
)
#: A line that begins the next turn of a conversation or few-shot text.
_NEXT_TURN = re.compile(
    r"^[ \t]*(?:Human|User)[ \t]*$"
    r"|^[ \t]*(?:\*\*|#{1,4} ?)?"
    r"(?:(?P<speaker>Human|User|<(?:human|user)>)|(?:Next\s)?(?:Question|Q|Problem|Exercise|Example|Task)"
    rf"|{_QUESTION_WORDS})"
    r"(?:\s?\#?\d{1,4})?(?:\*\*)?\s?(?:[:.)](?:\*\*)?(?=\s|$)|：)"
    r"|^\#{2,4}[ ]?(?P<heading>Instruction|Input|User|Human)\b",
    re.MULTILINE,
)
_ANSWER_LINE = re.compile(
    rf"^[ \t*]*(?:A(?:nswer)?|{_ANSWER_WORDS})[*]{{0,2}}[ ]?[:：.][ *]*\S", re.MULTILINE | re.I
)
_RESTATED = re.compile(r"\b(?:questions?|problems?|restate|rephrase|asked|given)\b|:\s*$", re.I)
_FENCE_LINE = re.compile(r"^[ \t]*```", re.MULTILINE)
_MOST_TURNS = 20


def _first_turn(text: str) -> str:
    """Return a text up to where it goes on with a next question or another speaker's turn."""
    text = text[start.end() :] if (start := _START.match(text)) else text
    if (end := _END.search(text)) and not (end.group() == "</s>" and "<s>" in text[: end.start()]):
        text = text[: end.start()]
    for turn in itertools.islice(_NEXT_TURN.finditer(text), _MOST_TURNS):
        if _is_next(turn, text[: turn.start()]):
            return text[: turn.start()]
    return text


def _is_next(turn: re.Match[str], before: str) -> bool:
    """Return whether a line asks anew, rather than repeats the question before an answer."""
    if not before.strip() or len(_FENCE_LINE.findall(before)) % 2:
        return False  # nothing is answered yet, or the line stands in code
    if marked_answer(before) is not None or _ANSWER_LINE.search(before):
        return True
    if _NEXT_TURN.match(before.lstrip()):  # it began by repeating the question
        return False
    is_turn = turn["speaker"] or turn["heading"] or turn.group().strip() in ("Human", "User")
    return bool(is_turn) or not _RESTATED.search(before.rstrip().rpartition("\n")[2])


# ------------------------------------------------------------------------------------------------


def final_text(reply: str, fields: Collection[str] = ()) -> str | None:
    """Return the part of a reply that may hold its answer; None where there is none.

    A reply that was cut off stays a `CutOffText`, unless it had come to the end of its own turn.

    Args:
        fields: names of fields that the model was asked to put in tags, such as `<reasoning>`.

    >>> final_text("<think>24? No, 72.</think> There are 72.")
    'There are 72.'
    >>> final_text("<think>24? The answer is 24, or") is None
    True
    >>> final_text("<reasoning>8 * 9</reasoning><answer>72</answer>", fields=["reasoning"])
    '<reasoning>8 * 9</reasoning><answer>72</answer>'
    >>> final_text("Paris\\nQ: What is the capital of Spain?\\nA: Madrid")
    'Paris'
    """
    outside = _without_thinking(reply, fields)
    if outside is None or (_TOOL_STEP.search(outside) and not _FINAL_STEP.search(outside)):
        return None
    first = _first_turn(outside)
    if first == reply:
        return reply if reply.strip() else None
    first = _BLANK_LINES.sub("", first).rstrip()
    if not first:
        return None
    is_cut = isinstance(reply, CutOffText) and outside.rstrip().endswith(first)
    return CutOffText(first) if is_cut else first


def answering_text(reply: str) -> str | None:
    """Return what a kind reads of a reply: its final text; of a cut-off one, the stated answer."""
    final = final_text(reply)
    return stated_in_full(final) if isinstance(final, CutOffText) else final


_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+|\A[ \t]+(?=\S[^\n]*\Z)")
_SENTENCE_END = re.compile(r"[.!?。！？][*_\"')\]]{0,3}(?=\s)|\n")


def stated_in_full(text: str) -> str | None:
    r"""Return the answer that a text had stated before it was cut off; None where it had not.

    >>> stated_in_full("So the answer is 18. Let me check: 9 * 2")
    '18'
    >>> stated_in_full("So the answer is 18") is None  # of 187, perhaps
    True
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    box = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if box >= (ends[-1] if ends else 0):
        boxed = marked_answer(text[box:])
        if boxed is not None and "}" in text[box:]:
            return boxed
    return marked_answer(text[: ends[-1]]) if ends else None
