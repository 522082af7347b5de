"""Pixels of a window of the mosaic: the only module that reads imagery.

One GDAL handle per process and thread, because handles are not safe to share (rasterio #2847); few of them, because a mosaic
may have more scenes than a process may have open files.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from pipeline.errors import PipelineError
from pipeline.mosaic import Mosaic, Scene
from tiling.grid import Span, Window

FILL = (124, 116, 104)  # ImageNet's mean colour: about zero after normalisation, so that the network sees nothing there
HANDLES = 16  # per thread: a tile meets at most a few scenes, and neighbours meet the same ones
CACHE_BYTES = 128 << 20  # strips of a 5000 px scene that two neighbouring tiles share: 5000 · 2048 · 3 B = 30 MB, for 4 threads

GDAL_OPTIONS: dict[str, str | int | bool] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no sidecar files: a scene is one file, and none may point elsewhere
    "GDAL_PAM_ENABLED": False,  # no .aux.xml either, neither read nor written beside the user's scenes
    "GDAL_GEOREF_SOURCES": "INTERNAL",  # no world files
    "GDAL_CACHEMAX": CACHE_BYTES,  # else 5 % of the machine, which no plan could state
    "GDAL_NUM_THREADS": 1,  # blocks are read in parallel already
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.tiff",  # a scene is fetched, never what lies beside it
}


class SceneError(PipelineError):
    """A scene could not be read in a window; the pixels there are unknown."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixels of a window of the mosaic."""

    rgb: NDArray[np.uint8]
    """(h, w, 3) uint8; ``FILL`` where there are no data."""
    valid: NDArray[np.bool_]
    """(h, w) bool; True where some scene has data."""


def read(mosaic: Mosaic, window: Window) -> Pixels:
    """The pixels of ``window``, which lies inside the mosaic. The first scene with a valid pixel wins.

    The result for a pixel does not depend on the window that it is read with.

    Raises:
        SceneError: a scene's file is damaged, gone or unreadable there.
    """
    rgb = np.empty((*window.shape, 3), np.uint8)
    valid = np.zeros(window.shape, bool)
    for scene in mosaic.scenes_over(window):
        part = _intersection(scene.window, window)
        inside = part.within(window)
        if not valid[inside].any():
            _read_scene(mosaic, scene, part, rgb[inside], valid[inside])
        elif not valid[inside].all():
            _read_behind(mosaic, scene, part, rgb[inside], valid[inside])
    if not valid.all():
        rgb[~valid] = FILL
    return Pixels(rgb, valid)


def _intersection(one: Window, other: Window) -> Window:
    pairs = ((one.rows, other.rows), (one.cols, other.cols))
    rows, cols = (Span(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)
    return Window(rows, cols)


def _read_behind(
    mosaic: Mosaic, scene: Scene, part: Window, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> None:
    """Fill from ``scene`` what the scenes before it left without data."""
    behind, there = np.empty_like(rgb), np.empty_like(valid)
    _read_scene(mosaic, scene, part, behind, there)
    there &= ~valid
    rgb[there] = behind[there]
    valid |= there


def _read_scene(
    mosaic: Mosaic, scene: Scene, part: Window, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> None:
    """Read ``part`` (mosaic pixels) of one scene into ``rgb`` (h, w, 3) and ``valid`` (h, w)."""
    rows, cols = part.within(scene.window)
    window = RasterWindow.from_slices(rows, cols)
    try:
        with rasterio.Env(**GDAL_OPTIONS):
            source = _source(mosaic, scene)
            if scene.scale is None:
                # GDAL writes straight into the interleaved array; a copy and a transpose would double the time
                source.read(scene.bands, window=window, out=rgb.transpose(2, 0, 1))
                valid[...] = _has_data(rgb, scene.nodata)
            else:
                values = np.moveaxis(source.read(scene.bands, window=window), 0, 2)
                valid[...] = _has_data(values, scene.nodata)
                rgb[...] = to_uint8(values, scene.scale)
            if scene.masked or scene.resampled:
                valid &= source.dataset_mask(window=window) != 0
    except (RasterioError, OSError) as error:
        _forget(mosaic, scene)
        place = f"rows {part.rows.start}..{part.rows.stop}, columns {part.cols.start}..{part.cols.stop}"
        raise SceneError(f"{scene.path}: cannot be read at {place} of the mosaic: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The innermost cause, on one line: rasterio's own text only says that reading failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())


def _has_data(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which pixels of (h, w, 3) hold data: no band is NaN or infinite, and not all three equal ``nodata``."""
    data = np.ones(values.shape[:2], bool)
    if nodata is not None and not np.isnan(nodata):
        data = ~((values[..., 0] == nodata) & (values[..., 1] == nodata) & (values[..., 2] == nodata))
    if np.issubdtype(values.dtype, np.floating):
        data &= np.isfinite(values).all(axis=2)
    return data


def to_uint8(values: NDArray[Any], scale: tuple[float, float]) -> NDArray[np.uint8]:
    """``values`` with [low, high] mapped to 0..255, rounded to nearest and clipped; NaN becomes 0."""
    low, high = scale
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.nan_to_num(np.clip(np.rint(scaled), 0, 255)).astype(np.uint8)


class _Handles(threading.local):
    """This thread's open datasets, least recently used first."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.open: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    def get(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        if self.pid != os.getpid():  # after a fork the parent's handles share its file positions
            self.__init__()  # type: ignore[misc]
        if key not in self.open:
            self.open[key] = make()
        self.open.move_to_end(key)
        while len(self.open) > HANDLES:
            self.open.popitem(last=False)[1].close()
        return self.open[key]

    def forget(self, key: tuple[object, ...]) -> None:
        if key in self.open:
            self.open.pop(key).close()


_handles = _Handles()


def close() -> None:
    """Close this thread's files."""
    for key in list(_handles.open):
        _handles.forget(key)


def _key(mosaic: Mosaic, scene: Scene) -> tuple[object, ...]:
    return (scene.path, scene.stamp, *((scene.window, mosaic.affine, mosaic.crs) if scene.resampled else ()))


def _source(mosaic: Mosaic, scene: Scene) -> Any:
    make = _warped if scene.resampled else _plain
    return _handles.get(_key(mosaic, scene), lambda: make(mosaic, scene))


def _forget(mosaic: Mosaic, scene: Scene) -> None:
    _handles.forget(_key(mosaic, scene))


def _plain(_: Mosaic, scene: Scene) -> Any:
    return rasterio.open(scene.path, driver="GTiff", sharing=False)


def _warped(mosaic: Mosaic, scene: Scene) -> Any:
    """The scene on the mosaic's grid, bilinear, in a form whose pixels do not depend on the window that is read."""
    source = _plain(mosaic, scene)
    window = scene.window
    return WarpedVRT(
        source,
        crs=mosaic.crs,
        transform=mosaic.affine @ Affine.translation(window.cols.start, window.rows.start),
        height=window.shape[0],
        width=window.shape[1],
        resampling=Resampling.bilinear,
        src_nodata=scene.nodata,
        add_alpha=True,
        tolerance=0,  # every pixel is transformed exactly; the interpolation along lines depends on the window
    )


def area_mask(mosaic: Mosaic, window: Window) -> NDArray[np.bool_]:
    """(h, w) bool: True where a pixel's centre lies inside the mosaic's area; True everywhere without one."""
    if mosaic.area is None:
        return np.ones(window.shape, bool)
    rows, cols = window.rows, window.cols
    # one pixel of margin keeps the clipped edges away from pixel centres
    box = (cols.start - 1, rows.start - 1, cols.stop + 1, rows.stop + 1)
    part = shapely.clip_by_rect(_area(mosaic.area), *box)
    if part.is_empty or part.area == (box[2] - box[0]) * (box[3] - box[1]):
        return np.full(window.shape, not part.is_empty)
    burnt = rasterize([part], out_shape=window.shape, transform=Affine.translation(cols.start, rows.start), dtype="uint8")
    return np.asarray(burnt, dtype=bool)


@lru_cache(maxsize=4)
def _area(wkb: bytes) -> Any:
    return shapely.from_wkb(wkb)
