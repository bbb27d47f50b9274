"""A run as its records make it: `fold` brings the records together, `to_records` takes the run apart, `compare` tells two apart."""

from .canonical import points_of, to_records
from .compare import Difference, compare
from .fold import ConsoleLine, RunState, fold, merge_params, take_line
from .outline import Outline
from .series import ColumnName, Point, Series, StoredSeries
from .views import definition_of, last_values, merge_equal_points

__all__ = [
    "ColumnName",
    "ConsoleLine",
    "Difference",
    "Outline",
    "Point",
    "RunState",
    "Series",
    "StoredSeries",
    "compare",
    "definition_of",
    "fold",
    "last_values",
    "merge_equal_points",
    "merge_params",
    "points_of",
    "take_line",
    "to_records",
]
