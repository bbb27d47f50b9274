"""Runs beside each other: what differs between them, record by record.

compare_runs        two or more runs -> Comparison       rows: fields that differ, a value a run
code_changes        two runs' code -> CodeChange         texts.py: pure; trees.py: exactly, where a repository is at hand
show_comparison     Comparison -> lines for people
"""

from .code import CodeChange, RunCode, code_changes
from .data import DataChange, RunData, data_changes
from .layout import show_comparison
from .runs import Comparison, MetricRow, Subject, compare_runs

__all__ = [
    "CodeChange",
    "Comparison",
    "DataChange",
    "MetricRow",
    "RunCode",
    "RunData",
    "Subject",
    "code_changes",
    "compare_runs",
    "data_changes",
    "show_comparison",
]
