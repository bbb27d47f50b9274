"""Which data a run uses: whatever it is, a digest that stands for its content.

    describe    what is it, and what can be known of it?     record    into the run's journal
    verify      is what lies here what was recorded?         diff      what differs between two versions

Nothing here is imported before a run logs data, and no library of the user's is imported to find out what an object is.
"""

from .diff import DataDifference, diff_data, diff_version
from .record import read_files, record_data
from .verify import find_data, verify_data

__all__ = ["DataDifference", "diff_data", "diff_version", "find_data", "read_files", "record_data", "verify_data"]
