"""Credentials in texts, values, command lines and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .assignments import assigned, in_queries, is_evident, is_secret
from .names import certainty
from .shapes import IN_URL, KEYS, MASKED, PRIVATE_KEY, SHAPES, SHORTEST_RUN, Shape

_MAY_TELL = re.compile("://|pass|pwd|secre|toke|key|cred|auth|basic |earer |sig=|signature|cookie|login")
"""One of these stands in whatever is known by what is around it. Searched in lowercase, which is much quicker than ignoring case."""

_NO_LONG_RUN = re.compile(rf"(?:[^A-Za-z0-9_-]*+[A-Za-z0-9_-]{{1,{SHORTEST_RUN - 1}}}+(?![A-Za-z0-9_-]))*+[^A-Za-z0-9_-]*+\Z")
"""Matches, in one pass, a text without the long runs that the keys known by their prefixes are."""

_MARKS = ("pass", "pwd", "secre", "toke", "key", "cred", "signature", "cookie", "authorization")
_QUERY_MARKS = ("pass", "pwd", "secre", "toke", "key", "sig", "auth", "jwt", "cred")

Spans = Iterable[tuple[int, int]]


class Mask:
    """Knows credentials by their names and their shapes. Safe to share between threads."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """`patterns` are regular expressions for more of them; where one has a group, the first group is the credential.

        Raises:
            re.error: one of them is no regular expression.
        """
        self._more = tuple(re.compile(pattern) for pattern in patterns)

    @property
    def patterns(self) -> list[str]:
        """The regular expressions that it was given."""
        return [pattern.pattern for pattern in self._more]

    def text(self, text: str) -> str:
        """Return a text in which every credential is masked; the very same object where there is none."""
        masked = text
        if (known := _may_hold(text)) is not None:
            known_by_context, lower = known
            if known_by_context:
                if "private key" in lower:
                    masked = _cover(masked, PRIVATE_KEY.spans(masked))
                if "://" in lower:
                    masked = _cover(masked, IN_URL.spans(masked))
                if "=" in masked and ("?" in masked or "&" in masked) and _any_in(_QUERY_MARKS, lower):
                    masked = _cover(masked, in_queries(masked))
                masked = _cover_shapes(masked, lower, SHAPES)
            masked = _cover_shapes(masked, lower, KEYS)
            if known_by_context and _any_in(_MARKS, lower):
                masked = _cover(masked, assigned(masked))
        for pattern in self._more:
            masked = _cover(masked, (match.span(1 if pattern.groups else 0) for match in pattern.finditer(masked)))
        return text if masked == text else masked

    def is_secret_name(self, name: str) -> bool:
        """Return whether what has this name (a param, an option, a variable) is a credential, whatever it looks like."""
        return certainty(name) != "no"

    def value(self, name: str, value: Any) -> Any:
        """Return a value, nested or not, with its credentials masked: by its name, by the names in it, and by its texts.

        An int is masked where a password is expected; a bool, a float and None say nothing, and stay.
        """
        if isinstance(value, Mapping):
            # What holds credentials may name them as it likes: {"credentials": {"me": "..."}}.
            inside = name if certainty(name) == "surely" else ""
            return {self.text(str(key)): self.value(inside or str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(name, item) for item in value]
        if isinstance(value, str):
            return MASKED if value and is_secret(name, value) else self.text(value)
        if type(value) is int and certainty(name) == "surely":
            return MASKED
        return value

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command line with the values of `--token VALUE` and `api_key=VALUE`, and every other credential in it, masked."""
        shown: list[str] = []
        hide_next = ""
        for argument in command:
            name, sign, value = argument.partition("=")
            if hide_next and not argument.startswith("--"):
                shown.append(MASKED if is_secret(hide_next, argument) else self.text(argument))
            elif sign and value and _is_name(name) and is_secret(name, value):
                shown.append(f"{name}={MASKED}")
            else:
                shown.append(self.text(argument))
            hide_next = argument if not sign and argument.startswith("-") and self.is_secret_name(argument) else ""
        return shown

    def find(self, content: bytes) -> str | None:
        """Return a phrase for the first credential in a file's content, such as `a login in a URL, line 12`; None if there is none.

        A file is kept out for it, so what merely has a credential's name (`api_key = os.environ[...]`, `password="test"`) does not count.
        """
        text = content.decode("utf-8", "replace")
        known = _may_hold(text)
        found = None
        if known is not None:
            found = _first(text, self._findings(text, known[1]))
        for pattern in self._more:
            match = next((match for match in pattern.finditer(text) if match.end() > match.start()), None)
            if match is not None and (found is None or match.start() < found[0]):
                found = match.start(), "what `secret_patterns` names"
        return None if found is None else f"{found[1]}, line {text.count(chr(10), 0, found[0]) + 1}"

    @staticmethod
    def _findings(text: str, lower: str) -> Iterable[tuple[str, Callable[[], Spans]]]:
        for shape in (PRIVATE_KEY, *SHAPES, *KEYS):
            if _any_in(shape.hints, lower):
                yield shape.what, lambda shape=shape: shape.spans(text)  # type: ignore[misc]
        yield IN_URL.what, lambda: (span for span in IN_URL.spans(text) if _is_evident_login(text[slice(*span)]))
        yield "a credential in a URL", lambda: (span for span in in_queries(text) if is_evident(text[slice(*span)]))
        yield "a credential by its name", lambda: assigned(text, only_evident=True)


def _is_evident_login(login: str) -> bool:
    """Return whether the login of a URL is a real one: not `user:password`, nor `{user}:{password}`."""
    _, colon, password = login.rpartition(":")
    return is_evident(password) and (bool(colon) or len(password) >= 16)


def _may_hold(text: str) -> tuple[bool, str] | None:
    """Return None for a text that holds no credential, as nearly all lines are: a microsecond or two for a line of a hundred characters.

    Otherwise whether it holds words that tell of one, and the text in lowercase.
    """
    lower = text.lower()
    tells = _MAY_TELL.search(lower) is not None
    return (tells, lower) if tells or _NO_LONG_RUN.match(text) is None else None


def _any_in(marks: Iterable[str], lower: str) -> bool:
    return any(mark in lower for mark in marks)


def _is_name(text: str) -> bool:
    return text.lstrip("+-~").replace("-", "_").replace(".", "_").replace("/", "_").isidentifier()


def _cover_shapes(text: str, lower: str, shapes: Iterable[Shape]) -> str:
    for shape in shapes:
        if _any_in(shape.hints, lower):
            text = _cover(text, shape.spans(text))
    return text


def _cover(text: str, spans: Spans) -> str:
    """Return a text with `***` in place of these spans, which are in order and apart."""
    parts: list[str] = []
    at = 0
    for begin, end in spans:
        if end > begin:
            parts += (text[at:begin], MASKED)
            at = end
    return "".join((*parts, text[at:])) if parts else text


def _first(text: str, findings: Iterable[tuple[str, Callable[[], Spans]]]) -> tuple[int, str] | None:
    """Return where the first credential begins, and what it is."""
    best: tuple[int, str] | None = None
    for what, spans in findings:
        begin = next((begin for begin, end in spans() if end > begin and text[begin:end] != MASKED), None)
        if begin is not None and (best is None or begin < best[0]):
            best = begin, what
    return best
