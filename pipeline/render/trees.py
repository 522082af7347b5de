"""Crowns of trees as stamps of height."""

from functools import lru_cache

import numpy as np
from scipy import ndimage

from pipeline.render.arrays import Array

SPECIES = ("broadleaf", "conifer", "bare")
"""Kinds of crowns, by number."""
SIDE = 64
"""Pixels of a stamp."""
VARIANTS = 12
"""Stamps of every species."""


@lru_cache(maxsize=1)
def stamps() -> Array:
    """(species, VARIANTS, SIDE, SIDE) float32: height of a crown as a share of the tree's, 0 beside it."""
    rng = np.random.default_rng(3)
    makers = (_broadleaf, _conifer, _bare)
    return np.stack([np.stack([maker(rng) for _ in range(VARIANTS)]) for maker in makers])


def _polar() -> tuple[Array, Array]:
    axis = (np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2) / (SIDE / 2)
    return np.hypot(axis[:, None], axis[None]), np.arctan2(axis[:, None], axis[None])


def _rough(rng: np.random.Generator, sigma: float) -> Array:
    noise = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), sigma, mode="wrap")
    return np.asarray(noise / noise.std(), np.float32)


def _broadleaf(rng: np.random.Generator) -> Array:
    """Many small domes on a large one, with a ragged rim."""
    radius, angle = _polar()
    rim = 0.86 + sum(rng.normal(0, 0.13 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 4, 5, 7))
    dome = np.sqrt(np.clip(1 - (radius / rim) ** 2, 0, 1))
    lumps = 0.13 * _rough(rng, 4.0) + 0.09 * _rough(rng, 1.6)
    body = 0.45 + 0.5 * dome + lumps
    return np.where((radius + 0.07 * _rough(rng, 1.2) < rim), np.clip(body, 0.05, 1.2), 0).astype(np.float32)


def _conifer(rng: np.random.Generator) -> Array:
    """A cone with radial boughs."""
    radius, angle = _polar()
    boughs = 0.8 + 0.14 * np.cos(angle * rng.integers(7, 11) + rng.uniform(0, 6.3)) + 0.06 * _rough(rng, 1.2)
    return np.where(radius < boughs, np.clip(1.0 - 0.85 * radius + 0.07 * _rough(rng, 1.4), 0.05, 1), 0).astype(
        np.float32
    )


def _bare(rng: np.random.Generator) -> Array:
    """Twigs: a broad dome that one mostly looks through."""
    radius, angle = _polar()
    dome = np.sqrt(np.clip(1 - radius**2, 0, 1))
    rays = np.cos(angle * rng.integers(8, 13) + 2 * _rough(rng, 6.0)) > 0.72
    holes = (_rough(rng, 0.8) > 0.75 + 0.5 * radius) | (rays & (_rough(rng, 1.5) > -0.2))
    return (
        np.where(holes & (radius < 0.95), 0.45 + 0.4 * dome + 0.03 * _rough(rng, 1.0), 0)
        .clip(0, 1.2)
        .astype(np.float32)
    )
