"""Probabilities on disk: a Zarr v3 group that xarray and rioxarray open as a georeferenced raster.

One block is one shard, written whole, once, by one task (concurrent writes into a shard lose data). A sample is a
uint8: 0…254 for P(building) = 0…1, 255 for no data. The only module that imports zarr.
"""

import shutil
import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from models.samples import NO_DATA, SAMPLE_MAX
from pipeline.durable import remove, sync
from pipeline.errors import PipelineError
from tiling.chunks import inner_chunk
from tiling.grid import BlockIndex, Grid, Window

ARRAY = "probability"
# What zarr raises where a shard or its index does not read back.
UNREADABLE = (ValueError, RuntimeError, OSError)


class DamagedBlock(PipelineError):  # noqa: N818 - the state of a block, which has a cure
    """A stored block does not read back (bit rot, a file cut short): it has to be computed again."""

    def __init__(self, block: BlockIndex, reason: str) -> None:
        super().__init__(block, reason)
        self.block = block

    def __str__(self) -> str:
        return f"stored block {self.block} does not read back: {self.args[1]}"


def create(path: Path, grid: Grid, affine: Affine, crs: str) -> None:
    """Make an empty store of ``grid``'s shape, all no data, with the georeference of ``affine`` and ``crs`` (WKT)."""
    reference = CRS.from_wkt(crs)
    group = zarr.create_group(path, zarr_format=3, overwrite=True, attributes=_conventions(grid, affine, reference))
    group.create_array(
        ARRAY,
        shape=grid.shape,
        dtype="uint8",
        shards=grid.block_shape,
        chunks=tuple(map(inner_chunk, grid.block_shape)),
        serializer=BytesCodec(),
        # Level 1 takes a third of level 3's time for 4 % more bytes; crc32c because plain zstd hides most bit flips.
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        fill_value=NO_DATA,
        dimension_names=("y", "x"),
        attributes={
            "long_name": "probability of building",
            "units": "1",
            "scale_factor": 1 / SAMPLE_MAX,
            "add_offset": 0.0,
            "_FillValue": NO_DATA,
            "grid_mapping": "spatial_ref",
        },
    )
    _write_coordinates(group, grid.shape, affine, reference)
    with warnings.catch_warnings():
        # xarray warns of a store without consolidated metadata, zarr of one with it; readers outnumber us.
        warnings.filterwarnings("ignore", "Consolidated metadata", category=ZarrUserWarning)
        zarr.consolidate_metadata(path)


def _conventions(grid: Grid, affine: Affine, crs: CRS) -> dict[str, object]:
    """Attributes of the CF, geo-proj and spatial conventions for the group."""
    rows, cols = grid.shape
    corners = [affine @ corner for corner in ((0, 0), (cols, rows))]
    (west, north), (east, south) = corners
    authority = crs.to_authority()
    return {
        "Conventions": "CF-1.11",
        "title": "probability of building",
        **({"proj:code": ":".join(authority)} if authority else {}),
        "proj:wkt2": crs.to_wkt(),
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(affine[:6]),
        "spatial:shape": [rows, cols],
        "spatial:bbox": [west, min(north, south), east, max(north, south)],
    }


def _write_coordinates(group: zarr.Group, shape: tuple[int, int], affine: Affine, crs: CRS) -> None:
    """The pixel centres as ``y`` and ``x``, and the CF grid mapping with the exact transform."""
    ys = affine.f + affine.e * (np.arange(shape[0]) + 0.5)
    xs = affine.c + affine.a * (np.arange(shape[1]) + 0.5)
    axes = {axis["axis"]: axis for axis in crs.cs_to_cf()}
    for name, values in (("y", ys), ("x", xs)):
        group.create_array(
            name,
            data=values,
            chunks=(max(1, len(values)),),
            dimension_names=(name,),
            attributes=axes.get(name.upper(), {}),
        )
    transform = " ".join(repr(float(value)) for value in affine.to_gdal())
    mapping = {**crs.to_cf(), "spatial_ref": crs.to_wkt("WKT1_GDAL"), "GeoTransform": transform}
    group.create_array("spatial_ref", data=np.array(0, dtype="int32"), attributes=mapping)


@lru_cache(maxsize=8)
def _array(path: Path) -> zarr.Array[Any]:
    array = zarr.open_group(path, mode="r+")[ARRAY]
    if not isinstance(array, zarr.Array):
        raise PipelineError(f"{path}: {ARRAY!r} is not an array; run with --overwrite")
    return array


def layout(path: Path) -> tuple[Grid, Affine, str]:
    """Shape and blocks of a finished store (the halo is not kept: 0), the affine and the WKT of its CRS."""
    group = zarr.open_group(path, mode="r")
    array, attributes = group[ARRAY], group.attrs.asdict()
    if not isinstance(array, zarr.Array) or array.shards is None:
        raise PipelineError(f"{path}: {ARRAY!r} is not a sharded array; this store is not ours")
    affine, crs = Affine(*np.asarray(attributes["spatial:transform"], float)), str(attributes["proj:wkt2"])
    return Grid.of(array.shape, array.shards), affine, crs


def ensure(path: Path, grid: Grid, affine: Affine, crs: str) -> None:
    """See to it that a store of ``grid`` is there; of one that is, all but its blocks is made anew.

    A bit that flips in what describes the blocks would change them all, and no checksum of theirs would tell.
    """
    empty = path.with_name(f".{path.name}.partial")
    remove(empty)
    create(empty, grid, affine, crs)
    if path.exists():
        _describe(path, empty)
        remove(empty)
    else:
        empty.rename(path)
        sync(path.parent)
    refresh()


def _describe(path: Path, empty: Path) -> None:
    """Put what an empty store consists of into another one of the same grid, where it is not there already."""
    for fresh in (each for each in empty.rglob("*") if each.is_file()):
        kept = path / fresh.relative_to(empty)
        if not kept.is_file() or kept.read_bytes() != fresh.read_bytes():
            kept.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(kept)


def shard_path(path: Path, block: BlockIndex) -> Path:
    """The file that holds a block; absent when every sample is no data."""
    return path / ARRAY / "c" / str(block.row) / str(block.col)


def write_block(path: Path, grid: Grid, block: BlockIndex, samples: NDArray[np.uint8]) -> None:
    """Write one block as one whole shard and make it durable.

    Args:
        path: the store.
        grid: the grid it was created with.
        block: which block.
        samples: uint8 (h, w), the block's shape.
    """
    window = grid.window(block)
    if samples.shape != window.shape:
        raise ValueError(f"block {block} holds {window.shape} samples, not {samples.shape}")
    shard = shard_path(path, block)
    try:
        _array(path)[window.slices] = samples
    except UNREADABLE:  # a block at the edge is smaller than its shard: zarr fills it up from one that is there already
        forget(path, block)
        _array(path)[window.slices] = samples
    if shard.exists():
        sync(shard)
        sync(shard.parent)


def read(path: Path, window: Window, grid: Grid) -> NDArray[np.uint8]:
    """Samples of a window inside the mosaic: uint8 (h, w).

    Raises:
        DamagedBlock: a chunk's checksum or size is wrong; it names the first such block.
    """
    samples = np.empty(window.shape, dtype=np.uint8)
    for block in grid.blocks_over(window):
        part = grid.window(block).intersection(window)
        samples[part.within(window)] = _read_part(path, block, part)
    return samples


def _read_part(path: Path, block: BlockIndex, part: Window) -> NDArray[np.uint8]:
    """Samples of a window inside one block."""
    shard = shard_path(path, block)
    if shard.exists() and not shard.stat().st_size:
        raise DamagedBlock(block, "its shard is empty")  # zarr takes it for one that is not there: all no data
    try:
        samples = _array(path)[part.slices]
    except UNREADABLE as error:
        raise DamagedBlock(block, str(error)) from error
    return np.asarray(samples, dtype=np.uint8)


def forget(path: Path, block: BlockIndex) -> None:
    """Remove a block, so that it reads as no data until it is written again."""
    shard_path(path, block).unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what writers that were killed left behind."""
    for leftover in path.rglob("*.partial"):
        leftover.unlink()


def adopt(path: Path, source: Path, blocks: Iterable[BlockIndex]) -> None:
    """Take blocks over from another store of the same blocks, without copying where the disk knows hard links."""
    for block in blocks:
        old, new = shard_path(source, block), shard_path(path, block)
        if old.exists():
            new.parent.mkdir(parents=True, exist_ok=True)
            try:
                new.hardlink_to(old)
            except OSError:
                shutil.copy2(old, new)


def refresh() -> None:
    """Forget the stores that are open; another run may have made new ones at the same paths."""
    _array.cache_clear()
