"""From the scenes' headers to the mosaic: what can be known to be wrong is told here, at once, before any compute."""

import math
from collections.abc import Sequence

from affine import Affine
from pyproj import Geod, Transformer
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from pipeline.config import Region
from pipeline.errors import InputError, collecting
from pipeline.mosaic import Mosaic, Scene
from pipeline.scenes import area
from pipeline.scenes.checks import PHASE_TOLERANCE, drift, half_world, joint_problems, scene_problems
from pipeline.scenes.headers import Facts, headers
from pipeline.scenes.sources import expand, output_problems
from tiling.grid import Span, Window

MOSAIC_PIXELS_MAX = 10**14  # 10 million km² at 0.3 m; more means that scenes lie in different parts of the world
NOMINAL = 0.005  # a projection that stretches less counts as true to scale: 0.3 m in UTM shall mean 0.3


def survey(region: Region) -> Mosaic:
    """The mosaic of a region's scenes, from their headers alone.

    Raises:
        InputError: every problem of every scene, of the area and of the output folder.
    """
    problems: list[str] = []
    sources = expand(region.scenes, region.remote, problems, region.output)
    problems += output_problems(region.output, sources, region.scenes)
    sound = _sound(headers(sources, problems), region, problems)
    problems += joint_problems(sound, region)
    problems += area.problems(region.area)
    if problems:
        raise InputError(*problems)
    return area.within(place(sound, region), region.area)


def facts(entries: Sequence[str]) -> list[Facts]:
    """What the headers of scenes say, for whoever writes a region.yaml for them.

    Raises:
        InputError: every scene that cannot be opened.
    """
    problems: list[str] = []
    found = headers(expand(entries, (), problems), problems)
    if problems:
        raise InputError(*problems)
    return found


def _sound(found: Sequence[Facts], region: Region, problems: list[str]) -> list[Facts]:
    """The scenes with nothing wrong alone; sentences on the others go to ``problems``."""
    sound = []
    for each in found:
        wrong = scene_problems(each, region)
        problems += [f"{each.source}: {problem}" for problem in wrong]
        if not wrong:
            sound.append(each)
    return sound


def place(found: Sequence[Facts], region: Region) -> Mosaic:
    """The scenes on the first one's pixel grid, or on the one that the region asks for.

    Raises:
        InputError: the scenes are too far apart for one mosaic, or some lie where the mosaic's CRS cannot reach.
    """
    crs, affine = _grid(found[0], region)
    to_pixels = ~affine
    aligned = [bool(each.crs == crs) and max(drift(to_pixels, each)) <= PHASE_TOLERANCE for each in found]
    windows = _windows(found, aligned, crs, to_pixels)
    top, left = min(each.rows.start for each in windows), min(each.cols.start for each in windows)
    shape = max(each.rows.stop for each in windows) - top, max(each.cols.stop for each in windows) - left
    if shape[0] * shape[1] > MOSAIC_PIXELS_MAX or shape[1] * affine.a > half_world(crs):
        raise InputError(
            f"scenes: they span {shape[1]:,} × {shape[0]:,} px; process distant ones as regions of their own"
        )
    scenes = tuple(
        _scene(each, window.moved(-top, -left), region, not fits)
        for each, window, fits in zip(found, windows, aligned, strict=True)
    )
    return Mosaic(shape, affine @ Affine.translation(left, top), crs.to_wkt(version="WKT2_2019"), scenes)


def _grid(first: Facts, region: Region) -> tuple[CRS, Affine]:
    """CRS of the mosaic, and an affine on its pixel grid."""
    own, options = first.crs or CRS(), region.grid
    crs = own if options.crs == "auto" else CRS.from_user_input(options.crs)
    if crs == own and options.resolution == "auto":
        a, _, c, _, e, f = first.affine[:6]
        return own, Affine(a, 0, c, 0, e, f)  # a rotation below the tolerance is none
    ground = ground_size(first) if options.resolution == "auto" else options.resolution
    left, _, _, top = _bounds(first, crs)
    x_metres, y_metres = metres_per_unit(crs, left, top)
    if not (0 < x_metres < math.inf and 0 < y_metres < math.inf):
        raise _beyond(first, crs)
    width, height = ground / x_metres, ground / y_metres
    # on multiples of the pixel size, so that another first scene gives the same grid where the size is the same
    return crs, Affine(width, 0, math.floor(left / width) * width, 0, -height, math.ceil(top / height) * height)


def _bounds(each: Facts, crs: CRS) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of a scene in another CRS.

    Raises:
        InputError: the CRS does not reach so far, or ends in the middle of it.
    """
    try:
        left, bottom, right, top = transform_bounds(each.crs, crs, *each.bounds, densify_pts=101)
    except CPLE_BaseError as error:
        raise _beyond(each, crs) from error
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise _beyond(each, crs)
    if left > right or right - left > half_world(crs):
        cure = "choose a grid.crs that goes on there, e.g. UTM"
        raise InputError(f"{each.source}: crosses the antimeridian, where {_name(crs)} ends; {cure}")
    return left, bottom, right, top


def _beyond(each: Facts, crs: CRS) -> InputError:
    cure = "choose another grid.crs, or make it a region of its own"
    return InputError(f"{each.source}: cannot be brought into {_name(crs)}, which does not reach it; {cure}")


def _name(crs: CRS) -> str:
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else "the mosaic's coordinate reference system"


def ground_size(each: Facts) -> float:
    """Ground metres per pixel: the geometric mean of both axes."""
    left, _, _, top = each.bounds
    x_metres, y_metres = metres_per_unit(each.crs or CRS(), left, top)
    return math.sqrt(each.affine.a * x_metres * -each.affine.e * y_metres)


def metres_per_unit(crs: CRS, x: float, y: float) -> tuple[float, float]:
    """Ground metres of one CRS unit along x and along y, at (x, y).

    The same along both in a projected CRS, so that pixels stay square; 1 where the projection is nearly true to scale.
    """
    step = 1e-3 if crs.is_geographic else 100.0
    to_degrees = Transformer.from_crs(crs.to_wkt(), "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform([x, x + step, x], [y, y, y - step])
    along_x, along_y = (Geod(ellps="WGS84").inv(lon[0], lat[0], lon[end], lat[end])[2] / step for end in (1, 2))
    if crs.is_geographic:
        return along_x, along_y
    mean = math.sqrt(along_x * along_y)
    return (1.0, 1.0) if abs(mean - 1) < NOMINAL else (mean, mean)


def _windows(found: Sequence[Facts], aligned: Sequence[bool], crs: CRS, to_pixels: Affine) -> list[Window]:
    """The pixels of the grid that each scene has, or covers where it is not ``aligned`` with them."""
    windows: list[Window] = []
    problems: list[str] = []
    for each, fits in zip(found, aligned, strict=True):
        with collecting(problems):
            windows.append((_own if fits else _covered)(each, crs, to_pixels))
    if problems:
        raise InputError(*problems)
    return windows


def _own(each: Facts, _: CRS, to_pixels: Affine) -> Window:
    """The pixels of a scene that lies on the grid."""
    col, row = (round(value) for value in to_pixels @ (each.affine @ (0, 0)))
    return Window.of(each.shape).moved(row, col)


def _covered(each: Facts, crs: CRS, to_pixels: Affine) -> Window:
    """The pixels of the grid that a scene in another CRS or on another grid covers."""
    left, bottom, right, top = _bounds(each, crs)
    (x_start, y_start), (x_stop, y_stop) = to_pixels @ (left, top), to_pixels @ (right, bottom)
    return Window(Span(math.floor(y_start), math.ceil(y_stop)), Span(math.floor(x_start), math.ceil(x_stop)))


def _scene(each: Facts, window: Window, region: Region, resampled: bool) -> Scene:
    pixels = region.pixels
    return Scene(
        path=each.source,
        window=window,
        bands=pixels.bands,
        nodata=each.nodata if pixels.nodata == "auto" else pixels.nodata,
        masked=each.mask or each.alpha is not None,
        scale=None if pixels.scale == "auto" else pixels.scale,
        resampled=resampled,
        stamp=each.stamp,
    )
