from .adapters.extract import ExtractAnswer as ExtractAnswer
from .adapters.formats import (
    CompletionAdapter as CompletionAdapter,
    FewShotAdapter as FewShotAdapter,
    JSONSchemaAdapter as JSONSchemaAdapter,
    PlainAdapter as PlainAdapter,
)
from .answers.choose import answer_kind as answer_kind
from .answers.equivalence import AnswerKind as AnswerKind
from .answers.math_kind import MathAnswer as MathAnswer
from .answers.number_kind import Percent as Percent
from .bank.collect import Collected as Collected, collect as collect
from .bank.jsonl import read_jsonl as read_jsonl
from .bank.record import Record as Record
from .bank.sample_bank import SampleBank as SampleBank
from .errors import (
    BankError as BankError,
    ConfigurationError as ConfigurationError,
    DataError as DataError,
    LocalModelError as LocalModelError,
    MetricFailed as MetricFailed,
    MissingExtra as MissingExtra,
    MuxError as MuxError,
    PoolMismatch as PoolMismatch,
    StorageError as StorageError,
)
from .mux.by_member import by_member as by_member
from .mux.check import check_pool as check_pool
from .mux.member_check import MemberCheck as MemberCheck
from .mux.open import load_program as load_program
from .mux.pool_file import load_pool as load_pool
from .mux.slm_mux import SLMMux as SLMMux
from .mux.stream import (
    MuxProgress as MuxProgress,
    MuxStatusMessageProvider as MuxStatusMessageProvider,
)
from .mux.verdict_log import VerdictLog as VerdictLog, read_verdicts as read_verdicts
from .optimize.optimizer import MuxOptimizer as MuxOptimizer
from .optimize.report import MuxReport as MuxReport
from .optimize.scaling import Scaling as Scaling, scale as scale
from .optimize.search import Found as Found, Subset as Subset, search as search
from .optimize.tune import tune as tune
from .optimize.tuned import Setting as Setting, Tuned as Tuned
from .replay.drift import Drift as Drift, drift as drift
from .replay.replay import Result as Result, replay as replay
from .replay.risk import Risk as Risk, risk as risk
from .replay.unlabelled import estimate_accuracies as estimate_accuracies
from .sampling.members import Member as Member
from .serve.app import create_app as create_app
from .serve.chat import chat_mux as chat_mux
from .serve.settings import ServeSettings as ServeSettings
from .voting.ballot import Ballot as Ballot, Choice as Choice, Frugal as Frugal, Rule as Rule
from .voting.calibrated import Calibrated as Calibrated
from .voting.early_stopping import Budgeted as Budgeted, EarlyStopping as EarlyStopping
from .voting.verdict import (
    AllMembersFailed as AllMembersFailed,
    NotTrusted as NotTrusted,
    Verdict as Verdict,
)
from .voting.verdict_parts import Turn as Turn

__version__: str
