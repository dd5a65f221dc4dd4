"""Warnings about configurations that train, but hardly what their user means."""

from __future__ import annotations

import pytest

from vestigo_models.training.config import TrainConfig, shipped_configs
from vestigo_models.training.trainer import recipe_warnings


@pytest.mark.parametrize("name", shipped_configs())
def test_full_training_with_weights_and_parser_has_no_warning(name: str) -> None:
    changes = {"weights": "imagenet/", "parser": "schp:lip.pth"}
    assert recipe_warnings(TrainConfig.load(name, changes), is_rendered=False) == []


@pytest.mark.parametrize("backbone", ["resnet50", "convnext"])
def test_random_weights_of_large_backbones_are_reported(backbone: str) -> None:
    config = TrainConfig.load("baseline", backbone=backbone)
    (line,) = recipe_warnings(config, is_rendered=True)
    assert line.startswith(f"backbone {backbone} starts from random weights")
    assert "--weights" in line
    based = config.model_copy(update={"base": "mine"})
    assert recipe_warnings(based, is_rendered=True) == []


def test_weights_that_come_with_the_product_are_named() -> None:
    config = TrainConfig.load("baseline", backbone="small")
    (line,) = recipe_warnings(config, is_rendered=True)
    assert line.endswith(
        "small starts from random weights; --weights imagenet starts from those that come with Vestigo"
    )
    assert recipe_warnings(config.model_copy(update={"weights": "imagenet"}), is_rendered=True) == []


@pytest.mark.parametrize(("name", "lines"), [("parser", 1), ("fls", 1), ("full", 1), ("clustering", 0), ("control", 0)])
def test_default_parser_of_real_images_is_reported(name: str, lines: int) -> None:
    config = TrainConfig.load(name, backbone="tiny")
    warnings = recipe_warnings(config, is_rendered=False)
    assert len(warnings) == lines
    assert all("rendered people" in line and "--parser" in line for line in warnings)


@pytest.mark.parametrize(
    ("name", "changes", "is_reported"),
    [
        ("fls", {"epochs": 10}, True),
        ("fls", {"epochs": 11}, False),
        ("fls", {"epochs": 10, "fls_start_epoch": 2}, False),
        ("full", {"epochs": 1}, True),
        ("full", {"relabel_until": 10}, True),
        ("clustering", {"epochs": 1}, False),
        ("parser", {"epochs": 10}, False),
        ("control", {"epochs": 10}, False),
    ],
)
def test_training_without_refresh_is_reported(name: str, changes: dict[str, int], is_reported: bool) -> None:
    warnings = recipe_warnings(TrainConfig.load(name, changes, backbone="tiny"), is_rendered=True)
    assert len(warnings) == is_reported
    assert all("never refreshed" in line and "fls_start_epoch" in line for line in warnings)
