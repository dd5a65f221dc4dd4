"""The HTML page of an evaluation, for `vestigo evaluate` and `vestigo demo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vestigo.datasets.reid import ReidDataset
    from vestigo.evaluation.compare import Comparison
    from vestigo.evaluation.evaluate__result import Benchmark
    from vestigo_models.inference.extractor import Extractor


def write_page(
    html: Path,
    dataset: ReidDataset,
    extractors: Sequence[Extractor],
    benchmarks: Sequence[Benchmark],
    comparison: Comparison | None,
    facts: Mapping[str, str],
    protocol: str,
    parser: str = "default",
) -> None:
    """Write the page of one model, or of two and their comparison; with pictures where the model sees regions."""
    from vestigo.reports.evaluation import Compared, evaluation_page
    from vestigo.reports.region_pictures import region_pictures
    from vestigo_models.parsing.registry import make_parser

    names = _names(extractors)
    other = None
    if comparison is not None:
        other = Compared(name=names[1], benchmark=benchmarks[1], comparison=comparison)
    first = extractors[0]
    sees = first.package.regions is not None
    pictures = region_pictures(dataset, first, make_parser(parser, device=str(first.device))) if sees else ()
    page = evaluation_page(benchmarks[0], facts, protocol, model=names[0], other=other, pictures=pictures)
    html.write_text(page, encoding="utf-8")


def _names(extractors: Sequence[Extractor]) -> list[str]:
    """What the page calls the models: their names, with digests where two bear the same."""
    packages = [extractor.package for extractor in extractors]
    names = [package.name for package in packages]
    if len(set(names)) == len(names):
        return names
    return [f"{package.name} ({package.digest[:8]})" for package in packages]
