import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from vestigo_models.errors import BadInput
from vestigo_models.inference.image_files import MAX_PIXELS
from vestigo_models.inference.image_formats import find_format
from vestigo_models.inference.images import IMAGE_SUFFIXES, decode_image, read_image

HEIGHT, WIDTH = 60, 40
SAMPLES = cv2.resize(
    np.random.default_rng(0).integers(0, 255, (6, 5, 4), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
)
RGBA = Image.fromarray(SAMPLES, "RGBA")
RGB = RGBA.convert("RGB")
FORMATS = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp", "AVIF": ".avif", "JPEG2000": ".jp2"}
FORMATS |= {"GIF": ".gif", "BMP": ".bmp", "PPM": ".ppm"}
MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("L", "RGB", "RGBA"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "CMYK"),
    "GIF": ("1", "L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB"),
}
WITH_EXIF = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF")
RAMP = np.tile(np.arange(64, dtype=np.uint16), (128, 1))


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def encode_deep(suffix: str, samples: np.ndarray) -> bytes:
    return bytes(cv2.imencode(suffix, samples)[1])


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def reason_of(data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        decode_image(data)
    return caught.value.reason


@pytest.mark.parametrize(("format", "mode"), [(format, mode) for format, modes in MODES.items() for mode in modes])
def test_modes_are_decoded_as_pillow_converts_them(format: str, mode: str) -> None:
    data = encode((RGBA if "A" in mode and mode != "LAB" else RGB).convert(mode), format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    decoded = decode_image(data)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_allclose(decoded, expected, atol=1)


@pytest.mark.parametrize("format", WITH_EXIF)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    data = encode(RGB, format, exif=exif_of(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert expected.shape[:2] == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
    np.testing.assert_array_equal(decode_image(data), expected)


def test_sideways_webp_equals_sideways_png() -> None:
    turned = RGB.rotate(90, expand=True)
    webp = encode(turned, "WEBP", exif=exif_of(6), lossless=True)
    np.testing.assert_array_equal(decode_image(webp), decode_image(encode(turned, "PNG", exif=exif_of(6))))
    np.testing.assert_array_equal(decode_image(webp), np.asarray(RGB))


def _segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def test_exif_orientation_behind_xmp_of_jpeg() -> None:
    data = encode(RGB, "JPEG")
    xmp = _segment(b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")
    turned = decode_image(data[:2] + xmp + _segment(b"Exif\0\0" + exif_of(6).tobytes()[6:]) + data[2:])
    np.testing.assert_array_equal(turned, np.rot90(decode_image(data), -1))


def test_exif_orientation_in_text_of_png() -> None:
    text = PngImagePlugin.PngInfo()
    exif = exif_of(6).tobytes()
    text.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n", zip=True)
    np.testing.assert_array_equal(decode_image(encode(RGB, "PNG", pnginfo=text)), np.rot90(np.asarray(RGB), -1))


def test_exif_orientation_in_box_of_jpeg_2000() -> None:
    exif = b"JpgTiffExif->JP2" + exif_of(6).tobytes()[6:]
    data = encode(RGB, "JPEG2000") + struct.pack(">I4s", len(exif) + 8, b"uuid") + exif
    np.testing.assert_array_equal(decode_image(data), np.rot90(np.asarray(RGB), -1))


def test_damaged_exif_leaves_picture_as_stored() -> None:
    data = encode(RGB, "JPEG")
    damaged = data[:2] + _segment(b"Exif\0\0MM\0\x2a\xff\xff\xff\xff") + data[2:]
    np.testing.assert_array_equal(decode_image(damaged), decode_image(data))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"pHYs"])
def test_damaged_description_of_png_leaves_picture(kind: bytes) -> None:
    data = encode(RGB, "PNG")
    content = b"a\0\0" + zlib.compress(bytes(5_000_000)) if kind != b"pHYs" else b"1"
    chunk = kind + content
    described = data[:33] + struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    np.testing.assert_array_equal(decode_image(described), np.asarray(RGB))


def encode_deep_tiff(samples: np.ndarray, *, orientation: int = 1, planar: bool = False) -> bytes:
    """Return an uncompressed TIFF of 16-bit colour; OpenCV and Pillow write no orientation and no separate planes."""
    height, width, channels = samples.shape
    planes = list(np.moveaxis(samples, 2, 0)) if planar else [samples]
    tags = [(256, width), (257, height), (259, 1), (262, 2), (274, orientation), (277, channels), (278, height)]
    start = 10 + 12 * (len(tags) + 4) + 4
    size = planes[0].nbytes
    content = struct.pack("<3H", 16, 16, 16)
    offsets, counts = start + len(content), start + len(content) + 4 * len(planes)
    pixels = counts + 4 * len(planes)
    content += struct.pack(f"<{len(planes)}I", *(pixels + size * index for index in range(len(planes))))
    content += struct.pack(f"<{len(planes)}I", *[size] * len(planes)) + b"".join(plane.tobytes() for plane in planes)
    entries = [(tag, 4, 1, value) for tag, value in tags] + [(258, 3, 3, start), (284, 4, 1, 1 + planar)]
    entries += [(273, 4, len(planes), offsets if planar else pixels), (279, 4, len(planes), counts if planar else size)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<4sIH", b"II*\0", 8, len(entries)) + directory + bytes(4) + content


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_sixteen_bit_colour_tiff(orientation: int) -> None:
    data = encode_deep_tiff(np.arange(6 * 4 * 3, dtype=np.uint16).reshape(6, 4, 3) * 800, orientation=orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode_image(data), upright)


def test_damaged_animation_gives_no_foreign_memory() -> None:
    frames = [RGBA, RGBA.rotate(90)]
    data = bytearray(encode(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    at = data.index(b"fcTL")
    data[at + 8] = 255
    at = data.index(b"IDAT")
    data[at + 40 : at + 60] = bytes(20)
    outcomes = set()
    for fill in range(4):
        np.full((HEIGHT, WIDTH, 3), fill, dtype=np.uint8)
        try:
            outcomes.add(decode_image(bytes(data)).tobytes())
        except BadInput as error:
            outcomes.add(error.reason)
    assert len(outcomes) == 1


def test_separate_planes_of_sixteen_bits_are_of_an_unsupported_format() -> None:
    assert reason_of(encode_deep_tiff(np.full((6, 4, 3), 4000, dtype=np.uint16), planar=True)) == "unsupported-format"


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jp2"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_samples_are_scaled_by_the_bits_in_use(suffix: str, channels: int, bits: int) -> None:
    grey = (RAMP * (2**bits // 64)).astype(np.uint16)
    samples = grey if channels == 1 else np.dstack([grey] * 3 + [np.full_like(grey, 65535)] * (channels - 3))
    decoded = decode_image(encode_deep(suffix, samples))
    np.testing.assert_array_equal(decoded, np.repeat((grey >> (bits - 8))[..., None], 3, axis=2))
    assert decoded.max() == 252


@pytest.mark.parametrize("kind", [b"P5", b"P6"])
@pytest.mark.parametrize("white", [1023, 65535])
def test_deep_samples_of_pnm_are_scaled_by_the_bits_in_use(kind: bytes, white: int) -> None:
    samples = np.dstack([RAMP * 16] * (3 if kind == b"P6" else 1)).astype(">u2")
    decoded = decode_image(kind + b"\n# made here\n64 128\n%d\n" % white + samples.tobytes())
    np.testing.assert_allclose(decoded, np.repeat((RAMP * 4)[..., None], 3, axis=2), atol=1)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_infrared_of_twelve_bits_in_sixteen_is_bright(format: str) -> None:
    decoded = decode_image(encode(Image.fromarray(RAMP * 60), format))
    assert decoded.max() == 3780 >> 4


@pytest.mark.parametrize("value", [0, 3])
def test_black_sixteen_bit_picture_stays_black(value: int) -> None:
    assert decode_image(encode(Image.fromarray(np.full((8, 8), value, dtype=np.uint16)), "PNG")).max() == value


def test_deep_grey_tiff_whose_white_is_zero() -> None:
    data = bytearray(encode(Image.fromarray(RAMP * 1024), "TIFF"))
    at = data.index(struct.pack("<HHI", 262, 3, 1))
    data[at + 8] = 0
    np.testing.assert_array_equal(decode_image(bytes(data))[0, :, 0], 255 - np.arange(64) * 4)


@pytest.mark.parametrize("compression", ["raw", "lzma", "tiff_lzw", "zstd", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["1", "RGB", "I;16"])
def test_compressions_of_tiff(compression: str, mode: str) -> None:
    image = Image.fromarray(RAMP * 1024) if mode == "I;16" else RGB.convert(mode)
    expected = (RAMP * 4)[..., None] if mode == "I;16" else np.asarray(image.convert("RGB"))
    decoded = decode_image(encode(image, "TIFF", compression=compression))
    np.testing.assert_array_equal(decoded, np.broadcast_to(expected, decoded.shape))


def test_floating_point_tiff_is_of_an_unsupported_format() -> None:
    assert reason_of(encode(RGB.convert("F"), "TIFF")) == "unsupported-format"


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_first_frame_of_several_is_decoded(format: str) -> None:
    frames = [Image.new("RGB", (16, 24), colour) for colour in ("red", "lime")]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    decoded = decode_image(data)
    assert decoded.shape == (24, 16, 3)
    assert (decoded[..., 0] > 240).all()
    assert (decoded[..., 1:] < 15).all()


def test_suffixes_cover_every_decoded_format() -> None:
    assert set(FORMATS.values()) | {".jfif", ".jpeg", ".tiff"} <= IMAGE_SUFFIXES
    for suffix in IMAGE_SUFFIXES:
        assert suffix == suffix.lower()
        assert suffix.startswith(".")


@pytest.mark.parametrize("format", FORMATS)
def test_images_are_recognised_by_content(format: str, tmp_path: Path) -> None:
    data = encode(RGB, format)
    assert find_format(data[:64]) is not None
    (tmp_path / "unknown.ending").write_bytes(data)
    assert read_image(tmp_path / "unknown.ending").shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "head",
    [b"", b"text", b"P5 of the plan", b"BM" + bytes(40), b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypisom\0\0\0\0isomavc1"],
)
def test_other_content_is_no_image(head: bytes) -> None:
    assert find_format(head) is None


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\xff\x0a\0\0", b"\0\0\0\x0cJXL \r\n\x87\n"])
def test_known_formats_without_decoder_are_unsupported(head: bytes) -> None:
    assert find_format(head) is not None
    assert reason_of(head) == "unsupported-format"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_files_are_truncated(format: str, share: float) -> None:
    data = encode(RGB, format)
    assert reason_of(data[: int(len(data) * share)]) == "truncated"


def test_false_chunk_length_of_png_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    data = bytearray(encode(RGB, "PNG"))
    at = data.index(b"IDAT")
    data[at - 4 : at] = b"\x7f\xff\xff\x00"
    assert reason_of(bytes(data)) == "truncated"


@pytest.mark.parametrize("size", [(110, 350_000), (350_000, 110), (10_001, 10_000)])
def test_large_pictures_are_refused_by_their_header(size: tuple[int, int]) -> None:
    # A PNG that declares more pixels than it has.
    data = bytearray(encode(RGB, "PNG"))
    data[16:24] = struct.pack(">II", *size)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert reason_of(bytes(data)) == "too-large"


def test_pixels_of_a_jpeg_2000_codestream_are_bounded() -> None:
    data = bytearray(encode(RGB, "JPEG2000"))
    at = data.index(b"\xff\x4f\xff\x51")
    data[at + 8 : at + 16] = struct.pack(">II", 60_000, 60_000)
    assert reason_of(bytes(data)) in ("too-large", "damaged")


@pytest.mark.parametrize("size", ["65501 1", "1 65501"])
def test_width_and_height_are_bounded(size: str) -> None:
    with pytest.raises(BadInput, match="a side of more than 65,500; cut it into parts"):
        decode_image(f"P5 {size} 255\n".encode() + bytes(65501))


def test_tiles_of_a_tiff_are_bounded() -> None:
    data = bytearray(encode(RGB, "TIFF"))
    for old, new in ((278, 322), (284, 323)):
        at = data.find(struct.pack("<H", old), 8)
        data[at : at + 12] = struct.pack("<HHII", new, 4, 1, 2**20)
    assert reason_of(bytes(data)) == "too-large"


def test_every_exception_of_a_library_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {KeyError: "damaged", MemoryError: "too-large", struct.error: "damaged", cv2.error: "damaged"}
    for error, reason in errors.items():

        def fail(*_: object, error: Callable[..., Exception] = error) -> None:
            raise error("deep inside")

        monkeypatch.setattr(cv2, "imdecode", fail)
        assert reason_of(encode(RGB, "JPEG")) == reason


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_bytes_are_decoded_or_refused(format: str) -> None:
    data = encode(RGB, format)
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for at in random.integers(0, min(len(data), 200), 3):
            damaged[at] = random.integers(256)
        with contextlib.suppress(BadInput):
            assert decode_image(bytes(damaged)).dtype == np.uint8


def test_read_image_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "text.jpg"
    path.write_bytes(b"text")
    with pytest.raises(BadInput, match=r"text\.jpg: the bytes are in no known image format"):
        read_image(path)
    with pytest.raises(BadInput, match="unreadable"):
        read_image(tmp_path / "absent.jpg")


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(7 * MAX_PIXELS)
    with pytest.raises(BadInput, match="too-large"):
        read_image(path)
