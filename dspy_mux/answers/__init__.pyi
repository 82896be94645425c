from .choose import answer_kind as answer_kind
from .equivalence import AnswerKind as AnswerKind
from .kinds import Percent as Percent
from .math_kind import MathAnswer as MathAnswer
