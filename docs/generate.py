"""Write the pages that come from the code: `configuration.md` and `schema.json`. With `--check`, only tell whether they are up to date."""

from __future__ import annotations

import json
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from multitrack.backend import Backend
from multitrack.config.filters import KINDS
from multitrack.config.targets import secret_fields, vendor_variables
from multitrack.config.variables import OTHER_VARIABLES, SETTINGS, Setting
from multitrack.records import json_schema
from multitrack.registry import GROUP, find_backend

DOCS = Path(__file__).parent

CONFIGURATION = """\
# Configuration

<!-- Made by `make docs` from src/multitrack/config/variables.py and the backends' settings. Edit those. -->

Nothing has to be configured: without any setting, runs go to the local store. Each setting is taken from the first of these places that
has it:

1. an argument of `multitrack.init`,
2. an environment variable (an empty one counts as unset),
3. the project's file: `multitrack.toml`, or `[tool.multitrack]` in `pyproject.toml`. The nearest one counts, from the working folder
   upwards to the root of the repository; the search also ends below a shared temporary folder such as `/tmp`,
4. the user's own file, `multitrack/config.toml` in the system's folder for such files (`~/.config` on Linux,
   `~/Library/Application Support` on macOS), or in `$XDG_CONFIG_HOME`,
5. the default.

`multitrack config` shows what holds in a folder, and where each value comes from.

## Settings

{settings}

## Other variables

{variables}

## Files

```toml
# multitrack.toml; in pyproject.toml, the same under [tool.multitrack]
backends = ["prod", "mlflow:sqlite:///mirror.db"]
project = "digits"
finish_timeout = 30

[targets.prod]
backend = "mlflow"
location = "http://127.0.0.1:5000"
timeout = 10
exclude = {{ metrics = ["debug/*"], artifacts = ["*.ckpt"], kinds = ["log_lines"] }}
```

A relative path starts from the folder of the file that holds it; in an argument or a variable, from the working folder.

## Targets

An entry of `backends` is the name of a target that a file or a variable defines; or the name of a backend, for the place it goes to by
itself; or an address, `BACKEND:LOCATION`. In code it may also be a table such as
`{{"backend": "mlflow", "location": "http://127.0.0.1:5000", "token": token}}`.

| key of a target | meaning |
|---|---|
| `backend` | the name of its backend; may be left out where the target has that name |
| `location` | where it is; without one, where the backend goes by itself |
| `attach` | whether a run's neutral records travel with it (`true`), so that it can be restored exactly from there |
| `include` | only these go there: a table with any of `metrics`, `artifacts` (patterns of names) and `kinds` (of records) |
| `exclude` | these do not |
| anything else | a setting of the backend, below |

Kinds are {kinds}. How a run starts, is named, and ends is always delivered.

**Secrets** are refused in a project's file. They belong in a variable, in the vendor's own login, or in the user's file while nobody
else may read it (`chmod 600`). They reach no journal, log, report or command line. A location never holds a login.

{backends}
"""


def make_configuration() -> str:
    """Return the text of `configuration.md`."""
    return CONFIGURATION.format(
        settings="\n".join(["| key | variable | values | default | |", "|---|---|---|---|---|", *map(_setting_row, SETTINGS)]),
        variables="\n".join(["| variable | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in OTHER_VARIABLES.items())]),
        kinds=", ".join(f"`{kind}`" for kind in KINDS),
        backends="\n\n".join(_backend_section(find_backend(name)) for name in _own_backends()),
    )


def make_schema() -> str:
    """Return the text of `schema.json`."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _own_backends() -> list[str]:
    # Other distributions' backends may be installed as well; this is not their documentation.
    return sorted(point.name for point in distribution("multitrack").entry_points if point.group == GROUP)


def _setting_row(setting: Setting) -> str:
    key = f"`{setting.name}`" if setting.in_files else f"`{setting.name}` (not in files)"
    return f"| {key} | `{setting.variable}` | {setting.values} | {setting.default} | {setting.text} |"


def _backend_section(backend: type[Backend]) -> str:
    fields = backend.settings_type.model_fields
    head = f"## {backend.label}: `{backend.name}`\n\n"
    if not fields:
        return f"{head}No settings."
    secrets = secret_fields(backend.settings_type)
    rows = [_field_row(backend, name, info, name in secrets) for name, info in fields.items()]
    return head + "\n".join(["| setting | type | default | | the vendor's own variables |", "|---|---|---|---|---|", *rows])


def _field_row(backend: type[Backend], name: str, info: FieldInfo, secret: bool) -> str:
    kind = "secret" if secret else _type_name(info.annotation)
    default = "required" if info.is_required() else "-" if info.default is None else f"`{json.dumps(info.default, default=str)}`"
    variables = ", ".join(f"`{variable}`" for variable in vendor_variables(backend, name)) or "-"
    return f"| `{name}` | {kind} | {default} | {info.description or ''} | {variables} |".replace("\n", " ")


def _type_name(annotation: Any) -> str:
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if len(parts) == 1:
        return _type_name(parts[0])
    if parts:
        return " or ".join(_type_name(part) if isinstance(part, type) else f"`{part}`" for part in parts)
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", SecretStr: "secret"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


PAGES = {"configuration.md": make_configuration, "schema.json": make_schema}


def main(arguments: list[str]) -> int:
    """Write the pages, or name those that are out of date."""
    stale = [name for name, make in PAGES.items() if not (DOCS / name).is_file() or (DOCS / name).read_text("utf-8") != make()]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is out of date: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(PAGES[name](), "utf-8")
        print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
