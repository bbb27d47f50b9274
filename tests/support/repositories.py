"""Git repositories for tests, and what a code version makes of one again."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from multitrack.capture.code import CodeWatch
from multitrack.capture.recorder import Recorder
from multitrack.journal import RunFolder
from multitrack.masking import Mask
from multitrack.records import Artifact, CodeVersion, Record

IDENTITY = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always")


def git(folder: Path, *arguments: str, given: bytes | None = None) -> str:
    """Run git as a user would who has set nothing; return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables = {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", "-C", str(folder), *IDENTITY, *arguments], check=False, capture_output=True, input=given, env=variables)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def make_repository(folder: Path, files: dict[str, bytes | str] | None = None) -> Path:
    """Make a repository; with a commit where there are files."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    if files:
        write(folder, files)
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "first")
    return folder


def write(folder: Path, files: dict[str, bytes | str]) -> None:
    """Write files, with their folders."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@dataclass(frozen=True)
class Taken:
    """What was recorded of the code, and where its files are."""

    records: list[Record]
    folder: RunFolder
    error: Exception | None = None

    @property
    def version(self) -> CodeVersion:
        return [record for record in self.records if isinstance(record, CodeVersion)][-1]

    @property
    def artifacts(self) -> dict[str, Artifact]:
        return {record.name: record for record in self.records if isinstance(record, Artifact)}

    @property
    def omitted(self) -> dict[str, str]:
        return {one.name: one.reason for one in self.version.omitted}

    def content(self, name: str) -> bytes:
        return (self.folder.artifacts / str(self.artifacts[name].sha256)).read_bytes()


def take(run: Path, *, limit: int = 25_000_000, mask: Mask | None = None) -> Taken:
    """Record the code of this process, which is in the working folder, as a run in `run`."""
    folder = RunFolder(run)
    folder.create()
    written: list[Record] = []
    watch = CodeWatch(Recorder(folder=folder, write=written.append, mask=mask or Mask(), code_limit=limit))
    watch.start()
    try:
        watch.stop(60)
    except Exception as error:  # noqa: BLE001 - as the captures of a run do
        return Taken(written, folder, error)
    return Taken(written, folder)


def restore(taken: Taken, into: Path, source: Path) -> Path:
    """Make the working tree again as the record's description says, from the repository at `source`."""
    version = taken.version
    checkout(source, version.commit, into, version.diff)
    for submodule in version.submodules:
        checkout(source / submodule.path, submodule.commit, into / submodule.path, submodule.diff)
    for reference in version.untracked:
        metadata = taken.artifacts[reference.name].metadata
        path, content = into / str(metadata["path"]), taken.content(reference.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if metadata.get("symlink"):
            path.symlink_to(os.fsdecode(content))
        else:
            path.write_bytes(content)
            path.chmod(0o755 if metadata.get("executable") else 0o644)
    return into


def checkout(source: Path, commit: str | None, into: Path, diff: str | None) -> None:
    if commit is None:
        make_repository(into)
    else:
        git(source, "clone", "-q", "--no-checkout", str(source), str(into))
        git(into, "checkout", "-q", commit)
    if diff is not None:
        git(into, "apply", "--whitespace=nowarn", "-", given=diff.encode("utf-8", "surrogateescape"))


def tree(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return every file below a folder: its path to its kind and content, without git's own."""
    return dict(_files(folder, folder))


def _files(root: Path, folder: Path) -> Iterator[tuple[str, tuple[str, bytes]]]:
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        facts = path.lstat()
        if path.name == ".git":
            continue
        if stat.S_ISLNK(facts.st_mode):
            yield name, ("link", os.fsencode(path.readlink()))
        elif stat.S_ISDIR(facts.st_mode):
            yield from _files(root, path)
        elif stat.S_ISREG(facts.st_mode):
            yield name, ("program" if facts.st_mode & stat.S_IXUSR else "file", path.read_bytes())
