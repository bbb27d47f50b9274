"""Starting a run: everything is checked first, then its folder is claimed, then it begins."""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .capture import Capture
from .capture.recorder import Recorder
from .config import load_settings
from .config.variables import CODE_LIMIT, REPRODUCES, SYSTEM_INTERVAL
from .ending import end_with_process, last_run, open_runs, open_runs_here
from .errors import ConfigError, RunExistsError, RunNotFoundError
from .journal import FileLock, Journal, RunFolder, Store
from .live import LiveSession
from .masking import Mask
from .messages import host_name, say
from .params import read_params
from .ranks import next_run_id, own_rank
from .records import RUN_ID, Hyperparameters, Record, RunStarted, RunUpdated, new_run_id
from .run import Run
from .values import new_record, to_tags
from .wording import label

if TYPE_CHECKING:
    from .config import Settings, Target

FIRST_RANK_PATIENCE = 5.0
"""Seconds that a rank waits for the first one to begin the run; then that one's store is taken to be on another disk."""
_CLAIM_TIMEOUT = 10.0
"""Seconds to wait for another process that is just making the same run."""

T = TypeVar("T")


def init(
    project: str | None = None,
    name: str | None = None,
    *,
    params: Any = None,
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

    No service is spoken to: records go to the journal on the local disk, and couriers deliver them from there. A run that this thread
    started before is finished first, with a notice, unless it is the `parent`. What is wrong with an argument is said before anything
    is written or finished.

    Processes that torchrun, Slurm or MPI have started together write into one run: the first rank begins, delivers and ends it, the
    others join (see `multitrack.ranks`). With MULTITRACK_RANKS=0 each is for itself.

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
        resume: whether a run with this id may exist (`allow`), must not (`never`), or has to (`must`). A run that goes on in another
            process, or whose id `MULTITRACK_RUN_ID` gives to several, is joined: this process writes to it, and the one that began it
            records what `init` was given, delivers, and ends the run.
        capture: what to record by itself.
        dir: the local store. `MULTITRACK_DIR`, else `.multitrack` at the project's root, if left out.
        mode: `online`; `deferred` writes the journal only; `disabled` records nothing; `inline` delivers at the end, in this process.
        quiet: whether to print nothing at the start and the end.
        on_error: what to do at the end of the run when a target has refused: `warn`, or `raise` a BackendError.
        check: ask every target first whether it is there and lets us in.

    Raises:
        ConfigError: what was asked for cannot be, with the remedy. Nothing that a service says later raises.
        RunExistsError: the run is there already, and `resume` is `never`.
        RunNotFoundError: it is not there, and `resume` is `must`.
        TypeError, ValueError: an argument is wrong.
    """
    settings = load_settings(Path.cwd(), os.environ, backends=backends, mode=mode, dir=dir, project=project, quiet=quiet, run_id=id)
    parent_id = _id_of_parent(parent)
    resume = _one_of("resume", resume, ("never", "allow", "must"))
    place = _place(settings, resume, given=id is not None)
    on_error = _one_of("on_error", on_error, ("warn", "raise"))
    if not isinstance(capture, Capture | None):
        raise TypeError(f"capture is a multitrack.Capture, such as Capture(code=False), not {capture!r}")
    mask = Mask(settings.secret_patterns)
    words = {"name": name, "group": group, "job_type": job_type, "notes": notes, "tags": to_tags(tags)}
    told = {name: mask.value("", value) for name, value in words.items()}
    opening = _Opening.of(place.run_id, settings.project, parent_id, told, _to_record(params, mask) if params is not None else None)
    if settings.mode == "disabled":
        _finish_former(parent_id, quiet=settings.quiet)
        run = Run(None, settings.project, name, id=opening.start.id)
    else:
        store = Store(settings.dir)
        _check_claim(store, opening.start.id, place)
        if check:
            check_targets(settings.targets)
        store.create()
        _finish_former(parent_id, quiet=settings.quiet)
        if place.role == "follows":
            _await_first_rank(store, opening.start.id)
        with _claim(store, opening.start) as (folder, state):
            if state not in ("new", "part") and place.resume == "never":  # another process was quicker
                raise _exists(store, folder.id)
            run = _begin(folder, state, opening, place.role, mask)
        wanted = (capture or Capture()).within(settings)
        run._session = LiveSession(run, settings, wanted, _recorder(run, folder, wanted, settings), on_error=on_error)
        run._session.begin()
        if settings.quota is not None and not run.joined:
            from .quota import watch

            watch(store, settings.quota)
    end_with_process(run)
    return run


def _recorder(run: Run, folder: RunFolder, wanted: Capture, settings: Settings) -> Recorder:
    rank = own_rank()
    return Recorder(
        folder=folder,
        write=run._write,
        mask=run._mask,
        rank=rank.rank if rank is not None else None,
        joined=run.joined,
        code_limit=CODE_LIMIT if wanted.code_limit is None else wanted.code_limit,
        system_interval=wanted.system_interval or SYSTEM_INTERVAL,
        console=settings.console,
        environment_variables=settings.environment_variables,
    )


def current() -> Run:
    """Return the current run: the latest that goes on in this thread, else in this process, else the last one that has ended.

    Raises:
        ConfigError: there is none.
    """
    for runs in (open_runs_here(), open_runs()):
        if runs:
            return runs[0]
    if (ended := last_run()) is None:
        raise ConfigError("there is no run yet: call multitrack.init() first")
    return ended


# -- what is asked for


Role = Literal["alone", "leads", "follows"]
"""Of this process among those that write to the run: `alone` joins a run that goes on, and begins or continues any other."""


@dataclass(frozen=True)
class _Place:
    """Which run this process writes to, and as what."""

    run_id: str
    resume: str
    role: Role


def _place(settings: Settings, resume: str, *, given: bool) -> _Place:
    """Return this process's place. `given`: the id is an argument; one from the environment is meant for several processes."""
    rank = own_rank() if settings.mode != "disabled" else None
    role: Role = "alone" if rank is None else "leads" if rank.leads else "follows"
    run_id = settings.run_id
    if run_id is not None:
        return _Place(run_id, resume if given and role != "follows" else "allow", role)
    if rank is not None:
        run_id = next_run_id(rank, settings.project, goes_on=resume != "never")
        if run_id is None:
            say(
                f"{rank.launcher} has started {rank.size} processes and names no job that they could tell their run by, so each records a "
                "run of its own; set MULTITRACK_RUN_ID to the same id for all of them, or MULTITRACK_RANKS=0"
            )
    if run_id is None:
        return _Place(new_run_id(), resume, "alone")
    return _Place(run_id, "allow" if role == "follows" else resume, role)


@dataclass(frozen=True)
class _Opening:
    """The records that a run begins with."""

    start: RunStarted
    again: RunUpdated
    """In the place of `start` where the run goes on."""
    params: Hyperparameters | None

    @classmethod
    def of(cls, run_id: str, project: str, parent: str | None, words: Mapping[str, Any], params: Hyperparameters | None) -> _Opening:
        """Raises TypeError or ValueError where something cannot be recorded."""
        repeats = os.environ.get(REPRODUCES) or None
        start = new_record(
            RunStarted, id=run_id, project=project, parent=parent, user=_user(), host=host_name(), reproduces=repeats, **words
        )
        return cls(
            start=start,
            again=new_record(RunUpdated, status="running", **words),
            params=params,
        )


def _to_record(params: Any, mask: Mask) -> Hyperparameters | None:
    given = read_params(params)
    if not given.values:
        return None
    return new_record(Hyperparameters, values=mask.value("", given.values), sources=dict(given.sources))


def _id_of_parent(parent: Run | str | None) -> str | None:
    if parent is None or isinstance(parent, Run):
        return parent.id if parent is not None else None
    if not isinstance(parent, str) or not RUN_ID.fullmatch(parent):
        raise ConfigError(f"parent: expected a run or its id, 32 lowercase letters and digits, not {parent!r}")
    return parent


def _one_of(name: str, value: T, allowed: tuple[T, ...]) -> T:
    if value not in allowed:
        raise ConfigError(f"{name}: expected one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return None


def _finish_former(parent: str | None, *, quiet: bool) -> None:
    for run in open_runs_here():
        if run.id == parent or run.owner != os.getpid():
            return
        if not quiet:
            say(f"run {label(run)} is finished, since another one starts; nest them with parent=...")
        run.finish()


# -- the run's folder

State = Literal["new", "part", "ended", "alive"]
"""Of a run that is claimed: made just now; without its first rank; there and over, however it ended; going on in another process."""


def _check_claim(store: Store, run_id: str, place: _Place) -> None:
    folder = store.find(run_id)
    there = folder is not None and not (place.role == "leads" and _state_of(folder) in ("new", "part"))  # other ranks were quicker
    if there and place.resume == "never":
        raise _exists(store, run_id)
    if not there and place.resume == "must":
        raise RunNotFoundError(f"resume='must': there is no run {run_id} in {store.root}")


def _exists(store: Store, run_id: str) -> RunExistsError:
    return RunExistsError(f"run {run_id} is in {store.root} already; go on with it by resume='allow', or choose another id")


@contextmanager
def _claim(store: Store, start: RunStarted) -> Iterator[tuple[RunFolder, State]]:
    """Have the run's folder, and its state, to ourselves: ranks that start together must not all take the run for theirs.

    Raises:
        ConfigError: the folder cannot be made or written to.
    """
    found = store.find(start.id)
    folder = found or store.folder(start.project, start.id)
    try:
        folder.create()
        lock = FileLock(folder.path / ".claim")
        deadline = time.monotonic() + _CLAIM_TIMEOUT
        while not lock.acquire() and time.monotonic() < deadline:
            time.sleep(0.02)
        with lock:
            yield folder, _state_of(folder)
    except OSError as error:
        _remove_empty(folder)
        why = error.strerror or error
        raise ConfigError(f"{folder.path} cannot be written to: {why}; name another store with dir=... or MULTITRACK_DIR") from None


def _await_first_rank(store: Store, run_id: str) -> None:
    """Wait until the run has begun in this store."""
    deadline = time.monotonic() + FIRST_RANK_PATIENCE
    while time.monotonic() < deadline:
        folder = store.find(run_id)
        if folder is not None and _state_of(folder) != "new":
            return
        time.sleep(0.05)


def _state_of(folder: RunFolder) -> State:
    journal = Journal(folder)
    if not any(isinstance(record, RunStarted) for record in journal.life()):
        return "new"  # or one that died before it had begun
    if journal.is_part():
        return "part"
    return "alive" if journal.is_alive() else "ended"


def _remove_empty(folder: RunFolder) -> None:
    """Take away what was made of a run that cannot begin."""
    import contextlib

    if folder.exists() and not any(path.suffix == ".jsonl" for path in folder.records.iterdir()):
        with contextlib.suppress(OSError):
            (folder.path / ".claim").unlink(missing_ok=True)
            folder.part.unlink(missing_ok=True)
            for path in (folder.records, folder.artifacts, folder.delivery, folder.path):
                path.rmdir()


def _begin(folder: RunFolder, state: State, opening: _Opening, role: Role, mask: Mask) -> Run:
    start = opening.start if state == "new" else Journal(folder).started()
    joined = role == "follows" or (role == "alone" and state == "alive")
    if state == "new" and joined:
        folder.part.touch()  # before the record that begins it, or this would be the run itself for a moment
    run = Run(folder, start.project, opening.start.name or start.name, joined=joined, mask=mask)
    records: tuple[Record | None, ...] = ()
    if not joined:
        records = (opening.start if state in ("new", "part") else opening.again, opening.params)
    elif state == "new":
        records = (opening.start,)
    for record in records:
        if record is not None:
            run._write(record)
    if not joined:
        folder.part.unlink(missing_ok=True)
    return run


def check_targets(targets: Iterable[Target]) -> None:
    """Ask the services whether they are there and let us in, in a process of its own: SDKs stay out of the training.

    Raises:
        ConfigError: one is not, or does not.
    """
    import subprocess

    import orjson

    for target in targets:
        asked = orjson.dumps({"target": target.public(), "secrets": target.secrets()})
        done = subprocess.run([sys.executable, "-P", "-m", "multitrack.courier", "--check"], input=asked, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ConfigError(f"{target}: {said[-1] if said else 'the check failed'}")
