"""Props: bicycles, railings, foliage, signs and people far away, painted on an image in linear light."""

import colorsys
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from vestigo_models.arrays import Float32Array, FloatArray
from vestigo_models.synthetic.materials.clothes import Colour, linear, sample_common_colour
from vestigo_models.synthetic.scenery.spectra import dead_leaves

Point = Sequence[float]


def tone(
    rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    """Return a random linear colour between bounds of hue (degrees), saturation and value."""
    return linear(colorsys.hsv_to_rgb(rng.uniform(*hue) % 360 / 360, rng.uniform(*saturation), rng.uniform(*value)))


def paint(rng: np.random.Generator) -> Colour:
    """Return the colour of a painted or plastic thing; most are grey, some are vivid."""
    if rng.random() < 0.2:
        return tone(rng, (0, 360), (0.2, 0.6), (0.2, 0.75))
    return tone(rng, (0, 360), (0.0, 0.14), (0.1, 0.8))


def foliage_palette(rng: np.random.Generator) -> Float32Array:
    """Return the colours (5, 3) of a bush, hedge or lawn."""
    hue, dark = float(rng.uniform(60, 115)), float(rng.uniform(0.5, 1.0))
    return np.stack([tone(rng, (hue - 12, hue + 12), (0.15, 0.4), (0.2 * dark, 0.62 * dark)) for _ in range(5)])


class _Pen:
    """Draws in metres around the foot of a prop at (x, y) pixels; `unit` are the pixels of a metre."""

    def __init__(self, image: FloatArray, x: float, y: float, unit: float) -> None:
        self.image, self.x, self.y, self.unit = image, x, y, unit

    def at(self, point: Point) -> tuple[int, int]:
        return (round((self.x + point[0] * self.unit) * 8), round((self.y - point[1] * self.unit) * 8))

    def line(self, points: list[Point], width: float, colour: FloatArray) -> None:
        shape = np.array([self.at(point) for point in points], dtype=np.int32)
        cv2.polylines(
            self.image, [shape], False, tuple(map(float, colour)), max(1, round(width * self.unit)), cv2.LINE_8, 3
        )

    def circle(self, centre: Point, radius: float, width: float, colour: Sequence[float] | FloatArray) -> None:
        thickness = max(1, round(width * self.unit)) if width else -1
        size = max(8, round(radius * self.unit * 8))
        cv2.circle(self.image, self.at(centre), size, tuple(map(float, colour)), thickness, cv2.LINE_8, 3)

    def box(self, left: float, low: float, right: float, high: float, colour: FloatArray) -> None:
        a, b = self.at((left, high)), self.at((right, low))
        cv2.rectangle(self.image, a, b, tuple(map(float, colour)), -1, cv2.LINE_8, 3)


def draw_bicycle(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a parked bicycle, seen at an angle."""
    frame, dark = paint(rng), tone(rng, (0, 360), (0, 0.1), (0.05, 0.2))
    squeeze = float(rng.uniform(0.4, 1.0) * rng.choice([-1, 1]))

    def at(x: float, y: float) -> Point:
        return x * squeeze, y

    for wheel in (-0.52, 0.52):
        pen.circle(at(wheel, 0.33), 0.33, 0.05, dark)
        pen.line([at(wheel - 0.3, 0.33), at(wheel + 0.3, 0.33)], 0.01, dark * 3)
    pen.line([at(-0.52, 0.33), at(-0.1, 0.35), at(0.35, 0.75), at(-0.2, 0.75), at(-0.52, 0.33)], 0.04, frame)
    pen.line([at(0.52, 0.33), at(0.35, 0.8), at(0.32, 1.0), at(0.5, 1.05)], 0.04, frame)
    pen.line([at(-0.1, 0.35), at(-0.25, 0.95)], 0.035, dark)
    pen.line([at(-0.38, 0.95), at(-0.12, 0.95)], 0.08, dark)
    if rng.random() < 0.5:
        pen.box(0.45 * squeeze - 0.14, 0.75, 0.45 * squeeze + 0.14, 1.0, tone(rng, (0, 360), (0, 0.1), (0.2, 0.5)))


def draw_railing(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a railing or a fence of a few metres."""
    colour, half, height = paint(rng), float(rng.uniform(1.0, 4.0)), float(rng.uniform(0.7, 1.2))
    for level in np.linspace(height, 0.25, int(rng.integers(2, 5))):
        pen.line([(-half, float(level)), (half, float(level))], 0.05, colour)
    step = float(rng.choice([0.15, 1.2]))
    for post in np.arange(-half, half, step):
        pen.line([(float(post), 0.0), (float(post), height)], 0.03 if step < 1 else 0.07, colour)


def draw_foliage(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a bush."""
    palette, radius, count = foliage_palette(rng), float(rng.uniform(0.25, 0.8)), int(rng.integers(80, 160))
    angle, reach = rng.uniform(0, 2 * np.pi, count), radius * np.sqrt(rng.random(count))
    x, y = reach * np.cos(angle), np.maximum(radius * 0.9 + reach * np.sin(angle), 0)
    leaves = palette[rng.integers(len(palette), size=count)] * (0.5 + 0.35 * y / radius)[:, None]
    sizes = radius * rng.uniform(0.04, 0.12, count)
    for centre, size, colour in zip(np.stack((x, y), 1).tolist(), sizes.tolist(), leaves.tolist(), strict=True):
        pen.circle(centre, size, 0, colour)


def draw_sign(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a board on a post, with lines of writing."""
    low, half, height = float(rng.uniform(0.3, 2.0)), float(rng.uniform(0.15, 0.6)), float(rng.uniform(0.3, 1.0))
    pen.box(-0.03, 0.0, 0.03, low, tone(rng, (0, 360), (0, 0.1), (0.2, 0.6)))
    pen.box(-half, low, half, low + height, paint(rng))
    ink = paint(rng)
    for level in np.arange(low + 0.08, low + height - 0.05, 0.12):
        start = -half * 0.8
        while start < half * 0.7:
            end = start + float(rng.uniform(0.04, 0.2))
            pen.box(start, float(level), min(end, half * 0.8), float(level) + 0.06, ink)
            start = end + 0.04


def draw_post(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a post, lamp or tree trunk."""
    half = float(rng.uniform(0.03, 0.14))
    colour = paint(rng) if rng.random() < 0.6 else tone(rng, (20, 40), (0.1, 0.4), (0.15, 0.4))
    height = float(rng.uniform(0.8, 5.0))
    pen.box(-half, 0.0, half, height, colour)
    pen.box(half * 0.2, 0.0, half, height, colour * 0.6)


def draw_crate(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a bin, bench, suitcase or flower box: boxes of a lit and a shaded side."""
    half, height, colour = float(rng.uniform(0.15, 0.8)), float(rng.uniform(0.3, 1.2)), paint(rng)
    pen.box(-half, 0.0, half, height, colour)
    pen.box(half * 0.4, 0.0, half, height, colour * 0.55)
    for level in np.arange(0.15, height, float(rng.uniform(0.1, 0.4))):
        pen.line([(-half, float(level)), (half, float(level))], 0.02, colour * 0.5)


def draw_car(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a car from the side."""
    body, glass = paint(rng), tone(rng, (190, 220), (0.0, 0.2), (0.06, 0.4))
    dark = linear((0.08, 0.08, 0.08))
    pen.box(-2.0, 0.25, 2.0, 0.9, body)
    pen.box(-1.3, 0.9, 1.1, 1.4, body * 0.9)
    for left, right in ((-1.2, -0.15), (-0.05, 1.0)):
        pen.box(left, 0.92, right, 1.32, glass)
    pen.box(-2.0, 0.55, 2.0, 0.6, body * 0.5)
    for wheel in (-1.25, 1.25):
        pen.circle((wheel, 0.32), 0.32, 0, dark)
        pen.circle((wheel, 0.32), 0.17, 0, dark * 12)


def draw_passer(pen: _Pen, rng: np.random.Generator) -> None:
    """Draw a person far away: a head, a trunk and two legs."""
    skin, upper, lower = (
        tone(rng, (15, 30), (0.2, 0.5), (0.3, 0.8)),
        sample_common_colour(rng),
        sample_common_colour(rng),
    )
    step = float(rng.uniform(0.0, 0.25))
    for side in (-1, 1):
        pen.line([(0.07 * side, 0.85), (0.07 * side + step * side, 0.05)], 0.14, lower)
        pen.line([(0.19 * side, 1.38), (0.24 * side + 0.3 * step * side, 0.85)], 0.1, upper * 0.8)
    pen.box(-0.19, 0.82, 0.19, 1.42, upper)
    pen.circle((0.0, 1.6), 0.1, 0, skin)
    pen.box(-0.1, 1.6, 0.1, 1.71, linear((0.1, 0.08, 0.07)))


DRAWERS: tuple[Callable[[_Pen, np.random.Generator], None], ...] = (
    draw_bicycle,
    draw_railing,
    draw_foliage,
    draw_sign,
    draw_post,
    draw_crate,
    draw_car,
    draw_passer,
)
WEIGHTS = (0.26, 0.1, 0.14, 0.08, 0.12, 0.1, 0.06, 0.14)


NEAR = 6
"""The first drawers, whose props are detailed enough to stand near the camera."""


def draw_prop(
    image: FloatArray,
    x: float,
    y: float,
    unit: float,
    rng: np.random.Generator,
    kind: int | None = None,
    *,
    near: bool = False,
) -> None:
    """Draw a prop, by default a random one, with its foot at (x, y) pixels, at `unit` pixels per metre.

    `kind` is an index of `DRAWERS`; `near` restricts the random choice to props with details.
    """
    weights = np.array(WEIGHTS[:NEAR] if near else WEIGHTS)
    index = int(rng.choice(len(weights), p=weights / weights.sum())) if kind is None else kind
    DRAWERS[index](_Pen(image, x, y, unit), rng)


def clutter(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    """Return an unresolved jumble of things, (height, width, 3), as behind shop windows or among parked bicycles."""
    base = float(rng.uniform(0.15, 0.9))
    palette = np.stack([tone(rng, (0, 360), (0.0, 0.35), (0.1 * base, base)) for _ in range(6)] + [paint(rng)])
    return dead_leaves(rng, height, width, palette, 120, max(1.5, width / 90), max(6.0, width / 5))
