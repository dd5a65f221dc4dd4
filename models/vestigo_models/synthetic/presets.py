"""Presets of rendered worlds."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Appearance of a world; everything else follows from the seed. Fractions are probabilities."""

    name: str
    identities: int = 40
    cameras: int = 6
    images_per_camera: int = 2
    crop_height: int = 128
    crop_width: int = 64
    frame_height: int = 480
    frame_width: int = 640
    # Range of the height of people in a frame, in pixels: the resolution that a crop is made from.
    person_pixels: tuple[float, float] = (44.0, 190.0)
    # Mixes the attribute frequencies of Market-1501 (0) with even ones (1), which give enough rare values to train.
    variety: float = 0.0
    occluded: float = 0.15
    crowded: float = 0.2
    sloppiness: float = 1.0  # scales the error of a crop's box
    degradation: float = 1.0  # scales blur, noise, compression and colour errors of the cameras
    scenes: int = 1  # number of backgrounds and illuminations of each camera


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(name="default", identities=100),
        Preset(name="small", identities=12, cameras=3),
        Preset(name="clean", occluded=0.0, crowded=0.0, sloppiness=0.3, degradation=0.3, person_pixels=(110.0, 190.0)),
        # The world of the ablation, chosen by the baseline's mAP before any other model was trained. Do not change it.
        Preset(
            name="bench-1",
            identities=320,
            cameras=4,
            images_per_camera=3,
            occluded=0.05,
            crowded=0.05,
            sloppiness=0.4,
            degradation=0.4,
            person_pixels=(95.0, 190.0),
        ),
        Preset(
            name="training",
            identities=1000,
            cameras=8,
            images_per_camera=3,
            variety=0.45,
            scenes=8,
            occluded=0.2,
            crowded=0.3,
            person_pixels=(36.0, 190.0),
        ),
    )
}
