"""Which names are those of credentials: `api_key`, `--auth-token`, `db.password`, `clientSecret`; and which only sound like them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

Certainty = Literal["surely", "perhaps", "no"]
"""Whether what has a name is a credential. `perhaps`: the value decides, as with `token`, a word of language models as well."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""A word of `snake_case`, `kebab-case`, `dotted.names`, `camelCase` and `APIKey`."""

_ENDINGS = ("password", "passwd", "passphrase", "passcode", "apikey", "accesskey", "secretkey", "privatekey", "accountkey", "secret")
"""Of a single word, for `PGPASSWORD` and `clientsecret`."""

_BEFORE_KEY = _words(
    """
    access account admin aes anthropic api app application auth azure comet consumer deploy deployment encryption fernet gemini hf
    hmac huggingface jwt license master mistral neptune openai private rsa sas secret service shared signing ssh storage
    subscription wandb webhook
    """
)
"""`key` alone, `primary_key` and `sort_key` are none."""

_BEFORE_PASS = _words(
    """
    admin db email ftp http imap ldap mail mongo mysql pg postgres proxy redis root smtp sql ssh user
    """
)

_TOKENS = _words(
    """
    accesstoken apitoken authtoken bearertoken githubtoken hftoken idtoken refreshtoken sessiontoken
    """
)
_BEFORE_TOKEN = _words(
    """
    access api auth azure bearer bot ci comet csrf databricks deploy device github gitlab hf hub huggingface id jwt kaggle login
    neptune npm oauth personal private pypi refresh registry sas secret security service session slack user vault wandb xsrf
    """
)
_NO_CREDENTIAL_TOKEN = _words(
    """
    action additional audio begin beginning blank bos by cat class cls cond condition context continuation cost count current decoder
    delimiter dist distill distillation doc document dummy each empty end eod eom eos eot expected extra fake fim first forced frame graph
    image img input invalid its keep label language last latent learnable mask max mean mem memory min mode motion n new newline
    next node null num object one out output pad padding page patch per phoneme placeholder pos pred predicted prefix prev previous
    prompt query real register sample sep separator single sink soft sos sot source space special speech start state stop sub
    subword suffix sum switch system target task text think time timestep tool total unexpected unk unknown valid video vision
    vocab whitespace word zero
    """
)
"""What stands before `token` in language models, whose tokens are no credentials."""

_FLAGS = _words(
    """
    allow check disable enable forget generate has hide is mask need needs no prompt require requires reset show skip with without
    """
)
"""First words of names that say something about a credential."""


SUFFIXES = _words("backup dev live new old prod production staging test value")
"""What may follow a name: `API_KEY_PROD`."""


@lru_cache(maxsize=4096)
def certainty(name: str) -> Certainty:
    """Return whether what has this name is a credential."""
    words = [word.lower() for word in _WORD.findall(name[-128:])]
    if not words or words[0] in _FLAGS:
        return "no"
    if words[-1] in SUFFIXES:
        return "surely" if _certainty(words[:-1]) == "surely" else "no"
    return _certainty(words)


def _certainty(words: Sequence[str]) -> Certainty:
    if not words:
        return "no"
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last.endswith("s") and not last.endswith("ss"):
        # `api_keys`, `passwords` and `secrets` hold credentials; `tokens` are mostly counted.
        last = last[:-1]
        if last == "token" and before not in _BEFORE_TOKEN:
            return "no"
    if last.endswith(_ENDINGS):
        return "surely"
    if last == "key":
        return "surely" if before in _BEFORE_KEY else "no"
    if last.endswith("token"):
        return _of_token(last, before)
    if last == "pwd":
        return "surely" if before != "old" else "no"
    if last == "pass":
        return "surely" if before in _BEFORE_PASS else "no"
    if last in ("credential", "authorization"):
        return "perhaps"
    if last in ("signature", "cookie"):
        return "surely" if before in ("access", "auth", "session") else "no"
    return "no"


def _of_token(last: str, before: str) -> Certainty:
    if last in _TOKENS:
        return "surely"
    if last != "token" or before in _NO_CREDENTIAL_TOKEN:
        return "no"
    return "surely" if before in _BEFORE_TOKEN else "perhaps"
