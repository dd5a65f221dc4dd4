"""Formats of encoded images: recognition by content, and checks of a header before pixels are decoded."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from PIL import Image

from vestigo_models.errors import BadInput, first_line

HEAD_BYTES = 512  # bytes at the start of a file that `find_format` reads
MAX_SIDE = 65_500  # pixels. No camera makes a longer side, and crops are stored as JPEG, whose encoder ends there
_TILE_WIDTH, _TILE_LENGTH, _BITS_PER_SAMPLE = 322, 323, 258  # tags of TIFF
_TIFF_COMPRESSIONS = frozenset(
    {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg", "lzma", "zstd"}
    | {"tiff_ccitt", "group3", "group4", "tiff_raw_16"}
)
"""Compressions, as Pillow names them, whose decoder is part of Pillow's builds."""
_EXIF = b"Exif\0\0"  # start of a segment of JPEG
_CODESTREAM = b"\xff\x4f\xff\x51"  # markers SOC and SIZ of JPEG 2000
_UNSUPPORTED = re.compile(r"unsupported|not (yet )?supported|unknown|cannot handle|not available|unable to determine")


@dataclass(frozen=True)
class ImageFormat:
    """A format of still images."""

    name: str  # Pillow's name of the format
    plugin: str | None  # module of Pillow that reads it; None if it is recognised but not supported
    signature: bytes  # regular expression of what files of the format begin with
    suffixes: str  # endings of file names, in lower case


FORMATS = (
    ImageFormat("JPEG", "Jpeg", rb"\xff\xd8\xff", ".jpg .jpeg .jpe .jfif"),
    ImageFormat("PNG", "Png", rb"\x89PNG\r\n\x1a\n", ".png .apng"),
    ImageFormat("WEBP", "WebP", rb"RIFF.{4}WEBP", ".webp"),
    ImageFormat("TIFF", "Tiff", rb"II[*+]\0|MM\0[*+]", ".tif .tiff"),
    ImageFormat("BMP", "Bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}", ".bmp .dib"),
    ImageFormat("GIF", "Gif", rb"GIF8[79]a", ".gif"),
    ImageFormat("AVIF", "Avif", rb".{4}ftyp(?:.{4}){0,12}?avi[fs]", ".avif .avifs"),
    ImageFormat("JPEG2000", "Jpeg2K", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", ".jp2 .j2k .j2c .jpc .jpf .jpx"),
    ImageFormat("PPM", "Ppm", rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s", ".ppm .pgm .pbm .pnm"),
    ImageFormat("HEIF", None, rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", ".heic .heif"),
    ImageFormat("JPEG XL", None, rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", ".jxl"),
)


def find_format(head: bytes) -> ImageFormat | None:
    """Return the format of a file that begins with `head`, at best `HEAD_BYTES` of it; None if it is no image."""
    return next((each for each in FORMATS if re.match(each.signature, head[:HEAD_BYTES], re.DOTALL)), None)


def open_image(data: bytes, *, max_pixels: int) -> Image.Image:
    """Read the header of an encoded image and check what it declares; pixels are not decoded yet.

    Raises:
        BadInput: `empty-file`, `not-an-image`, `unsupported-format`, `too-large`, `truncated`, `damaged`.
    """
    if not data:
        raise BadInput("empty-file", "the file holds no byte")
    image_format = find_format(data)
    if image_format is None:
        raise BadInput("not-an-image", "the bytes are in no known image format")
    name = image_format.name
    if image_format.plugin is None:
        raise BadInput("unsupported-format", f"{name} images cannot be decoded; convert them to JPEG or PNG")
    try:
        if name == "PNG":
            _check_chunks(data)
        if name not in Image.OPEN:
            import_module(f"PIL.{image_format.plugin}ImagePlugin")
        image = Image.OPEN[name][0](io.BytesIO(data), "")
        _check_size(image, data, max_pixels)
    except Exception as error:  # noqa: BLE001  (a library may raise any type on damaged data)
        raise describe_failure(error, data) from None
    return image


def drop_descriptions(data: bytes) -> bytes:
    """Return a JPEG without EXIF, a PNG without texts, profiles and animation, and any other data unchanged."""
    image_format = find_format(data)
    if image_format is not None and image_format.name == "PNG":
        kept = [(start, end) for kind, start, end in png_chunks(data) if kind[:1].isupper() or kind == b"tRNS"]
        return data[:8] + b"".join(data[start - 8 : end + 4] for start, end in kept)
    return data.replace(_EXIF, bytes(len(_EXIF))) if image_format is not None and image_format.name == "JPEG" else data


def sample_bits(image: Image.Image, data: bytes) -> int:
    """Return the bits of a sample as the header declares them, 8 where the format has no other depth in colour."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))))  # type: ignore[attr-defined]
    if image.format == "JPEG2000":
        return 1 + (data[data.find(_CODESTREAM) + 42] & 0x7F)
    if image.format == "PPM" and image.mode == "RGB":
        return int(re.sub(rb"#[^\n]*", b"", data[:HEAD_BYTES]).split()[3]).bit_length()
    return 8


def describe_failure(error: Exception, data: bytes, compression: str | None = None) -> BadInput:
    """Return why an image of a known format cannot be decoded, from the error of a library and the compression."""
    if isinstance(error, BadInput):
        return error
    image_format = find_format(data)
    name = image_format.name if image_format else "image"
    message = first_line(error)
    lowered = message.lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError) or "too large" in lowered:
        return BadInput("too-large", f"the {name} file needs too much memory ({message}); scale the image down")
    if "truncated" in lowered or _is_cut_off(data, name):
        return BadInput("truncated", f"the {name} file breaks off ({message})")
    if name == "TIFF" and (isinstance(error, KeyError) or (compression or "raw") not in _TIFF_COMPRESSIONS):
        return BadInput("unsupported-format", f"TIFF compression {compression or message} cannot be decoded")
    if _UNSUPPORTED.search(lowered):
        return BadInput("unsupported-format", f"the {name} file is of a kind that cannot be decoded ({message})")
    return BadInput("damaged", f"the {name} file cannot be decoded ({message})")


def _is_cut_off(data: bytes, name: str) -> bool:
    """Return whether the end of a file, which cannot be decoded, is missing."""
    if name in ("JPEG", "JPEG2000"):
        return b"\xff\xd9" not in data[-64:]
    if name == "GIF":
        return b";" not in data[-64:]
    if name == "WEBP":
        return int.from_bytes(data[4:8], "little") > len(data) - 8
    if name == "AVIF":
        at = 0
        while (length := int.from_bytes(data[at : at + 4], "big")) > 0:
            at += length
        return at > len(data)
    if name == "TIFF":
        return int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big") > len(data) - 14
    return False


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and declared end of the content of each chunk of a PNG, up to IEND or the end of the file.

    A declared end may lie behind the end of the file.
    """
    end = 4
    while end + 4 < len(data):
        start = end + 12
        kind = data[start - 4 : start]
        end = start + int.from_bytes(data[start - 8 : start - 4], "big")
        yield kind, start, end
        if kind == b"IEND":
            return


def _check_chunks(data: bytes) -> None:
    """Check the lengths of the chunks of a PNG: libraries allocate what a chunk declares."""
    for kind, start, end in png_chunks(data):
        if end > len(data) - 4 and kind != b"IEND":
            length, present = end - start, max(0, len(data) - start)
            raise BadInput("truncated", f"a PNG chunk declares {length:,} bytes, of which {present:,} are in the file")


def _check_size(image: Image.Image, data: bytes, max_pixels: int) -> None:
    width, height = image.size
    limit = max_pixels
    if image.format == "JPEG2000":
        # OpenJPEG decodes the size of the codestream, 4 bytes a sample, whatever the container declares.
        width, height, count = _codestream_size(data)
        limit = 3 * max_pixels // max(3, 4 * count)
        if image.size != (width, height):
            raise BadInput("damaged", f"the JPEG 2000 image declares {image.size} and {(width, height)} pixels")
    if min(width, height) < 1:
        raise BadInput("damaged", f"{width}x{height} pixels")
    if max(width, height) > MAX_SIDE:
        raise BadInput("too-large", f"{width}x{height} pixels, a side of more than {MAX_SIDE:,}; cut it into parts")
    if width * height > limit:
        raise BadInput("too-large", f"{width}x{height} pixels, more than {limit:,}; scale it down")
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0) > max_pixels:
            raise BadInput("too-large", f"TIFF tiles of more than {max_pixels:,} pixels")


def _codestream_size(data: bytes) -> tuple[int, int, int]:
    """Return width, height and the number of components of a JPEG 2000 codestream."""
    at = data.find(_CODESTREAM)
    if at < 0 or len(data) < at + 43:
        raise BadInput("truncated", "the JPEG 2000 image holds no codestream")
    right, bottom, left, top = (int.from_bytes(data[at + i : at + i + 4], "big") for i in (8, 12, 16, 20))
    return right - left, bottom - top, int.from_bytes(data[at + 40 : at + 42], "big")
