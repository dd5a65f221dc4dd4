"""Label maps of other programs as a parser: a folder with a PNG for each image."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from vestigo_models.arrays import UInt8Array
from vestigo_models.config_files import read_json
from vestigo_models.errors import BadInput, ConfigError, first_line
from vestigo_models.inference.image_files import MAX_PIXELS
from vestigo_models.inference.image_formats import open_image
from vestigo_models.isolation import call
from vestigo_models.parsing.base import MAX_CLASSES, Parsed, Parser
from vestigo_models.parsing.label_maps import LABEL_SETS, UNNAMED, ParserLabels, merge_hard
from vestigo_models.schemas.regions import REGIONS

DESCRIPTION = "labels.json"
"""File in a folder of label maps with `name`, and `classes` in the order of their ids."""


class FolderParser(Parser):
    """Reads `NAME.png` for the image `NAME.jpg`: one channel of class ids at the image's size.

    The classes are those in the folder's `labels.json`, which `vestigo regions` writes, or else those of the label set
    `name`, a key of `LABEL_SETS`, or of a label map of class ids, where 0 is the background if it is not named.
    """

    def __init__(self, folder: Path, label_map: Mapping[str, str] | None = None, name: str | None = None) -> None:
        if not folder.is_dir():
            sets = f"; a label set is one of {', '.join(LABEL_SETS)}" if ":" in str(folder) else ""
            raise ConfigError(f"label maps: {folder} is not a folder{sets}")
        self._folder = folder
        self.label_set = read_label_set(folder, label_map, name)
        facts = [self.label_set.classes, self.label_set.regions, self.label_set.split]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for path in sorted(folder.glob("*.png")):
            digest.update(path.name.encode())
            with path.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        self.digest = digest.hexdigest()

    def parse(self, image: UInt8Array, name: str) -> Parsed:
        """Read the label map of one image, see `Parser.parse`.

        Raises:
            BadInput: `no-labels` if there is none, `bad-labels` if it does not fit the image.
        """
        labels = read_labels(self._folder / f"{PurePosixPath(name).stem}.png")
        if labels.shape != image.shape[:2]:
            (height, width), (rows, columns) = image.shape[:2], labels.shape
            raise BadInput("bad-labels", f"the label map of {name} is {columns}x{rows}, the image {width}x{height}")
        if labels.size and (highest := labels.max()) >= len(self.label_set):
            end = f"{self.label_set.name} ends at {len(self.label_set) - 1}"
            raise BadInput("bad-labels", f"the label map of {name} holds class {highest}; {end}")
        if unnamed := [index for index in np.unique(labels).tolist() if self.label_set.classes[index] == UNNAMED]:
            raise BadInput("bad-labels", f"the label map of {name} holds class {unnamed[0]}, which --label-map lacks")
        return Parsed(labels=labels, regions=merge_hard(labels, self.label_set))


def read_label_set(folder: Path, label_map: Mapping[str, str] | None, named: str | None = None) -> ParserLabels:
    """Return the label set of a folder of label maps; `named` is a key of `LABEL_SETS`.

    Raises:
        ConfigError: If `labels.json` or the label map is wrong, or nothing tells what the class ids mean.
    """
    path = folder / DESCRIPTION
    if path.is_file():
        try:
            description = read_json(path, str(path))
            name, classes = str(description["name"]), [str(text) for text in description["classes"]]
        except (KeyError, TypeError):
            raise ConfigError(f"{path}: give 'name' and 'classes', the names of the classes by id") from None
        if named not in (None, name):
            raise ConfigError(f"{path} names the label set {name}, not {named}; leave :{named} out")
        return ParserLabels.named(name, classes, label_map)
    if named is not None:
        return ParserLabels.named(named, LABEL_SETS[named].classes, label_map)
    if label_map is not None and all(key.isdecimal() and int(key) < MAX_CLASSES for key in label_map):
        ids = map(str, range(1 + max(map(int, label_map))))
        classes = [index if index in label_map else REGIONS.names[0] if index == "0" else UNNAMED for index in ids]
        return ParserLabels.named(str(folder), classes, label_map)
    sets = " or ".join(f":{name}" for name in LABEL_SETS)
    raise ConfigError(
        f"label maps: {folder} has no {DESCRIPTION} that tells what its class ids mean; name the parser's label set "
        f"(labels:{folder} with {sets} behind it), or give the region of each class id with --label-map"
    )


def read_labels(path: Path) -> UInt8Array:
    """Read an image of class ids, (h, w), in a child process; the ids of a palette image are its indices.

    Raises:
        BadInput: `no-labels` if there is no such file, `bad-labels` if it is not a single-channel 8-bit image, or as
            `isolation.call`.
    """
    return call(_read, path, name=str(path))


def _read(path: Path) -> UInt8Array:
    try:
        image = open_image(path.read_bytes(), max_pixels=MAX_PIXELS)
        labels = np.array(image.convert("L") if image.mode == "1" else image, dtype=np.uint8)
    except FileNotFoundError:
        raise BadInput("no-labels", f"there is no label map {path.name}") from None
    except Exception as error:  # noqa: BLE001  (a library may raise any type on damaged data)
        detail = error.detail if isinstance(error, BadInput) else first_line(error)
        raise BadInput("bad-labels", f"{path.name}: {detail}") from None
    if image.mode not in ("L", "P", "1"):
        raise BadInput("bad-labels", f"{path.name} is {image.mode}; a label map has one 8-bit channel")
    return labels
