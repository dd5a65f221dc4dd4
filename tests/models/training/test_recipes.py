from __future__ import annotations

import pytest

from vestigo_models.errors import ConfigError
from vestigo_models.training.config import TrainConfig, shipped_recipes
from vestigo_models.training.recipes import choose_recipe


@pytest.mark.parametrize(
    ("backbone", "is_rendered", "is_pretrained", "name"),
    [
        ("resnet50", False, True, "paper"),
        ("convnext", True, False, "paper"),
        ("tiny", True, False, "rendered"),
        ("small", True, True, "rendered-pretrained"),
        ("tiny", False, False, "real"),
        ("small", False, True, "real"),
    ],
)
def test_recipe_follows_backbone_images_and_weights(
    backbone: str, is_rendered: bool, is_pretrained: bool, name: str
) -> None:
    choice = choose_recipe(backbone, is_rendered=is_rendered, is_pretrained=is_pretrained, images=12_000)
    assert choice.name == name
    assert choice.name in shipped_recipes()


@pytest.mark.parametrize(("images", "epochs"), [(100, 120), (3_200, 100), (12_936, 25), (100_000, 20)])
def test_few_real_images_are_seen_more_often(images: int, epochs: int) -> None:
    assert choose_recipe("tiny", is_rendered=False, is_pretrained=False, images=images).epochs == epochs


def test_given_weights_need_fewer_epochs() -> None:
    random, given = (
        choose_recipe("small", is_rendered=False, is_pretrained=start, images=12_936) for start in (False, True)
    )
    assert (random.epochs, given.epochs) == (25, 9)
    assert random.name == given.name


@pytest.mark.parametrize("name", shipped_recipes())
def test_recipes_fit_every_configuration(name: str) -> None:
    for config in ("baseline", "full"):
        for backbone in ("tiny", "small"):
            assert TrainConfig.load(config, backbone=backbone, recipe=name).network.backbone == backbone


def test_recipe_replaces_values_of_the_configuration() -> None:
    paper = TrainConfig.load("full", backbone="small", recipe="paper")
    real = TrainConfig.load("full", {"weight_decay": 0.25}, backbone="small", recipe="real")
    assert (paper.optimiser, paper.schedule, paper.learning_rate) == ("adam", "steps", 3.5e-4)
    assert (real.optimiser, real.schedule, real.weight_decay) == ("adamw", "one_cycle", 0.25)
    assert real.network == paper.network


def test_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="no recipe 'fast'; choose one of paper, real,"):
        TrainConfig.load("baseline", backbone="tiny", recipe="fast")


def test_only_small_keeps_stages() -> None:
    assert TrainConfig.load("baseline", {"frozen_stages": 2}, backbone="small").frozen_stages == 2
    with pytest.raises(ConfigError, match="frozen_stages=2: only the backbone small keeps stages"):
        TrainConfig.load("baseline", {"frozen_stages": 2}, backbone="tiny")
