"""Whatever was recorded, less what adaptation declares, is in an offline folder and is read back from it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitrack.adapt import Adapter
from multitrack.backend import Batch, Conclusion, Entry, RunFilter
from multitrack.records import Metrics, Points, Record, RunStarted, RunUpdated
from multitrack.restore import without_own_marks
from multitrack.state import compare, fold
from multitrack_wandb import WandbBackend
from support import strategies
from support.strategies import entries_of, some

pytestmark = pytest.mark.slow

few = settings(some, max_examples=20)
"""Each writes and reads a folder."""
HELD = WandbBackend.capabilities
LIFE = ("status", "ended", "error", "unknown")

descriptions = st.one_of(
    strategies.run_updated,
    strategies.code_versions,
    strategies.data_versions,
    strategies.environments,
    strategies.definitions,
    strategies.failures,
    strategies.log_lines,
)
numbers = st.one_of(strategies.metrics, strategies.points, strategies.hyperparameters, strategies.summaries)


def read_back(folder: Path, batches: list[list[Entry]], start: RunStarted, *, reopened: bool) -> list[Record]:
    backend = WandbBackend(str(folder))
    sink = backend.sink()
    sink.open(start)
    for number, entries in enumerate(batches, start=1):
        assert not sink.write(Batch(number, entries, lambda artifact: Path(artifact.name)))
        if reopened:
            sink.close()
            sink = backend.sink()
            sink.open(start)
    sink.finish(Conclusion(status="finished", time=start.time))
    sink.close()
    source = backend.source()
    (ref,) = source.runs(RunFilter(deleted=True))
    return list(source.read(ref))


def check(records: list[Record], start: RunStarted, cut: int, *, reopened: bool) -> None:
    adapted = Adapter(HELD).adapt(entries_of([start, *records]))
    first = next(entry.record for entry in adapted.entries if isinstance(entry.record, RunStarted))
    end = next((place for place, entry in enumerate(adapted.entries) if entry.seq >= cut), len(adapted.entries))
    batches = [part for part in (list(adapted.entries[:end]), list(adapted.entries[end:])) if part]
    with tempfile.TemporaryDirectory() as folder:
        found = read_back(Path(folder), batches, first, reopened=reopened)
    expected = without_own_marks(fold(entry.record for entry in adapted.entries))
    differences = compare(expected, without_own_marks(fold(found)), ignoring=LIFE)
    assert not differences, "\n".join(map(str, differences))


def plainly(record: Record) -> Record:
    """Return the record without what no reading back can show: a series has one source, and it has points."""
    if isinstance(record, Metrics) and record.source == "system":
        return record.model_copy(update={"values": {f"node/{name}": value for name, value in record.values.items()}})
    if isinstance(record, Points):
        told = {"name": f"node/{record.name}" if record.source == "system" else record.name}
        empty = Points(time=0, name="one", times=[0], values=[0.5])
        return record.model_copy(update=told) if record.times else empty
    return record


@pytest.mark.parametrize("reopened", [False, True])
@few
@given(st.lists(numbers, max_size=6), st.integers(1, 6))
def test_numbers(reopened: bool, records: list[Record], cut: int) -> None:
    check([plainly(record) for record in records], RunStarted(time=1_577_934_245_678_901, id="a" * 32, project="p"), cut, reopened=reopened)


@few
@given(strategies.run_started, st.lists(descriptions, max_size=6), st.integers(1, 6), st.booleans())
def test_descriptions(start: RunStarted, records: list[Record], cut: int, reopened: bool) -> None:
    check(records, start, cut, reopened=reopened)


@pytest.mark.parametrize("more", [{}, {"other": "x"}])
def test_the_last_tag_that_is_taken_away_is_away(more: dict[str, str | None]) -> None:
    """W&B takes no empty list of tags, so that it goes on to show the last one."""
    start = RunStarted(time=1, id="a" * 32, project="p", tags={"loss": None})
    check([RunUpdated(time=2, removed_tags=["loss"], tags=more)], start, 1, reopened=False)
