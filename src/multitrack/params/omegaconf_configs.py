"""OmegaConf's configs, interpolations resolved and missing values named; where Hydra has put them together, from what."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from ..masking import MASKED
from ..masking.names import certainty
from .given import MISSING, Form, Given
from .hydra_sources import sources_of

_UNRESOLVED = "unresolved"
_VARIABLE = re.compile(r"\$\{\s*(?:oc\.)?env\s*:\s*([A-Za-z0-9_]+)")


def _is_one(value: Any) -> bool:
    library = sys.modules["omegaconf"]
    return isinstance(value, library.DictConfig | library.ListConfig)


def _read(config: Any) -> Given:
    library = sys.modules["omegaconf"]
    if isinstance(config, library.ListConfig):
        return Given(list(_items(config, library)))
    values, sources = _mapping(config, library)
    below = config._get_full_key("")
    return Given(values, _merge(sources_of(values, below), sources))


def _mapping(config: Any, library: Any) -> tuple[dict[Any, Any], dict[str, Any]]:
    if config._is_none() or config._is_missing():
        return {}, {}
    values: dict[Any, Any] = {}
    sources: dict[str, Any] = {}
    for key in config:
        values[key], source = _value(config, key, library)
        if source:
            sources[str(key)] = source
    return values, sources


def _items(config: Any, library: Any) -> Iterator[Any]:
    if not (config._is_none() or config._is_missing()):
        for index in range(len(config)):
            yield _value(config, index, library)[0]


def _value(config: Any, key: Any, library: Any) -> tuple[Any, Any]:
    """Return a value and its source: a mapping of them, for a config."""
    if library.OmegaConf.is_missing(config, key):
        return "???", MISSING
    written = config._get_node(key)._value()
    if isinstance(written, str) and any(certainty(name) != "no" for name in _VARIABLE.findall(written)):
        return MASKED, None
    try:
        value = config[key]
    except library.errors.OmegaConfBaseException:
        return written, _UNRESOLVED
    if isinstance(value, library.DictConfig):
        return _mapping(value, library)
    if isinstance(value, library.ListConfig):
        return list(_items(value, library)), None
    return value, None


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, source in above.items():
        before = merged.get(name)
        merged[name] = _merge(before, source) if isinstance(before, dict) and isinstance(source, dict) else source
    return merged


OMEGACONF = Form("omegaconf", _is_one, _read)
