"""The container that this process runs in, and its image where something inside tells it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_IMAGE_VARIABLES = ("CONTAINER_IMAGE", "DOCKER_IMAGE", "IMAGE_NAME")
"""A container does not know its image; these are the variables that people and platforms tell it by."""

_IN_CGROUP = (
    (r"kubepods", "kubernetes"),
    (r"/docker(/|-[0-9a-f]{12})", "docker"),
    (r"/libpod|/podman", "podman"),
    (r"/lxc[./]", "lxc"),
    (r"containerd", "containerd"),
)


def find_container(env: Mapping[str, str], root: Path = Path("/")) -> tuple[str | None, str | None]:
    """Return which kind of container this is, and its image; None where there is none, or nothing tells. `root` is where `proc` is."""
    kind, image = _find(env, root)
    if kind is not None and image is None:
        image = next((env[name] for name in _IMAGE_VARIABLES if env.get(name)), None)
    return kind, image


def _find(env: Mapping[str, str], root: Path) -> tuple[str | None, str | None]:
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        if env.get(name):
            return name.partition("_")[0].lower(), env[name]
    if env.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes", None
    if (root / "run/.containerenv").exists():
        return "podman", _podman_image(root / "run/.containerenv")
    if (root / ".dockerenv").exists():
        return "docker", None
    if env.get("container"):  # set by systemd's conventions: podman, lxc, systemd-nspawn, ...
        return env["container"], None
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, None
    return next((kind for pattern, kind in _IN_CGROUP if re.search(pattern, groups)), None), None


def _podman_image(path: Path) -> str | None:
    try:
        match = re.search(r'^image="?([^"\n]+)"?$', path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return match[1] if match else None
