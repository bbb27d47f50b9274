"""MLflow's database: read-only connections to sqlite and PostgreSQL, and the schema revisions that we know.

MLflow's schema carries an Alembic revision. `REVISIONS` lists those whose tables were compared with our queries; nothing else is read
by SQL. Nothing is ever written, and no database is made or migrated by looking at it, as MLflow's own client would.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from multitrack.errors import PermanentError

from .client import translated
from .location import sqlite_file

REVISIONS = (
    "7f2a7d5fae7d",  # 2.4: data sets
    "2d6e25af4d3e",
    "acf3f17fdcc7",
    "867495a8f9d4",
    "5b0e9adcef9c",
    "4465047574b1",
    "f5a4f2784254",
    "0584bdc529eb",
    "400f98739977",  # 3.0: logged models
    "6953534de441",
    "bda7b8c39065",
    "cbc13b556ace",
    "770bee3ae1dd",
    "a1b2c3d4e5f6",
    "de4033877273",
    "1a0cddfcaa16",
    "534353b11cbc",
    "71994744cf8e",
    "3da73c924c2f",
    "bf29a5ff90ea",
    "1bd49d398cd23",
    "b7c8d9e0f1a2",
    "5d2d30f0abce",
    "c9d4e5f6a7b8",
    "2c33131f4dae",
    "d3e4f5a6b7c8",
    "d0e1f2a3b4c5",
    "c8d9e0f1a2b3",
    "1b5f0d9ad7c1",  # 3.10: workspaces
    "e1f2a3b4c5d6",
    "76601a5f987d",
    "c3d6457b6d8a",
    "a5b4c3d2e1f0",
    "ae8bbe7743c9",
    "7d34483879f0",
    "da6fb0208061",
    "89d3d66ed43f",
    "b7e4c1a90f23",
    "a8b9c0d1e2f3",
    "c1d2e3f4a5b6",
    "c3d9e7f1a2b4",
    "6f8d9c3b2a1e",
    "1971f2d9a75b",
    "17e22815139b",
    "b7e2c1a4d9f3",
    "75868b020152",
    "dc11669786a5",  # 3.17
)
"""Schema revisions that this reader knows, oldest first."""

_TOO_OLD = frozenset({
    "451aebb31d03", "90e64c465722", "181f10493468", "df50e92ffc5e", "7ac759974ad8", "89d4b8295536", "2b4d017a5e9b",
    "cfd24bdc0731", "0a8213491aaa", "728d730b5ebd", "27a6a02d2cf1", "84291f40a231", "a8c4a736bde6", "39d1c3be5f05",
    "c48cb773bb87", "bd07f7e963c5", "0c779009ac13", "cc1f77228345", "97727af70f4d", "3500859a5d39",
})  # fmt: skip
"""Revisions before MLflow 2.4. MLflow's client would migrate such a database when it opens it, so it is not asked either."""

Row = tuple[Any, ...]


class UnreadableBySQL(Exception):  # noqa: N818 - it asks for another road, it reports no failure
    """The database has to be read through MLflow's client; the message says why."""


class Connection(Protocol):
    """A read-only connection, used by one thread at a time. The placeholders of its queries are question marks."""

    @property
    def key_order(self) -> str:
        """What sorts metrics `m` by their keys, code point by code point, without an index that leads through other runs' points."""

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Return all rows of a query. No lock is held afterwards."""

    def batches(self, query: str, values: Sequence[object], size: int) -> Iterator[list[Row]]:
        """Yield the rows of a query, `size` at a time. Until it ends, others may be kept from writing to a sqlite file."""


class Database:
    """A database of MLflow's at a URI of SQLAlchemy's form, `sqlite:///...` or `postgresql://...`.

    Attributes:
        revision: the place of its schema's revision in `REVISIONS`.

    Raises:
        UnreadableBySQL: its revision or its driver is not known here.
        BackendError: it cannot be opened, or is no database of MLflow's.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._file = sqlite_file(uri)
        self.revision = self._check_revision()

    def _check_revision(self) -> int:
        if not self._file and find_spec("psycopg") is None:
            raise UnreadableBySQL("psycopg is not installed (pip install 'multitrack[postgresql]')")
        with translated("opening the database"), self.connect() as connection:
            tables = "SELECT name FROM sqlite_master WHERE name = ?" if self._file else _POSTGRESQL_TABLES
            if not connection.rows(tables, ["alembic_version"]):
                raise PermanentError("this is no database of MLflow's: it has no table alembic_version")
            found = [str(row[0]) for row in connection.rows("SELECT version_num FROM alembic_version")]
        if _TOO_OLD.intersection(found):
            raise PermanentError("the database is older than MLflow 2.4; run `mlflow db upgrade` on a copy of it, and read the copy")
        if len(found) != 1 or found[0] not in REVISIONS:
            raise UnreadableBySQL(f"its schema revision {', '.join(found) or '(none)'} is not known to this version of multitrack")
        return REVISIONS.index(found[0])

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection for the length of a `with` block."""
        with self._sqlite(self._file) if self._file else self._postgresql() as connection:
            yield connection

    @contextmanager
    def _sqlite(self, file: Path) -> Iterator[Connection]:
        if not file.is_file():
            raise PermanentError(f"there is no database {file}")
        address = f"file:{quote(str(file))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=30, check_same_thread=False, isolation_level=None)) as connection:
            yield _SQLite(connection)

    @contextmanager
    def _postgresql(self) -> Iterator[Connection]:
        import psycopg

        scheme, _, rest = self._uri.partition("://")
        with psycopg.connect(f"{scheme.partition('+')[0]}://{rest}", autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = on")
            yield _PostgreSQL(connection)


_POSTGRESQL_TABLES = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = ANY (current_schemas(false)) AND tablename = ?"


class _SQLite:
    key_order = "+m.key"  # a plain column would be read in the order of the primary key, which holds the points of all runs

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        return self._connection.execute(query, values).fetchall()

    def batches(self, query: str, values: Sequence[object], size: int) -> Iterator[list[Row]]:
        with closing(self._connection.execute(query, values)) as cursor:
            while rows := cursor.fetchmany(size):
                yield rows


class _PostgreSQL:
    key_order = 'm.key COLLATE "C"'

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        found: list[Row] = self._connection.execute(query.replace("?", "%s"), values).fetchall()
        return found

    def batches(self, query: str, values: Sequence[object], size: int) -> Iterator[list[Row]]:
        with self._connection.transaction(), self._connection.cursor(name="points") as cursor:
            cursor.execute(query.replace("?", "%s"), values)
            while rows := cursor.fetchmany(size):
                yield rows
