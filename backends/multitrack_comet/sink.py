"""The sink: one run as one experiment at Comet.

Everything is written by synchronous calls, so what has returned is acknowledged. Params, others, tags and assets count once by their names
and ids; points and console lines do not, so after an end without a word what is there is read back (`arrived`).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from multitrack.backend import TAG_COMPLETE, TAG_RUN_ID, Batch, Conclusion, Position, Rejection, Sink
from multitrack.errors import BackendError, PermanentError
from multitrack.records import Artifact, LogLines, RunStarted

from . import encode, names
from .arrived import OTHER_POSITION, Arrived, Doubt, Standing, lead_of
from .client import ExperimentConnection, default_workspace, find_login, rest_client
from .encode import Asset, Content, Line
from .location import place_of
from .reader import ExperimentReader
from .settings import CometSettings

_STATES = {"scheduled": "running", "running": "running", "finished": "finished"}
"""Comet: an experiment runs, has finished, or crashed; our own word for it stands in an other."""


class CometSink(Sink):
    """One run at Comet's service."""

    def __init__(self, location: str | None, settings: CometSettings) -> None:
        self._place = place_of(location)
        self._settings = settings
        self._connection: ExperimentConnection | None = None
        self._doubt = Doubt(None)
        self._arrived: Arrived | None = None
        self._may_note = False
        """Whether the last thing that was asked of Comet went well."""
        self._console: tuple[int, dict[Line, LogLines]] = (0, {})

    # -- the contract -------------------------------------------------------------------------------------------------

    def open(self, run: RunStarted) -> Position:
        """Create the experiment whose key is the run's id, or find it.

        A run that was migrated from Comet finds the original under that key, where both are at one service: then it has a key of its own.

        Raises:
            PermanentError: somebody else has made an experiment of this key; the workspace does not exist.
        """
        self._run = run
        login = find_login(self._settings)
        workspace, project = self._place.workspace or default_workspace(self._settings), self._place.project or run.project
        keys = [run.id] if run.origin is None else [run.id, _second_key(run, workspace, project)]
        for key in keys:
            self._let_go()
            self._connection = experiment = ExperimentConnection(login, key)
            self._reader = ExperimentReader(rest_client(login), login.root)
            if experiment.open(workspace, project):
                position = self._begin_new() if experiment.created else self._take_up()
                if position is not None:
                    self._may_note = True
                    return position
        raise PermanentError(f"Comet has an experiment {keys[-1]} already, which multitrack has not made for this run; give it another id")

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._reader.close()

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Write a batch. When this returns, Comet has it."""
        lead = lead_of(batch)
        in_doubt = self._doubt.begin(batch.number, lead)
        self._begin()
        if self._doubt.standings.get(lead, Standing()).settled:
            self._note(lead, replace(self._doubt.standings[lead], settled=False))
        if in_doubt and self._arrived is None:
            self._arrived = Arrived(self._reader, self._experiment.key)
        arrived = self._arrived if in_doubt else None
        content = encode.encode_entries(batch.entries)
        self._write_run(content)
        self._experiment.log_points(content.points if arrived is None else arrived.missing_points(content.points))
        self._write_code_and_machine(content)
        rejections = self._upload_all(content, batch, arrived)
        self._write_console(batch.number, content.console, arrived)
        if arrived is not None and arrived.found:
            self._doubt.find(batch.number, lead)
        self._note(lead, Standing(max(self._doubt.standings.get(lead, Standing()).batches, batch.number)))
        self._doubt.end(batch.number, was_in_doubt=in_doubt)
        self._may_note = True
        return rejections

    def flush(self) -> Position:
        """Return at once: what was written is there. How many batches that are is for Delivery to know, since a batch may come in parts."""
        return Position(batches=None)

    def finish(self, conclusion: Conclusion) -> None:
        """Upload the files, set state, end and error, and set the tags last of all."""
        self._begin()
        files: dict[str, Path | bytes] = {**conclusion.files, **encode.long_text(names.OTHER_ERROR, conclusion.error)}
        for name, file in files.items():
            self._upload(encode.document(self._run.id, name, self._run.time), file)
        others: dict[str, str] = {names.OTHER_STATUS: conclusion.status}
        if conclusion.error is not None or names.OTHER_ERROR in self._others:
            others[names.OTHER_ERROR] = names.REMOVED if conclusion.error is None else encode.error_text(conclusion.error)
        self._set_others(others)
        state = _STATES.get(conclusion.status, "crashed")
        self._experiment.set_state(state)
        if state != "running":
            self._experiment.set_times(self._run.time // 1000, None if conclusion.time is None else conclusion.time // 1000)
        self._doubt.is_anew = False
        for lead, standing in self._doubt.standings.items():
            if standing.anew:
                self._note(lead, standing)
        self._set_others(dict(conclusion.tags))
        if conclusion.deleted:
            self._experiment.archive()
            self._is_archived = True
        self._may_note = True

    def url(self) -> str | None:
        """Return the experiment's page."""
        return self._experiment.url

    def close(self) -> None:
        """Note that nothing is under way, if that is so, and let go of the connections."""
        if self._connection is None:
            return
        if self._may_note:
            with suppress(BackendError):  # then the next sink reads back what is there
                for lead in sorted(self._doubt.noted):
                    self._note(lead, replace(self._doubt.standings[lead], settled=True))
        self._let_go()

    # -- the run ------------------------------------------------------------------------------------------------------

    @property
    def _experiment(self) -> ExperimentConnection:
        if self._connection is None:
            raise RuntimeError("open comes first")
        return self._connection

    def _begin_new(self) -> Position:
        self._is_archived = False
        self._others: dict[str, str] = {}
        self._tags: set[str] = set()
        self._doubt = Doubt(None)
        self._claim()
        return Position(batches=0)

    def _take_up(self) -> Position | None:
        """Return what the experiment holds; None where it is not this run's."""
        key = self._experiment.key
        metadata = self._reader.metadata(key)
        if metadata is None:
            return None
        self._others, self._tags = self._reader.others(key), set(self._reader.tags(key))
        if self._others.get(TAG_RUN_ID) != self._run.id and not self._is_empty():
            return None
        self._is_archived = bool(metadata.get("archived"))
        self._doubt = Doubt(self._others)
        if TAG_RUN_ID not in self._others:
            self._claim()
        marker = self._others.get(TAG_COMPLETE)
        return Position(batches=None, marker=None if marker == names.REMOVED else marker)

    def _claim(self) -> None:
        """Say whose experiment it is, and when the run started."""
        self._set_others({TAG_RUN_ID: self._run.id})
        self._experiment.set_times(self._run.time // 1000, None)

    def _is_empty(self) -> bool:
        """Return whether the experiment is as it was when it was made: whoever made it for this run did not come further."""
        return not (self._others.keys() - {names.OTHER_NAME} or self._tags or self._reader.has_metrics(self._experiment.key))

    def _begin(self) -> None:
        """Before anything is under way: a run that goes on is not archived any more."""
        was_sure, self._may_note = self._may_note, False
        if self._is_archived:
            self._experiment.restore()
            self._is_archived = False
        if not was_sure:  # something failed in the middle: what is there must be read anew
            self._arrived = None

    def _note(self, lead: str, standing: Standing) -> None:
        standing = replace(standing, anew=self._doubt.is_anew)
        self._experiment.log_other(OTHER_POSITION + lead, str(standing))
        self._doubt.standings[lead] = standing
        self._doubt.noted.add(lead)

    def _write_run(self, content: Content) -> None:
        """Write what the run is called, its params, tags and others."""
        if self._others.get(TAG_COMPLETE, names.REMOVED) != names.REMOVED:
            self._set_others({TAG_COMPLETE: names.REMOVED})
        held = self._tags | self._others.keys()
        bare, others = encode.split_tags(content.tags, held)
        removed = [name for name, value in content.tags.items() if value != names.BARE and value is not None and name in self._tags]
        if removed:
            self._experiment.remove_tags(removed)
            self._tags.difference_update(removed)
        if bare:
            self._experiment.add_tags(bare)
            self._tags.update(bare)
        self._set_others({**others, **content.others})
        if content.params:
            self._experiment.log_params(content.params, self._run.time // 1000)
        if content.status is not None:
            self._set_others({names.OTHER_STATUS: content.status})
            self._experiment.set_state("running")

    def _set_others(self, others: Mapping[str, str]) -> None:
        for name, value in others.items():
            if self._others.get(name) != value:
                self._experiment.log_other(name, value)
                self._others[name] = value

    def _write_code_and_machine(self, content: Content) -> None:
        if content.git is not None:
            self._experiment.set_git(content.git)
        if content.patch is not None:
            self._experiment.set_patch(_zipped(content.patch))
        if content.file_name:
            self._experiment.set_file_name(content.file_name)
        if content.packages is not None:
            self._experiment.set_packages(content.packages)
        if content.system is not None:
            self._experiment.set_system_details(content.system)

    # -- console ------------------------------------------------------------------------------------------------------

    def _write_console(self, number: int, console: Mapping[Line, LogLines], arrived: Arrived | None) -> None:
        """Write console lines, for people as output, and with their times into a file of the batch.

        The file comes last: where it is, the output is.
        """
        if not console:
            return
        known = self._console[1] if self._console[0] == number else {}
        everything = {**known, **console}
        file = encode.document(self._run.id, encode.console_file(number), self._run.time)
        content = encode.console_bytes(everything)
        if arrived is None or _asset_id(file, content) not in arrived.assets:
            lines = encode.console_output(console)
            self._experiment.log_output(lines if arrived is None else arrived.missing_lines(lines))
            self._upload(file, content)
        self._console = (number, everything)

    # -- files --------------------------------------------------------------------------------------------------------

    def _upload_all(self, content: Content, batch: Batch, arrived: Arrived | None) -> list[Rejection]:
        there = arrived.assets if arrived is not None else set()
        for name, document in content.documents.items():
            self._upload(encode.document(self._run.id, name, self._run.time), document, there)
        rejections = []
        for entry, artifact in content.artifacts.values():
            reason = self._why_not(artifact)
            if reason is not None:
                rejections.append(Rejection(entry.writer, entry.seq, reason))
            elif artifact.sha256 is not None:
                self._upload(encode.asset(self._run.id, artifact), batch.files(artifact), there, digest=artifact.sha256)
            elif artifact.uri is not None:
                asset = encode.asset(self._run.id, artifact)
                self._experiment.link(asset, _asset_id(asset, artifact.uri.encode("utf-8", "surrogatepass")), artifact.uri)
        return rejections

    def _why_not(self, artifact: Artifact) -> str | None:
        limit = self._experiment.upload_limit
        if limit is None or artifact.sha256 is None or (artifact.size or 0) <= limit:
            return None
        return f"artifact {artifact.name!r} has {artifact.size:,} bytes; this Comet takes files of up to {limit:,}"

    def _upload(self, asset: Asset, content: Path | bytes, there: set[str] | frozenset[str] = frozenset(), *, digest: str = "") -> None:
        asset_id = _asset_id(asset, content, digest)
        if asset_id not in there:
            self._experiment.upload(asset, asset_id, content)


def _second_key(run: RunStarted, workspace: str | None, project: str) -> str:
    """Return the key of a copy: always the same for the same run in the same place."""
    return hashlib.sha256(f"{run.id}\0{workspace}\0{project}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _asset_id(asset: Asset, content: Path | bytes, digest: str = "") -> str:
    """Return the id of an asset with this content: Comet keeps what came first under an id."""
    if not digest:
        data = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        with data as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    details = repr((asset.name, asset.type, asset.step, dict(asset.metadata)))
    return hashlib.sha256(f"{asset.id}\0{digest}\0{details}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _zipped(patch: bytes) -> bytes:
    """Return a patch as Comet keeps it: the same bytes each time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(names.PATCH_MEMBER, (1980, 1, 1, 0, 0, 0)), patch, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
