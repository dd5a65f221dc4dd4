"""Line charts as coordinates of an SVG drawing, which the template `charts.html` draws in the page's colours."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 200
LEFT, RIGHT, TOP, BOTTOM = 44.0, 510.0, 10.0, 170.0
"""Ends of the axes in pixels."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis from `low` to `high` with labelled marks."""

    low: float
    high: float
    marks: Sequence[tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a chart in data units, with a tooltip `text` and a `label` that is drawn next to it."""

    x: float
    y: float
    text: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One curve through `points`, dots at the points with a text, and a dashed line through `reference`.

    `description` is the alternative text for readers who cannot see the chart.
    """

    description: str
    x: Axis
    y: Axis
    points: Sequence[Point]
    reference: Sequence[tuple[float, float]] = ()

    @property
    def line(self) -> str:
        """The curve as the points of an SVG polyline."""
        return self._line([(point.x, point.y) for point in self.points])

    @property
    def dashes(self) -> str:
        """The reference line as the points of an SVG polyline."""
        return self._line(self.reference)

    @property
    def dots(self) -> list[dict[str, str]]:
        """The points with a text."""
        return [{"x": self._x(p.x), "y": self._y(p.y), "text": p.text, "label": p.label} for p in self.points if p.text]

    @property
    def rows(self) -> list[dict[str, str]]:
        """Marks of the y axis."""
        return [{"y": self._y(value), "text": text} for value, text in self.y.marks]

    @property
    def columns(self) -> list[dict[str, str]]:
        """Marks of the x axis."""
        return [{"x": self._x(value), "text": text} for value, text in self.x.marks]

    def _line(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self._x(x)},{self._y(y)}" for x, y in points)

    def _x(self, value: float) -> str:
        return f"{LEFT + (RIGHT - LEFT) * _share(value, self.x):.1f}"

    def _y(self, value: float) -> str:
        return f"{BOTTOM - (BOTTOM - TOP) * _share(value, self.y):.1f}"


def percent_axis(low: float = 0.0, high: float = 100.0, steps: int = 4) -> Axis:
    """Return an axis in percent with evenly spaced marks."""
    marks = [low + (high - low) * step / steps for step in range(steps + 1)]
    return Axis(low=low, high=high, marks=[(mark, f"{mark:.3g}") for mark in marks])


def _share(value: float, axis: Axis) -> float:
    return min(max((value - axis.low) / (axis.high - axis.low), 0.0), 1.0)
