from .optimizer import MuxOptimizer as MuxOptimizer
from .report import MuxReport as MuxReport
from .scaling import Scaling as Scaling
from .search import Found as Found, Subset as Subset
from .tuned import Setting as Setting, Tuned as Tuned
