"""PNG, written: 8 bits a channel, gray, RGB or RGBA [W3C: Portable Network Graphics, third edition].

One encoder for everybody: the same pixels are the same bytes, and the same SHA-256, whether Pillow is installed or not.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
_UP = 2
"""The filter that leaves of each row its difference from the one above."""
_LARGEST = 2**31 - 1


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image of shape (height, width, 1, 3 or 4) as a PNG file.

    Raises:
        ValueError: a side is 0, or longer than the format can say.
    """
    import numpy as np

    height, width, channels = pixels.shape
    if not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
        raise ValueError(f"an image of {width} x {height} pixels cannot be written as PNG")
    rows = pixels.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    body = zlib.compress(filtered.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
