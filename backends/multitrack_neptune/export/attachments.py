"""A run's files as artifacts: what each is called, and where its content is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

from multitrack.errors import PermanentError
from multitrack.records import Artifact, ArtifactRef, Microseconds, Points, Record, Step
from multitrack.records.media_names import media_name

from .. import names
from ..attributes import Attributes
from .columns import flat, microseconds, steps
from .files import Place, locate, members
from .series import CHUNK, Names
from .table import VALUES, Part

Content = Place | str
"""Where a content is; or why it cannot be had."""


@dataclass
class Attachments:
    """Makes the artifacts of one run.

    Attributes:
        attributes: the run's.
        folder: what the paths of its files are relative to.
        names: what its series are called.
        contents: by the artifacts' names; filled as they are made.
        notices: what was noticed; filled as well.
    """

    attributes: Attributes
    folder: Path
    names: Names
    contents: dict[str, Content] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    _owners: dict[str, str] = field(default_factory=dict)
    """Attributes by the file that was exported for them."""

    def modules(self) -> Iterator[Artifact]:
        """Yield the source files, each with its content's digest: the code version refers to them."""
        path = self.attributes.get("source_code/files", "file_set")
        if path is None:
            return
        try:
            for name, place in members(self.folder, path).items():
                sha256, size = place.digest()
                yield self._artifact(names.CODE_FILES + name, "file_set", place, sha256=sha256, size=size, metadata={"path": name})
        except PermanentError as error:
            yield self._artifact("source_code/files", "file_set", str(error))

    def single(self) -> Iterator[Artifact]:
        """Yield the files and file sets, and the lists of files that Neptune's artifacts are."""
        for path, kind, value in sorted(self.attributes, key=lambda item: (item.path, item.type)):
            if kind not in names.FILES or (path, kind) == ("source_code/files", "file_set"):
                continue
            self._note_owner(path, value)
            try:
                if kind == "file_set":
                    for name, place in members(self.folder, value).items():
                        yield self._artifact(f"{path}/{name}", kind, place, size=place.size())
                    continue
                place = Place(locate(self.folder, value))
            except PermanentError as error:
                yield self._artifact(path, kind, str(error))
            else:
                yield self._artifact(_name(path, kind, value), kind, place, size=place.size())

    def content(self, path: str, *kinds: str) -> bytes | None:
        """Return the content of a file attribute; None if there is none that can be read."""
        value = self.attributes.get(path, *kinds)
        if value is None:
            return None
        try:
            return Place(locate(self.folder, value)).read()
        except PermanentError:  # told when the artifact is fetched
            return None

    def of_ancestor(self, attributes: Attributes) -> Attachments:
        """Return what makes artifacts of the files of a run that this one forked from. Both have one project, and so one folder."""
        return Attachments(attributes, self.folder, self.names, self.contents, self.notices, self._owners)

    # -- file series

    def series(self, parts: Sequence[Part], *, until: Decimal | None = None) -> Iterator[Record]:
        """Yield the files of series up to a step, each an artifact with its own; images are points of a metric as well."""
        columns: dict[str, _Column] = {}
        kind = names.FILE_SERIES
        for part in parts:
            for table in part.rows({kind}, columns=["step", "timestamp", VALUES[kind]]):
                times = microseconds(flat(table["timestamp"]), self.attributes.started)
                rows = zip(
                    table["attribute_path"].to_pylist(), steps(flat(table["step"])), times, table[VALUES[kind]].to_pylist(), strict=True
                )
                for path, step, time, value in rows:
                    if value is None or (until is not None and (step is None or step > until)):
                        continue
                    column = columns.setdefault(path, _Column(self.names.of(path, kind)))
                    yield self._frame(column, step, time, value["path"])
                    if len(column.times) == CHUNK:
                        yield column.take()
        yield from (column.take() for column in columns.values() if column.times)
        if columns and self.attributes.client == "1.x":
            self.notices.append(
                f"the steps of the file series {', '.join(map(repr, sorted(columns)))} are positions: "
                "neptune-exporter does not export those that were logged"
            )

    def _frame(self, column: _Column, step: Step | None, time: Microseconds, path: str) -> Artifact:
        """Return the artifact of one file of a series, and add an image to the points."""
        suffix = PurePosixPath(path.replace("\\", "/")).suffix
        name = f"{column.name}/{'none' if step is None else step}{suffix}"
        try:
            place = Place(locate(self.folder, path))
            image = place.image()
            if image is None:
                return self._artifact(name, names.FILE_SERIES, place, time=time, step=step, size=place.size())
            sha256, size = place.digest()
        except PermanentError as error:
            return self._artifact(name, names.FILE_SERIES, str(error), time=time, step=step)
        name = media_name("image", column.name, step, sha256, image[0])
        column.add(step, time, ArtifactRef(name=name, sha256=sha256, media_type=image[1]))
        more: dict[str, Any] = {"type": "image", "media_type": image[1], "metadata": {"metric": column.name}}
        self.contents[name] = place  # one image at one step may be there twice: it is one file
        return Artifact(time=time, name=name, step=step, sha256=sha256, size=size, **more)

    # -- names

    def _artifact(self, name: str, kind: str, content: Content, time: Microseconds | None = None, **fields: Any) -> Artifact:
        """Return an artifact under a name of its own."""
        free, number = name, 1
        while free in self.contents:
            free, number = f"{name}:{kind}" if number == 1 else f"{name}:{kind}:{number}", number + 1
        self.contents[free] = content
        return Artifact(time=self.attributes.started if time is None else time, name=free, **fields)

    def _note_owner(self, path: str, file: str) -> None:
        owner = self._owners.setdefault(file, path)
        if owner != path:
            self.notices.append(f"{owner!r} and {path!r} were exported to one file, {file!r}: the content of one of them is lost")


@dataclass
class _Column:
    """The points of an image series."""

    name: str
    steps: list[Step | None] = field(default_factory=list)
    times: list[Microseconds] = field(default_factory=list)
    values: list[ArtifactRef] = field(default_factory=list)

    def add(self, step: Step | None, time: Microseconds, value: ArtifactRef) -> None:
        self.steps.append(step)
        self.times.append(time)
        self.values.append(value)

    def take(self) -> Points:
        """Return the points that have come together, and begin anew."""
        taken = Points(time=self.times[0], name=self.name, steps=self.steps, times=self.times, values=list(self.values))
        self.steps, self.times, self.values = [], [], []
        return taken


def _name(path: str, kind: str, file: str) -> str:
    """Return what a file's artifact is called: as its attribute, with the ending that the exporter knew."""
    if kind == "artifact":
        return f"{path}/{names.FILES_LIST}"
    suffix = PurePosixPath(file.replace("\\", "/")).suffix
    return path if path.endswith(suffix) else path + suffix
