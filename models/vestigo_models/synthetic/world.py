"""A world: the people, cameras, lights and backgrounds of one seed; every draw has its own random stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import ConfigError
from vestigo_models.synthetic.camera import Camera, Look, draw_camera, draw_light, draw_look
from vestigo_models.synthetic.materials.shading import Light
from vestigo_models.synthetic.people import Person, draw_person
from vestigo_models.synthetic.presets import Preset
from vestigo_models.synthetic.scene import draw_scene


class Stream(IntEnum):
    """Names of the random streams; a number never changes its meaning, or every digest would."""

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


CROWD = 64
"""Passers-by of a world."""


@dataclass(frozen=True)
class Setting:
    """What a camera sees at one time of day."""

    camera: Camera
    light: Light
    look: Look
    background: NDArray[np.float16]  # (frame height, frame width, 3) linear; half precision, because worlds have many


class World:
    """People and cameras of one seed.

    Args:
        preset: how the world looks.
        seed: fixes everything.
        identities: number of people.
        cameras: number of cameras.

    Raises:
        ConfigError: fewer than one person or camera.
    """

    def __init__(self, preset: Preset, seed: int, identities: int, cameras: int) -> None:
        for name, value in (("identities", identities), ("cameras", cameras)):
            if value < 1:
                raise ConfigError(f"{name}={value}: a world needs at least one")
        self.preset = preset
        self.seed = seed
        self.people: tuple[Person, ...] = tuple(
            draw_person(self.rng(Stream.PERSON, i), preset.variety) for i in range(identities)
        )
        self.cameras = cameras
        self._crowd = lru_cache(maxsize=CROWD)(lambda i: draw_person(self.rng(Stream.BYSTANDER, i), preset.variety))
        self.setting = lru_cache(maxsize=128)(self._setting)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels, int64 (identities, 12) in the order of `MARKET_1501`; -1 where a garment has no named colour."""
        return np.stack([person.labels for person in self.people])

    def rng(self, stream: Stream, *key: int) -> np.random.Generator:
        """The generator of one named thing: depends on the seed and the key only."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(int(stream), *key)))

    def stranger(self, rng: np.random.Generator) -> Person:
        """Somebody who is none of the people, out of a small crowd that each world has."""
        return self._crowd(int(rng.integers(CROWD)))

    def _setting(self, camera: int, scene: int) -> Setting:
        if not 0 <= camera < self.cameras:
            raise ConfigError(f"camera {camera}: this world has cameras 0 to {self.cameras - 1}")
        # The sensor stays; a scene changes light, background and where the camera was mounted.
        mounted = draw_camera(self.rng(Stream.CAMERA, camera, scene), self.preset)
        rng = self.rng(Stream.SETTING, camera, scene)
        light = draw_light(rng)
        background = draw_scene(self.rng(Stream.SCENE, camera, scene), mounted)
        background *= 0.85 * (light.sky + light.sun * light.direction[1])
        look = draw_look(rng, self.preset, brightness=float(np.median(background)))
        return Setting(mounted, light, look, background.astype(np.float16))
