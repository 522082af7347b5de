"""Endless textures: noise tiles that repeat, read at any pixel of a world."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.render.arrays import Array

SIZE = 1024
"""Period of every noise tile, px: some 150 m, after which no one notices that grain repeats."""


@lru_cache(maxsize=8)
def tile(power: float, number: int) -> Array:
    """(SIZE, SIZE) float32 of mean 0 and deviation 1 whose amplitude falls with frequency to the given power."""
    rng = np.random.default_rng([number, 7])
    spectrum = fft.rfft2(rng.standard_normal((SIZE, SIZE)).astype(np.float32))
    rows, cols = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]
    frequency = np.hypot(rows, cols)
    frequency[0, 0] = np.inf
    field = fft.irfft2(spectrum * (frequency**-power).astype(np.float32), (SIZE, SIZE))
    return np.asarray((field - field.mean()) / field.std(), np.float32)


@lru_cache(maxsize=4)
def _rough(power: float, number: int) -> Array:
    field = tile(power, number)
    bent = field * np.sqrt(np.abs(field))
    return np.asarray(bent / bent.std(), np.float32)


def rough(power: float, number: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Array:
    """As ``read``, with heavy tails: real ground is mostly even, with sparse specks that stand out."""
    return _wrapped(_rough(power, number), rows, cols)


def read(power: float, number: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Array:
    """(R, C) float32: the noise at those pixel rows and columns of the world; columns follow one another."""
    return _wrapped(tile(power, number), rows, cols)


def _wrapped(field: Array, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Array:
    """A tile repeated; whole rows are copied, which is several times faster than picking pixels."""
    start = int(cols[0]) % SIZE
    repeats = -(-(start + len(cols)) // SIZE)
    band = field[rows % SIZE]
    return np.tile(band, (1, repeats))[:, start : start + len(cols)]
