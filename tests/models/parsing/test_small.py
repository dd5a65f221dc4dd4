"""The small parser: results, packages, training, and the shipped one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vestigo_models.errors import ConfigError, DatasetError, ModelError, WorkError
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from vestigo_models.parsing import training
from vestigo_models.parsing.label_maps import confusion, iou
from vestigo_models.parsing.registry import make_parser
from vestigo_models.parsing.small import CLASSES, EmbeddedParser, ParserConfig, ParserNetwork
from vestigo_models.parsing.training import (
    LabelledImages,
    PairReader,
    ParserTrainConfig,
    batches,
    cross_entropy,
    dice_loss,
    mark_background,
)
from vestigo_models.parsing.training import train_parser as train
from vestigo_models.synthetic.crops import render_crop
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World
from vestigo_models.training.config import AugmentationConfig

pytestmark = pytest.mark.slow

SMALL = ParserConfig(input_size=(32, 16))
Image = NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def seeded(classes: int = len(CLASSES), seed: int = 0) -> ParserNetwork:
    """Return a network with random weights and updated normalisation statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ParserNetwork(classes)
        network(torch.randn(4, 3, 64, 32))
    return network


@pytest.fixture(scope="module")
def shipped() -> EmbeddedParser:
    return EmbeddedParser.from_pretrained("default")


def test_parsed_shapes_and_dtypes() -> None:
    parser = EmbeddedParser(ParserConfig(), seeded())
    parsed = parser.parse(noise(150, 61), "a.jpg")
    assert parsed.labels.shape == (150, 61)
    assert parsed.labels.dtype == np.uint8
    assert parsed.labels.max() < len(CLASSES)
    assert parsed.regions.shape == (6, 64, 32)
    assert parsed.regions.dtype == np.float32
    np.testing.assert_allclose(parsed.regions.sum(axis=0), 1, atol=1e-5)
    assert not parsed.regions[5].any()
    assert parser.label_set.regions == (0, 1, 2, 3, 4)


def test_labels_and_regions_follow_from_logits() -> None:
    """Equals a naive computation on an image of the input's size."""
    network = seeded()
    image = noise(128, 64)
    parsed = EmbeddedParser(ParserConfig(), network).parse(image, "a.jpg")
    rounded = ParserNetwork(len(CLASSES))
    rounded.load_state_dict({k: v.half() for k, v in network.state_dict().items()})
    x = torch.from_numpy((image / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)).float()
    with torch.inference_mode():
        logits = rounded.eval()(x.permute(2, 0, 1)[None])[0].numpy().astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(parsed.regions[:5], expected, atol=1e-4)
    for row, column in ((0, 0), (1, 1), (2, 5), (63, 30), (126, 63), (77, 12)):
        # Centres of cells are at 0.5, 2.5, ...: the nearest two are mixed 3 to 1, with one at the border.
        def mixed(at: int, cells: int) -> list[tuple[int, float]]:
            place = (at + 0.5) / 2 - 0.5
            low = int(np.floor(place))
            near = [(low, 1 - (place - low)), (low + 1, place - low)]
            return [(min(max(cell, 0), cells - 1), weight) for cell, weight in near]

        value = sum(wy * wx * logits[:, y, x] for y, wy in mixed(row, 64) for x, wx in mixed(column, 32))
        first, second = sorted(value)[-1], sorted(value)[-2]
        assert first - second > 1e-3
        assert parsed.labels[row, column] == np.argmax(value)


def test_result_is_independent_of_the_batch() -> None:
    parser = EmbeddedParser(ParserConfig(), seeded(), batch_size=3)
    images = [noise(128, 64, 1), noise(90, 50, 2), noise(200, 70, 3), noise(33, 17, 4)]
    alone = [parser.parse(image, "a.jpg") for image in images]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3]):
        together = parser.parse_many([images[place] for place in order])
        for place, parsed in zip(order, together, strict=True):
            np.testing.assert_array_equal(parsed.labels, alone[place].labels)
            np.testing.assert_array_equal(parsed.regions, alone[place].regions)
    assert parser.parse_many([]) == []


def test_package_round_trip(tmp_path: Path) -> None:
    parser = EmbeddedParser(SMALL, seeded())
    parser.save_pretrained(tmp_path / "p")
    again = make_parser(f"package:{tmp_path / 'p'}")
    assert isinstance(again, EmbeddedParser)
    assert again.digest == parser.digest
    np.testing.assert_array_equal(again.parse(noise(32, 16), "a").regions, parser.parse(noise(32, 16), "a").regions)
    assert (tmp_path / "p" / "model.safetensors").stat().st_size < 3 * 2**20


def test_digest_depends_on_weights_and_settings() -> None:
    network = seeded()
    digest = EmbeddedParser(ParserConfig(), network).digest
    assert EmbeddedParser(ParserConfig(name="other", judged={"a": 1}), network).digest == digest
    assert EmbeddedParser(SMALL, network).digest != digest
    assert EmbeddedParser(ParserConfig(), seeded(seed=1)).digest != digest


def test_broken_packages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no folder with config\.json and model\.safetensors"):
        make_parser(f"package:{tmp_path}")
    EmbeddedParser(SMALL, seeded()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def with_config(**changes: object) -> None:
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))

    with_config(format_version=2)
    with pytest.raises(ModelError, match="not the configuration of a parser"):
        make_parser(f"package:{tmp_path}")
    with_config(input_size=[100, 64])
    with pytest.raises(ModelError, match="multiples of 16"):
        make_parser(f"package:{tmp_path}")
    with_config(classes=["background", "head"])
    with pytest.raises(ModelError, match="is not for the parser of its"):
        make_parser(f"package:{tmp_path}")
    with_config(classes=["background", "head", "upper", "lower", "wings"])
    with pytest.raises(ModelError, match="no region is known for the classes wings"):
        make_parser(f"package:{tmp_path}")
    with_config()
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"the header of model\.safetensors declares .* export the weights again"):
        make_parser(f"package:{tmp_path}")


@pytest.mark.parametrize("ref", ["default", "package:somewhere"])
def test_label_map_is_refused_for_packages(ref: str) -> None:
    with pytest.raises(ConfigError, match="its classes are known"):
        make_parser(ref, {"head": "upper"})


def test_overlap_equals_counting() -> None:
    rng = np.random.default_rng(3)
    truth, labels = rng.integers(0, 3, (2, 9, 7)).astype(np.uint8)
    counts = confusion(truth, labels, 4)
    for a in range(4):
        for b in range(4):
            assert counts[a, b] == sum(t == a and f == b for t, f in zip(truth.flat, labels.flat, strict=True))
    shares = iou(counts)
    for k in range(3):
        both = sum(t == k and f == k for t, f in zip(truth.flat, labels.flat, strict=True))
        either = sum(t == k or f == k for t, f in zip(truth.flat, labels.flat, strict=True))
        assert shares[k] == both / either
    assert np.isnan(shares[3])


def test_dice_equals_counting() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(2))
    p = functional.softmax(logits, dim=1).numpy()
    expected = 0.0
    for k in range(3):
        both = each = 0.0
        for b, y, x in np.ndindex(2, 4, 5):
            right = float(labels[b, y, x] == k)
            both += p[b, k, y, x] * right
            each += p[b, k, y, x] + right
        expected += (1 - (2 * both + 1) / (each + 1)) / 3
    assert float(dice_loss(logits, labels)) == pytest.approx(expected, abs=1e-9)


def test_hidden_pixels_are_weighted_background() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 4, 5), generator=torch.Generator().manual_seed(2))
    p = functional.softmax(logits, dim=1).numpy()
    total = weight = 0.0
    for b, y, x in np.ndindex(2, 4, 5):
        hidden = int(labels[b, y, x]) == 3
        total -= (2.5 if hidden else 1) * float(np.log(p[b, 0 if hidden else labels[b, y, x], y, x]))
        weight += 2.5 if hidden else 1
    assert float(cross_entropy(logits, labels, 2.5)) == pytest.approx(total / weight, abs=1e-9)
    assert set(np.unique(mark_background(labels, logits))) == {0, 1, 2}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    """Eight images of 32 x 16 pixels: stripes with a colour for each label, one of them belongings."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    images, maps = [], []
    for index in range(8):
        labels = np.zeros((32, 16), dtype=np.uint8)
        labels[4 + index : 12 + index], labels[12 + index : 20 + index], labels[28:, 12:] = 2, 3, 5
        colours = np.array([[40, 40, 40], [0, 0, 0], [220, 60, 60], [60, 60, 220], [0, 0, 0], [240, 240, 0]])
        image = np.clip(colours[labels] + rng.normal(0, 8, (32, 16, 3)), 0, 255).astype(np.uint8)
        images.append(folder / f"{index}.png")
        maps.append(folder / f"{index}-labels.png")
        cv2.imwrite(str(images[-1]), image)
        cv2.imwrite(str(maps[-1]), labels)
    return LabelledImages(images=tuple(images), maps=tuple(maps))


CONFIG = ParserTrainConfig(epochs=2, batch_size=4, augmentation=AugmentationConfig(pad=0, erase_probability=0))


def test_training_converges_and_is_reproducible(people: LabelledImages, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 25, "learning_rate": 5e-3})
    steps: list[tuple[int, int]] = []
    result = train(
        config, people, tmp_path / "a", package=SMALL, progress=lambda done, total: steps.append((done, total))
    )
    train(config, people, tmp_path / "b", package=SMALL)
    other = config.model_copy(update={"seed": 1})
    train(other, people, tmp_path / "c", package=SMALL)
    assert steps == [(done, 50) for done in range(1, 51)]
    assert result.losses["total"] == pytest.approx(result.losses["cross_entropy"] + result.losses["dice"], abs=1e-5)
    first, same, different = (EmbeddedParser.from_pretrained(tmp_path / name) for name in "abc")
    assert first.digest == same.digest != different.digest
    results = first.parse_many([cv2.imread(str(path))[..., ::-1].copy() for path in people.images])
    counts = sum(
        confusion(np.where(truth == 5, 0, truth).astype(np.uint8), parsed.labels, 5)
        for truth, parsed in zip(
            (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in people.maps), results, strict=True
        )
    )
    assert min(iou(np.asarray(counts))[[0, 2, 3]]) > 0.6


def test_step_of_a_parser_without_finite_loss_is_skipped_and_counted(
    people: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def normalise_or_break(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        images = normalise(*arguments)
        return images * torch.nan if calls == 2 else images

    monkeypatch.setattr(training, "normalise", normalise_or_break)
    result = train(CONFIG, people, tmp_path / "a", package=SMALL)
    assert (result.skipped, calls) == (1, 4)
    assert np.isfinite(list(result.losses.values())).all()
    network = EmbeddedParser.from_pretrained(tmp_path / "a").trainable()
    assert all(values.isfinite().all() for values in network.state_dict().values())


def test_training_starts_from_a_package(people: LabelledImages, tmp_path: Path) -> None:
    train(CONFIG, people, tmp_path / "first", package=SMALL)
    still = CONFIG.model_copy(update={"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0})
    train(still, people, tmp_path / "second", package=SMALL, base=tmp_path / "first")
    first, second = (EmbeddedParser.from_pretrained(tmp_path / name).trainable() for name in ("first", "second"))
    for (name, before), after in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(after, before, msg=name)
        assert after.requires_grad
    with pytest.raises(ConfigError, match="start from a parser of the same classes"):
        train(CONFIG, people, tmp_path / "third", package=ParserConfig(classes=("background", "head")), base="default")


def test_batches_depend_on_seed_and_epoch(people: LabelledImages) -> None:
    reader = PairReader(people, SMALL)
    config = CONFIG.model_copy(update={"batch_size": 3})

    def digests(epoch: int, seed: int = 0) -> list[bytes]:
        settings = config.model_copy(update={"seed": seed})
        return [images.tobytes() + labels.tobytes() for images, labels in batches(reader, settings, epoch)]

    assert len(digests(0)) == 2
    assert digests(0) == digests(0)
    assert digests(0) != digests(1)
    assert digests(0) != digests(0, seed=1)


def test_reader_marks_belongings_and_resizes_maps(people: LabelledImages) -> None:
    for index, path in enumerate(people.maps):
        truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        image, labels = PairReader(people, SMALL).read(index)
        np.testing.assert_array_equal(labels, truth)
        assert image.shape == (32, 16, 3)
        large = PairReader(people, ParserConfig(input_size=(64, 32))).read(index)
        np.testing.assert_array_equal(large[1], np.kron(labels, np.ones((2, 2), dtype=np.uint8)))
        assert large[0].shape == (64, 32, 3)


def test_unusable_training_data_is_refused(people: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no image"):
        LabelledImages(images=(), maps=())
    wrong = tmp_path / "wrong.png"
    cv2.imwrite(str(wrong), np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(DatasetError, match="8x8, its image 16x32"):
        train(CONFIG, LabelledImages(images=people.images[:1], maps=(wrong,)), tmp_path / "a", package=SMALL)
    pairs = LabelledImages(images=people.images[:1], maps=(tmp_path / "absent.png",))
    with pytest.raises(DatasetError, match=r"there is no label map absent\.png"):
        train(CONFIG, pairs, tmp_path / "a", package=SMALL)
    EmbeddedParser(SMALL, seeded()).save_pretrained(tmp_path / "taken")
    with pytest.raises(ModelError, match="already holds a package"):
        train(CONFIG, people, tmp_path / "taken", package=SMALL)
    with pytest.raises(WorkError, match="lower learning_rate"):
        train(CONFIG.model_copy(update={"learning_rate": 1e30}), people, tmp_path / "b", package=SMALL)


def test_shipped_parser_parses_rendered_people(shipped: EmbeddedParser) -> None:
    """On people of an unseen world; the package's TRAINING.md has figures on many more."""
    world = World(PRESETS["default"], seed=77, identities=12, cameras=2)
    crops = [render_crop(world, person, person % 2, 0) for person in range(12)]
    results = shipped.parse_many([crop.image for crop in crops])
    counts = np.zeros((5, 5), dtype=np.int64)
    for crop, parsed in zip(crops, results, strict=True):
        counts += confusion(np.where(crop.regions == 5, 0, crop.regions).astype(np.uint8), parsed.labels, 5)
    assert (iou(counts) > [0.85, 0.55, 0.65, 0.65, 0.35]).all(), iou(counts)


def test_shipped_parser_records_its_training(shipped: EmbeddedParser) -> None:
    assert shipped.label_set.classes == CLASSES
    assert shipped.config.trained_on["command"].startswith("vestigo train-parser ")
    assert shipped.config.judged["iou"].keys() == set(CLASSES)
