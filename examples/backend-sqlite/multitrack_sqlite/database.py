"""The tables, and what goes wrong with them in multitrack's words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from multitrack.errors import PermanentError, TransientError
from multitrack.records import from_wire, to_wire

_LOCK_TIMEOUT = 10.0
"""Seconds to wait while another process writes."""

_SCHEMA = """
create table if not exists runs (
  id text primary key, project text not null, name text, job_group text, job_type text, parent text, notes text, user text, host text,
  reproduces text,
  status text not null, started integer, ended integer, error text, deleted integer not null default 0  -- times in microseconds
);
create table if not exists tags (run text, name text, value text, primary key (run, name));
create table if not exists params (run text, name text, value text, primary key (run, name));   -- values as JSON
create table if not exists summary (run text, name text, value text, primary key (run, name));  -- likewise
create table if not exists points (run text, metric text, source text, step integer, time integer, value real);
-- A null is unlike any other null, so the key spells it out. SQLite keeps NaN as null.
create unique index if not exists each_point_once on points (run, metric, source, ifnull(step, ''), time, ifnull(value, 'nan'));
create table if not exists files (run text, name text, sha256 text, size integer, uri text, time integer, primary key (run, name));
"""


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open the database for the length of a block."""
    with closing(connect(file)) as database:
        yield database


def connect(file: Path) -> sqlite3.Connection:
    """Return a connection; the file and its tables are made if need be."""
    database = sqlite3.connect(file, timeout=_LOCK_TIMEOUT, check_same_thread=False)
    database.row_factory = sqlite3.Row
    database.executescript(_SCHEMA)
    return database


@contextmanager
def translated(file: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into what multitrack understands."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:  # locked, disk full, a mount that is gone: it may pass
        raise TransientError(f"{file}: {error}") from error
    except sqlite3.Error as error:
        raise PermanentError(f"{file}: {error}") from error


def files_folder(file: Path) -> Path:
    """Return the folder that holds the artifacts, each under its SHA-256."""
    return file.with_name(f"{file.name}.files")


def to_text(value: Any) -> str:
    """Return a value as JSON; what JSON cannot say, NaN for example, in the way of multitrack's own records."""
    return json.dumps(to_wire(value))


def from_text(text: str) -> Any:
    """Return what `to_text` was given."""
    return from_wire(json.loads(text))
