"""Images."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..records.media_names import MediaKind
from .arrays import is_tensor, to_numpy
from .media import Media, comes_from
from .png import encode_png

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

Mode = Literal["L", "RGB", "RGBA", "BGR", "BGRA"]

_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4, "BGR": 3, "BGRA": 4}
_PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})
"""Of Pillow's modes, those that PNG holds as they are."""


class Image(Media):
    """An image, logged as a metric's point: `run.log({"pred": mt.Image(array)}, step=step)`.

    An array becomes a PNG file, a Pillow image too; a file (PNG, JPEG, GIF, WebP or BMP) is kept as it is, byte for byte.
    """

    kind: ClassVar[MediaKind] = "image"

    def __init__(self, image: Any, caption: str | None = None, mode: Mode | None = None) -> None:
        """Take an image over.

        Args:
            image: an array (numpy, torch, nested lists), a Pillow image, the path of a file, or a file's content as bytes.
                Arrays have the shape (height, width), or with 1, 3 or 4 channels at the end or, where the last axis cannot be
                that, at the beginning; torch tensors are looked at the other way round. bool is black and white; ints are 0 to
                255; floats are 0 to 1, where what rounds to 0 or 255 still counts.
            caption: what to say about it.
            mode: what an array's channels mean, where their number (L, RGB, RGBA) does not tell: OpenCV's order is BGR.

        Raises:
            TypeError: it is none of these.
            ValueError: an array has another shape or a value out of range; a file is no image, or is not there.
        """
        if caption is not None and not isinstance(caption, str):
            raise TypeError(f"an image's caption is a text, not {caption!r:.60}")
        if mode is not None and mode not in _CHANNELS:
            raise ValueError(f"an image's mode is one of {', '.join(_CHANNELS)}, not {mode!r:.60}")
        data, (media_type, suffix) = _content(image, mode)
        super().__init__(data, media_type, suffix, {} if caption is None else {"caption": caption})

    @property
    def caption(self) -> str | None:
        """What was said about it."""
        caption = self.metadata.get("caption")
        return caption if isinstance(caption, str) else None

    def to_pil(self) -> PIL.Image.Image:
        """Return it as a Pillow image. Needs Pillow: `pip install 'multitrack[media]'`."""
        import PIL.Image

        return PIL.Image.open(io.BytesIO(self.data))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, bytes]:  # what notebooks show
        return {self.media_type: self.data}


_PNG = ("image/png", "png")


def _content(image: Any, mode: Mode | None) -> tuple[bytes, tuple[str, str]]:
    if isinstance(image, Image):
        return image.data, (image.media_type, image.suffix)
    if not isinstance(image, str | os.PathLike | bytes | bytearray | memoryview) and not comes_from(image, "PIL"):
        return encode_png(_pixels(image, mode)), _PNG
    if mode is not None:
        raise ValueError(f"mode={mode!r} is for arrays; a {type(image).__name__} tells its own")
    if isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
        return data, _recognise(data, "the bytes")
    if isinstance(image, str | os.PathLike):
        try:
            data = Path(image).read_bytes()
        except OSError as error:
            raise ValueError(f"the image {os.fspath(image)!r} cannot be read: {error.strerror or error}") from error
        return data, _recognise(data, f"the file {os.fspath(image)!r}")
    return _encode_pil(image), _PNG


def _recognise(data: bytes, what: str) -> tuple[str, str]:
    """Return the media type and the suffix of a file's content, by its first bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _PNG
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", "jpg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif", "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "webp"
    if data.startswith(b"BM"):
        return "image/bmp", "bmp"
    raise ValueError(f"{what} is no PNG, JPEG, GIF, WebP or BMP image; log it with log_artifact")


def _encode_pil(image: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    try:
        (image if image.mode in _PNG_MODES else image.convert("RGB")).save(file, "PNG")
    except (AttributeError, OSError, SystemError) as error:
        raise ValueError(f"the {type(image).__name__} cannot be written as PNG: {error}") from error
    return file.getvalue()


def _pixels(image: Any, mode: Mode | None) -> NDArray[np.uint8]:
    """Return an array as (height, width, channels) of uint8."""
    array = to_numpy("an image", image)
    pixels = _to_bytes(_channels_last(array, tensor=is_tensor(image), wanted=None if mode is None else (_CHANNELS[mode],)))
    return pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]] if mode in ("BGR", "BGRA") else pixels


def _channels_last(array: NDArray[np.generic], *, tensor: bool, wanted: tuple[int, ...] | None) -> NDArray[np.generic]:
    counts = wanted or (1, 3, 4)
    if array.ndim == 2 and 1 in counts:
        return array[:, :, None]
    if array.ndim == 3:
        first, last = array.shape[0] in counts, array.shape[2] in counts
        if first and (tensor or not last):
            return array.transpose(1, 2, 0)
        if last:
            return array
    channels = " or ".join(map(str, counts))
    raise ValueError(f"an image has the shape (height, width) or (height, width, {channels}), not {array.shape}")


def _to_bytes(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    import numpy as np

    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.size == 0:
        raise ValueError(f"an image of shape {array.shape} has no pixels")
    scale = 1 if array.dtype.kind in "iu" else 255
    scaled = array if scale == 1 else np.rint(array.astype(np.float64) * scale)
    low, high = float(scaled.min()), float(scaled.max())
    if math.isnan(low):
        raise ValueError("an image has pixels that are NaN")
    if low < 0 or high > 255:
        found = f"{float(array.min()):.6g} to {float(array.max()):.6g}"
        limits = "0 to 255" if scale == 1 else "0 to 1"
        raise ValueError(f"an image of {array.dtype} has values from {limits}, not {found}; scale or clip them first")
    return scaled.astype(np.uint8)
