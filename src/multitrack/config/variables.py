"""Every setting of multitrack itself, documented where it is defined: `docs/configuration.md` is made from this table."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import did_you_mean
from ..records.base import RUN_ID

Mode = Literal["online", "deferred", "disabled", "inline"]
MODES: tuple[Mode, ...] = get_args(Mode)

ConsoleMode = Literal["auto", "python"]
CONSOLE_MODES: tuple[ConsoleMode, ...] = get_args(ConsoleMode)

PREFIX = "MULTITRACK_"
TARGET_SEPARATOR = "__"
"""Between a target and its setting in a variable: `MULTITRACK_PROD__TIMEOUT`."""
REPRODUCES = PREFIX + "REPRODUCES"
"""Says which run the runs of this process repeat."""

INTERACTIVE_TIMEOUT, UNATTENDED_TIMEOUT = 60.0, 600.0
CODE_LIMIT = 25_000_000
"""Bytes."""
SYSTEM_INTERVAL = 10.0
"""Seconds."""


def parse_backends(value: Any) -> tuple[Any, ...]:
    """Return the entries of a list, or of a text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value,)


def parse_backend_names(value: Any) -> tuple[str, ...]:
    """Return the entries of a list of texts: what files and variables may hold."""
    entries = parse_backends(value)
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError('expected a list of texts such as ["prod", "mlflow:http://127.0.0.1:5000"]')
    return entries


def parse_mode(value: Any) -> Mode:
    """Return the mode, whatever the case of its letters."""
    text = value.strip().lower() if isinstance(value, str) else value
    for mode in MODES:
        if text == mode:
            return mode
    raise ValueError(f"expected one of {', '.join(MODES)}, not {value!r}.{did_you_mean(str(value), MODES)}")


def parse_path(value: Any) -> Path:
    """Return a path, with `~` for the home folder."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ValueError(f"expected a path, not {value!r}")
    return Path(value).expanduser()


def parse_name(value: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a name, not {value!r}")
    return value


def parse_bool(value: Any) -> bool:
    """Return a truth value; texts may say 1/0, true/false, yes/no, on/off."""
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError(f"expected true or false, not {value!r}")


def parse_seconds(value: Any) -> float:
    """Return a number of seconds, 0 or more; `inf` waits for ever."""
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not seconds >= 0:
        raise ValueError(f"expected a number of seconds, 0 or more, not {value!r}")
    return seconds


CAPTURED = ("code", "environment", "system", "console")
"""What can be recorded without being asked for."""


def parse_captured(value: Any) -> tuple[str, ...]:
    """Return which of `CAPTURED` are wanted: a list, a text with commas, or `all` or `none`."""
    names = parse_backend_names(value) if value not in ("all", "none") else CAPTURED if value == "all" else ()
    if unknown := [name for name in names if name not in CAPTURED]:
        raise ValueError(f"expected some of {', '.join(CAPTURED)}, not {unknown[0]!r}.{did_you_mean(unknown[0], CAPTURED)}")
    return names


def parse_console_mode(value: Any) -> ConsoleMode:
    """Return how printed output is got at."""
    for mode in CONSOLE_MODES:
        if value == mode:
            return mode
    raise ValueError(f"expected one of {', '.join(CONSOLE_MODES)}, not {value!r}; to record no console, leave it out of `capture`")


def parse_patterns(value: Any) -> tuple[str, ...]:
    """Return regular expressions: a list; in a variable's text, one a line."""
    texts = value.splitlines() if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError('expected a list of regular expressions such as ["corp-[0-9a-f]{32}"]')
    for text in texts:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return tuple(text for text in texts if text)


def parse_variable_names(value: Any) -> tuple[str, ...]:
    """Return names of environment variables: a list, or a text with commas; each may end in `*`."""
    names = parse_backend_names(value)
    if wrong := [name for name in names if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\*?", name)]:
        raise ValueError(f"expected names of environment variables such as MY_FLAG or NCCL_*, not {wrong[0]!r}")
    return names


def parse_size(value: Any) -> int:
    """Return a number of bytes: an int, or a text such as `500MB`, `10 GB`, `2.5 TiB`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", value.strip().lower()) if isinstance(value, str) else None
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"expected a size such as 500MB or 10GB, not {value!r}")
    return round(float(match[1]) * math.pow(1024 if match[3] else 1000, " kmgt".index(match[2] or " ")))


def parse_interval(value: Any) -> float:
    """Return a number of seconds, 0.1 or more."""
    seconds = parse_seconds(value)
    if not 0.1 <= seconds < math.inf:
        raise ValueError(f"expected a number of seconds, at least 0.1, not {value!r}; to measure nothing, leave `system` out of `capture`")
    return seconds


def parse_run_id(value: Any) -> str:
    """Return a run id."""
    if not isinstance(value, str) or not RUN_ID.fullmatch(value):
        raise ValueError(f"expected a run id, 32 lowercase letters and digits, not {value!r}")
    return value


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: an argument of `init`, a variable, a key of the configuration files."""

    name: str
    """The argument, and the key in files."""
    parse: Callable[[Any], Any]
    """Makes its value of an argument, of a variable's text, or of what a file holds; raises ValueError."""
    values: str
    default: str
    text: str
    in_files: bool = True

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "backends",
        parse_backend_names,
        "names of targets or backends, or addresses; in the variable with commas between them",
        "`local`",
        "Where runs are delivered. The local journal is written in any case; `local` alone means nothing else is.",
    ),
    Setting(
        "mode",
        parse_mode,
        "`online`, `deferred`, `disabled`, `inline`",
        "`online`",
        "`online` delivers while the run goes on, from a process beside it. `deferred` writes the journal only, until `multitrack sync`. "
        "`disabled` records nothing. `inline` delivers in the run's own process, for tests.",
    ),
    Setting(
        "dir",
        parse_path,
        "a folder",
        "`.multitrack` at the project's root",
        "The local store. The project's root is the nearest folder, from the working one upwards, with a `multitrack.toml`, a "
        "`pyproject.toml` or a `.git`; without any, it is the working folder.",
    ),
    Setting("project", parse_name, "a name", "`default`", "The project of runs that name none."),
    Setting(
        "quiet",
        parse_bool,
        "`true` or `false`",
        "`false`",
        "Whether a run prints nothing at its start and end. Warnings are still printed.",
    ),
    Setting(
        "finish_timeout",
        parse_seconds,
        "seconds",
        f"`{INTERACTIVE_TIMEOUT:.0f}`; `{UNATTENDED_TIMEOUT:.0f}` in containers, batch jobs and CI",
        "How long the end of a run waits for its delivery. What is still to deliver afterwards stays in the journal, for the courier or "
        "`multitrack sync`.",
    ),
    Setting(
        "quota",
        parse_size,
        "a size such as `500MB` or `10GB`",
        "none",
        "How much of the disk the local store may take: a run that starts where it takes more says so. Nothing is removed; "
        "`multitrack gc` does that.",
    ),
    Setting(
        "capture",
        parse_captured,
        "some of `code`, `environment`, `system`, `console`; `all`, `none`",
        "`all`",
        "What is recorded without being asked for. `mt.init(capture=mt.Capture(console=False))` says it for one run.",
    ),
    Setting(
        "code_limit",
        parse_size,
        "a size such as `500KB` or `25MB`",
        "`25MB`",
        "How much of the code is kept with a run besides the commit: the diff, and files that git does not track. What is left out "
        "is named.",
    ),
    Setting(
        "system_interval",
        parse_interval,
        "seconds, at least 0.1",
        f"`{SYSTEM_INTERVAL:.0f}`",
        "The time between two measurements of the machine's and the process's resources.",
    ),
    Setting(
        "console",
        parse_console_mode,
        "`auto`, `python`",
        "`auto`",
        "How printed output is got at: whatever the process and its children print, where that is possible; or only what Python code "
        "writes to `sys.stdout` and `sys.stderr`, and the process's own descriptors are left alone. See "
        "[the console's record](records/console.md).",
    ),
    Setting(
        "environment_variables",
        parse_variable_names,
        "names of variables, `NCCL_*` for all that begin so; in the variable with commas between them",
        "none",
        "Which environment variables are recorded besides [those that multitrack knows](records/environment.md#variables). Values "
        "that look like credentials are masked, and variables whose names do are left out.",
    ),
    Setting(
        "secret_patterns",
        parse_patterns,
        "regular expressions; in the variable one a line",
        "none",
        "What else looks like a credential, besides what multitrack knows: it is masked before anything is written.",
    ),
    Setting(
        "run_id",
        parse_run_id,
        "32 lowercase letters and digits",
        "a random one",
        "The run that this process joins: how ranks and spawned workers write into one run.",
        in_files=False,
    ),
)

OTHER_VARIABLES: Mapping[str, str] = {
    "MULTITRACK_<TARGET>__<SETTING>": (
        "A setting of one target, over what the files say: `MULTITRACK_PROD__TIMEOUT=10`. The target's name is in capitals, with `_` for "
        "whatever is no letter or digit. `MULTITRACK_<TARGET>__BACKEND` and `MULTITRACK_<TARGET>__LOCATION` define a target without a file."
    ),
    "MULTITRACK_COURIER_LINGER": "Seconds that a courier with nothing to deliver waits for the next run before it ends; `30` by default.",
    "MULTITRACK_RANKS": (
        "Set to 0, processes that torchrun, Slurm or MPI have started together record a run each. Otherwise they write into one: the first "
        "rank begins, delivers and ends it."
    ),
    REPRODUCES: ("The run that the runs of this process repeat, an id or `ADDRESS#ID`, as `multitrack reproduce --run` sets it."),
    "MULTITRACK_DEBUG": "Set to 1, the command line shows the traceback of an error.",
    "XDG_CONFIG_HOME": "The folder that holds the user's own `multitrack/config.toml`, in place of the system's usual one.",
}


def default_finish_timeout(env: Mapping[str, str], root: Path = Path("/")) -> float:
    """Return how long `finish` waits, in seconds: longer where the process's end may take the courier with it and nobody is watching."""
    unattended = ("CI", "KUBERNETES_SERVICE_HOST", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "container")
    marks = (root / ".dockerenv", root / "run/.containerenv")
    if any(env.get(name, "").lower() not in ("", "0", "false") for name in unattended) or any(mark.exists() for mark in marks):
        return UNATTENDED_TIMEOUT
    return INTERACTIVE_TIMEOUT


def unknown_variables(env: Mapping[str, str], targets: Mapping[str, str]) -> list[str]:
    """Return a line for each MULTITRACK_ variable that means nothing; `targets` maps the capitals of the targets' names to the names."""
    known = {setting.variable for setting in SETTINGS} | {name for name in OTHER_VARIABLES if "<" not in name}
    notices = []
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in known:
            continue
        target, separator, _ = name.removeprefix(PREFIX).partition(TARGET_SEPARATOR)
        if not separator:
            notices.append(f"the variable {name} means nothing to multitrack.{_nearest(name, known)}")
        elif target not in targets:
            notices.append(f"the variable {name} belongs to no target.{_nearest(target, targets)}")
    return notices


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
