"""The end of a run at a service: the attached records, status and end, and the completion marker last of all."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..adapt import Adapter, Losses
from ..backend import TAG_COMPLETE, Capabilities, Conclusion, Entry, Sink
from ..config.filters import Filters
from ..journal import Journal, Verdict
from ..records import RunFinished, RunStatus
from .attachment import Attachment
from .ledger import Committed, Ledger


@dataclass(frozen=True)
class Closing:
    """How one run is concluded at one target."""

    journal: Journal
    ledger: Ledger
    filters: Filters
    capabilities: Capabilities
    attach: bool
    """Whether the run's neutral records go along."""
    version: str | None
    """The source's version of the run; the journal's if None."""

    def conclude(self, sink: Sink, committed: Committed, marker: str | None, losses: Losses) -> None:
        """Bring the run to its end.

        Args:
            committed: everything that the journal holds.
            marker: the completion marker that the service had when the sink was opened.
            losses: what is lost here is added to it.
        """
        if self.journal.is_part():
            self._conclude_part(sink, marker)
        else:
            self._conclude_run(sink, committed, losses)

    def _conclude_part(self, sink: Sink, marker: str | None) -> None:
        """The run ends where its first rank is. If it has ended there before we came, leave it as whole as it was."""
        if marker is not None:
            told = json.loads(marker)
            sink.finish(Conclusion(told["status"], told.get("ended"), None, {}, {TAG_COMPLETE: marker}, deleted=False))

    def _conclude_run(self, sink: Sink, committed: Committed, losses: Losses) -> None:
        verdict = self.journal.verdict()
        status = self._fit_status(verdict, losses)
        version = self.version or self.journal.version()
        with Attachment(self.journal, self.ledger, self.filters, enabled=self.attach) as attachment:
            sink.finish(
                Conclusion(
                    status=status,
                    time=verdict.ended,
                    error=verdict.error,
                    files=attachment.files,
                    tags=attachment.marker(records=committed.records, points=committed.points, verdict=verdict, version=version),
                    deleted=verdict.deleted,
                )
            )

    def _fit_status(self, verdict: Verdict, losses: Losses) -> RunStatus:
        """Return the run's status as the service can hold it. A verdict that no record tells (`crashed`) is adapted here."""
        if verdict.status in ("running", "scheduled"):
            return verdict.status
        ending = RunFinished.model_validate({"time": verdict.ended or 0, "status": verdict.status})
        adapted = Adapter(self.capabilities).adapt([Entry("", 0, ending)])
        known = {(loss.kind, loss.subject) for loss in losses}
        losses.extend(loss for loss in adapted.losses if (loss.kind, loss.subject) not in known)
        return next((entry.record.status for entry in adapted.entries if isinstance(entry.record, RunFinished)), "failed")
