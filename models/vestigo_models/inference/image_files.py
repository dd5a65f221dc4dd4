"""Encoded image files and their limits; no decoder is imported."""

from pathlib import Path

from vestigo_models.errors import BadInput

MAX_PIXELS = 100_000_000
"""Larger images are refused by their header, before pixels are decoded (300 MB as RGB)."""
MAX_BYTES = 6 * MAX_PIXELS
"""Larger files are not read: the size of an uncompressed image of 16-bit colour."""


def read_encoded(path: Path) -> bytes:
    """Read an image file without decoding it; raise BadInput `too-large` or `unreadable`, with its name."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise BadInput("too-large", f"{path}: {size:,} bytes, more than {MAX_BYTES:,}; scale it down")
        return path.read_bytes()
    except OSError as error:
        raise BadInput("unreadable", f"{path}: {error.strerror or error}") from None
