"""The camera and what is done to its pictures: blur, haze, exposure, noise, JPEG."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline.render import noise
from pipeline.render.arrays import Array
from pipeline.render.view import View

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Camera:
    """The habits of one survey."""

    blur: float
    """Deviation of its blur, px."""
    sharpen: float
    """Strength of unsharp masking."""
    haze: tuple[float, float, float]
    """Light added by the air, linear red, green, blue."""
    gain: tuple[float, float, float]
    """Exposure of every channel."""
    gamma: float
    """Exponent of the tone curve; 2.2 is neutral."""
    contrast: float
    """Steepness of the tone curve about its middle."""
    saturation: float
    """1 keeps the colours."""
    noise: float
    """Deviation of the noise, of 255."""
    quality: int
    """Of the JPEG that the picture passes through; 0 for none."""


def draw_camera(seed: int) -> Camera:
    """The camera of a world."""
    rng = np.random.default_rng([seed, 22])
    air = rng.uniform(0.0, 0.05)
    exposure = np.exp(rng.normal(0, 0.22))
    tint = np.exp(rng.normal(0, 0.06, 3))
    return Camera(
        blur=float(rng.uniform(0.3, 0.65)) if rng.random() < 0.5 else 0.0,
        sharpen=float(rng.uniform(0.4, 1.6)) if rng.random() < 0.7 else 0.0,
        haze=(air * 0.9, air, air * float(rng.uniform(1, 1.4))),
        gain=(exposure * tint[0], exposure * tint[1], exposure * tint[2]),
        gamma=float(rng.uniform(1.9, 2.4)),
        contrast=float(rng.uniform(1.0, 1.4)),
        saturation=float(rng.uniform(0.4, 0.95)),
        noise=float(rng.uniform(0.5, 3.5)),
        quality=int(rng.integers(70, 96)) if rng.random() < 0.5 else 0,
    )


def photograph(light: Array, view: View, camera: Camera) -> Pixels:
    """(3, R, C) linear light to (R, C, 3) uint8, without JPEG."""
    picture = np.empty_like(light)
    for channel in range(3):
        seen = ndimage.gaussian_filter(light[channel], camera.blur, truncate=3) if camera.blur else light[channel]
        exposed = np.maximum((seen + camera.haze[channel]) * camera.gain[channel], 0)
        picture[channel] = exposed ** np.float32(1 / camera.gamma)
    _colour(picture, camera)
    picture *= 255
    if camera.sharpen:
        soft = ndimage.gaussian_filter(picture.mean(axis=0), 1.0, truncate=2.5)
        picture += np.float32(camera.sharpen) * (picture.mean(axis=0) - soft)
    for channel in range(3):
        picture[channel] += noise.read(0.25, 40 + channel, view.ys, view.xs) * np.float32(camera.noise)
    return np.ascontiguousarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _colour(picture: Array, camera: Camera) -> None:
    """Saturation about grey, and a shoulder that keeps white roofs from burning out."""
    grey = picture.mean(axis=0)
    picture -= grey
    picture *= np.float32(camera.saturation)
    picture += (grey - 0.42) * np.float32(camera.contrast) + 0.42
    high = picture > 0.8
    picture[high] = 0.8 + 0.2 * np.tanh((picture[high] - 0.8) / 0.2 * 0.7)


def through_jpeg(image: Pixels, quality: int) -> Pixels:
    """The picture after JPEG of this quality; itself for quality 0."""
    if not quality:
        return image
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
