"""Files that belong to a run, and the models among them."""

from __future__ import annotations

from typing import Literal

from .base import Microseconds, ParamValue, Record, Struct


class Artifact(Record):
    """A file, or a reference to one. Of several with one `name` the last one counts.

    The content of a file lies in the journal's `artifacts/` folder under its `sha256`; a reference has a `uri` and no content.
    """

    kind: Literal["artifact"] = "artifact"
    name: str
    """A relative path with forward slashes."""
    sha256: str | None = None
    size: int | None = None
    """Bytes."""
    media_type: str | None = None
    uri: str | None = None
    step: int | float | None = None
    type: str | None = None
    """What it is to people: `model`, `dataset`, `figure`, ..."""
    metadata: dict[str, ParamValue] = {}


class ModelScore(Struct):
    """A metric of a model at one step, with the data set that it was measured on."""

    name: str
    time: Microseconds
    value: int | float
    step: int | None = None
    data_name: str | None = None
    data_digest: str | None = None


class Model(Record):
    """A model that the run produced, or used. Its files are the artifacts whose names start with `path` and a slash."""

    kind: Literal["model"] = "model"
    name: str
    id: str
    """The model's id where it comes from."""
    path: str
    role: Literal["output", "input", "unlisted"] = "output"
    """`unlisted`: it comes from the run, which does not list it among its outputs."""
    type: str | None = None
    """The framework's word for it, for example `sklearn`."""
    status: str | None = None
    status_message: str | None = None
    step: int | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    scores: list[ModelScore] = []
