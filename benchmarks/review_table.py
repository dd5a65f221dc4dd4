"""Tables and a chart of the learning curves of `review_curves.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.review.sampling.strategies import DEFAULT_STRATEGY

Floats = NDArray[np.float64]
LEVELS = (200, 400, 600, 800)
"""Numbers of tasks; the accuracy of random sampling there is the level that other strategies should reach."""
WIDTH, HEIGHT, LEFT, BOTTOM = 460, 260, 44, 30
COLOURS = {"random": "#888888", DEFAULT_STRATEGY: "#d55e00", "mix": "#0072b2", "least-confident": "#009e73"}


class Curves:
    """Accuracies of the runs of one start, (S, rounds) for each measure and strategy, in the order of seeds."""

    def __init__(self, lines: list[dict[str, object]], start: str) -> None:
        runs = sorted((line for line in lines if line["start"] == start), key=lambda line: str(line["seed"]))
        self.tasks = np.array(runs[0]["tasks"], dtype=np.float64)
        self.accuracies: dict[str, dict[str, list[Floats]]] = defaultdict(lambda: defaultdict(list))
        for line in runs:
            attributes = line["attributes"]
            assert isinstance(attributes, dict)
            for measure, values in {"official": line["official"], "balanced": line["balanced"], **attributes}.items():
                self.accuracies[measure][str(line["strategy"])].append(np.array(values, dtype=np.float64))

    def mean(self, measure: str, strategy: str) -> Floats:
        """Return the mean over seeds, (rounds,)."""
        return np.asarray(np.mean(self.accuracies[measure][strategy], axis=0))

    def spread(self, measure: str, strategy: str) -> Floats:
        """Return the standard deviation over seeds, (rounds,)."""
        return np.asarray(np.std(self.accuracies[measure][strategy], axis=0, ddof=min(1, self.seeds(strategy) - 1)))

    def seeds(self, strategy: str) -> int:
        """Return the number of seeds of a strategy."""
        return len(self.accuracies["official"][strategy])

    def tasks_needed(self, measure: str, strategy: str, level: float) -> float | None:
        """Return the interpolated number of tasks at which the mean curve first reaches a level, or None."""
        curve = self.mean(measure, strategy)
        above = np.flatnonzero(curve >= level)
        if not len(above):
            return None
        end = int(above[0])
        if end == 0:
            return 0.0
        part = (level - curve[end - 1]) / (curve[end] - curve[end - 1])
        return float(self.tasks[end - 1] + part * (self.tasks[end] - self.tasks[end - 1]))


def write_report(log: Path, chart: Path) -> None:
    """Print the tables of all runs in `log`, and write a chart of the mean accuracies as SVG."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    starts = sorted({line["start"] for line in lines})
    for start in starts:
        curves = Curves(lines, start)
        for measure in ("official", "balanced"):
            _print_strategies(curves, start, measure)
        _print_attributes(curves)
    chart.write_text(_svg({start: Curves(lines, start) for start in starts}))


def _print_strategies(curves: Curves, start: str, measure: str) -> None:
    rounds = {count: int(np.flatnonzero(curves.tasks == count)[0]) for count in LEVELS}
    levels = {count: curves.mean(measure, "random")[index] for count, index in rounds.items()}
    before = curves.mean(measure, "random")[0]
    print(f"\n### {start}, {measure}, {before:.2f} before\n")
    print(f"| strategy (seeds) | {' | '.join(f'after {count}' for count in LEVELS)} | tasks for random's level |")
    print("|---|" + "---|" * (len(LEVELS) + 1))
    for strategy in sorted(curves.accuracies[measure], key=lambda name: -curves.mean(measure, name)[rounds[400]]):
        mean, spread = curves.mean(measure, strategy), curves.spread(measure, strategy)
        several = curves.seeds(strategy) > 1
        cells = [f"{mean[index]:.2f}" + f" ± {spread[index]:.2f}" * several for index in rounds.values()]
        counts = [(count, curves.tasks_needed(measure, strategy, level)) for count, level in levels.items()]
        needed = ", ".join(f"{count}: {'more' if tasks is None else f'{tasks:.0f}'}" for count, tasks in counts)
        needed = "falls" if levels[LEVELS[-1]] < before else needed
        print(f"| {strategy} ({curves.seeds(strategy)}) | {' | '.join(cells)} | {needed} |")


def _print_attributes(curves: Curves) -> None:
    columns = f"{DEFAULT_STRATEGY}, 400 | {DEFAULT_STRATEGY} needs for random's 800"
    print(f"\n| attribute | before | random, 400 | random, 800 | {columns} |")
    print("|---|---|---|---|---|---|")
    middle, last = (int(np.flatnonzero(curves.tasks == count)[0]) for count in (400, 800))
    for name in (name for name in curves.accuracies if name not in ("official", "balanced")):
        random, default = curves.mean(name, "random"), curves.mean(name, DEFAULT_STRATEGY)
        needed = curves.tasks_needed(name, DEFAULT_STRATEGY, random[last])
        print(
            f"| {name} | {random[0]:.1f} | {random[middle]:.1f} | {random[last]:.1f} | {default[middle]:.1f}"
            f" | {'more than 800' if needed is None else f'{needed:.0f}'} |"
        )


def _svg(starts: dict[str, Curves]) -> str:
    panels = [
        _panel(curves, f"{start}: mean accuracy of 12 attributes, %", measure, 10 + (WIDTH + 20) * column, 10 + row)
        for row, measure in ((0, "official"), (HEIGHT + 40, "balanced"))
        for column, (start, curves) in enumerate(starts.items())
    ]
    width, height = (WIDTH + 20) * len(starts) + 10, 2 * (HEIGHT + 40) + 10
    style = "font-family='sans-serif' font-size='11'"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' {style}>{''.join(panels)}</svg>\n"
    )


def _panel(curves: Curves, title: str, measure: str, x0: int, y0: int) -> str:
    means = {name: curves.mean(measure, name) for name in COLOURS if name in curves.accuracies[measure]}
    low = float(np.floor(min(mean.min() for mean in means.values())))
    high = float(np.ceil(max(mean.max() for mean in means.values())))

    def point(tasks: float, value: float) -> str:
        x = x0 + LEFT + (WIDTH - LEFT) * tasks / curves.tasks[-1]
        return f"{x:.1f},{y0 + 20 + (HEIGHT - BOTTOM) * (high - value) / (high - low):.1f}"

    parts = [f"<text x='{x0 + LEFT}' y='{y0 + 10}'>{title} ({measure})</text>"]
    for value in np.arange(low, high + 0.5):
        (left, y), (right, _) = point(0, value).split(","), point(curves.tasks[-1], value).split(",")
        parts.append(f"<line x1='{left}' y1='{y}' x2='{right}' y2='{y}' stroke='#dddddd'/>")
        parts.append(f"<text x='{x0 + LEFT - 6}' y='{float(y) + 4}' text-anchor='end'>{value:.0f}</text>")
    for tasks in (0, *LEVELS):
        x, y = point(tasks, low).split(",")
        parts.append(f"<text x='{x}' y='{float(y) + 16}' text-anchor='middle'>{tasks}</text>")
    for row, (name, mean) in enumerate(means.items()):
        points = " ".join(point(tasks, value) for tasks, value in zip(curves.tasks, mean, strict=True))
        parts.append(f"<polyline points='{points}' fill='none' stroke='{COLOURS[name]}' stroke-width='1.8'/>")
        x, y = x0 + WIDTH - 110, y0 + HEIGHT - 70 + 14 * row
        parts.append(f"<text x='{x}' y='{y}' fill='{COLOURS[name]}'>{name}</text>")
    return "".join(parts)
