"""What a run that multitrack writes to Neptune can hold; see `names` for where. Neptune's rules are those of its 1.x protocol."""

from __future__ import annotations

from multitrack.backend import Capabilities, NameRule

from . import names

_TEXT = r"^/\x00-\x1f\x7f\ud800-\udfff"
_PATH = r"^\x00-\x1f\x7f\ud800-\udfff"
_LENGTH = 900
"""Characters: attributes' paths have 1024, and some stand in a namespace of ours."""

_METRIC = NameRule(
    max_length=_LENGTH,
    allowed=_PATH,
    path=True,
    leaf_or_folder=True,
    reserved=names.WRITTEN,
    reserved_names=tuple(namespace.rstrip("/") for namespace in names.WRITTEN),
)
"""Neptune: a path cannot be an attribute and a namespace, and empty parts vanish."""

WRITTEN = Capabilities(
    metric_names=_METRIC,
    param_names=NameRule(max_length=_LENGTH // 4, allowed=_TEXT),
    artifact_names=NameRule(max_length=_LENGTH, allowed=_PATH, path=True, leaf_or_folder=True),
    point_types=frozenset({"float", "str"}),
    nan=False,
    infinities=False,
    step_range=(-(10**300), 10**300),
    time_resolution=1000,
    earliest_time=0,
    system_prefix=names.SYSTEM_METRICS,
)
"""Series hold floats and texts: ints become floats, NaN has no place, an infinity becomes the largest float. Times are milliseconds."""
