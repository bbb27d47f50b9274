"""`multitrack config`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from ..config import Settings, Target

_SHOWN = ("backends", "mode", "dir", "project", "quiet", "finish_timeout", "quota", "run_id")


def config(as_json: AsJson = False) -> None:
    """Show the settings that hold here, and where they come from.

    Secrets are shown as ***.
    """
    from ..config import load_settings

    settings = load_settings(Path.cwd(), os.environ)
    described = {
        "settings": [_describe_setting(settings, name) for name in _SHOWN],
        "targets": [_describe_target(target, used) for target, used in _all_targets(settings)],
        "notices": list(settings.notices),
    }
    if as_json:
        print_json(described)
    else:
        _print(described)


def _all_targets(settings: Settings) -> list[tuple[Target, bool]]:
    """Return the targets that runs go to, and then those that the files define besides. A target that cannot be used raises."""
    used = {target.name for target in settings.targets}
    others = [settings.target(name, installed=False) for name in settings.sources.target_names() if name not in used]
    return [(target, True) for target in settings.targets] + [(target, False) for target in others]


def _describe_setting(settings: Settings, name: str) -> dict[str, Any]:
    value = getattr(settings, name)
    if name == "backends":
        value = list(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return {"name": name, "value": value, "origin": str(settings.origins[name])}


def _describe_target(target: Target, used: bool) -> dict[str, Any]:
    public, secrets = target.public(), target.secrets()
    values = {"location": target.location, **public["settings"], **dict.fromkeys(secrets, "***"), **public["filters"]}
    return {
        "name": target.name,
        "backend": target.backend,
        "used": used,
        "values": [{"name": name, "value": value, "origin": _origin(target, name)} for name, value in values.items()],
    }


def _origin(target: Target, name: str) -> str:
    return str(target.origins[name]) if name in target.origins else "default"


def _print(described: dict[str, Any]) -> None:
    rows = [(item["name"], _text(item["value"]), item["origin"]) for item in described["settings"]]
    for target in described["targets"]:
        state = "" if target["used"] else " (not used)"
        rows.append((target["name"], target["backend"] + state, ""))
        rows += [(f"  {item['name']}", _text(item["value"]), item["origin"]) for item in target["values"]]
    print_table(("SETTING", "VALUE", "FROM"), rows)
    for notice in described["notices"]:
        print(f"note: {notice}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)
