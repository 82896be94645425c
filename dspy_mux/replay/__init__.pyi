from .intervals import Estimate as Estimate, paired_difference as paired_difference
from .replay import Result as Result, compare as compare
from .splits import Split as Split, by_field as by_field, folds as folds, holdout as holdout
