"""Whether a destination holds what a source holds: every field and every point, read back as the destination itself has them."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from .adapt import Adapter, Losses
from .address import Address
from .backend import TAG_COMPLETE, Backend, Capabilities, Entry, RunFilter, RunRef, Source
from .config import load_settings
from .config.filters import Filters
from .errors import ConfigError, MultitrackError, PermanentError
from .journal.blobs import hash_file
from .migration import make_filter
from .recall import Recalled, recall
from .records import Artifact, Record, RunFinished, RunStatus
from .restore import without_own_marks
from .state import Difference, RunState, compare, fold, merge_equal_points

Verdict = Literal["identical", "identical but for declared losses", "different", "missing", "unreadable"]

_NOT_COMPARED = ("unknown",)


@dataclass(frozen=True)
class Verification:
    """One run, compared."""

    id: str
    project: str
    name: str | None
    verdict: Verdict
    points: int = 0
    """Points of the source's run."""
    losses: Losses = field(default_factory=Losses)
    """What the destination cannot hold as it is, as it was foretold."""
    differences: tuple[Difference, ...] = ()
    """What it does hold, and otherwise than it should."""
    attached: Literal["exact", "different", "none"] = "none"
    """Whether the run restored from its attached records is exactly the source's."""
    complete: bool = True
    """Whether the run has its completion marker."""
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the run is there, whole, and as it should be."""
        return self.verdict.startswith("identical") and self.attached != "different" and self.complete

    def to_json(self) -> dict[str, Any]:
        """Return the verification in terms of JSON."""
        return {
            "id": self.id,
            "project": self.project,
            "name": self.name,
            "verdict": self.verdict,
            "ok": self.ok,
            "points": self.points,
            "attached": self.attached,
            "complete": self.complete,
            "losses": self.losses.to_json(),
            "differences": [{"field": item.field, "expected": item.expected, "actual": item.actual} for item in self.differences],
            "error": self.error,
        }


@dataclass
class VerificationReport:
    """What a verification found. Printed, it tells people."""

    source: str
    destination: str
    runs: list[Verification] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every run is there, whole, and as it should be."""
        return all(run.ok for run in self.runs)

    @property
    def counts(self) -> dict[str, int]:
        """The number of runs by verdict."""
        return dict(Counter(run.verdict for run in self.runs))

    def to_json(self) -> dict[str, Any]:
        """Return the report in terms of JSON."""
        return {
            "source": self.source,
            "destination": self.destination,
            "ok": self.ok,
            "counts": self.counts,
            "runs": [run.to_json() for run in self.runs],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"Verified {self.destination} against {self.source}"
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(self.counts.items())) or "no runs to compare"
        yield f"  runs: {counts}; {sum(run.points for run in self.runs):,} points compared"
        attached = Counter(run.attached for run in self.runs if run.verdict not in ("missing", "unreadable"))
        if attached["exact"]:
            yield f"  {attached['exact']:,} are restored exactly from the records attached to them"
        losses = Losses()
        for run in self.runs:
            losses.extend(run.losses)
        if losses:
            yield "  declared losses:"
            yield from (f"    {line}" for line in losses.lines())
        for run in self.runs:
            yield from _complaints(run)


_SHOWN = 10
"""Differences of one run that are shown to people; programs get all."""


def _complaints(run: Verification) -> Iterator[str]:
    if run.ok:
        return
    label = f"{run.name} ({run.id})" if run.name else run.id
    yield f"  {label}: {run.verdict}" + (f": {run.error}" if run.error else "")
    yield from (f"    {difference}" for difference in run.differences[:_SHOWN])
    if len(run.differences) > _SHOWN:
        yield f"    and {len(run.differences) - _SHOWN:,} more differences"
    if run.attached == "different":
        yield "    the records attached to it do not restore the source's run"
    if not run.complete:
        yield "    its delivery was not completed: run the migration, or sync, again"


def verify(
    source: str | Address,
    destination: str | Address,
    *,
    projects: Sequence[str] | None = None,
    runs: Sequence[str] | None = None,
    tags: Mapping[str, str | None] | None = None,
    statuses: Sequence[RunStatus] | None = None,
    since: datetime | float | None = None,
    until: datetime | float | None = None,
    deleted: bool = False,
    as_recorded: bool = False,
    contents: bool = True,
    source_settings: Mapping[str, Any] | None = None,
    on_plan: Callable[[Sequence[RunRef]], None] = lambda _runs: None,
    on_run: Callable[[Verification], None] = lambda _run: None,
) -> VerificationReport:
    """Compare what a destination holds with what a source holds, run by run. Changes nothing anywhere.

    Args:
        source, destination, projects, ..., as_recorded, source_settings: as for `migrate`.
        contents: whether the contents of artifacts are fetched and compared; without, only names and sizes are.
        on_plan, on_run: told which runs there are to compare, and about each as it has been.

    Raises:
        ConfigError: an address or an argument cannot be used.
        BackendError: a service cannot be reached at all.
    """
    settings = load_settings(Path.cwd(), os.environ)
    origin = source if isinstance(source, Address) else Address.parse(source)
    from_target, to_target = settings.target(origin).with_settings(source_settings or {}), settings.target(destination)
    wanted = make_filter(
        projects=projects,
        runs=[origin.run_id] if origin.run_id else runs,
        tags=tags,
        statuses=statuses,
        since=since,
        until=until,
        deleted=deleted,
    )
    from_backend, to_backend = from_target.connect(), to_target.connect()
    if not from_backend.capabilities.reads or not to_backend.capabilities.reads:
        raise ConfigError(f"{from_target} or {to_target} cannot be read")
    report = VerificationReport(str(from_target), str(to_target))
    with closing(from_backend.source()) as here, closing(to_backend.source()) as there:
        refs = list(here.runs(wanted))
        on_plan(refs)
        found = {run.id: run for run in there.runs(RunFilter(projects=sorted({ref.project for ref in refs}), deleted=True))} if refs else {}
        comparison = Comparison(
            here, from_backend.capabilities, there, to_backend, to_target.filters, contents=contents, as_recorded=as_recorded
        )
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="multitrack-verification") as pool:
            for result in pool.map(lambda ref: comparison.compare(ref, found.get(ref.id)), refs):
                report.runs.append(result)
                on_run(result)
    return report


class Comparison:
    """Compares runs of one source with those of one destination. Safe to use from several threads."""

    def __init__(
        self,
        here: Source,
        here_holds: Capabilities,
        there: Source,
        destination: Backend,
        filters: Filters,
        *,
        contents: bool = True,
        as_recorded: bool = False,
    ) -> None:
        self._here = here
        self._here_holds = here_holds
        self._there = there
        self._holds = destination.capabilities
        self._filters = filters
        self._contents = contents
        self._as_recorded = as_recorded

    def compare(self, ref: RunRef, found: RunRef | None) -> Verification:
        """Compare one run; whatever cannot be read is told, not raised."""
        if found is None:
            return Verification(ref.id, ref.project, ref.name, "missing", error="the destination does not have it", complete=False)
        try:
            return self._compare(ref, found)
        except (MultitrackError, OSError) as error:
            return Verification(ref.id, ref.project, ref.name, "unreadable", error=" ".join(str(error).split()), complete=False)

    def _compare(self, ref: RunRef, found: RunRef) -> Verification:
        here = recall(self._here, ref, self._here_holds, as_recorded=self._as_recorded)
        there = recall(self._there, found, self._holds)
        source = self._as_delivered(here, ref)
        expected, losses = self._expected(here, source)
        actual = without_own_marks(there.native)
        if found.status is not None:
            actual.status, actual.ended = found.status, found.ended
        actual.artifacts = self._complete(actual.artifacts, self._there, found, actual.artifacts)
        # A run that comes from nowhere else says so once it has been moved.
        ignoring = _NOT_COMPARED if expected.origin is not None else (*_NOT_COMPARED, "origin")
        differences = compare(expected, actual, ignoring=ignoring)
        verdict: Verdict = "different" if differences else "identical but for declared losses" if losses else "identical"
        return Verification(
            ref.id,
            ref.project,
            ref.name,
            verdict,
            points=sum(map(len, source.metrics.values())),
            losses=losses,
            differences=tuple(differences),
            attached=self._attached(source, there),
            complete=found.tags.get(TAG_COMPLETE) is not None,
        )

    def _as_delivered(self, here: Recalled, ref: RunRef) -> RunState:
        """Return the source's run as far as the destination was to get it, under the id that it has everywhere."""
        state = without_own_marks(fold(self._passed(here.records)))
        state.id, state.status, state.ended = ref.id, here.state.status, here.state.ended
        names = Adapter(self._here_holds)
        natives = {name: native for name in state.artifacts if (native := here.native_artifact(name, names))}
        state.artifacts = self._complete(state.artifacts, self._here, ref, natives)
        return state

    def _passed(self, records: Iterable[Record]) -> Iterator[Record]:
        return (passed for record in records if (passed := self._filters.apply(record)) is not None)

    def _expected(self, here: Recalled, source: RunState) -> tuple[RunState, Losses]:
        """Return the run as the destination should hold it, and what that loses."""
        records = [*self._passed(here.records), *_verdict(here, source)]
        adapter = Adapter(self._holds)
        adapted = adapter.adapt([Entry("", seq, record) for seq, record in enumerate(records)])
        expected = without_own_marks(fold(entry.record for entry in adapted.entries))
        expected.id = source.id
        for name, artifact in source.artifacts.items():
            there = adapter.artifact_name(name)
            if there in expected.artifacts:
                content = {"sha256": artifact.sha256, "size": artifact.size}
                expected.artifacts[there] = expected.artifacts[there].model_copy(update=content)
        return merge_equal_points(expected) if self._holds.equal_points == "merged" else expected, Losses(adapted.losses)

    def _attached(self, source: RunState, there: Recalled) -> Literal["exact", "different", "none"]:
        if there.attached is None:
            return "none"
        attached = fold(entry.record for entry in there.attached)
        # Contents are compared with what the service holds of them; here they are whatever was recorded.
        differences = compare(source, attached, ignoring=(*_NOT_COMPARED, "artifacts", "origin"))
        return "different" if differences else "exact"

    def _complete(
        self, artifacts: Mapping[str, Artifact], source: Source, ref: RunRef, natives: Mapping[str, Artifact]
    ) -> dict[str, Artifact]:
        """Return the artifacts with the hash and size of their contents, which few services tell; without `contents`, with neither hash."""
        complete: dict[str, Artifact] = {}
        for name, artifact in artifacts.items():
            native = natives.get(name)
            if not self._contents:
                complete[name] = artifact.model_copy(update={"sha256": None})
            elif native is None or native.sha256 is not None or (native.uri is not None and native.size is None):
                complete[name] = artifact
            else:
                complete[name] = artifact.model_copy(update=_hash_content(source, ref, native))
        return complete


def _verdict(here: Recalled, source: RunState) -> Iterator[Record]:
    """Yield the end that no record tells: a run that vanished has crashed."""
    if source.status == "crashed" and not any(isinstance(record, RunFinished) and record.status == "crashed" for record in here.records):
        yield RunFinished(time=source.ended or 0, status="crashed")


def _hash_content(source: Source, ref: RunRef, artifact: Artifact) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="multitrack-") as folder:
        path = Path(folder) / "content"
        try:
            source.fetch(ref, artifact, path)
        except PermanentError:  # lost there: the other side cannot have it either
            return {"sha256": None, "size": None}
        sha256, size = hash_file(path)
        return {"sha256": sha256, "size": size}
