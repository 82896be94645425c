from .choose import MathAnswer as MathAnswer, answer_kind as answer_kind
from .kinds import AnswerKind as AnswerKind, Percent as Percent
