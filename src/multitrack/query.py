"""Conditions on runs, as people write them: `params.lr < 0.1 and metrics.val/acc > 0.9 and status = finished`.

    condition   one of these, joined with `and`, `or`, `not` and parentheses
    FIELD OP VALUE   OP is  =  !=  <  <=  >  >=  ~   (`~`: contains; with * or ?, looks like; capitals do not matter)
    FIELD            the run has it
    FIELD            id name project status started ended duration params.NAME metrics.NAME tags.NAME
    VALUE            a number, a word, or a text in quotes; a date for `started`; 90s, 15m, 2h, 3d for `duration`

What has a space or a sign in it stands in quotes, names too: `metrics."val acc" > 0.9`. A run without the field meets `!=` and nothing
else; NaN is equal to `nan` and less or greater than nothing. Texts that are numbers are compared as numbers with a number: many a
service keeps nothing but texts.

Nothing is evaluated: the text becomes a small tree of the classes below.
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NoReturn, get_args

from .errors import ConfigError, did_you_mean
from .records import RunStatus

Group = Literal["params", "metrics", "tags"]
GROUPS: tuple[Group, ...] = get_args(Group)
PLAIN_FIELDS = ("id", "name", "project", "status", "started", "ended", "duration")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What a run says that does not have a field: None is a value that a param may have."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a run. `str` gives what `parse_field` reads."""

    group: Group | None
    name: str

    def __str__(self) -> str:
        if self.group is None:
            return self.name
        if _PLAIN.fullmatch(self.name):
            return f"{self.group}.{self.name}"
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.group}."{escaped}"'


Lookup = Callable[[Field], Any]
"""Gives a run's value of a field: times in microseconds, durations in seconds, MISSING where there is none."""


class Condition:
    """What a run has to meet."""

    def matches(self, lookup: Lookup) -> bool:
        """Return whether it does."""
        raise NotImplementedError

    def fields(self) -> Iterator[Field]:
        """Yield the fields that are asked for."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Has(Condition):
    field: Field

    def matches(self, lookup: Lookup) -> bool:
        return lookup(self.field) is not MISSING

    def fields(self) -> Iterator[Field]:
        yield self.field


@dataclass(frozen=True, slots=True)
class Comparison(Condition):
    field: Field
    op: str
    value: Any

    def matches(self, lookup: Lookup) -> bool:
        found = lookup(self.field)
        if self.op == "!=":
            return found is MISSING or not _equal(found, self.value)
        if found is MISSING:
            return False
        if self.op == "=":
            return _equal(found, self.value)
        if self.op == "~":
            return _looks_like(found, self.value)
        return _ordered(found, self.value, _ORDERS[self.op])

    def fields(self) -> Iterator[Field]:
        yield self.field


@dataclass(frozen=True, slots=True)
class Not(Condition):
    part: Condition

    def matches(self, lookup: Lookup) -> bool:
        return not self.part.matches(lookup)

    def fields(self) -> Iterator[Field]:
        return self.part.fields()


@dataclass(frozen=True, slots=True)
class All(Condition):
    parts: tuple[Condition, ...]

    def matches(self, lookup: Lookup) -> bool:
        return all(part.matches(lookup) for part in self.parts)

    def fields(self) -> Iterator[Field]:
        for part in self.parts:
            yield from part.fields()


@dataclass(frozen=True, slots=True)
class Some(Condition):
    parts: tuple[Condition, ...]

    def matches(self, lookup: Lookup) -> bool:
        return any(part.matches(lookup) for part in self.parts)

    def fields(self) -> Iterator[Field]:
        for part in self.parts:
            yield from part.fields()


def parse(text: str) -> Condition:
    """Return the condition that a text spells.

    Raises:
        ConfigError: it spells none; the message says where, and what was meant perhaps.
    """
    return _Parser(text).parse()


def parse_field(text: str) -> Field:
    """Return the field that a text names: `params.model.depth`, `metrics."val acc"`, `started`.

    Raises:
        ConfigError: there is no such field.
    """
    tokens = _tokens(text)
    if len(tokens) != 1 or tokens[0].kind != "word":
        raise ConfigError(f"{text!r} is no field of a run: {_FIELDS_ARE}; a name with a space or a sign stands in quotes")
    return _to_field(tokens[0])


# -- values


def as_number(value: Any) -> int | float | None:
    """Return a value as a number, where it is one or a text that spells one."""
    if isinstance(value, int | float):  # bool as well: true is 1, in every service that has numbers only
        return value
    if not isinstance(value, str):
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return None


def _equal(found: Any, value: Any) -> bool:
    if value is None or found is None:
        return found is value or (value is None and found == "None")
    if isinstance(value, bool):
        return found is value or (not isinstance(found, bool) and str(found).lower() == str(value).lower())
    if isinstance(value, int | float):
        number = None if isinstance(found, bool) else as_number(found)
        return number is not None and (number == value or (_is_nan(number) and _is_nan(value)))
    return bool(found == value) if isinstance(found, str) else str(found) == value


def _ordered(found: Any, value: Any, holds: Callable[[Any, Any], bool]) -> bool:
    left, right = as_number(found), as_number(value)
    if left is not None and right is not None:
        return holds(left, right)
    return isinstance(found, str) and isinstance(value, str) and right is None and holds(found, value)


def _looks_like(found: Any, pattern: Any) -> bool:
    text, wanted = ("" if found is None else str(found)).lower(), str(pattern).lower()
    return fnmatch.fnmatchcase(text, wanted) if _GLOB.search(wanted) else wanted in text


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_GLOB = re.compile(r"[*?]")


# -- from text

_PLAIN = re.compile(r"""[^\s()=<>!~"'&|]+""")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<op>!=|<=|>=|==|=|<|>|~)
      | (?P<open>\()
      | (?P<close>\))
      | (?P<word>(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s()=<>!~"'&|])+)""",
    re.VERBOSE | re.DOTALL,
)
_PIECE = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^"']+)""", re.DOTALL)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}
_STATUSES: tuple[str, ...] = get_args(RunStatus)
_FIELDS_ARE = f"there are {', '.join(PLAIN_FIELDS)}, params.NAME, metrics.NAME and tags.NAME"
_DEEPEST = 50
"""Parentheses and `not`s inside each other."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int
    """The first character is 1."""

    @property
    def quoted(self) -> bool:
        return self.text[:1] in ('"', "'")

    def plain(self) -> str:
        """Return the text without its quotes."""
        return "".join(re.sub(r"\\(.)", r"\1", a or b, flags=re.DOTALL) + c for a, b, c in _PIECE.findall(self.text))


def _tokens(text: str) -> list[_Token]:
    found = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ConfigError(_complain(text, place, _hint(text, place)))
        if match.lastgroup not in (None, "space"):
            found.append(_Token(str(match.lastgroup), match[0], place + 1))
        place = match.end()
    return found


def _hint(text: str, place: int) -> str:
    sign = text[place]
    if sign in "\"'":
        return "this quote is not closed"
    return {"&": "write `and`", "|": "write `or`", "!": "write `not`, or `!=`"}.get(sign, f"{sign!r} means nothing here")


def _complain(text: str, place: int, what: str) -> str:
    shown = f"{text[:place]}▸{text[place:]}" if len(text) <= 200 else f"...{text[max(0, place - 60) : place]}▸{text[place : place + 60]}..."
    return f"the filter is not understood: {what} (at ▸): {' '.join(shown.split())}"


class _Parser:
    """Recursive descent; `or` binds less than `and`, and that less than `not`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def parse(self) -> Condition:
        if not self._tokens:
            raise ConfigError("the filter is empty: write a condition such as 'metrics.val/acc > 0.9 and status = finished'")
        condition = self._some()
        if (rest := self._peek()) is not None:
            self._fail(rest, "one `)` too many" if rest.kind == "close" else f"`and` or `or` is missing before {rest.text!r}")
        return condition

    def _some(self) -> Condition:
        parts = [self._all()]
        while self._takes_word("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._single()]
        while self._takes_word("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _single(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ConfigError(f"the filter is not understood: more than {_DEEPEST} parentheses inside each other")
        try:
            if self._takes_word("not"):
                return Not(self._single())
            if (token := self._peek()) is not None and token.kind == "open":
                self._next += 1
                inner = self._some()
                closing = self._peek()
                if closing is None or closing.kind != "close":
                    self._fail(closing, "a `)` is missing")
                self._next += 1
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        token = self._take("word", "a field such as params.lr")
        if not token.quoted and token.text.lower() in ("and", "or", "not"):
            self._fail(token, f"a condition is missing before {token.text!r}")
        field = self._field(token)
        following = self._peek()
        if following is None or following.kind != "op":
            if field.group is None:
                self._fail(following, f"{field} is to be compared: =, !=, <, <=, >, >= or ~ is missing")
            return Has(field)
        self._next += 1
        op = "=" if following.text == "==" else following.text
        return Comparison(field, op, self._value(self._take("word", f"a value after {following.text!r}"), field, op))

    def _field(self, token: _Token) -> Field:
        try:
            return _to_field(token)
        except ConfigError as error:
            raise ConfigError(_complain(self._text, token.place - 1, str(error))) from None

    def _value(self, token: _Token, field: Field, op: str) -> Any:
        text = token.plain()
        if op == "~":
            return text
        if field == Field(None, "status") and text not in _STATUSES:
            self._fail(token, f"there is no status {text!r}.{did_you_mean(text, _STATUSES)} There are {', '.join(_STATUSES)}")
        if field.group is None and field.name in ("started", "ended"):
            return self._moment(token, text)
        if field == Field(None, "duration"):
            return self._seconds(token, text)
        if token.quoted or field.group is None:
            return text
        number = as_number(text)
        return number if number is not None else _WORDS.get(text.lower(), text)

    def _moment(self, token: _Token, text: str) -> int:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self._fail(token, f"{text!r} is no time; write 2026-11-23 or 2026-11-23T14:00")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)

    def _seconds(self, token: _Token, text: str) -> float:
        if match := _DURATION.fullmatch(text):
            return float(match[1]) * _SECONDS[match[2]]
        number = as_number(text)
        if number is None:
            self._fail(token, f"{text!r} is no duration; write seconds, or 90s, 15m, 2h, 3d")
        return number

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, kind: str, wanted: str) -> _Token:
        token = self._peek()
        if token is None or token.kind != kind:
            self._fail(token, f"{wanted} is missing")
        self._next += 1
        return token

    def _takes_word(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "word" or token.text.lower() != word:
            return False
        self._next += 1
        return True

    def _fail(self, token: _Token | None, what: str) -> NoReturn:
        raise ConfigError(_complain(self._text, len(self._text) if token is None else token.place - 1, what))


def _to_field(token: _Token) -> Field:
    head, dot, _ = token.text.partition(".")
    if not token.quoted and head in GROUPS:
        name = token.plain()[len(head) + 1 :]
        if dot and name:
            return Field(head, name)
        raise ConfigError(f"{head} needs a name: {head}.NAME")
    text = token.plain()
    if not token.quoted and text in PLAIN_FIELDS:
        return Field(None, text)
    if dot and (near := did_you_mean(head, GROUPS)):
        raise ConfigError(f"{text!r} is no field.{near[:-2]}.{text[len(head) + 1 :]}'?")
    if near := did_you_mean(text, PLAIN_FIELDS):
        raise ConfigError(f"{text!r} is no field.{near}")
    raise ConfigError(f"{text!r} is no field: write params.{text}, metrics.{text} or tags.{text}; or one of {', '.join(PLAIN_FIELDS)}")
