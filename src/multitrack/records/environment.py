"""On which machine and software."""

from __future__ import annotations

from typing import Literal

from .base import ArtifactRef, Omission, ParamValue, Record, Struct


class Gpu(Struct):
    """One visible accelerator."""

    name: str
    memory: int | None = None
    """Bytes."""
    uuid: str | None = None
    number: int | None = None
    """The N of `/dev/nvidiaN`, and of the metrics `system/gpu_N_...`."""
    mig: int | None = None
    """Where the accelerator is a part of one (NVIDIA MIG), which one."""


class PackageSource(Struct):
    """Where an installed distribution comes from, if not from an index. In the words of PEP 610."""

    kind: Literal["vcs", "archive", "local", "editable"]
    """A version control system; a file at a URL; a file or folder of the machine; a folder of the machine that is imported as it is."""
    url: str
    """Without credentials; of what is on the machine a path."""
    vcs: str | None = None
    """For example `git`."""
    commit: str | None = None
    """Of an editable folder in a git repository, the one that is checked out."""
    requested: str | None = None
    """Branch, tag or commit that was asked for."""
    subdirectory: str | None = None
    """Of the repository or archive, where the distribution lies."""
    digest: str | None = None
    """Of an archive: `sha256=...`."""


class Environment(Record):
    """The machine and the software. Of several in one run (one per node) each counts for its `host`."""

    kind: Literal["environment"] = "environment"
    host: str | None = None

    python: str | None = None
    """Version, for example `3.11.7`."""
    implementation: str | None = None
    executable: str | None = None
    prefix: str | None = None
    """The folder of the Python environment."""
    prefix_kind: Literal["venv", "conda", "system"] | None = None
    packages: dict[str, str] = {}
    """Installed distributions: name to version."""
    sources: dict[str, PackageSource] = {}
    """Of those that come from elsewhere than an index: name to source."""
    installers: dict[str, int] = {}
    """How many distributions pip, uv, conda, ... say that they have installed."""
    conda_packages: list[str] = []
    """Of a conda environment, all that is in it: `name=version=build`."""
    lock_files: list[ArtifactRef] = []
    """Lock files of the project, as they are: artifacts `environment/<file>`."""

    os: str | None = None
    distribution: str | None = None
    """Of the operating system: `Debian GNU/Linux 12 (bookworm)`."""
    libc: str | None = None
    """For example `glibc 2.36`."""
    architecture: str | None = None
    """For example `x86_64`."""
    cpu: str | None = None
    cpu_count: int | None = None
    """Logical processors."""
    cpu_physical: int | None = None
    """Cores."""
    cpu_affinity: int | None = None
    """Logical processors that the process may use."""
    cpu_limit: float | None = None
    """Processors' worth of time that the control groups allow; None: any."""
    memory: int | None = None
    """Bytes."""
    memory_limit: int | None = None
    """Bytes that the control groups allow; None: any."""
    gpus: list[Gpu] = []
    driver: str | None = None
    """Of the accelerators: version."""
    cuda: str | None = None
    """The latest version that the driver supports."""
    container: str | None = None
    """Which kind: docker, podman, apptainer, kubernetes, ..."""
    image: str | None = None
    """Of the container, where it can be known."""

    scheduler: dict[str, ParamValue] = {}
    """The batch system's and launcher's words for this job and process: Slurm, PBS, LSF, Kubernetes, Ray, torchrun, MPI."""
    variables: dict[str, str] = {}
    """Selected environment variables, never all of them."""
    omitted: list[Omission] = []
    """What could not be found out, or is kept out."""
