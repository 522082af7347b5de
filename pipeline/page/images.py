"""Images as data URIs."""

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from pipeline.plan import Plan

# A 1600 px picture of a town then takes 0.3–1 MB.
JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Picture:
    """The mosaic as a picture, and how it lies on the ground."""

    uri: str
    """``data:image/jpeg;base64,…``."""
    width: int
    """px."""
    height: int
    """px."""
    factor: int
    """Mosaic pixels per picture pixel."""


def picture(plan: Plan) -> Picture:
    """The mosaic, small."""
    album = plan.album
    width, height = album.size
    return Picture(uri(album.picture(), "JPEG", quality=JPEG_QUALITY, optimize=True), width, height, album.factor)


def uri(image: Image.Image, form: str, **options: Any) -> str:
    """An image as a data URI."""
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
