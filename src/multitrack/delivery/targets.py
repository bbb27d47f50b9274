"""The targets of a store's runs: set up from what each run's ledger says, with the secrets that are at hand here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import orjson

from ..address import hide_credentials
from ..config.targets import Target
from ..errors import MultitrackError
from ..journal import RunFolder, Store
from ..records import now
from .deliver import Delivery
from .ledger import Ledger, Status

_SHORTEST_SECRET = 4
"""Characters. What is shorter would blot out half of every message, and protects nothing."""


class Hidden:
    """Takes secrets, and the logins in URLs, out of texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these as well."""
        self._secrets += [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET and secret not in self._secrets]
        self._secrets.sort(key=len, reverse=True)  # one may be the beginning of another

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return hide_credentials(text)


class Targets:
    """Makes the deliveries of runs to one target. Runs may know it under other settings: the configuration changes between them.

    Args:
        secrets: what was given in code, by the settings' names.
        hidden: gets to know every secret that is used.
        chosen: the target itself, for every run, where somebody has just named it.
    """

    def __init__(
        self, name: str, secrets: Mapping[str, str] | None = None, *, hidden: Hidden | None = None, chosen: Target | None = None
    ) -> None:
        self.name = name
        self._secrets = secrets or {}
        self._chosen = chosen
        self._known: dict[bytes, Target] = {}
        self.hidden = hidden or Hidden()
        self.hidden.add(self._secrets.values())
        if chosen is not None:
            self.hidden.add(chosen.secrets().values())

    def target_of(self, run: RunFolder) -> Target:
        """Return the target as the run knows it.

        Raises:
            MultitrackError: its backend is not installed here, or the run's note of it is damaged.
        """
        if self._chosen is not None:
            return self._chosen
        public = Ledger(run, self.name).read_target()
        key = orjson.dumps(public, option=orjson.OPT_SORT_KEYS)
        if key not in self._known:
            target = Target.from_public(public)
            target = target.with_secrets(self._secrets) if self._secrets else target
            self.hidden.add(target.secrets().values())
            self._known[key] = target
        return self._known[key]

    def delivery(self, run: RunFolder, on_progress: Callable[[int, int], None] = lambda _records, _points: None) -> Delivery:
        """Return the delivery of a run; where there can be none, the run's status says why.

        Raises:
            MultitrackError: the target cannot be set up here.
        """
        try:
            target = self.target_of(run)
            delivery = Delivery(run, self.name, target.connect(), target.filters, attach=target.attach, on_progress=on_progress)
        except MultitrackError as error:
            ledger = Ledger(run, self.name)
            ledger.hide = self.hidden
            ledger.set_status(Status("stopped", str(error), 1, now()))
            raise
        delivery.ledger.hide = self.hidden
        return delivery


def settle(store: Store, target: str, run: RunFolder) -> bool:
    """Take a run that was delivered off the list of those to deliver; return False if somebody has just gone on with it."""
    store.remove_pending(target, run)
    if Ledger(run, target).progress().done:
        return True
    store.add_pending(target, run)  # what was noted between our last look and the line above was noted in vain
    return False
