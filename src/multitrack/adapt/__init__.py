"""Adaptation: what a service cannot hold is renamed, converted or left out, and each loss is named. The same for every backend."""

from .adapter import Adapted, Adapter
from .losses import Loss, Losses
from .names import hash8, is_hashed_name_of
from .notes import TAG_NAME, TAG_PARAM, own_tag
from .params import Path, leaves, plant

__all__ = [
    "TAG_NAME",
    "TAG_PARAM",
    "Adapted",
    "Adapter",
    "Loss",
    "Losses",
    "Path",
    "hash8",
    "is_hashed_name_of",
    "leaves",
    "own_tag",
    "plant",
]
