"""What a server really holds, read from its database and its files with nothing but the standard library.

The checks rest on this rather than on multitrack's own reading, which is what is being checked.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from servers import Server
from training import Result

Points = list[tuple[int, float]]


def has(server: Server, result: Result) -> bool:
    """Return whether the server has what training itself has kept of a run: every point once, the params, the files."""
    return (
        points_of(server, result.run_id) == result.points
        and params_of(server, result.run_id) == {name: _as_text(value) for name, value in _leaves(result.setting.params)}
        and all(file_of(server, result.run_id, name) == content for name, content in result.files.items())
    )


def count_points(server: Server, run_id: str) -> int:
    """Return how many points the server has of a run, repetitions included."""
    return sum(map(len, points_of(server, run_id).values()))


def points_of(server: Server, run_id: str) -> dict[str, Points]:
    """Return every point that the server has of a run's own metrics: name to sorted (step, value) pairs, repetitions included."""
    with _opened(server) as database:
        rows = database.execute(
            "select m.key, m.step, m.value from metrics m join tags t using (run_uuid)"
            " where t.key = 'multitrack.run_id' and t.value = ? and m.key not like '%summary/%' and m.key not like 'system/%'",
            (run_id,),
        )
        found: dict[str, Points] = {}
        for name, step, value in rows:
            found.setdefault(name, []).append((step, value))
    return {name: sorted(points) for name, points in found.items()}


def params_of(server: Server, run_id: str) -> dict[str, str]:
    """Return the params that the server has of a run."""
    with _opened(server) as database:
        rows = database.execute(
            "select p.key, p.value from params p join tags t using (run_uuid) where t.key = 'multitrack.run_id' and t.value = ?", (run_id,)
        )
        return dict(rows.fetchall())


def count_runs(server: Server) -> int:
    """Return how many runs the server has."""
    with _opened(server) as database:
        return int(database.execute("select count(*) from runs").fetchone()[0])


def file_of(server: Server, run_id: str, name: str) -> bytes | None:
    """Return an artifact's content as it lies in the server's folder."""
    with _opened(server) as database:
        row = database.execute(
            "select r.artifact_uri from runs r join tags t using (run_uuid) where t.key = 'multitrack.run_id' and t.value = ?", (run_id,)
        ).fetchone()
    path = server.artifacts / row[0].removeprefix("mlflow-artifacts:/") / name if row else Path()
    return path.read_bytes() if path.is_file() else None


def _leaves(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _as_text(value: Any) -> str:
    """MLflow keeps params as text."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list) else str(value)


@contextmanager
def _opened(server: Server) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True, timeout=30)) as database:
        yield database
