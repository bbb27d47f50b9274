"""Credentials in running text that are known by their names: `password=...`, `"api_key": "..."`, `--token ...`, `?sig=...`."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from .names import SUFFIXES, certainty

_NAME_ENDS = re.compile(
    rf"""(?ix) (?:passw(?:or)?d|passphrase|passcode|pass|pwd|secret|token|key|credential|signature|cookie|authorization) s?
    (?: [_-] (?:{"|".join(sorted(SUFFIXES))}) )? [\d_]{{0,4}}
    (?: \\?["'`] )? \]?
    (?P<sign> [ \t]{{0,8}} (?: => | := | == | [:=] ) [ \t]{{0,8}} | [ \t]{{1,8}} )"""
)
"""Where the name of a credential may end: what stands before that is read backwards, which takes a bounded time."""

_VALUE = re.compile(
    r"""(?x) (?:[bBrRfFuU]{1,2}(?=["']))?
    (?: \\" (?P<escaped> [^"\\]*+ ) (?:\\")?
      | " (?P<double> (?: [^"\\\n] | \\. )*+ ) "?
      | ' (?P<single> (?: [^'\\\n] | \\. )*+ ) '?
      | (?P<bare> (?: [^\s;&"'`,] | ,(?!\s{0,4}[\w."'-]{1,40}\s{0,4}[=:]) )++ ) )"""
)
_BARE_END = ",.)]}>"
"""Closes what a bare value stands in, when it is last."""

_QUERY = re.compile(r"[?&](?P<name>[A-Za-z0-9_.%-]{1,64})=(?P<it>[^&\s\"'<>#)\]}]+)")
_QUERY_NAMES = frozenset(
    {"sig", "signature", "x-amz-signature", "x-amz-security-token", "x-goog-signature", "auth", "jwt", "code_verifier"}
)
"""Of presigned URLs, and other names that are clear enough in a URL's query only."""

_NAME_LETTERS = frozenset(string.ascii_letters + string.digits + "_-.")
_LONGEST_NAME = 64
_READ_AGAIN = 200
"""Characters of a value that is no credential, within which names are looked for again; beyond that, time would grow with its square."""

_NO_SECRET = re.compile(
    r"""(?xi) \s* (?:
      | \*+ | \.{3} | x{3,8}                                          # masked, or left out
      | none | null | nil | true | false | yes | no | on | off | undefined | default | empty | redacted | masked | hidden
      | required | optional | missing | invalid | str | string | int | bytes | bool | any | type | object
      | </?[^<>]{0,40}> | \[[a-z_ ]{0,20}\] | \{[^{}]{0,40}\} | \{\{.{0,60}\}\}   # <eos>, [PAD], {placeholder}
      | \$\{.{0,80}\} | \$\{\{ | \$\(.{0,80}\) | \$(?-i:[A-Z_][A-Z0-9_]{0,40}) | %\(?\w{0,20}\)?s | %\w{1,40}%   # another variable
      | (?:optional|union|list|dict|secretstr)\b.{0,80}                # an annotation
    ) \s* """
)
_CODE = re.compile(
    r"(?:os|self|cls|args|cfg|config|settings|options|opts|env|environ|secrets|params|getpass|flags)\.\w|[A-Za-z_][\w.]{0,60}[(\[]", re.I
)
"""`os.environ[...]`, `config.token`, `get_token()`: where a credential comes from is none."""
_VARIABLE = re.compile(r"(?=.*[._])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
"""`session.token`, `s3_connection`: in source code, a name."""
_PATH = re.compile(r"(?:~|\.{0,2}/|[A-Za-z]:\\)[^\s:]*|[\w./~-]{1,255}\.(?:json|pem|key|txt|ini|toml|ya?ml|env|cfg|p12|pub)")


def is_secret(name: str, value: str) -> bool:
    """Return whether the value that has this name is a credential, as an option, a param or a variable."""
    sure = certainty(name)
    if sure == "no" or _NO_SECRET.fullmatch(value):
        return False
    if sure == "surely":
        return not (_PATH.fullmatch(value) and _may_be_path(name))
    return not value.strip().isdigit() and not _PATH.fullmatch(value) and "://" not in value


def _may_be_path(name: str) -> bool:
    """Return whether what has this name is as often a file that holds the credential, or the current folder."""
    return name.lower().endswith(("pwd", "private_key", "private-key", "ssh_key", "ssh-key", "key_file", "rsa_key", "service_account_key"))


def assigned(text: str, *, only_evident: bool = False) -> Iterator[tuple[int, int]]:
    """Yield where the values of credentials begin and end in a text.

    `only_evident` is for files, which are left out for what is found in them: there a value has to look like a credential as well.
    """
    at = 0
    while (match := _NAME_ENDS.search(text, at)) is not None:
        at = match.end()
        begin = match.start()
        while begin > 0 and match.start() - begin < _LONGEST_NAME and text[begin - 1] in _NAME_LETTERS:
            begin -= 1
        name = text[begin : match.start("sign")]
        if match["sign"].isspace() and not name.startswith("-"):
            continue
        sure = certainty(name)
        value = _VALUE.match(text, at) if sure != "no" else None
        if value is None:
            continue
        first, last = _span(value)
        held = text[first:last]
        if _is_value(name, held, text[last : last + 1], quoted=value["bare"] is None, only_evident=only_evident):
            yield first, last
            at = value.end() if value["bare"] is None else last
        elif last - first > _READ_AGAIN:
            at = last


def _span(value: re.Match[str]) -> tuple[int, int]:
    first, last = value.span(value.lastgroup or 0)
    if value.lastgroup == "bare":
        while last > first + 1 and value.string[last - 1] in _BARE_END:
            last -= 1
    return first, last


def _is_value(name: str, held: str, follows: str, *, quoted: bool, only_evident: bool) -> bool:
    """Return whether what stands behind the name of a credential is one."""
    if not held or _NO_SECRET.fullmatch(held + follows) or not is_secret(name, held):
        return False
    bare_name = name.rpartition(".")[2].strip("-\"'`]\\")
    if not quoted and (_CODE.match(held + follows) or held.lower() == bare_name.lower()):
        return False
    if only_evident:
        return is_evident(held) and (quoted or not _VARIABLE.fullmatch(held))
    return certainty(name) == "surely" or name.startswith("-") or _looks_random(held)


_EXAMPLE = re.compile(
    r"(?i)example|change_?me|dummy|fake|sample|placeholder|your[-_]|x{4}|1234567|test|pass(word|wd)?|secret|foo|\s|[(){}$<>%*]"
)


def is_evident(value: str) -> bool:
    """Return whether a value looks like a credential, and not like one of documentation, or one to be filled in."""
    return _looks_random(value) and _EXAMPLE.search(value) is None


def _looks_random(value: str) -> bool:
    """Return whether a value looks made by a machine: letters and digits, without a space."""
    return len(value) >= 8 and any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and not any(map(str.isspace, value))


def in_queries(text: str) -> Iterator[tuple[int, int]]:
    """Yield where credentials begin and end in the queries of URLs."""
    for match in _QUERY.finditer(text):
        name = match["name"]
        if (name.lower() in _QUERY_NAMES or certainty(name) != "no") and not _NO_SECRET.fullmatch(match["it"]):
            yield match.span("it")
