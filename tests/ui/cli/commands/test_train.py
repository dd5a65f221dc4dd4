"""`vestigo train` up to its training: the dataset that it reads and the warnings that it prints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.datasets import DatasetWriter
from vestigo_models.errors import WorkError
from vestigo_models.training import trainer
from vestigo_ui.cli.main import run

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]
DUKE = {
    "duke": True,
    "train": ((2, 1), (2, 2), (370, 1), (679, 3)),
    "gallery": ((1, 2), (3, 1)),
    "columns": {"train": {"top": [2, 0, 0]}},
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Configuration and training set of each training, which ends at once."""
    arguments: list[tuple[Any, ...]] = []

    def stop(config: Any, data: Any, *_: object, **__: object) -> NoReturn:
        arguments.append((config, data))
        raise WorkError("stopped")

    monkeypatch.setattr(trainer, "train", stop)
    return arguments


def test_doubtful_configuration_is_reported_before_training(
    write_dataset: DatasetWriter, given: list[Any], capsys: Captured
) -> None:
    root = write_dataset()
    command = ["train", "fls", "--data", str(root), "--out", str(root / "new"), "--device", "cpu", "--epochs", "10"]
    assert run([*command, "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    warnings = [" ".join(text.split()) for text in printed.err.split("warning: ")[1:]]
    starts = ("backbone resnet50 starts", "the default parser labels", "the label maps are never refreshed")
    assert [text.startswith(start) for text, start in zip(warnings, starts, strict=True)] == [True] * 3

    assert run([*command, "--backbone", "tiny", "--set", "fls_start_epoch=5", "--set", "atr_bag_seed=true"]) == 1
    assert capsys.readouterr().err.count("warning: ") == 1
    assert (given[1][0].fls_start_epoch, given[1][0].atr_bag_seed, given[1][0].epochs) == (5, True, 10)


@pytest.mark.parametrize(
    ("changes", "lengths"), [((), [1, 1, -1, -1]), (("--set", "duke_top_override=true"), [1, 1, 0, 1])]
)
def test_duke_top_override_is_within_reach(
    changes: tuple[str, ...], lengths: list[int], write_dataset: DatasetWriter, given: list[Any]
) -> None:
    root = write_dataset(**DUKE)
    out = ["--out", str(root / "new"), "--device", "cpu"]
    assert run(["train", "global-attr", "--backbone", "tiny", "--data", str(root), *out, *changes]) == 1
    _, data = given[0]
    assert data.attributes[:, data.schema.index("upper_length")].tolist() == lengths


def test_archive_with_training_split_only_is_held_out(
    write_dataset: DatasetWriter, tmp_path: Path, given: list[Any], capsys: Captured
) -> None:
    root = write_dataset(train=[(pid, camera) for pid in (2, 3, 5, 8, 9, 11) for camera in (1, 2, 2)])
    archive = shutil.make_archive(str(tmp_path / "people"), "zip", root, "bounding_box_train")
    command = ["train", "baseline", "--backbone", "tiny", "--data", archive, "--out", str(tmp_path / "new")]
    assert run([*command, "--device", "cpu"]) == 1
    assert run([*command, "--device", "cpu", "--hold-out", "4"]) == 1
    errors = " ".join(capsys.readouterr().err.split())
    assert "people.zip is unpacked into " in errors
    assert "no test split: 2 of 6 training identities are held out and judged: 4 queries" in errors
    assert [len(data.paths) for _, data in given] == [12, 6]


def test_recipe_follows_images_and_weights(write_dataset: DatasetWriter, given: list[Any], capsys: Captured) -> None:
    root = write_dataset()
    command = ["train", "baseline", "--data", str(root), "--out", str(root / "new"), "--device", "cpu"]
    assert run([*command, "--backbone", "tiny"]) == 1
    assert "recipe real: 4 images of real people, from random weights; --recipe gives another" in " ".join(
        capsys.readouterr().err.split()
    )
    assert run([*command, "--backbone", "small", "--weights", "imagenet", "--epochs", "7"]) == 1
    assert run([*command, "--backbone", "small", "--recipe", "rendered"]) == 1
    assert run([*command, "--weights", "resnet.safetensors"]) == 1
    real, pretrained, rendered, paper = (config for config, _ in given)
    assert (real.schedule, real.optimiser, real.epochs) == ("one_cycle", "adamw", 120)
    assert (pretrained.triplet_weight, pretrained.contrastive_weight, pretrained.epochs) == (0, 1, 7)
    assert (rendered.schedule, rendered.augmentation.jpeg_probability, rendered.epochs) == ("steps", 0.4, 120)
    assert (paper.schedule, paper.optimiser, paper.learning_rate) == ("steps", "adam", 3.5e-4)


def test_unknown_recipe_is_refused(write_dataset: DatasetWriter, capsys: Captured) -> None:
    root = write_dataset()
    assert run(["train", "baseline", "--data", str(root), "--out", str(root / "new"), "--recipe", "fast"]) == 2
    assert "no recipe 'fast'; choose one of paper, real," in capsys.readouterr().err
