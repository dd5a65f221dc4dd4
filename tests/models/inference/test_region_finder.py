"""Label maps of identities do not depend on batches, and have the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.drawn_people import BAG, GRID, BrightFeatures, drawn, image_of, parsed_of, write_maps, write_model
from vestigo_models.errors import BadInput, ModelError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import add_belongings
from vestigo_models.inference import region_finder as region_finding
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.region_finder import NamedImage, RegionFinder, RegionMap, load_feature_model
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.label_maps import LABEL_SETS, merge_labels
from vestigo_models.parsing.registry import make_parser
from vestigo_models.schemas.regions import REGIONS, cluster_regions

TRUTHS = {f"p{index}": drawn(shift=index % 3) for index in range(5)} | {"bare": drawn(bag=False)}


@pytest.fixture
def parser(tmp_path: Path) -> Parser:
    return make_parser(f"labels:{write_maps(tmp_path / 'maps', TRUTHS)}")


def named(*names: str) -> list[NamedImage]:
    return [NamedImage(name=f"{name}.png", pixels=image_of(TRUTHS.get(name, drawn()))) for name in names]


def fusing(parser: Parser, *, clusters: bool = False) -> RegionFinder:
    return RegionFinder(parser, BrightFeatures(), FlsConfig(), clusters=clusters)  # type: ignore[arg-type]


def maps(results: Sequence[RegionMap | BadInput]) -> list[RegionMap]:
    assert all(isinstance(region_map, RegionMap) for region_map in results)
    return [region_map for region_map in results if isinstance(region_map, RegionMap)]


def test_bag_is_added_to_body_of_parser(parser: Parser) -> None:
    [results] = fusing(parser).find([named("p0", "p1", "p2")])
    for name, region_map in zip(("p0", "p1", "p2"), maps(results), strict=True):
        truth = TRUTHS[name]
        assert region_map.labels.shape == truth.shape
        np.testing.assert_array_equal(np.where(region_map.labels == BAG, 0, region_map.labels), parsed_of(truth))
        np.testing.assert_array_equal(region_map.body, parsed_of(truth))
        both = ((region_map.labels == BAG) & (truth == BAG)).sum()
        assert both / ((region_map.labels == BAG) | (truth == BAG)).sum() > 0.75
        assert region_map.has_belongings
        assert region_map.grid.shape == GRID
        assert region_map.areas.sum() == pytest.approx(1)
        assert region_map.areas[BAG] == pytest.approx((region_map.grid == BAG).mean())


def test_person_without_bag_has_no_belongings(parser: Parser) -> None:
    [results] = fusing(parser).find([named("bare")])
    [region_map] = maps(results)
    assert not region_map.has_belongings
    np.testing.assert_array_equal(region_map.labels, TRUTHS["bare"])


def test_classifier_without_foreground_keeps_body_of_parser(parser: Parser) -> None:
    blind = BrightFeatures(sees=1.0)
    for foreground, carrying in (("classifier", False), ("activation", True)):
        config = FlsConfig.model_validate({"foreground": foreground})
        [results] = RegionFinder(parser, blind, config).find([named("p0", "p1")])  # type: ignore[arg-type]
        assert [region_map.has_belongings for region_map in maps(results)] == [carrying, carrying]


def test_sixth_cluster_is_not_belongings(parser: Parser) -> None:
    config = FlsConfig(foreground="classifier", belongings_mode="classifier", sure=0.5)
    for regions, carrying in ((REGIONS, True), (cluster_regions(6), False)):
        everything = BrightFeatures(sees=1.0, regions=regions)
        [results] = RegionFinder(parser, everything, config).find([named("p0", "p1")])  # type: ignore[arg-type]
        assert [region_map.has_belongings for region_map in maps(results)] == [carrying, carrying]


def test_single_image_is_an_identity(parser: Parser) -> None:
    [results] = fusing(parser).find([named("p0")])
    assert maps(results)[0].has_belongings


def test_bag_in_one_of_two_images_is_dropped(parser: Parser) -> None:
    [results] = fusing(parser).find([named("p0", "bare")])
    assert not any(region_map.has_belongings for region_map in maps(results))


@pytest.mark.parametrize("images_at_once", [1, 3, 64])
def test_maps_do_not_depend_on_batch_size(parser: Parser, monkeypatch: pytest.MonkeyPatch, images_at_once: int) -> None:
    identities = [named("p0", "p1"), named("bare"), [], named("p2", "p3", "p4")]
    alone = [maps(results) for identity in identities for results in fusing(parser).find([identity])]
    monkeypatch.setattr(region_finding, "IMAGES_AT_ONCE", images_at_once)
    for expected, results in zip(alone, fusing(parser).find(identities), strict=True):
        for region_map, other in zip(expected, maps(results), strict=True):
            np.testing.assert_array_equal(region_map.labels, other.labels)
            np.testing.assert_array_equal(region_map.grid, other.grid)


def test_unparsable_image_does_not_change_others(parser: Parser) -> None:
    [results] = fusing(parser).find([named("p0", "stranger", "p1")])
    assert isinstance(results[1], BadInput)
    assert results[1].reason == "no-labels"
    [others] = fusing(parser).find([named("p0", "p1")])
    for region_map, other in zip(maps([results[0], results[2]]), maps(others), strict=True):
        np.testing.assert_array_equal(region_map.labels, other.labels)
    [none] = fusing(parser).find([named("stranger")])
    assert isinstance(none[0], BadInput)


def test_parser_without_person_gives_background(tmp_path: Path) -> None:
    empty = np.zeros_like(drawn())
    parser = make_parser(f"labels:{write_maps(tmp_path / 'maps', {'p0': empty})}")
    [results] = fusing(parser, clusters=True).find([named("p0")])
    [region_map] = maps(results)
    assert not region_map.labels.any()
    assert region_map.areas[0] == 1


def test_labels_without_model_are_those_of_parser(tmp_path: Path) -> None:
    lip = np.zeros((128, 64), dtype=np.uint8)
    lip[10:20, 20:40], lip[20:60, 20:40], lip[60:110, 20:40] = 13, 5, 9
    folder = write_maps(tmp_path / "maps", {})
    (folder / "labels.json").unlink()
    import cv2

    cv2.imwrite(str(folder / "p0.png"), lip)
    finder = RegionFinder(make_parser(f"labels:{folder}:lip"), None, FlsConfig())
    [results] = finder.find([named("p0")])
    [region_map] = maps(results)
    np.testing.assert_array_equal(region_map.labels, lip)
    np.testing.assert_array_equal(np.unique(region_map.body), [0, 1, 2, 3])
    assert finder.description["name"] == "lip"
    assert region_map.clusters is None
    assert fusing(finder.parser).description["name"] == "person-regions"


def test_clusters_are_kept_on_request(parser: Parser) -> None:
    [results] = fusing(parser, clusters=True).find([named("p0", "p1")])
    for region_map in maps(results):
        assert region_map.clusters is not None
        assert set(np.unique(region_map.clusters)) <= set(range(6))
    [results] = fusing(parser).find([named("p0", "p1")])
    assert all(region_map.clusters is None for region_map in maps(results))


def naive_enlarged(mask: NDArray[np.bool_], row: int, column: int, size: tuple[int, int]) -> float:
    """Linear interpolation of cells between their centres, held at the border, region_map pixel at a time."""
    total = 0.0
    place = [(at + 0.5) * cells / pixels - 0.5 for at, cells, pixels in zip((row, column), mask.shape, size)]  # noqa: B905
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            near = [min(max(place[0], 0), mask.shape[0] - 1), min(max(place[1], 0), mask.shape[1] - 1)]
            total += max(0.0, 1 - abs(near[0] - y)) * max(0.0, 1 - abs(near[1] - x)) * float(mask[y, x])
    return total


@pytest.mark.parametrize("mode", ["complement", "cluster_vote"])
@pytest.mark.parametrize("size", [(16, 8), (13, 7), (6, 4)])
def test_add_belongings_agrees_with_naive_loop(mode: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size[0])
    fused = rng.choice(np.array([0, 2, 3, 5], dtype=np.uint8), (6, 4))
    body = rng.choice(np.array([0, 2, 3], dtype=np.uint8), size)
    config = FlsConfig.model_validate({"belongings_mode": mode})
    labels = add_belongings(body, fused, config)
    for row in range(size[0]):
        for column in range(size[1]):
            own = int(body[row, column])
            carried = naive_enlarged(fused == 5, row, column, size)
            other = naive_enlarged(fused == own, row, column, size)
            if abs(carried - other) < 1e-5:
                continue
            taken = (own == 0 or (own == 2 and mode == "cluster_vote")) and carried > other
            assert labels[row, column] == (5 if taken else own)


def test_merge_labels_agrees_with_naive_loop() -> None:
    lip = LABEL_SETS["lip"]
    labels = np.random.default_rng(0).integers(0, len(lip), (20, 9)).astype(np.uint8)
    labels[:4] = labels[17:] = 0
    merged = merge_labels(labels, lip)
    person = [row for row in range(20) if any(lip.regions[label] for label in labels[row])]
    middle = (person[0] + person[-1] + 1) // 2
    for row in range(20):
        for column in range(9):
            label = labels[row, column]
            region = 3 if label in lip.split and row >= middle else lip.regions[label]
            assert merged[row, column] == region


def test_model_without_feature_map_raises_one_line(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "bot", neck="none")
    with pytest.raises(ModelError, match="no feature map") as caught:
        load_feature_model(str(folder))
    assert "\n" not in str(caught.value)
    assert load_feature_model(str(write_model(tmp_path / "neck"))).grid == GRID


@pytest.mark.parametrize("regions", [False, True])
def test_feature_maps_include_regions(tmp_path: Path, regions: bool) -> None:
    extractor = Extractor(load_feature_model(str(write_model(tmp_path / "model", regions=regions))), batch_size=2)
    crops = [image.pixels for image in named("p0", "p1", "bare")]
    for images in (crops, []):
        features, seen = extractor.feature_maps(images)
        assert features.shape == (len(images), *GRID, 16)
        if regions:
            assert seen is not None
            np.testing.assert_array_equal(seen, extractor.regions(images))
        else:
            assert seen is None
