"""The choice of a recipe: optimiser, schedule and augmentation, by what a training starts from and its images."""

from __future__ import annotations

from typing import NamedTuple

from vestigo_models.networks.backbones import BACKBONES, TransformersBackbone
from vestigo_models.networks.config import BackboneName
from vestigo_models.training.config import PAPER

IMAGES_SEEN = 320_000
"""Images of real people that a training from random weights draws in all its epochs: 25 epochs of Market-1501."""
LEAST_EPOCHS, MOST_EPOCHS = 20, 120
PRETRAINED_SHARE = 0.35
"""Share of these epochs that a training from given weights has."""


class Recipe(NamedTuple):
    """A recipe of `configs/recipes`, and why it is chosen."""

    name: str
    epochs: int | None  # None: those of the configuration
    reason: str


def choose_recipe(backbone: BackboneName, *, is_rendered: bool, is_pretrained: bool, images: int) -> Recipe:
    """Return the recipe for a backbone, from random or other weights, and the number of training images."""
    start = "from given weights" if is_pretrained else "from random weights"
    if issubclass(BACKBONES[backbone], TransformersBackbone):
        return Recipe(PAPER, None, f"{backbone} learns as in the paper")
    if is_rendered:
        name = "rendered-pretrained" if is_pretrained else "rendered"
        return Recipe(name, None, f"{images:,} images of rendered people, {start}")
    epochs = min(max(round(IMAGES_SEEN / images), LEAST_EPOCHS), MOST_EPOCHS)
    epochs = round(PRETRAINED_SHARE * epochs) if is_pretrained else epochs
    return Recipe("real", epochs, f"{images:,} images of real people, {start}")
