"""Pixels of a window of the mosaic: the only module through which a run reads imagery.

One GDAL handle per process and thread, because rasterio's handles are not safe to share; few of them, because a
mosaic may have more scenes than a process may have open files.
"""

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from pipeline.errors import PipelineError, root
from pipeline.mosaic import Mosaic, Scene
from pipeline.scenes.gdal import ERRORS, GDAL_OPTIONS, opened, raster_window
from pipeline.scenes.resample import Warp
from tiling.grid import Window

FILL = (124, 116, 104)  # ImageNet's mean colour: about zero after normalisation, so that the network sees nothing there
HANDLES = 16  # per thread: a tile meets a few scenes, and its neighbours meet the same ones


class SceneError(PipelineError):
    """A scene could not be read in a window; the pixels there are unknown."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixels of a window of the mosaic."""

    rgb: NDArray[np.uint8]
    """(h, w, 3) uint8; ``FILL`` where there are no data."""
    valid: NDArray[np.bool_]
    """(h, w) bool; True where some scene has data."""
    origin: NDArray[np.uint32] | None = None
    """(h, w): place in the mosaic's scenes of the one that a valid pixel comes from; None where their windows tell."""


def read(mosaic: Mosaic, window: Window) -> Pixels:
    """The pixels of ``window``, which lies inside the mosaic. The first scene with a valid pixel wins.

    The result for a pixel does not depend on the window that it is read with.

    Raises:
        SceneError: a scene's file is damaged, gone or unreadable there.
    """
    rgb = np.empty((*window.shape, 3), np.uint8)
    valid = np.zeros(window.shape, bool)
    numbers = mosaic.numbers_over(window)
    overlap = _overlap([mosaic.scenes[number].window for number in numbers])
    origin = np.zeros(window.shape, np.uint32) if overlap else None
    for number in numbers:
        scene = mosaic.scenes[number]
        part = scene.window.intersection(window)
        inside = part.within(window)
        if origin is not None:
            origin[inside][~valid[inside]] = number
        if not valid[inside].any():
            _read_scene(mosaic, scene, part, rgb[inside], valid[inside])
        elif not valid[inside].all():
            _read_behind(mosaic, scene, part, rgb[inside], valid[inside])
    if not valid.all():
        rgb[~valid] = FILL
    return Pixels(rgb, valid, origin)


def _overlap(windows: list[Window]) -> bool:
    """Whether two of the windows share a pixel."""
    return any(one.meets(other) for one, other in combinations(windows, 2))


def _read_behind(mosaic: Mosaic, scene: Scene, part: Window, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
    """Fill from ``scene`` what the scenes before it left without data."""
    behind, there = np.empty_like(rgb), np.empty_like(valid)
    _read_scene(mosaic, scene, part, behind, there)
    there &= ~valid
    rgb[there] = behind[there]
    valid |= there


def _read_scene(mosaic: Mosaic, scene: Scene, part: Window, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
    """Read ``part`` (mosaic pixels) of one scene into ``rgb`` (h, w, 3) and ``valid`` (h, w)."""
    try:
        with rasterio.Env(**GDAL_OPTIONS):
            handle = _handles.get(mosaic, scene)
            if handle.warp is not None:
                handle.warp.read(part, lambda own: _read_new(handle.dataset, scene, own), rgb, valid)
            else:
                own = part.moved(-scene.window.rows.start, -scene.window.cols.start)
                _read_own(handle.dataset, scene, own, rgb, valid)
    except ERRORS as error:
        _handles.forget(scene)
        place = f"rows {part.rows.start}..{part.rows.stop}, columns {part.cols.start}..{part.cols.stop}"
        raise SceneError(f"{scene.path}: cannot be read at {place} of the mosaic: {root(error)}") from error


def _read_new(dataset: Any, scene: Scene, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A window of a scene's own pixels, in new arrays."""
    rgb, valid = np.empty((*window.shape, 3), np.uint8), np.empty(window.shape, bool)
    _read_own(dataset, scene, window, rgb, valid)
    return rgb, valid


def _read_own(dataset: Any, scene: Scene, part: Window, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
    """A window of a scene's own pixels, into ``rgb`` and ``valid``."""
    window = raster_window(part)
    if scene.scale is None:
        # GDAL writes straight into the interleaved array; reading by band and transposing takes twice as long
        dataset.read(scene.bands, window=window, out=rgb.transpose(2, 0, 1))
        valid[...] = _has_data(rgb, scene.nodata)
    else:
        values = np.moveaxis(dataset.read(scene.bands, window=window), 0, 2)
        valid[...] = _has_data(values, scene.nodata)
        rgb[...] = to_uint8(values, scene.scale)
    if scene.masked:
        valid &= dataset.dataset_mask(window=window) != 0


def _has_data(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which pixels of (h, w, 3) hold data: no band is NaN or infinite, and not all three equal ``nodata``."""
    data = everywhere(values.shape[:2])
    if nodata is not None and not np.isnan(nodata):
        data = ~((values[..., 0] == nodata) & (values[..., 1] == nodata) & (values[..., 2] == nodata))
    if np.issubdtype(values.dtype, np.floating):
        data = data & np.isfinite(values).all(axis=2)
    return data


def everywhere(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True for every pixel, in no memory; read-only."""
    return np.broadcast_to(np.True_, shape)


def to_uint8(values: NDArray[Any], scale: tuple[float, float]) -> NDArray[np.uint8]:
    """``values`` with [low, high] mapped to 0..255, rounded to nearest and clipped; NaN becomes 0."""
    low, high = scale
    with np.errstate(invalid="ignore"):  # signalling NaNs complain about being converted
        scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.asarray(np.nan_to_num(np.clip(np.rint(scaled), 0, 255)), np.uint8)


@dataclass(frozen=True, slots=True)
class _Handle:
    """An open scene."""

    dataset: Any
    warp: Warp | None

    @classmethod
    def to(cls, mosaic: Mosaic, scene: Scene) -> "_Handle":
        dataset = opened(scene.path)
        if not scene.resampled:
            return cls(dataset, None)
        warp = Warp.to(mosaic, dataset.crs.to_wkt(), dataset.transform, dataset.shape, scene.window)
        return cls(dataset, warp)


class _Handles(threading.local):
    """This thread's open scenes, least recently used first."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.open: OrderedDict[Scene, tuple[Affine, _Handle]] = OrderedDict()

    def get(self, mosaic: Mosaic, scene: Scene) -> _Handle:
        if self.pid != os.getpid():  # after a fork, parent and child would share a file position
            self.pid, self.open = os.getpid(), OrderedDict()
        if scene not in self.open or self.open[scene][0] != mosaic.affine:
            self.forget(scene)
            self.open[scene] = mosaic.affine, _Handle.to(mosaic, scene)
        self.open.move_to_end(scene)
        while len(self.open) > HANDLES:
            self.forget(next(iter(self.open)))
        return self.open[scene][1]

    def forget(self, scene: Scene) -> None:
        if scene in self.open:
            self.open.pop(scene)[1].dataset.close()


_handles = _Handles()


def close() -> None:
    """Close this thread's files."""
    for scene in list(_handles.open):
        _handles.forget(scene)


def area_mask(mosaic: Mosaic, window: Window) -> NDArray[np.bool_]:
    """(h, w) bool: True where a pixel's centre lies inside the mosaic's area; True everywhere without one."""
    if mosaic.area is None:
        return everywhere(window.shape)
    rows, cols = window.rows, window.cols
    # one pixel of margin keeps the clipped edges away from pixel centres
    box = (cols.start - 1, rows.start - 1, cols.stop + 1, rows.stop + 1)
    part = shapely.clip_by_rect(_area(mosaic.area), *box)
    if part.is_empty or part.area == (box[2] - box[0]) * (box[3] - box[1]):
        return np.full(window.shape, not part.is_empty)
    burnt = rasterize(
        [part], out_shape=window.shape, transform=Affine.translation(cols.start, rows.start), dtype="uint8"
    )
    return np.asarray(burnt, dtype=bool)


@lru_cache(maxsize=4)
def _area(wkb: bytes) -> Any:
    return shapely.from_wkb(wkb)
