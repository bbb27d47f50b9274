"""Names: what a service cannot hold becomes `<sanitised>-<hash8>`, and no two names become one.

A name that by itself cannot be held gets its hash always, whatever came before. Where only the company decides (letters that
differ in case, a path that is both leaf and folder, a name that looks like another's hashed one), the first keeps the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256

from ..backend import NameRule

_FILLERS = "_-.x0"
_HASH_LENGTH = 8
_SALTS = 8


def hash8(name: str) -> str:
    """Return the first eight hexadecimal digits of the name's SHA-256."""
    return digest(name)[:_HASH_LENGTH]


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a text in the persisted state: plain ASCII, and short however long the text."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def holds(rule: NameRule, name: str) -> bool:
    """Return whether the rule, by itself, takes the name."""
    if not name or (rule.max_length is not None and len(name) > rule.max_length):
        return False
    if rule.allowed is not None and not _allowed(rule.allowed).fullmatch(name):
        return False
    if rule.path and any(part in ("", ".", "..") for part in name.split("/")):
        return False
    return not _is_reserved(rule, name)


def hashed(rule: NameRule, name: str, *, original: str | None = None, salt: int = 0) -> str:
    """Return `<sanitised>-<hash8>`, which the rule takes. The hash is that of `original`, which is `name` unless told."""
    original = name if original is None else original
    suffix = _separator(rule) + hash8(f"{original}\0{salt}" if salt else original)
    clean = _sanitise(rule, name)
    if rule.max_length is not None:
        clean = clean[: max(rule.max_length - len(suffix), 0)]
    return clean + suffix


def is_hashed_name_of(name: str, original: str) -> bool:
    """Return whether `name` ends with a hash that `hashed` makes of `original`."""
    return name.endswith((hash8(original), *(hash8(f"{original}\0{salt}") for salt in range(1, _SALTS))))


class Names:
    """The names of one kind (metrics, params, ...) in one run at one service.

    `claims` is what must be remembered from batch to batch: names that could clash, and who has them, as digests.
    """

    def __init__(self, rule: NameRule, claims: dict[str, str]) -> None:
        self.rule = rule
        self.claims = claims
        self._company_decides = rule.ignores_case or rule.leaf_or_folder
        flags = re.DOTALL | (re.IGNORECASE if rule.ignores_case else 0)
        self._looks_hashed = re.compile(f".*{re.escape(_separator(rule))}[0-9a-f]{{{_HASH_LENGTH}}}", flags).fullmatch

    def fit(self, wanted: str, *, original: str, owner: str, scope: str = "", clashes: bool = False) -> tuple[str, bool]:
        """Return the name for `owner` and whether it was claimed just now.

        `wanted` is the name it gets where nothing speaks against it, `original` what its hash is made of. Owners in different
        scopes never clash. `clashes`: other owners may want the same name, so it must be claimed.
        """
        owner = digest(owner)
        for name in self._candidates(wanted, original):
            if not (clashes or self._company_decides or self._looks_hashed(name)):
                return name, False  # nobody else can ever want it: not worth remembering
            claim = self._claim_of(scope, name)
            if self.claims.get(claim) == owner:
                return name, False
            if claim not in self.claims and not self._is_blocked(scope, name):
                self._claim(scope, name, owner)
                return name, True
        raise AssertionError("unreachable: candidates never end")

    def _candidates(self, wanted: str, original: str) -> Iterator[str]:
        if holds(self.rule, wanted):
            yield wanted
        yield hashed(self.rule, wanted, original=original)
        # Somebody's own name looks exactly like that hash, or a parent folder is a leaf: out of the folder, with another hash.
        flat = wanted.replace("/", _filler(self.rule)) if self.rule.leaf_or_folder else wanted
        salt = 0
        while True:
            yield hashed(self.rule, flat, original=original, salt=salt)
            salt += 1

    def _claim_of(self, scope: str, name: str) -> str:
        return digest(f"{scope}\0{name.casefold() if self.rule.ignores_case else name}")

    def _is_blocked(self, scope: str, name: str) -> bool:
        """Whether the name is a folder already, or lies in a folder that is a leaf."""
        if not self.rule.leaf_or_folder:
            return False
        return f"{self._claim_of(scope, name)}/" in self.claims or any(
            self._claim_of(scope, folder) in self.claims for folder in _folders(name)
        )

    def _claim(self, scope: str, name: str, owner: str) -> None:
        self.claims[self._claim_of(scope, name)] = owner
        if self.rule.leaf_or_folder:
            for folder in _folders(name):
                self.claims[f"{self._claim_of(scope, folder)}/"] = ""


def _folders(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


@cache
def _allowed(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{characters}]+")


@cache
def _separator(rule: NameRule) -> str:
    return next((c for c in "-_" if rule.allowed is None or _allowed(rule.allowed).fullmatch(c)), "")


@cache
def _filler(rule: NameRule) -> str:
    return next((c for c in _FILLERS if rule.allowed is None or _allowed(rule.allowed).fullmatch(c)), "")


def _is_reserved(rule: NameRule, name: str) -> bool:
    if rule.ignores_case:
        folded = name.casefold()
        is_whole = any(folded == whole.casefold() for whole in rule.reserved_names)
        return is_whole or folded.startswith(tuple(start.casefold() for start in rule.reserved))
    return name in rule.reserved_names or name.startswith(rule.reserved)


def _sanitise(rule: NameRule, name: str) -> str:
    filler = _filler(rule)
    if rule.allowed is not None:
        allowed = _allowed(rule.allowed)
        name = "".join(c if allowed.fullmatch(c) else filler for c in name)
    if rule.path:
        name = "/".join(part.replace("..", filler * 2) if part == ".." else part for part in name.split("/") if part not in ("", "."))
    name = name or _filler(rule)
    if _is_reserved(rule, name):
        fillers = (c for c in _FILLERS if rule.allowed is None or _allowed(rule.allowed).fullmatch(c))
        name = next((c + name for c in fillers if not _is_reserved(rule, c + name)), "")
    return name
