"""Rendered worlds: people, cameras, lights and backgrounds of one seed, each from its own random stream."""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from vestigo_models.arrays import Int64Array
from vestigo_models.errors import ConfigError
from vestigo_models.synthetic.camera import (
    CameraResponse,
    SyntheticCamera,
    sample_camera,
    sample_light,
    sample_response,
    sample_surveillance,
)
from vestigo_models.synthetic.materials.shading import Light
from vestigo_models.synthetic.people import Person, sample_person
from vestigo_models.synthetic.presets import Preset
from vestigo_models.synthetic.scene import sample_background
from vestigo_models.synthetic.scenery.backdrop import sample_backdrop
from vestigo_models.synthetic.wardrobe import sample_wardrobe


class Stream(IntEnum):
    """Random streams. A number keeps its meaning, since rendered pixels depend on it."""

    PERSON = 0
    CAMERA = 1
    SETTING = 2
    SCENE = 3
    VIEW = 4
    BYSTANDER = 5
    DEVELOP = 6
    WALK = 7
    FRAME = 8
    JUNK = 9
    COVER = 10


BYSTANDERS = 64
"""Number of different bystanders in a world."""


@dataclass(frozen=True)
class Setting:
    """One camera at one time of day."""

    camera: SyntheticCamera
    light: Light
    response: CameraResponse
    background: NDArray[np.float16]  # (frame height, frame width, 3) linear; half precision to save memory


class World:
    """People and cameras of one seed.

    Raises:
        ConfigError: If there is no person or no camera.
    """

    def __init__(self, preset: Preset, seed: int, identities: int, cameras: int) -> None:
        for name, value in (("identities", identities), ("cameras", cameras)):
            if value < 1:
                raise ConfigError(f"{name}={value}: a world needs at least one")
        self.preset = preset
        self.seed = seed
        self.people = tuple(self._person(Stream.PERSON, index) for index in range(identities))
        self.cameras = cameras
        self.bystander = lru_cache(maxsize=BYSTANDERS)(partial(self._person, Stream.BYSTANDER))
        self.setting = lru_cache(maxsize=128)(self._setting)

    @property
    def labels(self) -> Int64Array:
        """Labels (identities, 12) in the order of `MARKET_1501`; -1 for a garment without a named colour."""
        return np.stack([person.labels for person in self.people])

    def rng(self, stream: Stream, *key: int) -> np.random.Generator:
        """Return the generator of a stream and key, which depends on the world's seed and on them only."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(int(stream), *key)))

    def sample_bystander(self, rng: np.random.Generator) -> Person:
        """Return a random bystander, who is none of the world's identities."""
        return self.bystander(int(rng.integers(BYSTANDERS)))

    def _person(self, stream: Stream, index: int) -> Person:
        rng = self.rng(stream, index)
        person = sample_person(rng, self.preset.variety)
        return sample_wardrobe(rng, person) if rng.random() < self.preset.wardrobe else person

    def _setting(self, camera: int, scene: int) -> Setting:
        if not 0 <= camera < self.cameras:
            raise ConfigError(f"camera {camera}: this world has cameras 0 to {self.cameras - 1}")
        # A scene changes light, background and mounting of the camera.
        mounted = sample_camera(self.rng(Stream.CAMERA, camera, scene), self.preset)
        rng = self.rng(Stream.SETTING, camera, scene)
        light = sample_light(rng)
        scenery = self.rng(Stream.SCENE, camera, scene)
        has_clutter = scenery.random() < self.preset.clutter if self.preset.clutter else False
        background = (sample_backdrop if has_clutter else sample_background)(scenery, mounted)
        background *= 0.85 * (light.sky + light.sun * light.direction[1])
        if self.preset.surveillance and rng.random() < self.preset.surveillance:
            lit = float((light.sky + light.sun * light.direction[1]).mean())
            response = sample_surveillance(rng, brightness=0.25 * lit)
        else:
            response = sample_response(rng, self.preset, brightness=float(np.median(background)))
        return Setting(mounted, light, response, background.astype(np.float16))
