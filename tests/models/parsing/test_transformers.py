"""Parsers that are not ours: transformers' segmenters, and label maps on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    PreTrainedModel,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from vestigo_models.errors import BadInput, ConfigError, ModelError
from vestigo_models.parsing.label_maps import ATR, LIP, ParserLabels, read_label_map
from vestigo_models.parsing.registry import make_parser

CLASSES = ("Background", "Hat", "Upper-clothes", "Dress", "Left_shoe", "Bag")


def labels_of(classes: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}


def segformer(classes: tuple[str, ...] = CLASSES) -> tuple[PreTrainedModel, Any]:
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        **labels_of(classes),
    )
    size = {"height": 64, "width": 64}
    return SegformerForSemanticSegmentation(config), SegformerImageProcessorPil(size=size)


def mask2former(classes: tuple[str, ...] = CLASSES) -> tuple[PreTrainedModel, Any]:
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        num_queries=8,
        **labels_of(classes),
    )
    size = {"height": 64, "width": 64}
    return Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessorPil(size=size)


def save(made: tuple[PreTrainedModel, Any], folder: Path) -> Path:
    for part in made:
        part.save_pretrained(folder)
    return folder


def random_image(height: int = 90, width: int = 41) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("make", [segformer, mask2former])
def test_saved_segmenter_parses(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    parser = make_parser(f"hf:{save(make(), tmp_path)}")
    assert parser.label_set.classes == CLASSES
    assert parser.label_set.regions == (0, 1, 2, 2, 4, 5)
    assert parser.label_set.split == (3,)
    parsed = parser.parse(random_image(), "person.jpg")
    assert parsed.labels.shape == (90, 41)
    assert parsed.labels.dtype == np.uint8
    assert parsed.labels.max() < len(CLASSES)
    assert parsed.regions.shape == (6, 64, 32)
    assert (parsed.regions >= -1e-6).all()
    np.testing.assert_allclose(parsed.regions.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(parsed.regions, parser.parse(random_image(), "again.jpg").regions)


@pytest.mark.parametrize("make", [segformer, mask2former])
def test_labels_equal_those_of_the_library(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, processor = make()
    parser = make_parser(f"hf:{save((model, processor), tmp_path)}")
    image = random_image(64, 64)
    with torch.inference_mode():
        outputs = model.eval()(**processor(images=image, return_tensors="pt"))
    (theirs,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(64, 64)])
    same = parser.parse(image, "person.jpg").labels == theirs.numpy()
    assert same.mean() > 0.99


def test_unknown_classes_need_a_label_map(tmp_path: Path) -> None:
    folder = save(segformer(("background", "rucksack", "robe")), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"no region is known for the classes rucksack, robe; .*--label-map"):
        make_parser(f"hf:{folder}")
    path = tmp_path / "map.yaml"
    path.write_text("rucksack: belongings\nrobe: upper and lower\n")
    labels = make_parser(f"hf:{folder}", read_label_map(path)).label_set
    assert (labels.regions, labels.split) == ((0, 5, 2), (2,))


def test_label_map_is_validated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="atr has no class rucksack; it has background, hat"):
        ParserLabels.named("atr", ATR.classes, {"rucksack": "belongings"})
    with pytest.raises(ConfigError, match="bag: luggage: a region is one of background, head"):
        ParserLabels.named("atr", ATR.classes, {"bag": "luggage"})
    path = tmp_path / "map.yaml"
    for text in ("- bag", "bag: 5", "bag: [", ""):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"label map .*map\.yaml"):
            read_label_map(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_label_map(tmp_path / "absent.yaml")


def test_folder_without_segmenter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded as a transformers semantic segmenter"):
        make_parser(f"hf:{tmp_path}")


@pytest.mark.parametrize("ref", ["parsenet", "schp:", "hf", "labels:"])
def test_unknown_parser_is_refused(ref: str) -> None:
    with pytest.raises(ConfigError, match="unknown parser"):
        make_parser(ref)


def test_label_map_is_refused_for_public_checkpoint() -> None:
    with pytest.raises(ConfigError, match="its classes are known"):
        make_parser("schp:any.pth", {"bag": "head"})


def write(path: Path, labels: NDArray[np.uint8]) -> None:
    Image.fromarray(labels).save(path)


def test_label_folder_has_classes_of_named_set(tmp_path: Path) -> None:
    labels = np.zeros((64, 32), dtype=np.uint8)
    labels[10:20] = LIP.classes.index("hair")
    labels[20:60] = LIP.classes.index("pants")
    write(tmp_path / "0002_c1s1_000451_03.png", labels)
    parsed = make_parser(f"labels:{tmp_path}:lip").parse(random_image(64, 32), "query/0002_c1s1_000451_03.jpg")
    np.testing.assert_array_equal(parsed.labels, labels)
    np.testing.assert_array_equal(parsed.regions.argmax(axis=0), np.select([labels == 2, labels == 9], [1, 3]))


def test_label_folder_reads_its_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps({"name": "mine", "classes": ["background", "bag"]}))
    assert make_parser(f"labels:{tmp_path}").label_set.regions == (0, 5)
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"labels\.json: give 'name' and 'classes'"):
        make_parser(f"labels:{tmp_path}")


def test_label_map_of_class_ids(tmp_path: Path) -> None:
    parser = make_parser(f"labels:{tmp_path}", {"3": "belongings", "1": "head"})
    assert parser.label_set.regions == (0, 1, 0, 5)


def test_label_folder_without_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no labels\.json .* :lip or :atr or :pascal"):
        make_parser(f"labels:{tmp_path}")
    with pytest.raises(ConfigError, match="is not a folder; a label set is one of lip, atr, pascal"):
        make_parser(f"labels:{tmp_path}:schp")
    assert make_parser(f"labels:{tmp_path}:atr").label_set == ATR
    assert make_parser(f"labels:{tmp_path}:pascal", {"head": "upper"}).label_set.regions[1] == 2
    (tmp_path / "labels.json").write_text(json.dumps({"name": "lip", "classes": list(LIP.classes)}), "utf-8-sig")
    assert make_parser(f"labels:{tmp_path}:lip").label_set == LIP
    with pytest.raises(ConfigError, match="names the label set lip, not atr; leave :atr out"):
        make_parser(f"labels:{tmp_path}:atr")


def test_digest_depends_on_maps(tmp_path: Path) -> None:
    empty = make_parser(f"labels:{tmp_path}:lip").digest
    write(tmp_path / "a.png", np.zeros((4, 4), dtype=np.uint8))
    first = make_parser(f"labels:{tmp_path}:lip").digest
    write(tmp_path / "a.png", np.ones((4, 4), dtype=np.uint8))
    assert len({empty, first, make_parser(f"labels:{tmp_path}:lip").digest}) == 3


def test_bad_maps_are_reported(tmp_path: Path) -> None:
    parser = make_parser(f"labels:{tmp_path}:lip")
    image = random_image(8, 4)

    def refused(reason: str, text: str) -> None:
        with pytest.raises(BadInput, match=text) as caught:
            parser.parse(image, "a.jpg")
        assert caught.value.reason == reason

    refused("no-labels", r"there is no label map a\.png")
    (tmp_path / "a.png").write_bytes(b"text")
    refused("bad-labels", r"a\.png")
    write(tmp_path / "a.png", random_image(8, 4))
    refused("bad-labels", "is RGB; a label map has one 8-bit channel")
    write(tmp_path / "a.png", np.zeros((4, 8), dtype=np.uint8))
    refused("bad-labels", "is 8x4, the image 4x8")
    write(tmp_path / "a.png", np.full((8, 4), 20, dtype=np.uint8))
    refused("bad-labels", "holds class 20; lip ends at 19")
    with pytest.raises(ConfigError, match="is not a folder"):
        make_parser(f"labels:{tmp_path / 'absent'}")


def test_detection_model_is_refused(tmp_path: Path) -> None:
    folder = save(segformer(), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "detr"}))
    with pytest.raises(ModelError, match="cannot be loaded as a transformers semantic segmenter"):
        make_parser(f"hf:{folder}")
