"""A run's whole history from the service, by the cheapest road that is complete.

A short history is one request. A longer one comes from the files that the service exports it to, where it does; wandb-core fetches and
reads them, and asks for the rows that came after. Where the service has none, rows are asked for by ranges of steps, each as wide as
should hold one page.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multitrack.errors import PermanentError, TransientError

from .reader import Address, Reader

_log = logging.getLogger(__name__)

PAGE = 5_000
"""Rows to a page."""
SMALL_PAGE = 500
"""Rows to a page of a service that gives fewer than it is asked for: what wandb's own `history` asks for."""
WIDEST = 2**31 - 2
"""Steps in a range that wandb-core is asked for; it asks the service for as many rows, a number of 32 bits."""
FARTHEST = 100 * WIDEST
"""Steps in a history that is read through wandb-core; one with farther steps, such as milliseconds of the clock, has too many ranges."""

_HISTORY = """query MultitrackHistory($entity: String!, $project: String!, $run: String!, $from: Int64!, $to: Int64!, $rows: Int!) {
    project(name: $project, entityName: $entity) { run(name: $run) { history(minStep: $from, maxStep: $to, samples: $rows) } }
}"""
_EXPORTS = """query MultitrackExports($entity: String!, $project: String!, $run: String!) {
    project(name: $project, entityName: $entity) { run(name: $run) { parquetHistory(liveKeys: ["_step"]) { parquetUrls } } }
}"""

Row = Mapping[str, Any]
Fetch = Callable[[int, int], list[Row]]
"""Returns the rows from one step up to, and without, another."""


class Scanner:
    """Reads histories from one service, and learns what it can do. Threads may share it."""

    def __init__(self, reader: Reader, *, page: int = PAGE) -> None:
        self._reader = reader
        self._page = page
        self._exports: bool | None = None
        """Whether the service knows of exported histories; None: it was not asked."""

    def rows(self, run: Address, count: int, last_step: int) -> Iterator[Row]:
        """Yield every row, in the order of its steps.

        Args:
            run: the run.
            count: how many rows the service says there are.
            last_step: the largest step.

        Raises:
            TransientError: the service gave fewer rows than there are. It is asked in smaller pages from now on.
        """
        if not count:
            return
        read = 0
        for row in self._rows(run, count, last_step):
            read += 1
            yield row
        if read < count:
            self._lament(run, read, count)

    def _rows(self, run: Address, count: int, last_step: int) -> Iterator[Row]:
        end = last_step + 1
        if count < self._page:
            rows = self._ask(run, 0, end)
            if len(rows) >= count:
                yield from rows
                return
        if end <= FARTHEST and self._has_exports(run):
            with _cache_as_it_was(run), self._opened(run) as fetch:
                yield from walk(fetch, end=end, rows=self._page, count=count, widest=WIDEST)
        else:
            yield from walk(lambda start, stop: self._ask(run, start, stop), end=end, rows=self._page, count=count, cut=self._page)

    def _lament(self, run: Address, read: int, count: int) -> None:
        told = f"W&B gave {read} of the {count} rows of run {run.run}'s history"
        if self._page > SMALL_PAGE:
            self._page = SMALL_PAGE
            raise TransientError(f"{told}; it is asked in smaller pages from now on")
        _log.warning("wandb: %s", told)

    # -- by ranges of steps --------------------------------------------------------------------------------------------------------

    def _ask(self, run: Address, start: int, stop: int) -> list[Row]:
        answer = self._reader.ask(
            _HISTORY, entity=run.entity, project=run.project, run=run.run, **{"from": start, "to": stop, "rows": self._page}
        )
        found = (answer["project"] or {}).get("run")
        if found is None:
            raise PermanentError(f"run {run.run} is no longer in W&B's project {run.entity}/{run.project}")
        return [json.loads(row) for row in found["history"] or ()]

    # -- from exports ----------------------------------------------------------------------------------------------------------------

    def _has_exports(self, run: Address) -> bool:
        if self._exports is False:
            return False
        try:
            answer = self._reader.ask(_EXPORTS, entity=run.entity, project=run.project, run=run.run)
        except PermanentError as error:
            if "parquetHistory" not in str(error):
                raise
            self._exports = False
            return False
        self._exports = True
        found = ((answer["project"] or {}).get("run") or {}).get("parquetHistory")
        return bool(found and found["parquetUrls"])

    @contextmanager
    def _opened(self, run: Address) -> Iterator[Fetch]:
        """Have wandb-core fetch the exported files; it merges them with what came after, and forgets them at the end."""
        from wandb.proto import wandb_api_pb2 as pb

        def request(**asked: Any) -> Any:
            answer = self._reader.request(pb.ApiRequest(read_run_history_request=pb.ReadRunHistoryRequest(**asked)))
            return answer.read_run_history_response

        # Never from wandb's cache: its files have numbers for names, and which is which changes from one answer to the next.
        begun = pb.ScanRunHistoryInit(entity=run.entity, project=run.project, run_id=run.run, use_cache=False)
        number = request(scan_run_history_init=begun).scan_run_history_init.request_id

        def fetch(start: int, stop: int) -> list[Row]:
            asked = pb.ScanRunHistory(min_step=start, max_step=stop, request_id=number)
            rows = request(scan_run_history=asked).run_history.history_rows
            return [{item.key: json.loads(item.value_json) for item in row.history_items} for row in rows]

        try:
            yield fetch
        finally:
            request(scan_run_history_cleanup=pb.ScanRunHistoryCleanup(request_id=number))


def walk(fetch: Fetch, *, end: int, rows: int, count: int, widest: int = 2**63 - 1, cut: int | None = None) -> Iterator[Row]:
    """Yield the rows of all steps up to `end`, about `rows` at a time.

    Args:
        fetch: asks for a range.
        end: the step behind the last one.
        rows: how many rows a range should hold.
        count: how many there are, from which the first range's width is guessed; later ones are as wide as the rows before were apart.
        widest: how many steps a range may have.
        cut: as many rows as this mean that the range may hold more, and is asked for again, half as wide.
    """
    width = max(min(end * rows // (2 * max(count, 1)), widest), 1)
    start = 0
    while start < end:
        stop = min(start + width, end)
        found = fetch(start, stop)
        if cut is not None and len(found) >= cut and stop - start > 1:
            width = max((stop - start) // 2, 1)
            continue
        yield from found
        start = stop
        width = min(width * 2, widest) if len(found) < rows // 2 else max(width * 3 // 4, 1) if len(found) > rows else width


@contextmanager
def _cache_as_it_was(run: Address) -> Iterator[None]:
    """Remove what wandb-core leaves of a run's exported history in wandb's cache, but for what was there before."""
    folder = _cache_folder()
    pattern = f"{run.entity}_{run.project}_{run.run}_"

    def there() -> set[Path]:
        return {file for file in folder.glob("*.runhistory.parquet") if file.name.startswith(pattern)} if folder.is_dir() else set()

    before = there()
    try:
        yield
    finally:
        for file in there() - before:
            file.unlink(missing_ok=True)


def _cache_folder() -> Path:
    """Return where wandb-core keeps exported histories."""
    told = os.environ.get("WANDB_CACHE_DIR")
    if told:
        return Path(told)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "wandb" / "runhistory"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wandb" / "runhistory"
