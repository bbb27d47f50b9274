"""On which machine and software."""

from __future__ import annotations

from typing import Literal

from .base import ParamValue, Record, Struct


class Gpu(Struct):
    """One visible accelerator."""

    name: str
    memory: int | None = None
    """Bytes."""


class Environment(Record):
    """The machine and the software. Of several in one run (one per node) each counts for its `host`."""

    kind: Literal["environment"] = "environment"
    host: str | None = None
    python: str | None = None
    """Version, for example `3.11.7`."""
    implementation: str | None = None
    packages: dict[str, str] = {}
    """Installed distributions: name to version."""
    os: str | None = None
    cpu: str | None = None
    cpu_count: int | None = None
    """Logical processors."""
    memory: int | None = None
    """Bytes."""
    gpus: list[Gpu] = []
    driver: str | None = None
    container: str | None = None
    scheduler: dict[str, ParamValue] = {}
    """The batch system's words for this job: Slurm, Kubernetes, Ray, torchrun."""
    variables: dict[str, str] = {}
    """Selected environment variables, never all of them."""
