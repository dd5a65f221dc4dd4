from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    PreTrainedModel,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
)
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from vestigo_models.detection.registry import make_detector
from vestigo_models.errors import ModelError

SMALL: dict[str, Any] = {
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "decoder_ffn_dim": 32,
    "decoder_in_channels": [32, 32, 32],
    "num_queries": 20,
    "num_denoising": 0,
    "id2label": {0: "lamp post", 1: "person"},
    "label2id": {"lamp post": 0, "person": 1},
}


def rt_detr(**labels: Any) -> PreTrainedModel:
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(backbone_config=backbone, encoder_in_channels=[16, 24, 32], **{**SMALL, **labels})
    return RTDetrForObjectDetection(config)


def d_fine(**labels: Any) -> PreTrainedModel:
    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        hidden_sizes=[8, 16, 24, 32],
        stage_in_channels=[8, 8, 16, 24],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 24, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 5, 5],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    config = DFineConfig(
        backbone_config=backbone, encoder_in_channels=[16, 24, 32], decoder_n_points=[4, 4, 4], **{**SMALL, **labels}
    )
    return DFineForObjectDetection(config)


def save(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(params=[rt_detr, d_fine], ids=["rt_detr", "d_fine"], scope="module")
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save(request.param(), tmp_path_factory.mktemp("detector"))


def test_saved_checkpoint_detects_people(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vestigo_models.detection.transformers.MIN_SCORE", 0.0)
    detector = make_detector(f"hf:{checkpoint}")
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    detections = detector.detect(image)
    assert detector.name == f"hf:{checkpoint}"
    assert 0 < len(detections) <= 20
    assert detections.boxes.dtype == detections.scores.dtype == np.float32
    assert (np.diff(detections.scores) <= 0).all()
    centres = detections.boxes[:, :2] + detections.boxes[:, 2:] / 2
    assert (centres >= 0).all()
    assert (centres <= (120, 90)).all()
    np.testing.assert_array_equal(detections.boxes, detector.detect(image).boxes)


@pytest.mark.parametrize(("height", "width", "people"), [(40, 20_000, True), (20, 20_000, False), (20_000, 3, False)])
def test_sides_of_frames_are_bounded(
    height: int, width: int, people: bool, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vestigo_models.detection.transformers.MIN_SCORE", 0.0)
    detections = make_detector(f"hf:{checkpoint}").detect(np.zeros((height, width, 3), dtype=np.uint8))
    assert (len(detections) > 0) == people
    assert (detections.boxes[:, 2] <= 1.5 * width).all()


def test_only_people_are_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vestigo_models.detection.transformers.MIN_SCORE", 0.0)
    torch.manual_seed(0)
    model = rt_detr()
    # This model never predicts a person.
    for head in [model.model.enc_score_head, *model.model.decoder.class_embed]:
        head.bias.data[1] = -50.0
        head.bias.data[0] = 50.0
    detector = make_detector(f"hf:{save(model, tmp_path)}")
    assert (detector.detect(np.zeros((64, 64, 3), dtype=np.uint8)).scores < 1e-6).all()


def test_digest_depends_on_weights_not_on_folder(checkpoint: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in checkpoint.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    assert make_detector(f"hf:{checkpoint}").digest == make_detector(f"hf:{moved}").digest
    torch.manual_seed(1)
    assert make_detector(f"hf:{save(rt_detr(), tmp_path / 'other')}").digest != make_detector(f"hf:{moved}").digest


def test_model_without_person_label_is_refused(tmp_path: Path) -> None:
    labels = {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}
    folder = save(rt_detr(**labels), tmp_path)
    with pytest.raises(ModelError, match="has no label 'person', only cat, dog"):
        make_detector(f"hf:{folder}")
