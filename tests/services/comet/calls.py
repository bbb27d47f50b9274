"""A question to the double, taken apart and checked; and the table of what it answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from requests_toolbelt import MultipartDecoder

from .state import Experiment, Refused, Service

JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Call:
    """A question."""

    service: Service
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes

    def body(self, *required: str) -> dict[str, Any]:
        """Return the JSON object of the body, which must hold the fields that are named."""
        raw = gzip.decompress(self.raw) if self.headers.get("Content-Encoding") == "gzip" else self.raw
        try:
            found = json.loads(raw, parse_constant=_no_constant)
        except ValueError as error:
            raise Refused(f"the body is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise Refused("the body is no JSON object")
        missing = [name for name in required if name not in found]
        if missing:
            raise Refused(f"the body has no {', '.join(missing)}")
        return found

    def parts(self) -> dict[str, bytes]:
        """Return the parts of a multipart body by name."""
        decoder = MultipartDecoder(self.raw, self.headers["Content-Type"])
        found = {}
        for part in decoder.parts:
            disposition = part.headers[b"Content-Disposition"].decode()
            found[disposition.split('name="')[1].split('"')[0]] = part.content
        return found

    def user(self, api_key: str | None = None) -> str:
        """Return who asks: by the `Authorization` header, or by a key in the body, where the SDK sends one."""
        return self.service.user(self.headers.get("Authorization") or api_key)

    def experiment(self, key: Any = None) -> Experiment:
        """Return the experiment that the call is about."""
        return self.service.experiment(self.query.get("experimentKey") if key is None else key, self.user())


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


Handler = Callable[[Call], Any]
"""Returns what is sent back: a mapping or list as JSON, bytes as they are."""
ROUTES: dict[tuple[str, str], Handler] = {}
"""By method and path; `sdk:` stands for /clientlib/, `rest:` for /api/rest/v2/ and /clientlib/rest/v2/."""


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """Answer these questions with the decorated function."""

    def register(handler: Handler) -> Handler:
        ROUTES[method, path] = handler
        return handler

    return register
