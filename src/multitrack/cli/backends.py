"""`multitrack backends`"""

from __future__ import annotations

from typing import Any

from .output import AsJson, print_json, print_table


def backends(as_json: AsJson = False) -> None:
    """List the backends, what they can do, and what they lack."""
    from ..registry import backend_names

    found = [describe_backend(name) for name in backend_names()]
    if as_json:
        print_json(found)
        return
    rows = [(item["name"], item["label"] or "-", _abilities(item), _state(item)) for item in found]
    print_table(("BACKEND", "SERVICE", "CAN", "STATE"), rows)


def describe_backend(name: str) -> dict[str, Any]:
    """Return what there is to know of a backend without its packages; a broken one has an `error`."""
    from ..errors import ConfigError
    from ..registry import find_backend, install_line, missing_packages

    try:
        cls = find_backend(name)
    except ConfigError as error:
        return {"name": name, "label": None, "installed": False, "missing": [], "install": None, "error": str(error)}
    missing = missing_packages(cls)
    return {
        "name": name,
        "label": cls.label,
        "installed": not missing,
        "missing": list(missing),
        "install": install_line(cls) if missing else None,
        "error": None,
        "writes": cls.capabilities.writes,
        "reads": cls.capabilities.reads,
        "kinds": sorted(cls.capabilities.kinds),
        "settings": list(cls.settings_type.model_fields),
    }


def _abilities(item: dict[str, Any]) -> str:
    return ", ".join(word for word in ("writes", "reads") if item.get(word)) or "-"


def _state(item: dict[str, Any]) -> str:
    if item["error"]:
        return f"broken: {item['error']}"
    if item["installed"]:
        return "ready"
    return item["install"] or f"missing: {', '.join(item['missing'])}"
