"""Gallery images with label maps of parser, clustering, fusion and network (as in figure 5 of the paper)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import REGIONS as FOLDER
from vestigo.datasets.reid import ReidDataset, region_maps
from vestigo.evaluation.regions import BELONGINGS, carried_attributes
from vestigo.reports.page import THUMBNAIL_HEIGHT
from vestigo.reports.panels import Layer, labelled_crops
from vestigo_models.errors import BadInput
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.region_finder import MOST_IMAGES, NamedImage, RegionFinder
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.schemas.regions import REGIONS, cluster_regions

EXAMPLES_SHOWN = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionExample:
    """One image and its label maps."""

    title: str
    image: NDArray[np.uint8]
    layers: tuple[Layer, ...]

    def panels(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return the thumbnails of the crop and of its label maps, with captions."""
        return labelled_crops(self.image, self.layers, THUMBNAIL_HEIGHT)


def region_examples(
    dataset: ReidDataset, extractor: Extractor, parser: Parser, shown: int = EXAMPLES_SHOWN
) -> list[RegionExample]:
    """Segment `shown` gallery images, one for each identity of `select_identities`.

    Clusters and fusion use all gallery images of an identity, as training uses all its training images.
    """
    config = extractor.package.config.fls or FlsConfig(foreground="classifier")
    finder = RegionFinder(parser, extractor, config, clusters=True)
    has_maps = (dataset.root / FOLDER).is_dir()
    examples = []
    for title, rows in select_identities(dataset, shown):
        images = [image for row in rows if (image := _read(dataset, row)) is not None]
        if not images:
            continue
        truths = region_maps(dataset.root, [dataset.gallery.paths[row] for row, _ in images]) if has_maps else ()
        maps = [read_labels(path) for path in truths]
        # The image whose true label map shows most belongings, the first one if none does.
        areas = [float((labels == REGIONS.names.index(BELONGINGS)).mean()) for labels in maps]
        best = int(np.argmax(areas)) if areas else 0
        regions = next(finder.find([[image for _, image in images]]))[best]
        if isinstance(regions, BadInput):
            continue
        pixels = images[best][1].pixels
        layers: list[Layer] = [("parser", regions.body, REGIONS)]
        if regions.clusters is not None:
            layers.append(("clustering", regions.clusters, cluster_regions(config.clusters)))
        layers.append(("FLS", regions.grid, REGIONS))
        if extractor.package.regions is not None:
            network = extractor.regions([pixels])[0].argmax(axis=2).astype(np.uint8)
            layers.append(("network", network, extractor.package.regions))
        if maps:
            layers.append(("truth", maps[best], REGIONS))
        examples.append(RegionExample(title=title, image=pixels, layers=tuple(layers)))
    return examples


def select_identities(dataset: ReidDataset, shown: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Return a title and the gallery rows of each selected identity.

    Takes the first identities by number that carry a backpack, a bag, a handbag and nothing, in turn, so that no
    image is selected for its result; identities without these labels only fill up.
    """
    split = dataset.gallery
    columns = {name: dataset.schema.index(name) for name in carried_attributes(dataset.schema)}
    pids = [int(pid) for pid in np.unique(split.pids) if pid > 0]
    carried: dict[int, tuple[str, ...]] = {}
    queues: dict[str, list[int]] = {name: [] for name in (*columns, "nothing", "unknown")}
    for pid in pids:
        labels = split.labels[np.flatnonzero(split.pids == pid)[0]]
        carried[pid] = tuple(
            name for name, column in columns.items() if labels[column] == dataset.schema[name].values.index("yes")
        )
        known = bool(columns) and all(labels[column] >= 0 for column in columns.values())
        for kind in (carried[pid] or ("nothing",)) if known else ("unknown",):
            queues[kind].append(pid)
    unknown = queues.pop("unknown")
    selected: list[int] = []
    while any(queues.values()) and len(selected) < shown:
        for queue in queues.values():
            while queue and queue[0] in selected:
                queue.pop(0)
            if queue and len(selected) < shown:
                selected.append(queue.pop(0))
    selected += unknown[: shown - len(selected)]
    titles = {pid: "not annotated" if pid in unknown else ", ".join(carried[pid]) or "carries nothing" for pid in pids}
    return [
        (f"person {pid} · {titles[pid]}", np.flatnonzero(split.pids == pid)[:MOST_IMAGES]) for pid in sorted(selected)
    ]


def _read(dataset: ReidDataset, row: int) -> tuple[int, NamedImage] | None:
    path = dataset.gallery.paths[row]
    try:
        return row, NamedImage(name=path.name, pixels=read_image(path))
    except BadInput:
        return None
