"""Columns against pyarrow's own conversions; and pandas, which those import, stays out of the workers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.footprints import columns

WORK = """
import sys
from pathlib import Path
import numpy as np
import pipeline.preloaded
from affine import Affine
from pyproj import CRS
from pipeline.footprints import finish, outline, weld
from pipeline.footprints.ground import Frame
from pipeline.footprints.shaping import Shaping
from tiling.grid import Axis, BlockIndex, Grid

samples = np.zeros((64, 64), np.uint8)
samples[5:30, 8:40] = samples[44:60, 44:60] = 200
grid = Grid(Axis(64, 32, 32, 0, 0), Axis(64, 32, 32, 0, 0))
paths = {}
for block in grid:
    window = grid.window(block)
    seen = outline.needs(window).clip(grid.shape)
    part = samples[seen.slices]
    paths[block] = Path(sys.argv[1]) / f"{block}.outline"
    outline.trace(part, window, 127).save(paths[block])
index = weld.weld(paths.items(), Path(sys.argv[1]) / "welded")
frame = Frame(Affine(0.3, 0, 350000, 0, -0.3, 3060000), CRS.from_epsg(32645).to_wkt(), ("a.tif",))
rows = 0
for block in paths:
    batch = finish.finish(index.sources(block), finish.Files(paths, Path(sys.argv[1]) / "welded"), frame, Shaping(127))
    finish.save(batch, Path(sys.argv[1]) / f"{block}.arrow")
    rows += batch.num_rows
print(rows, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@given(hnp.arrays(st.sampled_from([np.int64, np.float64, np.uint8]), st.integers(0, 40)))
def test_numbers_are_those_of_pyarrow_and_come_back(values: np.ndarray) -> None:
    made = columns.numbers(values)
    assert made.type == pa.array(values).type
    assert np.array_equal(made.to_numpy(), values, equal_nan=True)
    assert np.array_equal(columns.array(made), values, equal_nan=True)
    assert np.array_equal(columns.array(made[1:]), values[1:], equal_nan=True)


@given(st.lists(st.booleans()))
def test_flags_are_those_of_pyarrow(values: list[bool]) -> None:
    made = columns.flags(np.array(values, bool))
    assert made.equals(pa.array(values, pa.bool_()))


@given(st.lists(st.text()), st.lists(st.binary()))
def test_texts_and_blobs_are_those_of_pyarrow(texts: list[str], blobs: list[bytes]) -> None:
    assert columns.texts(texts).equals(pa.array(texts, pa.string()))
    assert columns.blobs(blobs).equals(pa.array(blobs, pa.binary()))


def test_a_worker_does_not_import_pandas(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    done = subprocess.run([sys.executable, "-c", WORK, tmp_path], capture_output=True, text=True, check=True)
    rows, *imported = done.stdout.split()
    assert rows == "2"
    assert "pandas" not in imported
