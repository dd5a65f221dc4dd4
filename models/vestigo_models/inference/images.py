"""Decoding and encoding of still images; arrays are RGB uint8, (height, width, 3).

A decoded image is what a viewer shows: upright (EXIF), palettes and CMYK as RGB, the first frame of several.
Transparency is dropped, not blended: a pixel has the colour that the file stores for it. Samples of more than 8 bits
are scaled by the bits that the image uses: if the largest value is 3780, which takes 12 bits, 4095 becomes 255.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import BadInput
from vestigo_models.inference.image_files import MAX_PIXELS, read_encoded
from vestigo_models.inference.image_formats import (
    FORMATS,
    describe_failure,
    drop_descriptions,
    open_image,
    png_chunks,
    sample_bits,
)
from vestigo_models.isolation import call

IMAGE_SUFFIXES = frozenset(suffix for each in FORMATS for suffix in each.suffixes.split())
"""Endings of image files, the same for every command."""
_BAND = 1024
_LEFTOVERS = frozenset({".ds_store", ".localized", "desktop.ini", "ehthumbs.db", "thumbs.db"})
_LEFTOVER_FOLDERS = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", ".fseventsd", ".spotlight-v100", ".trashes"}
)
_OPENCV_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_PNG_PROFILES = (b"Raw profile type ", b"XML:com.adobe.xmp")
_JPEG2000_EXIF = b"JpgTiffExif->JP2"
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # tag of TIFF and its value
_PLANAR_CONFIGURATION, _SEPARATE_PLANES = 284, 2


def is_leftover(name: str) -> bool:
    """Whether a path names what systems and drives add to the files of users: `._*`, `__MACOSX/`, `Thumbs.db`."""
    path = PurePosixPath(name.lower())
    in_folder = not _LEFTOVER_FOLDERS.isdisjoint(path.parts)
    return in_folder or path.name.startswith("._") or path.name in _LEFTOVERS


def find_images(folder: Path) -> list[Path]:
    """Return the image files in and below a folder in order, without leftovers."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted(path for path in paths if not is_leftover(path.relative_to(folder).as_posix()))


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Decode an encoded image of at most `max_pixels` pixels to RGB uint8 (height, width, 3), upright.

    Raises:
        BadInput: `empty-file`, `not-an-image`, `unsupported-format`, `too-large`, `truncated`, `damaged`; nothing else.
    """
    try:
        image = open_image(data, max_pixels=max_pixels)
    except BadInput:
        # Damage in a description must not lose the image.
        data = drop_descriptions(data)
        image = open_image(data, max_pixels=max_pixels)
    try:
        return _decode(image, data)
    except Exception as error:  # noqa: BLE001  (a library may raise any type on damaged data)
        raise describe_failure(error, data, image.info.get("compression")) from None


def read_image(path: Path) -> UInt8Array:
    """Read an image file in a child process.

    Raises:
        BadInput: As `decode_image` and `isolation.call`, or `unreadable`, with the name of the file.
    """
    return call(_read, path, name=str(path))


def decode_isolated(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Decode an encoded image in a child process; `name` is the image's for messages.

    Raises:
        BadInput: As `decode_image` and `isolation.call`, with the name.
    """
    return call(_decode_named, data, name, max_pixels, name=name)


def _read(path: Path) -> UInt8Array:
    return _decode_named(read_encoded(path), str(path), MAX_PIXELS)


def _decode_named(data: bytes, name: str, max_pixels: int) -> UInt8Array:
    try:
        return decode_image(data, max_pixels=max_pixels)
    except BadInput as error:
        raise BadInput(error.reason, f"{name}: {error.detail}") from None


def _decode(image: Image.Image, data: bytes) -> UInt8Array:
    """Decode with OpenCV what it decodes fast, or with more than 8 bits of colour; everything else with Pillow."""
    is_integer = image.mode.startswith("I")
    is_deep = not is_integer and image.mode != "F" and sample_bits(image, data) > 8
    if is_deep or (not is_integer and _is_fast_in_opencv(image)):
        bgr = None if _is_unsafe_in_opencv(image, data) else cv2.imdecode(np.frombuffer(data, np.uint8), _OPENCV_FLAGS)
        if bgr is not None:
            pixels = np.asarray(cv2.cvtColor(_scale_to_8_bits(np.asarray(bgr)), cv2.COLOR_BGR2RGB), dtype=np.uint8)
            # OpenCV turns a TIFF, whatever its flags.
            return pixels if image.format == "TIFF" else _turn_upright(pixels, _orientation(image, data))
    image.load()
    if is_deep or image.mode == "F":
        kind = "floating-point samples" if image.mode == "F" else "colour of more than 8 bits in this layout"
        raise BadInput("unsupported-format", f"{image.format} with {kind} cannot be decoded; convert it to 8 bits")
    if is_integer:
        grey = _scale_to_8_bits(np.maximum(np.asarray(image), 0))
        if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
            grey = 255 - grey
        pixels = np.repeat(grey[:, :, None], 3, axis=2)
    else:
        pixels = _convert_to_rgb(image)
    return _turn_upright(pixels, _orientation(image, data))


def _is_fast_in_opencv(image: Image.Image) -> bool:
    if image.format in ("JPEG", "MPO"):
        return image.mode in ("L", "RGB")
    return image.format in ("PNG", "WEBP", "BMP") and not getattr(image, "is_animated", False)


def _is_unsafe_in_opencv(image: Image.Image, data: bytes) -> bool:
    """Return whether OpenCV may return memory that it did not write: damaged animations, planes of deep samples."""
    if image.format == "PNG":
        return any(kind == b"acTL" for kind, _, _ in png_chunks(data))
    return image.format == "TIFF" and image.tag_v2.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES  # type: ignore[attr-defined]


def _scale_to_8_bits(samples: NDArray[Any]) -> UInt8Array:
    """Drop the low bits of samples, in place, so that the highest bit in use becomes the highest of 8."""
    if samples.dtype != np.uint8:
        used_bits = int(samples.max(initial=0)).bit_length()
        samples >>= max(0, used_bits - 8)
    return samples.astype(np.uint8, copy=False)


def _convert_to_rgb(image: Image.Image) -> UInt8Array:
    """Convert band by band: Pillow's own copies of a large image would take three times its memory."""
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, _BAND):
        bottom = min(height, top + _BAND)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)).convert("RGB"))
    return pixels


def _orientation(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or the EXIF data are damaged."""
    if image.format == "PNG" and not any(
        kind == b"eXIf" or data.startswith(_PNG_PROFILES, start) for kind, start, _ in png_chunks(data)
    ):
        return 1  # Pillow decodes the pixels of a PNG before it can say so.
    try:
        exif = image.getexif()
        if image.format == "JPEG2000" and (at := data.find(_JPEG2000_EXIF)) >= 0:
            exif.load(data[at + len(_JPEG2000_EXIF) :])
        orientation: Any = exif.get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  (a library may raise any type on damaged data)
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def _turn_upright(pixels: UInt8Array, orientation: int) -> UInt8Array:
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def encode_jpeg(rgb: UInt8Array, *, quality: int = 92) -> bytes:
    """Encode an image as JPEG; raise ValueError if the array is not an image."""
    encoded, buffer = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"cannot encode an array of shape {rgb.shape}")
    return bytes(buffer.tobytes())


def shrink(rgb: UInt8Array, height: int) -> UInt8Array:
    """Scale an image down to at most `height` pixels of height, keeping its aspect; smaller images are unchanged."""
    if rgb.shape[0] <= height:
        return rgb
    size = (max(1, round(rgb.shape[1] * height / rgb.shape[0])), height)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
