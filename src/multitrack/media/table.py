"""Tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

import orjson

from ..errors import RecordError
from ..params import to_params
from ..records import from_wire, to_wire
from ..records.media_names import MediaKind
from .media import Media, comes_from

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS = 1_000_000
"""A table is to be looked at; more is data, which has a place as an artifact."""

Rows = list[list[Any]]


class Table(Media):
    """A table, logged as a metric's point: `run.log({"confusion": mt.Table(frame)}, step=step)`.

    Its file is JSON, `{"columns": [...], "data": [[...], ...]}`: what MLflow, and pandas with `orient="split"`, read as well. Values are
    exact; what JSON cannot say is written as it is in the journal (`{"$": "nan"}`).

    Attributes:
        columns: the columns' names.
        rows: a list a row: bool, int, float, str or None, and lists and dicts of them.
    """

    kind: ClassVar[MediaKind] = "table"

    def __init__(self, data: Any = None, *, columns: Sequence[Any] | None = None, rows: Iterable[Sequence[Any]] | None = None) -> None:
        """Take a table over.

        Args:
            data: a DataFrame (pandas, without its index, or polars), a list of dicts, or a dict of columns.
            columns, rows: or these two.

        Dates and times become ISO texts; pandas' NaT and NA become None, as does what a dict does not have.

        Raises:
            TypeError: it is none of these, or a value is no JSON.
            ValueError: lengths differ, two columns have one name, or there are more than a million cells.
        """
        if (data is None) == (rows is None) or (data is not None and columns is not None):
            raise TypeError("a Table is made of data, or of columns= and rows=")
        self.columns, self.rows = _take(data) if rows is None else _take_rows(columns, rows)
        _check(self.columns, self.rows)
        self.rows = [_clean_row(place, row, self.columns) for place, row in enumerate(self.rows)]
        content = orjson.dumps({"columns": to_wire(self.columns), "data": to_wire(self.rows)})
        super().__init__(content, "application/json", "json", {"rows": len(self.rows), "columns": len(self.columns)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the table that a file holds.

        Raises:
            ValueError: it holds none.
        """
        try:
            content = orjson.loads(data)
            return cls(columns=from_wire(content["columns"]), rows=from_wire(content["data"]))
        except (KeyError, TypeError, ValueError, RecordError) as error:
            raise ValueError(f"this is no table: {error}") from error

    def to_pandas(self) -> pd.DataFrame:
        """Return it as a DataFrame. Needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=self.columns)

    def __len__(self) -> int:
        return len(self.rows)


def _take(data: Any) -> tuple[list[str], Rows]:
    if isinstance(data, Table):
        return data.columns, data.rows
    if comes_from(data, "pandas") and hasattr(data, "columns"):
        return _names(data.columns), _transpose([data.iloc[:, place].tolist() for place in range(data.shape[1])], data.shape[0])
    if comes_from(data, "polars") and hasattr(data, "rows"):
        return _names(data.columns), [list(row) for row in data.rows()]
    if isinstance(data, Mapping):
        lists = {name: list(values) for name, values in data.items() if _is_list(f"column {name!r}", values)}
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"a table's columns have one length, not {', '.join(f'{name!r} {n:,}' for name, n in lengths.items())}")
        return _names(lists), _transpose(list(lists.values()), next(iter(lengths.values()), 0))
    if isinstance(data, Sequence) and not isinstance(data, str | bytes) and all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(name for row in data for name in row))
        return _names(names), [[row.get(name) for name in names] for row in data]
    raise TypeError(
        f"a Table is made of a DataFrame, a list of dicts, a dict of columns, or columns= and rows=, not of a {type(data).__name__}"
    )


def _take_rows(columns: Sequence[Any] | None, rows: Iterable[Sequence[Any]]) -> tuple[list[str], Rows]:
    if columns is None:
        raise TypeError("a Table of rows= needs their columns=")
    return _names(columns), [list(row) for place, row in enumerate(rows) if _is_list(f"row {place}", row)]


def _is_list(what: str, values: Any) -> bool:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"a table's {what} is a list, not {values!r:.60}")
    return True


def _names(columns: Iterable[Any]) -> list[str]:
    return [name if type(name) is str else str(name) for name in columns]


def _transpose(columns: list[list[Any]], length: int) -> Rows:
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in range(length)]


def _check(columns: list[str], rows: Rows) -> None:
    twice = next((name for place, name in enumerate(columns) if name in columns[:place]), None)
    if twice is not None:
        raise ValueError(f"a table has two columns named {twice!r}")
    wrong = next((place for place, row in enumerate(rows) if len(row) != len(columns)), None)
    if wrong is not None:
        raise ValueError(f"a table's row {wrong} has {len(rows[wrong])} values for {len(columns)} columns")
    if len(columns) * len(rows) > MOST_CELLS:
        raise ValueError(
            f"a Table holds up to {MOST_CELLS:,} cells, not {len(rows):,} rows of {len(columns):,}; "
            "log a sample, or the whole as a file with log_artifact"
        )


_PLAIN = frozenset({bool, int, float, str, type(None)})


def _clean_row(place: int, row: list[Any], columns: list[str]) -> list[Any]:
    return [value if type(value) in _PLAIN else _clean(place, name, value) for name, value in zip(columns, row, strict=True)]


def _clean(place: int, column: str, value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return None if value != value else value.isoformat()  # noqa: PLR0124 - NaT is a datetime that is not itself
    if isinstance(value, timedelta):
        return value.total_seconds()
    if comes_from(value, "pandas") and type(value).__name__ == "NAType":
        return None
    try:
        return to_params({"": value})[""]
    except TypeError:
        raise TypeError(
            f"a table's row {place}, column {column!r}: a {type(value).__name__} cannot be written as JSON; give its text"
        ) from None
