"""Histograms made from data."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from .. import records
from .arrays import is_tensor, to_numpy

_MOST_BINS = 10_000


class _HistogramType(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, records.Histogram)


class Histogram(metaclass=_HistogramType):
    """A distribution: of data, `Histogram(weights, bins=64)`, or ready-made, `Histogram(edges=..., counts=...)`.

    `counts[i]` values lie between `edges[i]` and `edges[i + 1]`; the last bin includes its upper edge. What is made, and what is read
    back, is a `multitrack.records.Histogram`, and an instance of this class as well.
    """

    edges: list[float]
    counts: list[int | float]

    def __new__(cls, data: Any = None, /, bins: int = 64, **fields: Any) -> Any:
        """Count data into bins of equal width, or take edges and counts as they are.

        Args:
            data: numbers: an array of any shape (numpy, torch), or a flat iterable. NaN and the infinities are left out; where
                nothing is left, every count is 0, between 0 and 1.
            bins: how many; fewer where the data are too close together for floats to tell them apart.
            **fields: `edges`, one more than `counts`, and `counts`.

        Raises:
            TypeError, ValueError: an argument is wrong.
        """
        if fields and data is not None:
            raise TypeError("a Histogram is made of data, or of edges= and counts=, not of both")
        if data is not None:
            edges, counts = count_into_bins(data, bins)
            return records.Histogram(edges=edges, counts=counts)
        if not fields:
            raise TypeError("a Histogram is made of data, or of edges= and counts=")
        made = records.Histogram(**fields)
        if len(made.edges) != len(made.counts) + 1:
            raise ValueError(f"a Histogram has one edge more than counts, not {len(made.edges)} edges and {len(made.counts)} counts")
        return made


def count_into_bins(data: Any, bins: int = 64) -> tuple[list[float], list[int | float]]:
    """Return (edges, counts); see `Histogram`. With numpy for arrays, without it for anything else."""
    if isinstance(bins, bool) or not isinstance(bins, int):
        raise TypeError(f"a Histogram's bins are their number, not {bins!r:.60}; for edges of your own give edges= and counts=")
    if not 1 <= bins <= _MOST_BINS:
        raise ValueError(f"a Histogram has 1 to {_MOST_BINS:,} bins, not {bins:,}")
    return _count_array(data, bins) if hasattr(data, "shape") or is_tensor(data) else _count_numbers(data, bins)


def _count_array(data: Any, bins: int) -> tuple[list[float], list[int | float]]:
    array = to_numpy("a histogram", data)
    import numpy as np

    values = array.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return _nothing(bins)
    edges = _edges(float(values.min()), float(values.max()), bins)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return edges, np.bincount(places, minlength=len(edges) - 1).tolist()


def _count_numbers(data: Any, bins: int) -> tuple[list[float], list[int | float]]:
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise TypeError(f"a histogram is made of numbers, not of a {type(data).__name__}")
    try:
        values = [number for number in map(float, data) if math.isfinite(number)]
    except TypeError as error:
        raise TypeError(f"a histogram is made of numbers: {error}") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"a histogram is made of numbers: {error}") from error
    if not values:
        return _nothing(bins)
    edges = _edges(min(values), max(values), bins)
    counts: list[int | float] = [0] * (len(edges) - 1)
    for value in values:
        counts[min(bisect_right(edges, value) - 1, len(counts) - 1)] += 1
    return edges, counts


def _nothing(bins: int) -> tuple[list[float], list[int | float]]:
    return _edges(0.0, 1.0, bins), [0] * bins


def _edges(low: float, high: float, bins: int) -> list[float]:
    """Return up to `bins` + 1 rising edges from `low` to `high`; around a single value, half of 1 or a millionth of it to each side."""
    if low == high:
        room = max(0.5, abs(low) * 1e-6)
        low, high = max(low - room, -_LARGEST), min(high + room, _LARGEST)
    inner = [low * (1 - place / bins) + high * (place / bins) for place in range(1, bins)]
    return _rising([low, *inner, high])


def _rising(edges: Sequence[float]) -> list[float]:
    """Return the edges without repetitions, which rounding brings about where floats lie too far apart."""
    low, high = edges[0], edges[-1]
    return [low, *sorted({edge for edge in edges if low < edge < high}), high]


_LARGEST = 1.7976931348623157e308
