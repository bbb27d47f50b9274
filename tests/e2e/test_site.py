"""The documentation as a site: every page is in it, and everything that its pages point to is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def entries(nav: list[Any]) -> Iterator[str]:
    """Yield the pages of a menu."""
    for item in nav:
        if isinstance(item, str):
            yield item
        else:
            for below in item.values():
                yield from entries(below if isinstance(below, list) else [below])


def test_every_page_is_in_the_menu() -> None:
    # zensical says nothing when one is missing, on either side.
    menu = list(entries(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert not pages - set(menu), "give them a place under nav in zensical.toml"
    assert not set(menu) - pages, "take them out of nav in zensical.toml"
    assert len(menu) == len(set(menu)), menu


class Page(HTMLParser):
    """What a page has and wants."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        elif tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.loads.add(found["href"])
        elif "src" in found:
            self.loads.add(found["src"])


@pytest.mark.slow
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(DOCS, copy / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "zensical.toml", copy)
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run([zensical, "build", "--strict"], cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    pages = {file: Page(file) for file in (copy / "site").rglob("*.html")}
    assert {file.relative_to(copy / "site").with_suffix(".md") for file in pages} >= {page.relative_to(DOCS) for page in DOCS.rglob("*.md")}
    for page in pages.values():
        if page.file.name == "404.html":
            continue  # its links count from the site's root, wherever that is
        for link in page.links | page.loads:
            check(link, page, pages)


def check(link: str, page: Page, pages: dict[Path, Page]) -> None:
    """See that a link leads to something on the site, and that only links leave it."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        assert link in page.links, f"{page.file}: {link} is loaded from elsewhere"
        return
    found = (page.file.parent / unquote(parts.path)).resolve() if parts.path else page.file
    found = found / "index.html" if found.is_dir() else found
    assert found.is_file(), f"{page.file}: {link}"
    if parts.fragment and found in pages:
        assert unquote(parts.fragment) in pages[found].anchors | {"__skip"}, f"{page.file}: {link}"
