"""Starting a run, and what stands around it while it goes on: capture, couriers, and the lines that people see."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .capture import Capture, CaptureThread
from .config import load_settings
from .delivery.ledger import Ledger, Progress
from .delivery.start import start_courier
from .ending import end_with_process, forget
from .errors import BackendError, ConfigError, RunExistsError, RunNotFoundError
from .journal import Journal, RunFolder, Store
from .records import RUN_ID, Ending, RunStarted, RunUpdated, new_run_id, now
from .run import Run, Session
from .values import to_params, to_tags

if TYPE_CHECKING:
    from .config import Settings, Target

WATCH_INTERVAL = 2.0
"""Seconds between two looks at the couriers while training goes on."""
CAPTURE_TIMEOUT = 30.0
"""Seconds that the end of a run waits for a capture that is still under way."""
_CONCLUDE_POLL = 0.05

_current: Run | None = None


def init(
    project: str | None = None,
    name: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    tags: Iterable[str] | Mapping[str, str | None] = (),
    group: str | None = None,
    job_type: str | None = None,
    notes: str | None = None,
    parent: Run | str | None = None,
    backends: Any = None,
    id: str | None = None,
    resume: Literal["never", "allow", "must"] = "never",
    capture: Capture | None = None,
    dir: str | Path | None = None,
    mode: Literal["online", "deferred", "disabled", "inline"] | None = None,
    quiet: bool | None = None,
    on_error: Literal["warn", "raise"] = "warn",
    check: bool = False,
) -> Run:
    """Start a run, and make it the current one.

    No service is spoken to: records go to the journal on the local disk, and couriers deliver them from there.

    Args:
        project: MLflow calls it an experiment. From the configuration, else `default`, if left out.
        name: what people call the run; need not be unique.
        params: hyperparameters, as for `Run.log_params`.
        tags: `["base"]`, or `{"team": "vision"}`.
        group, job_type: for runs that belong together, and what each of them does.
        notes: in Markdown.
        parent: the run that this one is a part of, or its id.
        backends: where the run goes: target names, backend names or addresses, one or several. From `MULTITRACK_BACKENDS`, else the
            configuration, else the local journal alone, if left out.
        id: 32 lowercase letters and digits; random if left out.
        resume: whether a run with this id may exist (`allow`), must not (`never`), or has to (`must`).
        capture: what to record by itself.
        dir: the local store. `MULTITRACK_DIR`, else `.multitrack` at the project's root, if left out.
        mode: `online`; `deferred` writes the journal only; `disabled` records nothing; `inline` delivers at the end, in this process.
        quiet: whether to print nothing at the start and the end.
        on_error: what to do at the end of the run when a target has refused: `warn`, or `raise` a BackendError.
        check: ask every target first whether it is there and lets us in.

    Raises:
        ConfigError: what was asked for cannot be, with the remedy. Nothing that a service says later raises.
        RunExistsError: the run is there already, and `resume` is `never`.
    """
    global _current
    settings = load_settings(Path.cwd(), os.environ, backends=backends, mode=mode, dir=dir, project=project, quiet=quiet, run_id=id)
    parent_id = parent.id if isinstance(parent, Run) else parent
    _finish_former(parent_id, quiet=settings.quiet)
    if settings.mode == "disabled":
        _current = Run(None, settings.project, name, id=settings.run_id or new_run_id())
        return _current
    if check:
        check_targets(settings.targets)
    joins = id is None and settings.run_id is not None
    folder, state = _claim(settings, settings.run_id or new_run_id(), "allow" if joins else resume)
    run = Run(folder, settings.project, name)
    start = {"group": group, "job_type": job_type, "notes": notes}
    if state == "new":
        run._write(
            RunStarted(
                time=now(),
                id=run.id,
                project=settings.project,
                name=name,
                parent=parent_id,
                tags=to_tags(tags),
                user=_user(),
                host=socket.gethostname(),
                **start,
            )
        )
    elif state == "ended":
        run._write(RunUpdated(time=now(), status="running", name=name, tags=to_tags(tags), **start))
    if params:
        run.log_params(params)
    run._session = LiveSession(run, settings, capture or Capture(), secondary=state == "alive", on_error=on_error)
    run._session.begin()
    end_with_process(run)
    _current = run
    return run


def current() -> Run:
    """Return the current run.

    Raises:
        ConfigError: there is none.
    """
    if _current is None:
        raise ConfigError("there is no run yet: call multitrack.init() first")
    return _current


def _finish_former(parent: str | None, *, quiet: bool) -> None:
    if _current is None or _current.ended is not None or _current.id == parent or _current._owner != os.getpid():
        return
    if not quiet:
        say(f"run {label(_current)} is finished, since another one starts; nest them with parent=...")
    _current.finish()


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return None


def _claim(settings: Settings, run_id: str, resume: str) -> tuple[RunFolder, Literal["new", "ended", "alive"]]:
    """Return the run's folder, made if need be, and whether the run is new, ended, or going on in another process."""
    if not RUN_ID.fullmatch(run_id):
        raise ConfigError(f"{run_id!r} is no run id: 32 lowercase letters and digits, such as {new_run_id()}")
    if resume not in ("never", "allow", "must"):
        raise ConfigError(f"resume is 'never', 'allow' or 'must', not {resume!r}")
    store = Store(settings.dir)
    store.create()
    folder = store.find(run_id)
    if folder is None:
        if resume == "must":
            raise RunNotFoundError(f"resume='must': there is no run {run_id} in {store.root}")
        folder = store.folder(settings.project, run_id)
        try:
            folder.path.mkdir(parents=True)
        except FileExistsError:
            pass  # another rank has just made it
        except OSError as error:
            raise ConfigError(f"{folder.path} cannot be made: {error.strerror}; name another store with dir=... or MULTITRACK_DIR") from None
        else:
            folder.create()
            return folder, "new"
        folder.create()
    if resume == "never":
        raise RunExistsError(f"run {run_id} is in {store.root} already; go on with it by resume='allow', or choose another id")
    return folder, "alive" if Journal(folder).is_alive() else "ended"


class LiveSession(Session):
    """Around a run that is delivered while it goes on."""

    def __init__(self, run: Run, settings: Settings, capture: Capture, *, secondary: bool, on_error: str) -> None:
        self._run = run
        self._folder = RunFolder(run.dir)
        self._settings = settings
        self._secondary = secondary
        self._on_error = on_error
        self._targets: Mapping[str, Target] = {target.name: target for target in settings.targets}
        self._capture = CaptureThread(capture, run._write)
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="multitrack-watch", daemon=True)
        self._warned: dict[str, str] = {}
        self._started = time.monotonic()

    # -- the start

    def begin(self) -> None:
        """Note the targets, start their couriers, and begin to capture."""
        for notice in self._settings.notices:
            say(notice)
        store = self._folder.store
        for name, target in self._targets.items():
            Ledger(self._folder, name).write_target(target.public())
            store.add_pending(name, self._folder)
        self._start_couriers()
        if not self._secondary:
            self._capture.start()
        if self._targets and self._delivers:
            self._watcher.start()
        if not self._settings.quiet:
            say(f"run {label(self._run)} of {self._run.project}, recorded in {shown(self._run.dir)}{self._destinations()}")

    @property
    def _delivers(self) -> bool:
        return self._settings.mode == "online" and not self._secondary

    def _start_couriers(self) -> None:
        if not self._delivers:
            return
        for name, target in self._targets.items():
            try:
                start_courier(self._folder.store, name, target.secrets())
            except OSError as error:
                self._warn(name, f"its courier cannot be started: {error}")

    def _destinations(self) -> str:
        if not self._targets:
            return ""
        verb = "delivered to" if self._delivers or self._settings.mode == "inline" else "for"
        return f"; {verb} {', '.join(map(str, self._targets.values()))}"

    # -- while it goes on

    def _watch(self) -> None:
        """Start couriers that have died, and say once what a service complains about."""
        while not self._stop.wait(WATCH_INTERVAL):
            try:
                self._start_couriers()
                self._warn_of_errors()
            except Exception as error:  # noqa: BLE001 - a broken watch must not end the training
                self._warn("delivery", f"{type(error).__name__}: {error}")

    def _warn_of_errors(self) -> None:
        for name in self._targets:
            status = Ledger(self._folder, name).status()
            if status.error and status.state in ("retrying", "stopped"):
                self._warn(name, status.error)

    def _warn(self, name: str, error: str) -> None:
        if name not in self._warned:
            self._warned[name] = error
            say(f"{name}: {error}. Training goes on, everything is in the journal")

    def url(self, target: str, wait: float) -> str | None:
        """Return the page where a target shows the run.

        Raises:
            ConfigError: the run has no such target.
        """
        if target not in self._targets:
            raise ConfigError(f"run {self._run.id} has no target {target!r}; it has {', '.join(self._targets) or 'none'}")
        ledger = Ledger(self._folder, target)
        deadline = time.monotonic() + wait
        while (url := ledger.committed().url) is None and time.monotonic() < deadline:
            time.sleep(_CONCLUDE_POLL)
        return url

    def describe(self, run: Run) -> str:
        """Return a line for the run and one for each target."""
        lines = [f"run {label(run)} of {run.project}: {run.ended or 'running'}, in {shown(run.dir)}"]
        lines += [f"  {progress_line(Ledger(self._folder, name).progress())}" for name in self._targets]
        return "\n".join(lines)

    # -- the end

    def before_end(self) -> None:
        """Wait for what is still being captured."""
        if self._capture.ident is not None:
            self._capture.join(CAPTURE_TIMEOUT)
            for what, error in self._capture.failures.items():
                say(f"{what} could not be recorded: {error}")
        self._stop.set()

    def after_end(self, status: Ending, *, refused: int, timeout: float | None) -> None:
        """Wait for the targets, then say how it went."""
        forget(self._run)
        write_summary(self._folder)
        if self._settings.mode == "inline":
            self._deliver_here()
        elif self._delivers:
            self._wait_for_couriers(self._settings.finish_timeout if timeout is None else timeout)
        progress = [Ledger(self._folder, name).progress() for name in self._targets]
        if refused:
            say(f"run {label(self._run)}: the disk refused {refused:,} records; they are lost")
        if not self._settings.quiet or any(not item.done for item in progress):
            self._say_how_it_went(status, progress)
        if self._on_error == "raise" and (failed := [item for item in progress if item.error and not item.done]):
            raise BackendError("; ".join(progress_line(item) for item in failed))

    def _deliver_here(self) -> None:
        from .delivery import Delivery

        for name, target in self._targets.items():
            try:
                with Delivery(self._folder, name, target.connect(), target.filters) as delivery:
                    if delivery.advance():
                        self._folder.store.remove_pending(name, self._folder)
            except BackendError as error:
                self._warn(name, str(error))

    def _wait_for_couriers(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        line = ProgressLine()
        open_targets = {name: Ledger(self._folder, name) for name in self._targets}
        next_check = time.monotonic() + WATCH_INTERVAL
        while open_targets and time.monotonic() < deadline:
            for name, ledger in list(open_targets.items()):
                if is_settled(ledger):
                    del open_targets[name]
            if open_targets:
                line.show(lambda: ", ".join(waiting_for(ledger.progress()) for ledger in open_targets.values()))
                time.sleep(_CONCLUDE_POLL)
            if time.monotonic() > next_check:
                next_check = time.monotonic() + WATCH_INTERVAL
                self._start_couriers()
        line.clear()

    def _say_how_it_went(self, status: Ending, progress: list[Progress]) -> None:
        seconds = time.monotonic() - self._started
        parts = [f"run {label(self._run)} {status} after {duration(seconds)}", *(progress_line(item) for item in progress)]
        say("; ".join(parts))
        if any(not item.done for item in progress):
            say(f"what is left is safe in the journal; deliver it with: multitrack sync {self._run.id}")


def is_settled(ledger: Ledger) -> bool:
    """Return whether there is nothing to wait for: the target has the run, or has refused it."""
    committed = ledger.committed()
    if committed.concluded is not None and dict(committed.concluded) == dict(Journal(ledger.run).sizes()):
        return True
    return ledger.status().state == "stopped"


def write_summary(folder: RunFolder) -> None:
    """Write `run.json`: the run as it stands, for people and jq."""
    from .summary import summarise

    try:
        summarise(folder)
    except OSError as error:
        say(f"{folder.summary} cannot be written: {error.strerror}")


def check_targets(targets: Iterable[Target]) -> None:
    """Ask the services whether they are there and let us in, in a process of its own: SDKs stay out of the training.

    Raises:
        ConfigError: one is not, or does not.
    """
    import subprocess

    import orjson

    for target in targets:
        asked = orjson.dumps({"target": target.public(), "secrets": target.secrets()})
        done = subprocess.run(
            [sys.executable, "-P", "-m", "multitrack.courier", "--check"], input=asked, capture_output=True, check=False
        )
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ConfigError(f"{target}: {said[-1] if said else 'the check failed'}")


# -- what people see


def say(text: str) -> None:
    """Print a line of ours on standard error."""
    sys.stderr.write(f"multitrack: {text}\n")
    sys.stderr.flush()


def label(run: Run) -> str:
    """Return what a line calls a run."""
    return f"{run.name} ({run.id})" if run.name else run.id


def shown(path: Path) -> str:
    """Return a path relative to the working folder where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def duration(seconds: float) -> str:
    """Return a number of seconds for people: `12.3 s`, `4 min 05 s`, `3 h 12 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def progress_line(progress: Progress) -> str:
    """Return one target's share of a run as a phrase."""
    if progress.done:
        where = f" at {progress.url}" if progress.url else ""
        refused = f", {progress.rejected:,} refused by it" if progress.rejected else ""
        return f"{progress.target} has it whole{where}{refused}"
    if progress.behind:
        state = f"{progress.target} has {progress.delivered:,} records, {progress.behind:,} are still to deliver"
    else:
        state = f"{progress.target} has all {progress.delivered:,} records so far"
    return f"{state} ({progress.error})" if progress.error else state


def waiting_for(progress: Progress) -> str:
    """Return what is still missing at a target, for a progress line."""
    return f"{progress.target}: {progress.behind:,} to go" if progress.behind else f"{progress.target}: concluding"


class ProgressLine:
    """A line on a terminal that is overwritten; silent elsewhere, and for the first half second."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._due = time.monotonic() + 0.5
        self._started = time.monotonic()
        self._width = 0

    def show(self, text: Any) -> None:
        """Show the text that the function `text` returns, ten times a second at most."""
        moment = time.monotonic()
        if self._terminal and moment >= self._due:
            self._due = moment + 0.1
            line = f"multitrack: delivering, {text()} ({moment - self._started:.0f} s; Ctrl-C leaves it to the courier)"
            sys.stderr.write("\r" + line.ljust(self._width))
            sys.stderr.flush()
            self._width = len(line)

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
