"""From the scenes' headers to the mosaic: everything that can be known to be wrong is told here, at once, before any compute."""

import glob
import math
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.warp import transform_bounds

from pipeline import tiff
from pipeline.config import Region, is_remote
from pipeline.errors import InputError
from pipeline.mosaic import Mosaic, Scene
from pipeline.pixels import GDAL_OPTIONS
from tiling.grid import Span, Window

SUFFIXES = frozenset({".tif", ".tiff"})
PHASE_TOLERANCE = 0.05  # px; sizes written with seven digits drift so far over 100,000 px, and no outline shows it
MOSAIC_PIXELS_MAX = 10**14  # 10 million km² at 0.3 m; more means that scenes lie in different parts of the world
THREADS = 16  # headers wait for the disk or the network, not for a processor
MERCATOR_EDGE = 20037508.35  # m: the antimeridian in EPSG:3857


@dataclass(frozen=True, slots=True)
class Facts:
    """What the header of one scene says."""

    path: Path
    """The file."""
    shape: tuple[int, int]
    """(height, width) in pixels."""
    affine: Affine
    """Pixel (x, y) to CRS coordinates."""
    crs: CRS | None
    """Coordinate reference system."""
    dtype: str
    """Type of its first band, as numpy names it."""
    count: int
    """Number of bands, alpha included."""
    colours: tuple[str, ...]
    """What the file says that each band is: red, green, blue, alpha, gray, undefined …"""
    nodata: float | None
    """Its no-data tag."""
    mask: bool
    """It has an internal mask."""
    gcps: bool
    """It is placed by ground control points instead of a geotransform."""
    stamp: str
    """Digest of its block tables and a sample of its bytes."""

    @property
    def alpha(self) -> int | None:
        """1-based number of its alpha band."""
        return self.colours.index("alpha") + 1 if "alpha" in self.colours else None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in its CRS."""
        height, width = self.shape
        left, top = self.affine @ (0, 0)
        right, bottom = self.affine @ (width, height)
        return left, bottom, right, top


class SceneProblem(ValueError):
    """What is wrong with one scene: the rest of a sentence that begins with its path."""


def survey(region: Region) -> Mosaic:
    """The mosaic of a region's scenes, from their headers alone.

    Raises:
        InputError: every problem of every scene, of the area and of the output folder.
    """
    problems: list[str] = []
    paths = list(_collect(expand(region.scenes), problems))
    problems += check_output(region.output, paths, region.scenes)
    found = headers(paths, problems)
    for facts in found:
        problems += [f"{facts.path}: {problem}" for problem in scene_problems(facts, region)]
    problems += common_problems(found, region)
    if problems:
        raise InputError(*problems)
    mosaic = _mosaic(found, region)
    return replace(mosaic, area=_area(region, mosaic))


def _collect(items: Iterable[Path | str], problems: list[str]) -> Iterator[Path]:
    """The paths; the sentences go to ``problems``."""
    for item in items:
        if isinstance(item, Path):
            yield item
        else:
            problems.append(item)


def expand(sources: Sequence[str]) -> Iterator[Path | str]:
    """Scenes of files, folders and globs, sorted within each, each file once; or a sentence on what gave none."""
    seen: set[str] = set()
    for source in sources:
        paths = [source] if is_remote(source) else _files(source)
        if not paths:
            yield _nothing(source)
        for path in paths:
            if is_remote(path):
                yield f"{path}: scenes are read from local files only"
            elif (real := os.path.realpath(path)) not in seen:
                seen.add(real)
                yield Path(path)


def _files(source: str) -> list[str]:
    if os.path.isdir(source):
        names = sorted(os.listdir(source))
        return [os.path.join(source, name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    if os.path.lexists(source):
        return [source]
    folder, pattern = _split_glob(source)
    found = sorted(glob.glob(pattern, root_dir=folder, recursive=True))
    return [str(folder / name) for name in found if not (folder / name).is_dir()]


def _split_glob(source: str) -> tuple[Path, str]:
    """The folders that exist as written, and the pattern below them: brackets in a folder's name are no pattern."""
    path = Path(source)
    folder = next(parent for parent in path.parents if parent.is_dir())
    return folder, str(path.relative_to(folder))


def _nothing(source: str) -> str:
    if os.path.isdir(source):
        return f"{source}: this folder holds no .tif or .tiff"
    if glob.has_magic(source):
        return f"{source}: no file matches this pattern"
    return f"{source}: no such file"


def check_output(output: Path, scenes: Sequence[Path], sources: Sequence[str]) -> list[str]:
    """Sentences on an output folder that scenes would be lost in, or that cannot be written."""
    real = output.resolve()
    problems = []
    inside = next((scene for scene in scenes if scene.resolve().is_relative_to(real)), None)
    folder = next((s for s in sources if os.path.isdir(s) and real.is_relative_to(Path(s).resolve())), None)
    if inside is not None:
        problems.append(f"output {output}: the scene {inside} lies inside it; choose another folder")
    elif folder is not None:
        problems.append(f"output {output}: lies inside the scenes' folder {folder}; choose another, or list {folder}/*.tif")
    return problems + _unwritable(output)


def _unwritable(output: Path) -> list[str]:
    folder = output
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        return [f"output {output}: {folder} is not a folder"]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [f"output {output}: no permission to write in {folder}"]
    links = [entry for entry in sorted(os.listdir(output)) if (output / entry).is_symlink()] if folder == output else []
    return [f"output {output}: {name} in it is a link to somewhere else; remove it" for name in links]


def headers(paths: Sequence[Path], problems: list[str]) -> list[Facts]:
    """The facts of all scenes that could be opened, in order; sentences on the others go to ``problems``."""
    found = []
    with warnings.catch_warnings():  # threads share the filters of this one, so they are set once around all
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # told as a problem of the scene
        with ThreadPoolExecutor(THREADS) as pool:
            for path, facts in zip(paths, pool.map(_try_header, paths), strict=True):
                if isinstance(facts, Facts):
                    found.append(facts)
                else:
                    problems.append(f"{path}: {facts}")
    return found


def _try_header(path: Path) -> Facts | str:
    try:
        return header(path)
    except (SceneProblem, tiff.TiffError) as error:
        return str(error)


def header(path: Path) -> Facts:
    """The facts of one scene.

    Raises:
        SceneProblem: it cannot be opened.
        tiff.TiffError: it is not a sound TIFF.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SceneProblem("is not a regular file")
        with path.open("rb") as file:
            layout = tiff.check(file, status.st_size)
    except OSError as error:
        raise SceneProblem(f"cannot be read: {error.strerror or error}") from error
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver="GTiff") as source:
            return _facts(path, source, layout)
    except (RasterioError, CRSError, ValueError) as error:
        raise SceneProblem(f"GDAL cannot open it: {' '.join(str(error).split())}") from error


def _facts(path: Path, source: Any, layout: tiff.Layout) -> Facts:
    return Facts(
        path=path,
        shape=source.shape,
        affine=source.transform,
        crs=source.crs,
        dtype=source.dtypes[0],
        count=source.count,
        colours=tuple(colour.name for colour in source.colorinterp),
        nodata=source.nodata,
        mask=MaskFlags.per_dataset in source.mask_flag_enums[0] and ColorInterp.alpha not in source.colorinterp,
        gcps=not layout.georeferenced and bool(source.gcps[0]),
        stamp=layout.stamp,
    )


def scene_problems(facts: Facts, region: Region) -> Iterator[str]:
    """What is wrong with one scene, each as the rest of a sentence."""
    yield from _place_problems(facts)
    yield from _band_problems(facts, region)
    yield from _value_problems(facts, region)


def _place_problems(facts: Facts) -> Iterator[str]:
    a, b, _, d, e, _ = facts.affine[:6]
    if facts.gcps:
        yield "is placed by ground control points only; rectify it: gdalwarp"
    elif facts.affine.is_identity:
        yield "has no geotransform; write it into the file: gdal_edit.py -a_ullr <left> <top> <right> <bottom>"
    elif not all(map(math.isfinite, facts.affine[:6])) or a == 0 or e == 0:
        yield f"has a pixel size of {a:g} × {e:g}; write the right one into the file: gdal_edit.py -tr"
    elif max(abs(b) * facts.shape[1], abs(d) * facts.shape[0]) > PHASE_TOLERANCE * min(abs(a), abs(e)):
        yield "is rotated or sheared; rectify it: gdalwarp"
    elif a < 0 or e > 0:
        yield f"is {'south-up' if e > 0 else 'mirrored'} (pixel size {a:g} × {e:g}); turn it: gdalwarp"
    if facts.crs is None or not facts.crs:
        yield "has no coordinate reference system; write it into the file: gdal_edit.py -a_srs EPSG:<code>"
    elif not (facts.crs.is_geographic or facts.crs.is_projected):
        yield "has a coordinate reference system that is not tied to the earth; write the right one: gdal_edit.py -a_srs"
    else:
        yield from _range_problems(facts)


def _range_problems(facts: Facts) -> Iterator[str]:
    left, bottom, right, top = facts.bounds
    slack = abs(facts.affine.a)  # a pixel may reach over the edge by rounding
    crs = facts.crs
    if crs is not None and crs.is_geographic:
        if left < -180 - slack or right > 180 + slack:
            yield f"crosses the antimeridian (longitudes {left:g} to {right:g}); warp it to a projected CRS, e.g. UTM: gdalwarp"
        if bottom < -90 - slack or top > 90 + slack:
            yield f"has latitudes {bottom:g} to {top:g}, beyond ±90; is its CRS right?"
    elif crs is not None and crs.to_epsg() == 3857 and (left < -MERCATOR_EDGE - slack or right > MERCATOR_EDGE + slack):
        yield f"crosses the antimeridian (x {left:.0f} to {right:.0f} m); warp it to a projected CRS, e.g. UTM: gdalwarp"


def _band_problems(facts: Facts, region: Region) -> Iterator[str]:
    bands, explicit = region.pixels.bands, "bands" in region.pixels.model_fields_set
    colours = [colour for colour in facts.colours if colour != "alpha"]
    named = tuple(facts.colours.index(name) + 1 for name in ("red", "green", "blue") if name in facts.colours)
    if max(bands) > facts.count:
        yield f"has {facts.count} band{'s' * (facts.count != 1)}; pixels.bands asks for {list(bands)}{_cure(facts)}"
    elif facts.alpha in bands:
        yield f"has its alpha in band {facts.alpha}; pixels.bands must name colour bands"
    elif not explicit and len(colours) > 3:
        yield f"has {len(colours)} bands; say which are red, green and blue: pixels.bands: [1, 2, 3]"
    elif not explicit and len(named) == 3 and named != bands:
        yield f"has red, green and blue in other bands; say so: pixels.bands: {list(named)}"


def _cure(facts: Facts) -> str:
    if facts.colours[:1] == ("palette",):
        return "; expand its colour table: gdal_translate -expand rgb"
    return "; for grey imagery use pixels.bands: [1, 1, 1]" if facts.count < 3 else ""


def _value_problems(facts: Facts, region: Region) -> Iterator[str]:
    kind = np.dtype(facts.dtype)
    if kind.kind not in "uif":
        yield f"holds {facts.dtype} values; convert it: gdal_translate -ot Byte"
        return
    if facts.dtype != "uint8" and region.pixels.scale == "auto":
        yield f"holds {facts.dtype} values; say which range becomes 0..255: pixels.scale: [low, high]"
    nodata = region.pixels.nodata
    if nodata != "auto" and kind.kind in "ui":
        limits = np.iinfo(kind)
        if not (limits.min <= nodata <= limits.max and nodata == int(nodata)):
            yield f"holds {facts.dtype} values, so pixels.nodata {nodata:g} never occurs"


def common_problems(found: Sequence[Facts], region: Region) -> list[str]:
    """What is wrong with the scenes together."""
    sound = [facts for facts in found if not any(scene_problems(facts, region))]
    if not sound:
        return []
    first = sound[0]
    problems = _crs_option_problems(first, region)
    if len({facts.dtype for facts in sound}) > 1 and region.pixels.scale != "auto":
        other = next(facts for facts in sound if facts.dtype != first.dtype)
        problems.append(f"{other.path}: holds {other.dtype}, {first.path} {first.dtype}; one pixels.scale cannot fit both")
    if not _resampling(region):
        problems += [f"{facts.path}: {problem}" for facts in sound[1:] for problem in _grid_problems(first, facts)]
    return problems


def _crs_option_problems(first: Facts, region: Region) -> list[str]:
    if region.grid.crs == "auto":
        return []
    try:
        crs = CRS.from_user_input(region.grid.crs)
    except CRSError:
        return [f"grid.crs: {region.grid.crs!r} is not a coordinate reference system; write e.g. EPSG:32633"]
    if crs != first.crs and not _resampling(region):
        return [f"grid.crs: {region.grid.crs} is not the scenes' own; set grid.resample: true to resample them"]
    return []


def _resampling(region: Region) -> bool:
    return region.grid.resample or region.grid.resolution != "auto"


def _grid_problems(first: Facts, other: Facts) -> Iterator[str]:
    cure = "set grid.resample: true to resample it"
    if other.crs != first.crs:
        yield f"is in {_crs_name(other.crs)}, {first.path} in {_crs_name(first.crs)}; {cure}"
        return
    drift = _drift(first.affine, other)
    if drift[0] > PHASE_TOLERANCE:
        size, wanted = (f"{facts.affine.a:.9g} × {-facts.affine.e:.9g}" for facts in (other, first))
        yield f"has pixels of {size}, {first.path} of {wanted}; {cure}"
    elif drift[1] > PHASE_TOLERANCE:
        yield f"lies {drift[1]:.2f} px off the pixel grid of {first.path}; {cure}"


def _drift(affine: Affine, other: Facts) -> tuple[float, float]:
    """Px by which a scene's size, and its corner, miss the grid of ``affine``."""
    height, width = other.shape
    x, y = ~affine @ (other.affine @ (0, 0))
    right, bottom = ~affine @ (other.affine @ (width, height))
    size = max(abs(right - x - width), abs(bottom - y - height))
    return size, max(abs(x - round(x)), abs(y - round(y)))


def _crs_name(crs: CRS | None) -> str:
    epsg = crs.to_epsg() if crs else None
    return f"EPSG:{epsg}" if epsg else "another CRS"


def _mosaic(found: Sequence[Facts], region: Region) -> Mosaic:
    """The scenes on the first one's grid, or on the grid that the region asks for."""
    crs, affine = _target(found[0], region)
    windows = [_window(facts, affine, crs) for facts in found]
    top, left = min(w.rows.start for w in windows), min(w.cols.start for w in windows)
    shape = max(w.rows.stop for w in windows) - top, max(w.cols.stop for w in windows) - left
    if shape[0] * shape[1] > MOSAIC_PIXELS_MAX:
        raise InputError(f"scenes: together they span {shape[1]:,} × {shape[0]:,} px; process distant scenes as regions of their own")
    scenes = tuple(
        _scene(facts, _shifted(window, -top, -left), region, not _aligned(facts, affine, crs))
        for facts, window in zip(found, windows, strict=True)
    )
    return Mosaic(shape, affine @ Affine.translation(left, top), crs.to_wkt(version="WKT2_2019"), scenes)


def _target(first: Facts, region: Region) -> tuple[CRS, Affine]:
    """CRS of the mosaic, and an affine whose origin is the first scene's corner."""
    own = first.crs or CRS()
    crs = own if region.grid.crs == "auto" else CRS.from_user_input(region.grid.crs)
    if crs == own and region.grid.resolution == "auto":
        return crs, Affine(first.affine.a, 0, first.affine.c, 0, first.affine.e, first.affine.f)
    raise InputError("grid.crs and grid.resolution: resampling to another grid is not built yet")


def _aligned(facts: Facts, affine: Affine, crs: CRS) -> bool:
    return bool(facts.crs == crs) and max(_drift(affine, facts)) <= PHASE_TOLERANCE


def _window(facts: Facts, affine: Affine, crs: CRS) -> Window:
    """The pixels of the mosaic that a scene covers, counted from the first scene's corner."""
    height, width = facts.shape
    if _aligned(facts, affine, crs):
        col, row = (round(value) for value in ~affine @ (facts.affine @ (0, 0)))
        return Window(Span(row, row + height), Span(col, col + width))
    left, bottom, right, top = transform_bounds(facts.crs, crs, *facts.bounds, densify_pts=101)
    (x0, y0), (x1, y1) = ~affine @ (left, top), ~affine @ (right, bottom)
    return Window(Span(math.floor(y0), math.ceil(y1)), Span(math.floor(x0), math.ceil(x1)))


def _shifted(window: Window, rows: int, cols: int) -> Window:
    return Window(
        Span(window.rows.start + rows, window.rows.stop + rows), Span(window.cols.start + cols, window.cols.stop + cols)
    )


def _scene(facts: Facts, window: Window, region: Region, resampled: bool) -> Scene:
    pixels = region.pixels
    return Scene(
        path=facts.path,
        window=window,
        bands=pixels.bands,
        nodata=facts.nodata if pixels.nodata == "auto" else pixels.nodata,
        masked=facts.mask or facts.alpha is not None,
        scale=None if pixels.scale == "auto" else pixels.scale,
        resampled=resampled,
        stamp=facts.stamp,
    )


def _area(region: Region, mosaic: Mosaic) -> bytes | None:
    if region.area is None:
        return None
    raise InputError("area: not built yet")
