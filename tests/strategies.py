"""Hypothesis strategies that several tests share."""

import itertools
from typing import Any

from hypothesis import strategies as st

from tiling.grid import Span, Window

shapes = st.tuples(st.integers(1, 90), st.integers(1, 90))
"""(height, width) of small rasters."""


@st.composite
def spans(draw: st.DrawFn, size: int) -> Span:
    """A span of at least one pixel inside ``0..size``."""
    start = draw(st.integers(0, size - 1))
    return Span(start, draw(st.integers(start + 1, size)))


def windows(shape: tuple[int, int]) -> st.SearchStrategy[Window]:
    """Windows of at least one pixel inside a raster of ``shape``."""
    return st.builds(Window, spans(shape[0]), spans(shape[1]))


@st.composite
def cuts(draw: st.DrawFn, shape: tuple[int, int], most: int = 3) -> list[Window]:
    """A partition of a raster into a few windows, in any order."""

    def along(size: int) -> list[Span]:
        inner = draw(st.lists(st.integers(1, size - 1), max_size=most - 1, unique=True)) if size > 1 else []
        places = [0, *sorted(inner), size]
        return [Span(start, stop) for start, stop in itertools.pairwise(places)]

    parts = [Window(rows, cols) for rows in along(shape[0]) for cols in along(shape[1])]
    return draw(st.permutations(parts))


tiff_layouts: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "compress": st.sampled_from(["deflate", "lzw", "packbits", "zstd"]),
        "interleave": st.sampled_from(["pixel", "band"]),
        "BIGTIFF": st.sampled_from(["YES", "NO"]),
        "ENDIANNESS": st.sampled_from(["LITTLE", "BIG"]),
    },
).flatmap(
    lambda options: st.sampled_from(
        [
            options,
            options | {"blockysize": 3},
            options | {"tiled": True, "blockxsize": 16, "blockysize": 32},
        ]
    )
)
"""Ways to store the same pixels."""
