"""Training with regions and attributes: every shipped configuration, resuming, refusals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.interruption import interrupt_after
from vestigo_models.errors import ConfigError, ModelError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501
from vestigo_models.schemas.regions import BELONGINGS, BODY_REGIONS, REGIONS
from vestigo_models.training.config import TrainConfig, shipped_configs
from vestigo_models.training.data import TrainingSet
from vestigo_models.training.relabel import initial_labels
from vestigo_models.training.trainer import train

pytestmark = pytest.mark.slow

GRID = (32, 16)
SHORT = {
    "input_size": (64, 32),
    "epochs": 3,
    "batch_identities": 4,
    "images_per_identity": 2,
    "warmup_epochs": 0,
    "fls_start_epoch": 2,
    "relabel_every": 1,
    "network.channels": 64,
    "network.middle_channels": 16,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Six people with 4 images each: a body in a colour of their own, half of them with a box next to it."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    paths, parsed, labels = [], [], []
    for pid in range(6):
        colour, box = rng.integers(40, 256, 3), rng.integers(40, 256, 3)
        for index in range(4):
            image = rng.integers(0, 40, (64, 32, 3)).astype(np.uint8)
            image[8:56, 10:20] = colour
            if pid % 2:
                image[28:44, 22:30] = box
            paths.append(folder / f"{pid}_{index}.png")
            cv2.imwrite(str(paths[-1]), image)
            body = np.zeros(GRID, dtype=np.uint8)
            body[4:8, 5:10], body[8:17, 5:10], body[17:28, 5:10] = 1, 2, 3
            parsed.append(body)
            labels.append([pid % len(a.values) for a in MARKET_1501.attributes])
    return TrainingSet(
        paths=tuple(paths),
        pids=np.arange(24) // 4,
        camids=np.arange(24) % 4,
        schema=MARKET_1501,
        attributes=np.array(labels),
        parsed=np.stack(parsed),
    )


def short(name: str, **keys: object) -> TrainConfig:
    baseline = {k: v for k, v in SHORT.items() if not k.startswith("network.")}
    return TrainConfig.load(name, {**(baseline if name == "baseline" else SHORT), **keys}, backbone="tiny")


@pytest.mark.parametrize("name", [name for name in shipped_configs() if name != "tiny"])
def test_shipped_configuration_trains(name: str, data: TrainingSet, tmp_path: Path) -> None:
    config = short(name)
    result = train(config, data, tmp_path / "model")
    assert np.isfinite(list(result.losses.values())).all()
    package = ModelPackage.from_pretrained(tmp_path / "model")
    outputs = Extractor(package, batch_size=4).extract([np.zeros((64, 32, 3), dtype=np.uint8)] * 5)
    kinds = list(package.network.dims)
    assert kinds == {
        "baseline": ["global"],
        "control": ["global"],
        "clustering": ["global", "foreground", "part"],
        "parser": ["global", "foreground", "part"],
        "fls": ["global", "foreground", "part"],
    }.get(name, ["global", "foreground", "part", "globalattr"])
    assert outputs.descriptors.vectors.shape == (5, package.embedding_dim)
    assert outputs.descriptors.visible.shape == (5, package.parts)
    assert outputs.descriptors.always == len(kinds) - ("part" in kinds)
    assert outputs.probabilities.shape == (5, 39 if "globalattr" in kinds else 0)
    assert outputs.areas.shape[1] == {"baseline": 0, "control": 0, "parser": 5}.get(name, 6)
    if name == "parser":
        assert package.regions == BODY_REGIONS
    elif name in ("fls", "full"):
        assert package.regions == REGIONS


def test_network_without_belongings_learns_bags_as_background(data: TrainingSet, tmp_path: Path) -> None:
    assert data.parsed is not None
    parsed = data.parsed.copy()
    parsed[1::2, 14:22, 11:15] = BELONGINGS
    bags = dataclasses.replace(data, parsed=parsed)
    np.testing.assert_array_equal(initial_labels(bags, GRID, 6), parsed)
    np.testing.assert_array_equal(initial_labels(bags, GRID, 5), data.parsed)
    config = short("parser", epochs=1)
    assert train(config, bags, tmp_path / "bags").losses == train(config, data, tmp_path / "plain").losses


def test_clusters_are_learnt_without_the_regions_of_a_parser(data: TrainingSet, tmp_path: Path) -> None:
    assert data.parsed is not None
    bags = dataclasses.replace(data, parsed=np.where(data.parsed > 0, BELONGINGS, 0).astype(np.uint8))
    without = dataclasses.replace(data, parsed=None)
    keys = {"epochs": 1, "fls.clusters": 4, "network.regions": 4}
    results = [
        train(short("clustering", **keys), given, tmp_path / name)
        for name, given in (("bags", bags), ("without", without))
    ]
    assert results[0].losses == results[1].losses
    assert results[0].losses["parsing"] > 0
    # The refresh is not compared with the parser's maps either.
    logs = [(tmp_path / name / "losses.jsonl").read_text("utf-8") for name in ("bags", "without")]
    assert logs[0] == logs[1]


def test_refreshes_are_logged_with_the_step_that_follows(data: TrainingSet, tmp_path: Path) -> None:
    result = train(short("fls"), data, tmp_path / "model")
    records = [json.loads(line) for line in (tmp_path / "model/losses.jsonl").read_text("utf-8").splitlines()]
    refreshed = [record for record in records if "refresh" in record]
    assert [(record["epoch"], record["step"]) for record in refreshed] == [(2, 1), (3, 1)]
    for record in refreshed:
        assert record["refresh"].keys() == {"iou", "foreground_iou", "belongings_images", "belongings_cells"}
        assert 0 < record["refresh"]["iou"] <= 1
    assert "refresh" not in result.losses


@pytest.mark.parametrize("name", ["full", "clustering"])
def test_interrupted_training_resumes_to_the_same_weights(name: str, data: TrainingSet, tmp_path: Path) -> None:
    config = short(name, checkpoint_steps=2)
    train(config, data, tmp_path / "whole")
    for steps in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            train(config, data, tmp_path / "cut", resume=True, progress=interrupt_after(steps))
    train(config, data, tmp_path / "cut", resume=True)
    whole, cut = (load_file(tmp_path / folder / "model.safetensors") for folder in ("whole", "cut"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert (tmp_path / "whole/losses.jsonl").read_bytes() == (tmp_path / "cut/losses.jsonl").read_bytes()
    assert {"parsing", "pixels"} <= json.loads((tmp_path / "whole/losses.jsonl").read_text().splitlines()[0]).keys()


def test_backbone_initialises_another_network(data: TrainingSet, tmp_path: Path) -> None:
    train(short("baseline", epochs=1), data, tmp_path / "base")
    config = short("fls", weights=f"package:{tmp_path / 'base'}", learning_rate=1e-12, epochs=1)
    train(config, data, tmp_path / "model")
    base, model = (load_file(tmp_path / folder / "model.safetensors") for folder in ("base", "model"))
    for key in base:
        if key.startswith("backbone.") and "running" not in key and "tracked" not in key:
            torch.testing.assert_close(model[key], base[key], atol=1e-8, rtol=0)
    resnet = TrainConfig.load("fls", {**SHORT, "network.channels": 8, "weights": f"package:{tmp_path / 'base'}"})
    coarse = dataclasses.replace(data, parsed=np.zeros((24, 16, 8), dtype=np.uint8))
    with pytest.raises(ConfigError, match="its backbone is tiny, not resnet50"):
        train(resnet, coarse, tmp_path / "resnet")


class TestRefusals:
    def test_missing_attribute_labels_are_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        unlabelled = dataclasses.replace(data, attributes=None, schema=None)
        with pytest.raises(ConfigError, match="the training data has no attribute labels"):
            train(short("full"), unlabelled, tmp_path)

    def test_missing_label_maps_are_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"fls\.labels=fls: label maps of a parser are needed"):
            train(short("fls"), dataclasses.replace(data, parsed=None), tmp_path)

    @pytest.mark.parametrize("name", ["parser", "fls"])
    def test_label_maps_with_classes_of_a_parser_are_refused(
        self, name: str, data: TrainingSet, tmp_path: Path
    ) -> None:
        assert data.parsed is not None
        classes = np.where(data.parsed == 1, 13, data.parsed).astype(np.uint8)
        with pytest.raises(ConfigError, match="the label maps of the parser hold region 13; ids end at 5"):
            train(short(name), dataclasses.replace(data, parsed=classes), tmp_path)

    def test_base_of_another_schema_is_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        other = AttributeSchema("other", MARKET_1501.attributes)
        sources = {"network.attr_regions": {name: ["upper"] for name in other.names}}
        train(short("full", epochs=1, **sources), data, tmp_path / "market")
        config = short("full", base=str(tmp_path / "market"), **sources)
        with pytest.raises(ConfigError, match="predicts the attributes of market-1501, the data has those of other"):
            train(config, dataclasses.replace(data, schema=other), tmp_path / "no")

    def test_checkpoint_of_other_shapes_is_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        train(short("full", epochs=1), data, tmp_path)
        described = json.loads((tmp_path / "config.json").read_text())
        described["attribute_schema"] = DUKEMTMC_REID.to_dict()
        (tmp_path / "config.json").write_text(json.dumps(described))
        with pytest.raises(ModelError, match=r"does not fit the network of its config\.json"):
            ModelPackage.from_pretrained(tmp_path)

    def test_unknown_key_and_wrong_count_are_reported_together(self) -> None:
        with pytest.raises(ConfigError, match=r"network\.colour: no such key; fls\.halo=-1"):
            TrainConfig.load("full", {"network.colour": "red", "fls.halo": -1})
        with pytest.raises(ConfigError, match=r"network\.regions=6: label maps from fls\.labels=parser have 5"):
            TrainConfig.load("full", {"fls.labels": "parser"})

    def test_attribute_without_region_is_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        config = short("full", **{"network.attr_regions": {"hat": [], "bag": ["pocket"]}})
        with pytest.raises(ConfigError, match=r"attr_regions: hat: no region; bag: no region 'pocket'"):
            train(config, data, tmp_path)
        own = AttributeSchema("own", (dataclasses.replace(MARKET_1501["hat"], name="gloves", regions=()),))
        labelled = dataclasses.replace(data, schema=own, attributes=np.zeros((24, 1), dtype=np.int64))
        with pytest.raises(ConfigError, match="attr_regions: gloves: no region"):
            train(short("full"), labelled, tmp_path)


def test_awm_has_its_own_learning_rate(data: TrainingSet, tmp_path: Path) -> None:
    moved = []
    for rate in (1e-9, 1.0, 10.0):
        config = short("full", epochs=1, learning_rate=1e-3, awm_rate=rate)
        train(config, data, tmp_path / str(rate))
        weights = load_file(tmp_path / str(rate) / "model.safetensors")
        moved.append(float(weights["reweight.correlate.weight"].float().abs().max()))
    assert moved[0] < 1e-7
    assert moved[2] == pytest.approx(10 * moved[1], rel=0.5)


def test_heads_without_gradient_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"awm_dropout=0.5: attribute heads get no gradient from AWM.*awm_aux_loss"):
        TrainConfig.load("full", {"awm_dropout": 0.5})


def test_awm_has_its_own_weight_decay(data: TrainingSet, tmp_path: Path) -> None:
    decays = []
    for name, decay in (("none", None), ("same", 5e-5), ("strong", 1.0)):
        train(short("full", epochs=2, awm_rate=10, awm_weight_decay=decay), data, tmp_path / name)
        decays.append(load_file(tmp_path / name / "model.safetensors")["reweight.correlate.weight"].float())
    torch.testing.assert_close(decays[0], decays[1], rtol=0, atol=0)
    assert decays[2].abs().mean() < 0.5 * decays[0].abs().mean()
