"""What comes up while a batch is adapted: losses, and tags that tell the original of what was changed."""

from __future__ import annotations

from collections.abc import Mapping

from ..backend import RESERVED_TAGS, Capabilities, NameRule
from .losses import Loss, Losses
from .names import Names, hash8, hashed, holds

TAG_NAME = RESERVED_TAGS + "name."
"""`multitrack.name.KIND.HASH8`: the original of a changed name; HASH8 is that of the name at the service."""
TAG_PARAM = RESERVED_TAGS + "param."
"""`multitrack.param.NAME`: the last value of a param that had another one before."""


class Notes:
    """Collects losses for a batch and tags for an entry."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.losses = Losses()
        self.tags: dict[str, str] = {}
        self.holds_tags = "run_updated" in capabilities.kinds
        self._rule = capabilities.tag_names
        self._tag_length = capabilities.tag_length

    def lose(self, kind: str, subject: str, detail: str, count: int = 1) -> None:
        """Declare a loss."""
        self.losses.add(kind, subject, detail, count)

    def tell(self, tag: str, value: str) -> bool:
        """Put a tag of multitrack's own beside the entry; return whether all of the value fits there."""
        if not self.holds_tags:
            return False
        fitted = deliverable(value)[: self._tag_length]
        self.tags[own_tag(self._rule, tag)] = fitted
        return fitted == value

    def take_losses(self) -> tuple[Loss, ...]:
        """Return the losses since the last call."""
        losses, self.losses = tuple(self.losses), Losses()
        return losses

    def take_tags(self) -> Mapping[str, str]:
        """Return the tags since the last call."""
        tags, self.tags = self.tags, {}
        return tags


class Renamer:
    """The names of one kind, fitted, declared and told."""

    def __init__(self, kind: str, rule: NameRule, claims: dict[str, str], notes: Notes) -> None:
        self._kind = kind
        self._names = Names(rule, claims)
        self._notes = notes
        self._fitted: dict[tuple[str, str], str] = {}

    @property
    def claims(self) -> dict[str, str]:
        """What must be remembered from batch to batch."""
        return self._names.claims

    def fit(self, original: str, *, wanted: str | None = None, owner: str | None = None, scope: str = "", clashes: bool = False) -> str:
        """Return the name that `original` has at the service; see `Names.fit`."""
        owner = original if owner is None else owner
        known = self._fitted.get((owner, scope))
        if known is not None:
            return known
        wanted = original if wanted is None else wanted
        name, is_new = self._names.fit(wanted, original=original, owner=owner, scope=scope, clashes=clashes)
        self._fitted[owner, scope] = name
        if is_new and name != original:
            self._declare(original, name)
        return name

    def _declare(self, original: str, name: str) -> None:
        subject = f"{self._kind} {original!r}"
        self._notes.lose("name", subject, f"stands as {name!r}")
        if not self._notes.tell(f"{TAG_NAME}{self._kind}.{hash8(name)}", original) and self._notes.holds_tags:
            self._notes.lose("name_tag", subject, "the tag that tells its name does not hold all of it")


def own_tag(rule: NameRule, tag: str) -> str:
    """Return the name that one of multitrack's own tags has at a service with this rule."""
    return tag if holds(rule, tag) else hashed(rule, tag)


def deliverable(text: str) -> str:
    """Return the text without what services refuse in it: lone surrogates and NUL are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
