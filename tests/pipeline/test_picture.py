"""Thumbnails: one that does not read, or is of another scale, is known."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.picture import NOTHING, PREVIEW_SIDE, Album
from tiling.grid import Axis, BlockIndex, Grid

BLOCK = BlockIndex(0, 1)


def album(folder: Path, side: int) -> Album:
    return Album(folder, Grid(*(Axis(side, 512, 32, 0, 0) for _ in range(2))))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with the thumbnail of one block of 1000 px."""
    album(tmp_path, 1000).keep(BLOCK, np.full((512, 488, 3), 90, np.uint8))
    return tmp_path


def test_a_thumbnail_is_there(kept: Path) -> None:
    assert not album(kept, 1000).lacks(BLOCK)
    assert album(kept, 1000).lacks(BlockIndex(0, 0))
    assert album(kept, 1000).picture().getpixel((700, 200)) == (90, 90, 90)


def test_of_a_mosaic_that_grew_it_is_of_another_scale(kept: Path) -> None:
    grown = album(kept, PREVIEW_SIDE + 400)
    assert grown.lacks(BLOCK)
    assert grown.picture().getpixel((400, 100)) == NOTHING


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_cut_short_it_counts_for_nothing(kept: Path, share: float) -> None:
    (path,) = kept.iterdir()
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert album(kept, 1000).lacks(BLOCK)
    assert album(kept, 1000).picture().getpixel((700, 200)) == NOTHING, "its worker was killed, its block given up"
