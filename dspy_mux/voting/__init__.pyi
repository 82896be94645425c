from .ballot import Ballot as Ballot, Choice as Choice, Rule as Rule
from .calibrated import Calibrated as Calibrated
from .early_stopping import Budgeted as Budgeted, EarlyStopping as EarlyStopping
from .probability import Probability as Probability
from .rules import (
    Consistency as Consistency,
    Pooled as Pooled,
    SelfConsistencyRule as SelfConsistencyRule,
)
from .verdict import (
    AllMembersFailed as AllMembersFailed,
    NotTrusted as NotTrusted,
    Verdict as Verdict,
)
from .verdict_parts import Turn as Turn
