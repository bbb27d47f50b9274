"""The shapes that services give their keys, so that they are known wherever they stand.

Each shape is anchored by letters that are always there and runs to a bound or to the end of a class of characters, so that searching takes
time in proportion to the text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

MASKED = "***"
"""Stands where a credential stood."""


@dataclass(frozen=True)
class Shape:
    """How one kind of credential looks."""

    what: str
    """What it is, with its article: what a file is kept out for."""
    hints: tuple[str, ...]
    """Lowercase texts, one of which stands in whatever has the shape."""
    regex: str
    """Its group `it`, or all of it, is the credential."""
    holds: Callable[[str], bool] = lambda _: True
    """Whether what has the shape is one, where the pattern cannot tell."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The regular expression; compiled once it is needed: all together take 20 ms, which most programs can do without."""
        return re.compile(self.regex)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the credentials of this shape begin and end in a text."""
        group: str | int = "it" if "it" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            if self.holds(match[group]):
                yield match.span(group)


def _shape(what: str, hints: str, pattern: str, holds: Callable[[str], bool] = lambda _: True) -> Shape:
    return Shape(what, tuple(hint.replace("~", " ") for hint in hints.split()), pattern, holds)


def _prefixed(what: str, hints: str, pattern: str) -> Shape:
    """Return the shape of a key with a prefix of its own, which stands free of other letters and digits."""
    return _shape(what, hints, rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])")


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def _is_login(text: str) -> bool:
    """Return whether base64 holds `user:password`."""
    return ":" in _decoded(text)


def _is_neptune(text: str) -> bool:
    """Return whether base64 holds JSON that names an API's address."""
    decoded = _decoded(text)
    return '"api_address"' in decoded or '"api_url"' in decoded


def _is_mixed(text: str) -> bool:
    """Return whether a text has a digit, as words do not."""
    return any(letter.isdigit() for letter in text)


PRIVATE_KEY_BEGINS = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
PRIVATE_KEY_ENDS = re.compile(r"-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")

PRIVATE_KEY = _shape(
    "a private key",
    "private~key",
    # With real line ends, with the `\n` of JSON, or all in one line; without its end it goes as far as base64 does. A `-` more is the end.
    PRIVATE_KEY_BEGINS.pattern + r"(?P<it>(?:[A-Za-z0-9+/=:,.\s\\]|-(?!----))++)",
    lambda body: len(body) >= 16,
)

IN_URL = _shape(
    "a login in a URL",
    "://",
    # `ssh://git@host` is no secret; a lone name before an http host may well be a token.
    # An image's `name:tag@sha256:...` is no login.
    r"://(?P<it>[^/\s?#\"'<>@:]*+:[^/\s?#\"'<>]+|(?:(?<=http://)|(?<=https://))[^/\s?#\"'<>:]+)(?=@(?!sha\d))",
)

SHAPES: tuple[Shape, ...] = (
    _shape("credentials in a header", "bearer~", r"(?i:\bbearer)[ +](?P<it>[A-Za-z0-9._~+/=-]{12,})", _is_mixed),
    _shape("credentials in a header", "basic~", r"(?i:\bbasic)[ +](?P<it>[A-Za-z0-9+/]{8,}={0,2})", _is_login),
    _shape(
        "credentials in a header",
        "authorization",
        r"(?i:authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:token|apikey|api-key|digest|key)\s)\s{0,4}(?P<it>[^\s\"',]{6,})",
    ),
    _shape("a signature", "signature=", r"(?i:\bsignature=)(?P<it>[0-9a-f]{64})\b"),
    _shape("a login of docker", "auth", r"(?<=\"auth\":)\s{0,4}\"(?P<it>[A-Za-z0-9+/]{8,}={0,2})\"", _is_login),
    _shape("a login of netrc", "login", r"\blogin\s{1,8}\S{1,128}\s{1,8}password\s{1,8}(?P<it>\S{6,})"),
    _shape("a key of W&B", "wandb~login", r"\bwandb login\s(?:[ \t]{0,8}--[a-z-]{1,32}){0,4}[ \t]{0,8}(?P<it>[0-9a-f]{40})\b"),
    _shape(
        "a key of Kaggle", "username", r"\"username\"\s{0,4}:\s{0,4}\"[^\"\s]{1,64}\",\s{0,8}\"key\"\s{0,4}:\s{0,4}\"(?P<it>[0-9a-f]{32})\""
    ),
)
"""Known by what stands around them."""

KEYS: tuple[Shape, ...] = (
    _shape("an AWS access key", "akia asia", r"(?<![A-Za-z0-9+/])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9+/=])"),
    _prefixed("a Google API key", "aiza", r"AIza[A-Za-z0-9_-]{35}"),
    _prefixed("a Google OAuth secret", "gocspx-", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    _prefixed("a Google access token", "ya29.", r"ya29\.[A-Za-z0-9_.-]{20,}"),
    _prefixed("a GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{30,}"),
    _prefixed("a GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,}"),
    _prefixed("a GitLab token", "glpat- gldt- glrt- glcbt- glptt- glsoat-", r"gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_.-]{20,}"),
    _prefixed("a Slack token", "xox xapp-", r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{14,}"),
    _shape(
        "a webhook of Slack",
        "hooks.slack.com",
        r"(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/(?P<it>(?:[A-Za-z0-9_-]{1,40}/){1,4}[A-Za-z0-9]{16,})",
    ),
    _shape("a webhook of Discord", "/webhooks/", r"(?:discord|discordapp)\.com/api/webhooks/(?P<it>\d{10,}/[A-Za-z0-9_-]{20,})"),
    _shape("a Telegram bot's token", ":aa", r"(?<![A-Za-z0-9])\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])"),
    _prefixed("a Stripe key", "k_live_ k_test_", r"[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    _prefixed("a Stripe webhook's secret", "whsec_", r"whsec_[A-Za-z0-9+/=]{20,}"),
    _prefixed("an Anthropic key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{20,}"),
    _prefixed("an OpenAI key", "sk-", r"sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}|or-v1-[0-9a-f]{40,}|[A-Za-z0-9]{32,})"),
    _prefixed("a Hugging Face token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    _prefixed("a W&B key", "wandb_v1_", r"wandb_v1_[A-Za-z0-9_]{20,}"),
    _shape("a Neptune token", "eyj", r"(?<![A-Za-z0-9+/_-])eyJ[A-Za-z0-9+/]{40,}={0,2}(?![A-Za-z0-9+/=_.-])", _is_neptune),
    _prefixed("a Databricks token", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?"),
    _prefixed("an npm token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _prefixed("a PyPI token", "pypi-age", r"pypi-AgE[A-Za-z0-9_-]{30,}"),
    _prefixed("a JSON web token", "eyj", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    _prefixed("a SendGrid key", "sg.", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    _prefixed("a DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[0-9a-f]{60,}"),
    _prefixed("a Docker Hub token", "dckr_pat_", r"dckr_pat_[A-Za-z0-9_-]{20,}"),
    _prefixed("a Vault token", "hvs. hvb. hvr.", r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    _prefixed("a Grafana token", "glsa_ glc_", r"gl(?:sa|c)_[A-Za-z0-9_+/=]{32,}"),
    _prefixed("a Groq key", "gsk_", r"gsk_[A-Za-z0-9]{40,}"),
    _prefixed("an NVIDIA key", "nvapi-", r"nvapi-[A-Za-z0-9_-]{40,}"),
    _prefixed("a Replicate token", "r8_", r"r8_[A-Za-z0-9]{30,}"),
    _prefixed("a LangSmith key", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}(?:_[0-9a-f]+)?"),
    _prefixed("a Perplexity key", "pplx-", r"pplx-[A-Za-z0-9]{32,}"),
    _prefixed("an xAI key", "xai-", r"xai-[A-Za-z0-9]{40,}"),
)
"""Known by a prefix of their own; each has at least `SHORTEST_RUN` letters, digits, `_` and `-` in a row."""

SHORTEST_RUN = 18
