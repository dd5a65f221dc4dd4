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
    wardrobe: float = 0.0  # share of people with woven fabrics, prints, layers, folds and faces
    shadows: float = 0.0  # scales the sun's shadows of bodies and the shade of things outside the view, 0..1
    clutter: float = 0.0  # scales the texture and the number of things in the background
    surveillance: float = 0.0  # share of cameras with the processing of surveillance cameras
    gestures: float = 0.0  # scales the variety of arms and of box shapes


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
        # Looks like real footage; its appearance was set by looking at crops of Market-1501.
        Preset(
            name="real",
            identities=1000,
            cameras=8,
            images_per_camera=3,
            variety=0.25,
            scenes=12,
            occluded=0.15,
            crowded=0.25,
            sloppiness=0.7,
            person_pixels=(56.0, 260.0),
            wardrobe=1.0,
            shadows=1.0,
            clutter=1.0,
            surveillance=1.0,
            gestures=1.0,
        ),
    )
}
