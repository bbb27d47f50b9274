"""Runs as notebooks show them: small pieces of HTML that need nothing else. Whatever comes from a run is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .address import hide_credentials

_CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
_LONGEST = 200
"""Characters of a value."""
_MOST = 20
"""Rows of a section, runs of a table."""


def card(title: str, facts: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]], url: str | None = None) -> str:
    """Return one run: what it is called, facts about it, and sections that fold. A value of None is left out."""
    shown = {name: value for name, value in facts.items() if value is not None}
    link = _link(url)
    parts = [f"<strong>{_text(title)}</strong>", _rows(shown), *([link] if link else [])]
    parts += [
        f"<details><summary>{_text(name)} ({len(rows):,})</summary>{_rows(dict(list(rows.items())[:_MOST]))}{_more(len(rows))}</details>"
        for name, rows in sections.items()
        if rows
    ]
    return f"<div>{''.join(parts)}</div>"


def grid(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table of runs; `rows` is read no further than it is shown."""
    head = "".join(f'<th style="{_CELL}">{_text(name)}</th>' for name in header)
    body: list[str] = []
    more = ""
    for row in rows:
        if len(body) == _MOST:
            more = "<div>and more</div>"
            break
        body.append("<tr>" + "".join(f'<td style="{_CELL}">{_text(value)}</td>' for value in row) + "</tr>")
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{more}</div>"


def _rows(facts: Mapping[str, Any]) -> str:
    rows = (
        f'<tr><th style="{_CELL};font-weight:normal">{_text(name)}</th><td style="{_CELL}">{_text(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _more(count: int) -> str:
    return f"<div>and {count - _MOST:,} more</div>" if count > _MOST else ""


def _link(url: str | None) -> str:
    """Return a link, where the text is a web page's address: a `javascript:` one would run."""
    if url is None or not url.startswith(("http://", "https://")):
        return ""
    shown = hide_credentials(url)
    return f'<div><a href="{_safe(shown)}" target="_blank" rel="noopener noreferrer">{_safe(shown)}</a></div>'


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)
    return _safe(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _safe(text: str) -> str:
    # A lone surrogate cannot leave the process as UTF-8, and would take the whole page with it.
    return escape(text.encode("utf-8", "replace").decode(), quote=True)
