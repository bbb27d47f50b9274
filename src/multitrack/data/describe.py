"""What data is: found by the class of an object, without an import, or by what a text names.

Two steps. `find` looks whether there is such data at all, and raises where it is named wrongly; nothing was read or written by then.
What it returns reads, and what goes wrong there is no fault of the program that trains.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .dvc import describe_tracked, find_tracked
from .files import Listing, describe_files, list_data, list_several
from .found import Found, Inquiry
from .places import is_url, to_local_path
from .remote import describe_url

Describe = Callable[[Inquiry], Found]

_OBJECTS: Mapping[tuple[str, str], str] = {
    ("pandas", "DataFrame"): "tables.describe_pandas",
    ("pandas", "Series"): "tables.describe_pandas",
    ("polars", "DataFrame"): "tables.describe_polars",
    ("polars", "Series"): "tables.describe_polars",
    ("pyarrow", "Table"): "tables.describe_arrow",
    ("pyarrow", "RecordBatch"): "tables.describe_arrow",
    ("numpy", "ndarray"): "arrays.describe_array",
    ("torch", "Tensor"): "arrays.describe_array",
    ("datasets", "Dataset"): "hugging_face.describe_dataset",
    ("datasets", "IterableDataset"): "hugging_face.describe_stream",
    ("mlflow", "Dataset"): "mlflow_dataset.describe_dataset",
}
"""Who describes which class, by its package and name: subclasses count, and no package is imported to ask."""

_INSTEAD: Mapping[tuple[str, str], str] = {
    ("polars", "LazyFrame"): "collect() it first",
    ("datasets", "DatasetDict"): "log each of its splits, such as data['train'], with its role",
    ("datasets", "IterableDatasetDict"): "log each of its splits, such as data['train'], with its role",
    ("torch", "Dataset"): "log the files or arrays that it reads",
    ("torch", "DataLoader"): "log the files or arrays that it reads",
}
"""What cannot be taken as it is, and the remedy."""


def find(data: Any) -> Describe:
    """Return the function that describes this data.

    Raises:
        FileNotFoundError: it names local files that are not there.
        TypeError: it is nothing that can be described.
    """
    if isinstance(data, str | os.PathLike):
        return _find_place(data)
    if (describe := _find_object(data)) is not None:
        return partial(describe, data)
    if isinstance(data, Mapping):
        return _find_arrays(data)
    if isinstance(data, Sequence) and not isinstance(data, bytes | bytearray) and all(isinstance(one, str | os.PathLike) for one in data):
        return partial(_describe_listing, list_several([_to_path(one) for one in data]))
    raise TypeError(f"a {_name_of(type(data))} is no data that can be described{_remedy(data)}")


def _find_place(data: str | os.PathLike[str]) -> Describe:
    place = os.fspath(data)
    if not isinstance(place, str):
        raise TypeError(f"a path is a text, not {place!r:.60}")
    if not place:
        raise FileNotFoundError("the path is empty")
    if (local := to_local_path(place)) is not None:
        place = local
    elif is_url(place) and not os.path.exists(place):  # noqa: PTH110
        return partial(describe_url, place)
    try:
        tracked = find_tracked(place)
    except (ImportError, ValueError) as error:
        return partial(_describe_beside, list_data(place), str(error))
    return partial(describe_tracked, tracked) if tracked is not None else partial(_describe_listing, list_data(place))


def _to_path(place: str | os.PathLike[str]) -> str:
    path = str(os.fspath(place))
    if is_url(path) and to_local_path(path) is None:
        raise TypeError(f"a list is of local files, not of URLs such as {path.partition('?')[0]!r}; log each by itself")
    return to_local_path(path) or path


def _describe_listing(listing: Listing, inquiry: Inquiry) -> Found:
    return describe_files(listing, inquiry)


def _describe_beside(listing: Listing, problem: str, inquiry: Inquiry) -> Found:
    """Describe data of which DVC's file cannot be read."""
    from dataclasses import replace

    from ..records import Omission

    found = describe_files(listing, inquiry)
    return replace(found, omitted=[*found.omitted, Omission(name="version", reason=problem)])


def _find_object(data: Any) -> Callable[[Any, Inquiry], Found] | None:
    for cls in type(data).__mro__:
        if (where := _OBJECTS.get(_name_parts(cls))) is not None:
            module, _, function = where.partition(".")
            describe: Callable[[Any, Inquiry], Found] = getattr(importlib.import_module(f".{module}", __package__), function)
            return describe
    if hasattr(data, "__array__") and hasattr(data, "dtype") and hasattr(data, "shape"):
        from .arrays import describe_array

        return describe_array
    return None


def _find_arrays(data: Mapping[Any, Any]) -> Describe:
    remedy = _remedy(data)
    for name, value in data.items():
        if remedy or not isinstance(name, str) or not hasattr(value, "__array__") or not hasattr(value, "shape"):
            raise TypeError(f"a {_name_of(type(data))} is data where it maps names to arrays{remedy}")
    from .arrays import describe_arrays

    return partial(describe_arrays, data)


def _remedy(data: Any) -> str:
    return next((f": {_INSTEAD[parts]}" for cls in type(data).__mro__ if (parts := _name_parts(cls)) in _INSTEAD), "")


def _name_parts(cls: type) -> tuple[str, str]:
    return cls.__module__.partition(".")[0], cls.__qualname__


def _name_of(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
