from .choose import answer_kind as answer_kind
from .equivalence import AnswerKind as AnswerKind
from .math_kind import MathAnswer as MathAnswer
from .number_kind import Percent as Percent
