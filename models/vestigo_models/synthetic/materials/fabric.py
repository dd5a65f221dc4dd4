"""Fabrics: procedural cloth textures, baked once per garment and looked up at every hit.

A texture covers the circumference of the torso and the height from the ankles to the neck; limbs use a part of it.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, FloatArray, UInt8Array

CELL = 0.007
"""Metres of cloth per texel: half a pixel of a crop of 128 rows."""
HALF_WIDTH, BOTTOM, TOP = 0.48, -0.86, 0.56
"""Extent of a texture in metres: around the body from the front, and along the body from the hip."""
_COLUMNS, _ROWS = round(2 * HALF_WIDTH / CELL), round((TOP - BOTTOM) / CELL)


class Weave(IntEnum):
    """Repeating texture of a fabric."""

    PLAIN = 0
    STRIPES = 1
    PINSTRIPES = 2
    GINGHAM = 3
    PLAID = 4
    FLOWERS = 5
    DOTS = 6
    CAMOUFLAGE = 7
    GRADIENT = 8
    DENIM = 9
    KNIT = 10


class Cut(IntEnum):
    """Placed details of a garment."""

    NONE = 0
    SHIRT = 1  # collar and buttons
    PRINT = 2  # on the chest, the back or both
    OPEN = 3  # a jacket over a shirt
    BLOCKS = 4  # yoke, chest band or halves in another colour
    ZIP = 5
    TROUSERS = 6  # side stripe or worn thighs
    BAG = 7  # pocket, zip and trim


@dataclass(frozen=True)
class Fabric:
    """What a texture is baked from. Colours are linear RGB."""

    weave: Weave
    cut: Cut
    colours: tuple[tuple[float, float, float], ...]  # main, second, third
    seed: int
    strength: float = 1.0  # contrast of the weave
    fuzz: float = 0.08  # contrast of the yarn


@lru_cache(maxsize=512)
def bake(fabric: Fabric, *, placed: bool) -> UInt8Array:
    """Return the texture (rows, columns, 3), square-root encoded; `placed` adds the details of the cut."""
    rng = np.random.default_rng(fabric.seed)
    main, second, third = (np.array(colour, dtype=np.float32) for colour in fabric.colours)
    u, v = _grid()
    texture = np.broadcast_to(main, (_ROWS, _COLUMNS, 3)).copy()
    _weave(rng, fabric, texture, u, v, second, third)
    # The details have their own generator: a sleeve has the cloth of its garment.
    if placed:
        _place(np.random.default_rng((fabric.seed, 1)), fabric, texture, u, v, second, third)
    yarn = rng.standard_normal((_ROWS, _COLUMNS, 1), dtype=np.float32)
    texture *= np.clip(1 + fabric.fuzz * yarn, 0.3, 1.7)
    return np.asarray(np.sqrt(np.clip(texture, 0, 1)) * 255 + 0.5, dtype=np.uint8)


def look_up(texture: UInt8Array, u: FloatArray, v: FloatArray) -> Float32Array:
    """Return the linear colours (N, 3) of a texture at u, v (N,), metres around and along the body."""
    x = ((u + HALF_WIDTH) / CELL - 0.5).astype(np.float32)
    y = ((TOP - v) / CELL - 0.5).astype(np.float32)
    values = cv2.remap(texture, x[:, None], y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray((values.reshape(-1, 3).astype(np.float32) * np.float32(1 / 255)) ** 2, dtype=np.float32)


@lru_cache(maxsize=1)
def _grid() -> tuple[Float32Array, Float32Array]:
    u = (np.arange(_COLUMNS, dtype=np.float32) + 0.5) * CELL - HALF_WIDTH
    v = TOP - (np.arange(_ROWS, dtype=np.float32) + 0.5) * CELL
    return np.broadcast_to(u, (_ROWS, _COLUMNS)), np.broadcast_to(v[:, None], (_ROWS, _COLUMNS))


def _smooth(rng: np.random.Generator, cell: float, stretch: float = 1.0) -> Float32Array:
    """Return smooth noise over a texture, standard deviation about 1; `cell` is its grain in metres."""
    rows = max(3, round(_ROWS * CELL / (cell * stretch)))
    columns = max(3, round(_COLUMNS * CELL / cell))
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    return np.asarray(1.4 * cv2.resize(grid, (_COLUMNS, _ROWS), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _blend(texture: Float32Array, weight: FloatArray | BoolArray, colour: Float32Array) -> None:
    share = np.asarray(weight, dtype=np.float32)[..., None]
    texture += share * (colour - texture)


def _weave(
    rng: np.random.Generator,
    fabric: Fabric,
    texture: Float32Array,
    u: Float32Array,
    v: Float32Array,
    second: Float32Array,
    third: Float32Array,
) -> None:
    """Paint the repeating texture of a fabric."""
    strength, period, share = fabric.strength, float(rng.uniform(0.03, 0.13)), float(rng.uniform(0.15, 0.42))
    phase = float(rng.uniform(0, 1))

    def bands(x: Float32Array, length: float, width: float, shift: float = 0.0) -> BoolArray:
        return np.asarray((x / length + phase + shift) % 1.0 < width)

    match fabric.weave:
        case Weave.STRIPES:
            _blend(texture, strength * bands(v, period, share), second)
            if rng.random() < 0.4:
                _blend(texture, strength * bands(v, period, share * 0.3, 0.5), third)
        case Weave.PINSTRIPES:
            _blend(texture, strength * bands(u, period * 0.6, min(share, 0.3)), second)
        case Weave.GINGHAM:
            crossed = 0.5 * bands(u, period, 0.33) + 0.5 * bands(v, period, 0.33)
            _blend(texture, strength * crossed, second)
        case Weave.PLAID:
            for length, width, colour, weight in (
                (period, share * 0.5, second, 0.5),
                (period, 0.1, third, 0.5),
                (period * 0.5, 0.08, second, 0.3),
            ):
                shift = float(rng.uniform(0, 1))
                crossed = bands(u, length, width, shift) * weight + bands(v, length, width, shift) * weight
                _blend(texture, strength * crossed, colour)
        case Weave.FLOWERS:
            field = _smooth(rng, period * 0.5)
            _blend(texture, strength * (field > np.quantile(field, 1 - 0.6 * share)), second)
            field = _smooth(rng, period * 0.4)
            _blend(texture, strength * (field > np.quantile(field, 1 - 0.35 * share)), third)
        case Weave.DOTS:
            length = period * 0.8
            x, y = u / length, v / length
            x = x + 0.5 * (np.floor(y) % 2)
            spot = (x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2 < (0.2 + 0.3 * share) ** 2
            _blend(texture, strength * spot, second)
        case Weave.CAMOUFLAGE:
            for colour, part in ((second, 0.24), (third, 0.16)):
                field = _smooth(rng, period * 1.3, 0.7) + 0.4 * _smooth(rng, period * 0.4)
                _blend(texture, field > np.quantile(field, 1 - part), colour)
        case Weave.GRADIENT:
            centre, width = float(rng.uniform(-0.1, 0.1)), float(rng.uniform(0.05, 0.2))
            _blend(texture, 0.9 / (1 + np.exp((v - centre) / width * 2)), second)
        case Weave.DENIM:
            texture *= np.clip(1 + 0.16 * _smooth(rng, 0.15) + 0.12 * _smooth(rng, 0.02, 3.0), 0.4, 1.8)[..., None]
        case Weave.KNIT:
            rib = 0.5 + 0.5 * np.sin(u * (2 * np.pi / float(rng.uniform(0.016, 0.04))))
            texture *= (1 - 0.3 * rib)[..., None]
        case _:
            texture *= np.clip(1 + 0.05 * _smooth(rng, 0.2), 0.6, 1.4)[..., None]


def _place(
    rng: np.random.Generator,
    fabric: Fabric,
    texture: Float32Array,
    u: Float32Array,
    v: Float32Array,
    second: Float32Array,
    third: Float32Array,
) -> None:
    """Paint the details of a cut at their places on the torso or limb."""
    side = np.abs(u)
    dark = texture[0, 0] * 0.45
    match fabric.cut:
        case Cut.SHIRT:
            collar = second if rng.random() < 0.35 else dark if rng.random() < 0.5 else np.float32(0.7) * third
            _blend(texture, (v > 0.4) & (side < 0.16), collar)
            _blend(texture, 0.6 * ((side < 0.008) & (v < 0.42) & (v > float(rng.choice([-0.3, 0.25])))), dark)
        case Cut.PRINT:
            back = rng.random() < 0.35
            if back or rng.random() < 0.3:
                _print(rng, texture, np.asarray(HALF_WIDTH - side) * np.sign(-u), v, second, third)
            if not back or rng.random() < 0.3:
                _print(rng, texture, u, v, second, third)
            _blend(texture, (v > 0.42) & (rng.random() < 0.4), second)
        case Cut.OPEN:
            gap = float(rng.uniform(0.03, 0.075)) * (1.15 - 0.5 * (v - BOTTOM) / (TOP - BOTTOM))
            _blend(texture, side < gap, second)
            _blend(texture, (side < gap * 0.45) & (v > 0.33) & (rng.random() < 0.5), third)
            _blend(texture, 0.7 * ((side > gap) & (side < gap + 0.02)), dark)
        case Cut.BLOCKS:
            level, half = float(rng.uniform(0.26, 0.36)), float(rng.uniform(0.02, 0.07))
            yoke, band, left, sides = v > level, np.abs(v - level + 0.1) < half, u > 0.15, np.abs(side - 0.24) < 0.07
            inside = (yoke, band, left, sides)[rng.integers(4)]
            _blend(texture, inside, second)
        case Cut.ZIP:
            _blend(texture, 0.8 * (side < 0.009), second if rng.random() < 0.4 else dark)
            _blend(texture, (v > 0.4) & (side < 0.2), dark if rng.random() < 0.5 else second)
            if rng.random() < 0.4:
                _print(rng, texture, u - 0.08, v - 0.02, second, third, scale=0.35)
            pocket = (np.abs(side - 0.1 - (v - 0.06) * 0.3) < 0.008) & (np.abs(v - 0.06) < 0.06)
            _blend(texture, 0.8 * pocket, dark)
        case Cut.TROUSERS:
            if rng.random() < 0.3:  # a quarter of a limb's circumference from the front
                _blend(texture, np.abs(side - 0.094) < rng.uniform(0.006, 0.02), second)
            worn = float(rng.uniform(0, 0.5)) * np.exp(-((u / 0.05) ** 2) - ((v - 0.2) / 0.15) ** 2)
            texture *= (1 + worn)[..., None]
        case Cut.BAG:
            _blend(texture, np.abs(v - rng.uniform(0.05, 0.25)) < 0.012, second)
            if rng.random() < 0.5:
                _blend(texture, (v < rng.uniform(0.06, 0.16)) & (side < 0.3), third if rng.random() < 0.3 else dark)
            if rng.random() < 0.5:
                _print(rng, texture, u, v + 0.15, second, third, scale=0.6)


def _print(
    rng: np.random.Generator,
    texture: Float32Array,
    u: FloatArray,
    v: FloatArray,
    second: Float32Array,
    third: Float32Array,
    scale: float = 1.0,
) -> None:
    """Paint letters, digits or a picture at the middle of the chest in coordinates u, v."""
    half_u, half_v = float(rng.uniform(0.05, 0.13)) * scale, float(rng.uniform(0.03, 0.12)) * scale
    top = float(rng.uniform(0.26, 0.33))
    x, y = (u + half_u) / (2 * half_u), (top + half_v - v) / (2 * half_v)
    inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    kind = rng.random()
    if kind < 0.55:  # lines of letters: random glyphs of 4 x 5 cells with gaps
        lines, letters = int(rng.integers(1, 4)), int(rng.integers(2, 8))
        glyphs = rng.random((lines, 5, letters, 4)) < 0.62
        glyphs = np.pad(glyphs, ((0, 0), (0, 1), (0, 0), (0, 1))).reshape(lines * 6, letters * 5)
        rows = np.clip(y * lines * 6, 0, lines * 6 - 1).astype(int)
        columns = np.clip(x * letters * 5, 0, letters * 5 - 1).astype(int)
        _blend(texture, inside & glyphs[rows, columns], second)
    elif kind < 0.8:  # a picture: blobs of two colours in a frame or an ellipse
        if rng.random() < 0.5:
            inside &= (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.25
        field = _smooth(rng, 0.05 * scale)
        _blend(texture, inside & (field > -0.3), second)
        _blend(texture, inside & (field > 0.6), third)
    else:
        radius = np.hypot(x - 0.5, y - 0.5) * 2
        _blend(texture, (radius < 1) & (radius > rng.uniform(0.0, 0.7)), second)
        _blend(texture, radius < rng.uniform(0.2, 0.5), third)
