"""Rendered cameras: their mounting and light, and the effect of optics, sensor and compression on linear light."""

from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.arrays import FloatArray, UInt8Array
from vestigo_models.inference.images import encode_jpeg
from vestigo_models.synthetic.geometry.raycast import Raster, Viewpoint
from vestigo_models.synthetic.materials.shading import Light
from vestigo_models.synthetic.presets import Preset


@dataclass(frozen=True, kw_only=True)
class CameraResponse:
    """Parameters between linear light and the stored image, constant for one camera and time of day."""

    exposure: float
    gains: FloatArray  # (3,) white balance
    gamma: float
    contrast: float
    lift: float  # haze: added before the tone curve
    saturation: float
    blur: float  # pixels of the sensor
    sharpen: float
    noise: float  # standard deviation in 0..1 display units
    vignette: float
    quality: int  # JPEG
    chroma_blur: float
    interlaced: bool = False  # rows of one field lag behind the other by half the motion blur
    halo: float = 1.2  # radius of the sharpening in pixels


@dataclass(frozen=True)
class SyntheticCamera:
    """One mounted camera. People are on the ground between `near` and `far` metres of depth."""

    view: Viewpoint
    near: float
    far: float
    flow: float  # radians: the direction in which most people walk
    height: int  # of the frame, pixels
    width: int
    horizon: float  # row of the horizon, pixels


def sample_camera(rng: np.random.Generator, preset: Preset) -> SyntheticCamera:
    """Return a random camera in which people on the ground span the preset's range of pixel heights."""
    height, width = preset.frame_height, preset.frame_width
    mount = rng.uniform(2.0, 5.5) if rng.random() < 0.8 else rng.uniform(1.4, 2.0)
    focal = height * rng.uniform(1.0, 1.7)
    low, high = preset.person_pixels
    near, far = max(focal * 1.7 / high, mount * 1.1), focal * 1.7 / low
    # Aim so that the ground from near to far lies inside the frame.
    pitch = float(np.arctan2(mount - 0.9, np.sqrt(near * far)) + rng.uniform(-0.03, 0.03))
    c, s = np.cos(pitch), np.sin(pitch)
    rotation = np.array([[1, 0, 0], [0, c, s], [0, -s, c]], dtype=np.float32)
    view = Viewpoint(np.array([0, mount, 0], dtype=np.float32), rotation, float(focal), (width / 2, height / 2))
    horizon = height / 2 - focal * np.tan(pitch)
    # Feet of the nearest people may be just outside the frame.
    near = max(near, 0.95 * mount / np.tan(min(pitch + np.arctan2(height / 2, focal), 1.5)))
    far = max(far, near * 1.5)
    flow = float(rng.uniform(0, 2 * np.pi))
    return SyntheticCamera(view, float(near), float(far), flow, height, width, float(horizon))


def sample_light(rng: np.random.Generator) -> Light:
    """Return the random light of a camera and time of day: overcast, sunny, or indoor lamps."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.35)
    across = np.cos(elevation)
    direction = np.array([across * np.cos(azimuth), np.sin(elevation), across * np.sin(azimuth)])
    sunny = rng.uniform(0.0, 1.4) ** 1.5
    warm = rng.uniform(-0.1, 0.2)
    sun = np.array([1 + warm, 1, 1 - warm]) * sunny
    cool = rng.uniform(-0.08, 0.12)
    sky = np.array([1 - cool, 1, 1 + cool]) * rng.uniform(0.65, 1.0)
    ground = np.array([1, 0.98, 0.93]) * rng.uniform(0.25, 0.6)
    return Light(*(vector.astype(np.float32) for vector in (direction, sun, sky, ground)))


def sample_response(rng: np.random.Generator, preset: Preset, brightness: float) -> CameraResponse:
    """Return random optics, sensor and compression; exposure maps the linear light `brightness` to a middle tone."""
    bad = preset.degradation
    tint = rng.normal(0, 0.07 * bad, 3)
    return CameraResponse(
        exposure=float(np.exp(rng.normal(-1.7, 0.35 * max(bad, 0.2))) / max(brightness, 0.04)),
        gains=np.exp(tint - tint.mean()).astype(np.float32),
        gamma=float(2.2 * np.exp(rng.normal(0, 0.1 * bad))),
        contrast=float(np.exp(rng.normal(0.05, 0.15 * bad))),
        lift=float(max(0.0, rng.normal(0.004, 0.02)) * bad),
        saturation=float(np.exp(rng.normal(-0.05, 0.25 * bad))),
        blur=float(0.45 + rng.uniform(0, 0.65) * bad),
        sharpen=float(rng.choice([0.0, 0.0, 0.6, 1.2]) * bad),
        noise=float(rng.uniform(0.002, 0.025) * bad),
        vignette=float(rng.uniform(0, 0.3) * bad),
        quality=int(95 - bad * (95 - int(rng.integers(45, 93)))),
        chroma_blur=float(rng.uniform(0.0, 1.6) * bad),
    )


def sample_surveillance(rng: np.random.Generator, brightness: float) -> CameraResponse:
    """Return the response of a random surveillance camera: sharpened and compressed.

    Its exposure maps the linear light `brightness` of a grey pavement to a middle tone.
    """
    tint = rng.normal(0, 0.04, 3)
    soft = rng.random() < 0.25
    return CameraResponse(
        exposure=float(np.exp(rng.normal(-1.22, 0.2)) / brightness),
        gains=np.exp(tint - tint.mean()).astype(np.float32),
        gamma=float(2.2 * np.exp(rng.normal(0, 0.07))),
        contrast=float(np.exp(rng.normal(0.08, 0.1))),
        lift=float(abs(rng.normal(0.012, 0.006))),
        saturation=float(np.exp(rng.normal(-0.08, 0.22))),
        blur=float(rng.uniform(0.6, 1.1) if soft else rng.uniform(0.3, 0.55)),
        sharpen=float(rng.uniform(0.2, 1.6) if rng.random() < 0.8 else 0.0),
        noise=float(rng.uniform(0.003, 0.02)),
        vignette=0.0,
        quality=int(rng.integers(35, 93)),
        chroma_blur=float(rng.uniform(0.3, 1.6)),
        interlaced=bool(rng.random() < 0.12),
        halo=float(rng.uniform(0.7, 1.4)),
    )


def contact_shadow(image: FloatArray, camera: SyntheticCamera, raster: Raster, x: float, z: float) -> None:
    """Darken the ground of `image`, which shows `raster`, around feet at (x, 0, z)."""
    foot, depth = camera.view.project(np.array([x, 0, z], dtype=np.float32))
    reach = 0.45 * camera.view.focal / float(depth)
    flat = max(0.15, float(camera.view.position[1] / np.hypot(camera.view.position[1], z)))
    rows = raster.y + (np.arange(raster.rows) + 0.5) * (raster.height / raster.rows)
    cols = raster.x + (np.arange(raster.cols) + 0.5) * (raster.width / raster.cols)
    dy, dx = (rows - float(foot[1])) / (reach * flat), (cols - float(foot[0])) / reach
    image *= (1 - 0.5 * np.outer(np.exp(-(dy**2)), np.exp(-(dx**2))))[..., None].astype(np.float32)


def apply_response(
    linear: FloatArray, response: CameraResponse, rng: np.random.Generator, *, blur: float = 1.0, streak: float = 0.0
) -> FloatArray:
    """Return display values in 0..1 of linear light (h, w, 3).

    `blur` is a factor on the optical blur, and `streak` the length of the motion blur along x in pixels.
    """
    image: FloatArray = linear
    if (sigma := response.blur * blur) > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    if response.interlaced and streak > 0.7:
        image = image.copy()
        image[1::2] = np.roll(image[1::2], max(1, round(streak / 2)), axis=1)
    elif streak > 1:
        image = np.asarray(cv2.blur(image, (round(streak), 1), borderType=cv2.BORDER_REPLICATE))
    image = image * (response.gains * response.exposure) + response.lift
    shown: FloatArray = np.power(np.clip(image, 0, 4), 1 / response.gamma)
    # A soft shoulder avoids flat clipping of highlights, as in cameras.
    shown = np.where(shown > 0.8, 0.8 + 0.25 * np.tanh((shown - 0.8) * 2.2), shown)
    shown = (shown - 0.45) * response.contrast + 0.45
    gray = shown @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    shown = gray[..., None] + (shown - gray[..., None]) * response.saturation
    if response.sharpen:
        soft = cv2.GaussianBlur(shown, (0, 0), response.halo, borderType=cv2.BORDER_REPLICATE)
        shown = shown + response.sharpen * (shown - soft)
    grain = rng.standard_normal(shown.shape[:2], dtype=np.float32)[..., None]
    colour_grain = rng.standard_normal(shown.shape, dtype=np.float32)
    shown = shown + response.noise * (0.75 * grain + 0.5 * colour_grain)
    return np.clip(shown, 0, 1).astype(np.float32)


def compress(shown: FloatArray, response: CameraResponse) -> UInt8Array:
    """Return display values as RGB uint8 after JPEG compression (4:2:0) with blurred chroma."""
    image = (shown * 255 + 0.5).astype(np.uint8)
    if response.chroma_blur > 0.3:
        luma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
        luma[..., 1:] = cv2.GaussianBlur(luma[..., 1:], (0, 0), response.chroma_blur, borderType=cv2.BORDER_REPLICATE)
        image = np.asarray(cv2.cvtColor(luma, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
    # Decoded by OpenCV directly: our own file needs none of the checks of foreign files.
    stored = np.frombuffer(encode_jpeg(image, quality=response.quality), dtype=np.uint8)
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]
