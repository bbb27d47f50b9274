"""The packages that a requirements file names. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from multitrack.records import Environment, Microseconds, Omission, PackageSource

_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*={2,3}\s*([^\s;#]+)")
_AT_URL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*@\s*(\S+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]+(\S+)")
_VCS = re.compile(r"(git|hg|svn|bzr)\+(.+?)(?:@([^@#/]+))?(?:#(.*))?$")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def environment(text: str | None, host: str | None, time: Microseconds) -> Environment | None:
    """Return what a file such as `pip freeze` prints says of the environment; None where nothing is known.

    A line that pins no version, such as an editable folder or `name>=1`, stands among what is omitted.
    """
    packages: dict[str, str] = {}
    sources: dict[str, PackageSource] = {}
    omitted: list[Omission] = []
    for line in (line.strip() for line in (text or "").splitlines()):
        if not line or line.startswith("#"):
            continue
        if pinned := _PINNED.match(line):
            packages[pinned[1]] = pinned[2]
        elif found := _source(line):
            name, source = found
            packages[name] = ""
            sources[name] = source
        else:
            omitted.append(Omission(name=_without_login(line), reason="the requirements file names no version"))
    if not packages and host is None:
        return None
    return Environment(time=time, host=host, packages=packages, sources=sources, omitted=omitted)


def without_login(url: str) -> str:
    """Return a URL without a user name and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url


def _without_login(line: str) -> str:
    return re.sub(r"(?<=://)[^/\s]*@", "", line)


def _source(line: str) -> tuple[str, PackageSource] | None:
    if at_url := _AT_URL.match(line):
        return at_url[1], _describe(at_url[2])
    if editable := _EDITABLE.match(line):
        egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", editable[1])
        return (egg[1], _describe(editable[1])) if egg else None
    return None


def _describe(url: str) -> PackageSource:
    """Return a source as pip writes it: a version control system, a folder or file of the machine, or a file at a URL."""
    if vcs := _VCS.match(url):
        commit = vcs[3] if vcs[3] and _COMMIT.fullmatch(vcs[3]) else None
        subdirectory = re.search(r"(?:^|&)subdirectory=([^&]+)", vcs[4] or "")
        return PackageSource(
            kind="vcs",
            url=without_login(vcs[2]),
            vcs=vcs[1],
            commit=commit,
            requested=None if commit else vcs[3],
            subdirectory=subdirectory[1] if subdirectory else None,
        )
    if url.startswith("file:"):
        return PackageSource(kind="local", url=urlsplit(url).path)
    location, _, fragment = url.partition("#")
    digest = re.search(r"(?:^|&)(sha\d+=[0-9a-f]+)", fragment)
    return PackageSource(kind="archive", url=without_login(location), digest=digest[1] if digest else None)
