"""The kinds of arrays that footprints are made of, and ragged ones.

Groups of a ragged array lie end to end: group i is ``items[offsets[i]:offsets[i + 1]]``. Rings are such groups, the
last item of which is followed by the first.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Samples = NDArray[np.uint8]
"""0..254 for a probability of 0..1; 255 is no data."""
Polygons = NDArray[np.object_]
"""(n,) shapely polygons."""


def spread(offsets: Int, chosen: Int) -> tuple[Int, Int]:
    """Items of the chosen groups of a ragged array: their indices, group after group, and the new offsets."""
    lengths = np.diff(offsets)[chosen]
    ends = np.cumsum(lengths)
    index = np.arange(ends[-1] if len(ends) else 0) + np.repeat(offsets[chosen] - ends + lengths, lengths)
    return index, np.r_[0, ends].astype(np.int64)


def join_offsets(parts: Sequence[Int]) -> Int:
    """Offsets of ragged arrays laid end to end."""
    return np.r_[0, np.cumsum(np.concatenate([np.diff(part) for part in parts]))] if parts else np.zeros(1, np.int64)


def close_rings(points: Float, rings: Int) -> tuple[Float, Int]:
    """Repeat the first point of each ring at its end.

    Args:
        points: (n, 2).
        rings: Offsets of rings in the points.
    """
    closed = np.insert(points, rings[1:], points[rings[:-1]], axis=0)
    return closed, rings + np.arange(len(rings))


def following(rings: Int) -> Int:
    """Index of the next item of the ring, for each."""
    index = np.arange(1, rings[-1] + 1)
    index[rings[1:] - 1] = rings[:-1]
    return index


def preceding(rings: Int) -> Int:
    """Index of the item of the ring before it, for each."""
    index = np.arange(-1, rings[-1] - 1)
    index[rings[:-1]] = rings[1:] - 1
    return index


def rolled(rings: Int, shift: Int) -> Int:
    """Indices that turn each ring by its shift."""
    ring = np.repeat(np.arange(len(shift)), np.diff(rings))
    local = np.arange(rings[-1]) - rings[ring]
    return rings[ring] + (local + shift[ring]) % np.diff(rings)[ring]


def firsts(flags: Bool, rings: Int) -> Int:
    """Place in its ring of the first flag of each ring; 0 where there is none."""
    where = np.flatnonzero(flags)
    first = np.append(where, rings[-1])[np.searchsorted(where, rings[:-1])]
    return np.where(first < rings[1:], first - rings[:-1], 0)
