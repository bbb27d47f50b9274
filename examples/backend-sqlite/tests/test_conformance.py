"""The backend against multitrack's conformance suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from multitrack_sqlite import SQLiteBackend

from multitrack.testing.conformance import ConformanceSuite


class TestSQLite(ConformanceSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> SQLiteBackend:
        return SQLiteBackend(SQLiteBackend.resolve("./runs.db", tmp_path))
