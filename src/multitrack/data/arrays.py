"""Arrays: numpy, torch, and whatever else makes itself a numpy array.

The digest is SHA-256 over the type and shape as `<f4 [3, 224, 224]` and a zero byte, then the values, little-endian, the last axis
quickest: how an array lies in memory does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..records import DataColumn
from .digest import ARRAY, table_digest, to_bytes
from .found import Found, Inquiry
from .hashing import cores

if TYPE_CHECKING:
    import numpy as np

_PIECE = 1 << 24
"""Bytes that are copied at a time."""


def describe_array(array: Any, inquiry: Inquiry) -> Found:
    """Say what an array is.

    Raises:
        TypeError: it holds objects that are no texts.
    """
    values = to_numpy(array)
    reads = inquiry.read is not False
    return Found(
        digest=array_digest(values) if reads else None,
        algorithm=ARRAY if reads else None,
        size=values.nbytes,
        rows=len(values) if values.ndim else None,
        data_schema={"dtype": str(values.dtype), "shape": list(values.shape)},
    )


def describe_arrays(arrays: Mapping[str, Any], inquiry: Inquiry) -> Found:
    """Say what several arrays are, such as `{"x": features, "y": labels}`: each is a column."""
    converted = {name: to_numpy(array) for name, array in arrays.items()}
    with ThreadPoolExecutor(cores(), thread_name_prefix="multitrack-hash") as pool:
        digests = list(pool.map(array_digest, converted.values())) if inquiry.read is not False else [None] * len(converted)
    columns = [
        DataColumn(name=name, type=f"{values.dtype}{list(values.shape)}", digest=digest)
        for (name, values), digest in zip(converted.items(), digests, strict=True)
    ]
    lengths = {len(values) for values in converted.values() if values.ndim}
    rows = lengths.pop() if len(lengths) == 1 else None
    digest = table_digest(rows or 0, columns)
    size = sum(values.nbytes for values in converted.values())
    return Found(digest=digest, algorithm=digest and f"{ARRAY}s", size=size, rows=rows, columns=columns)


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """Return an array as numpy's, without a copy where there need be none; torch's from any device.

    Raises:
        TypeError: numpy has no such type.
    """
    import numpy as np

    if callable(getattr(array, "detach", None)):
        array = array.detach().cpu()
        if str(array.dtype) == "torch.bfloat16":
            raise TypeError("numpy has no bfloat16: log `tensor.float()`, which is exact")
        array = array.numpy()
    return np.asarray(array)


def array_digest(values: np.ndarray[Any, Any]) -> str:
    """Return the digest of an array.

    Raises:
        TypeError: it holds objects that are no texts.
    """
    import numpy as np

    little = values.dtype.newbyteorder("<")
    name = little.str if little.names is None else str(little.descr)
    digest = hashlib.sha256(f"{name} {list(values.shape)}\0".encode())
    if values.dtype.hasobject:
        for text in values.flat:
            if not isinstance(text, str):
                raise TypeError(f"an array of objects has a digest where all are texts; here is a {type(text).__name__}")
            content = to_bytes(text)
            digest.update(f"{len(content)} ".encode() + content)
    elif values.flags.c_contiguous and little == values.dtype:
        digest.update(np.atleast_1d(values).data.cast("B") if values.size and _casts(values) else values.tobytes())
    else:
        rows = max(1, _PIECE // max(1, values[:1].nbytes)) if values.ndim else 1
        for start in range(0, len(values) if values.ndim else 1, rows):
            piece = values[start : start + rows] if values.ndim else values
            digest.update(np.ascontiguousarray(piece.astype(little, copy=False)).tobytes())
    return digest.hexdigest()


def _casts(values: np.ndarray[Any, Any]) -> bool:
    """Return whether Python's buffers know the type: they have no dates, texts or structures of numpy's."""
    return values.dtype.kind in "biufc" and values.dtype.itemsize <= 16
