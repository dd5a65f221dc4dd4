from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vestigo_models.errors import BadInput, ConfigError
from vestigo_models.parsing.label_maps import LABEL_SETS
from vestigo_models.parsing.registry import make_parser

CLOTHES = {"lip": 5, "atr": 4, "pascal": 2}
IMAGE = np.zeros((16, 8, 3), np.uint8)


def maps(folder: Path, labels: np.ndarray | int, *, name: str = "a.png", description: object = None) -> Path:
    folder.mkdir(exist_ok=True)
    array = np.full(IMAGE.shape[:2], labels, np.uint8) if isinstance(labels, int) else labels
    Image.fromarray(array).save(folder / name)
    if description is not None:
        (folder / "labels.json").write_text(json.dumps(description), encoding="utf-8-sig")
    return folder


@pytest.mark.parametrize("name", LABEL_SETS)
def test_class_ids_mean_what_the_named_label_set_says(tmp_path: Path, name: str) -> None:
    folder = maps(tmp_path / "maps", CLOTHES[name])
    described = maps(tmp_path / "own", CLOTHES[name], description={"name": name, "classes": LABEL_SETS[name].classes})
    for reference in (f"labels:{folder}:{name}", f"labels:{described}"):
        parsed = make_parser(reference).parse(IMAGE, "a.jpg")
        assert (parsed.regions.argmax(axis=0) == 2).all()


def test_label_maps_without_a_name_are_refused(tmp_path: Path) -> None:
    folder = maps(tmp_path / "maps", 4)
    with pytest.raises(ConfigError, match=r"no labels.json .*:lip or :atr or :pascal behind it.*--label-map"):
        make_parser(f"labels:{folder}")
    with pytest.raises(ConfigError, match="a label set is one of lip, atr, pascal"):
        make_parser(f"labels:{folder}:cihp")


def test_name_that_contradicts_the_folder_is_refused(tmp_path: Path) -> None:
    folder = maps(tmp_path / "maps", 4, description={"name": "atr", "classes": LABEL_SETS["atr"].classes})
    with pytest.raises(ConfigError, match="names the label set atr, not lip"):
        make_parser(f"labels:{folder}:lip")


def test_label_map_of_ids_names_each_id_that_images_hold(tmp_path: Path) -> None:
    regions = {"4": "upper", "6": "lower"}
    parser = make_parser(f"labels:{maps(tmp_path / 'maps', 4)}", regions)
    assert (parser.parse(IMAGE, "a.jpg").regions.argmax(axis=0) == 2).all()
    maps(tmp_path / "maps", 0)
    assert (parser.parse(IMAGE, "a.jpg").regions.argmax(axis=0) == 0).all()
    maps(tmp_path / "maps", 5)
    with pytest.raises(BadInput, match="holds class 5, which --label-map lacks"):
        parser.parse(IMAGE, "a.jpg")
    described = maps(tmp_path / "own", 4, description={"name": "own", "classes": parser.label_set.classes})
    assert make_parser(f"labels:{described}", regions).label_set.regions == parser.label_set.regions


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((16, 8, 3), np.uint8), "is RGB; a label map has one 8-bit channel"),
        (np.zeros((16, 8), np.uint16), "is I;16; a label map has one 8-bit channel"),
        (np.zeros((8, 4), np.uint8), "is 4x8, the image 8x16"),
        (np.full((16, 8), 255, np.uint8), "holds class 255; atr ends at 17"),
    ],
)
def test_maps_of_other_forms_are_refused(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    folder = maps(tmp_path / "maps", labels)
    with pytest.raises(BadInput, match=message):
        make_parser(f"labels:{folder}:atr").parse(IMAGE, "a.jpg")
