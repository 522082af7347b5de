"""What is wrong with scenes whose headers could be read: alone, and together. Values in, sentences out."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from pipeline.config import Region
from pipeline.scenes.headers import Facts

PHASE_TOLERANCE = 0.05  # px; sizes written with seven digits drift so far over 100,000 px, and no outline shows it
_CORNERS = "-a_ullr <left> <top> <right> <bottom>"
FARTHEST = 1e9  # CRS units; the earth is 4e7 m around, and units of a few centimetres exist
FINEST = 1e-11  # of a coordinate; double precision then still tells 1/1000 of a pixel, and real imagery has 1e-8
MERCATOR_EDGE = 20037508.35  # m: the antimeridian in EPSG:3857


def scene_problems(facts: Facts, region: Region) -> list[str]:
    """What is wrong with one scene, each as the rest of a sentence that begins with its name."""
    if facts.pixel_size and not all(math.isfinite(size) and size for size in facts.pixel_size):
        x, y = facts.pixel_size
        place = [f"has a pixel size of {x:g} × {y:g}; write the right one into the file: gdal_edit.py -tr <x> <y>"]
    elif facts.crs is None and not facts.georeferenced and not facts.gcps:
        place = [f"is not georeferenced; write its place into the file: gdal_edit.py -a_srs EPSG:<code> {_CORNERS}"]
    else:
        place = [*_affine_problems(facts), *_crs_problems(facts)]
    place = place or list(_range_problems(facts))  # where it lies is known only then
    return [*place, *_band_problems(facts, region), *_value_problems(facts, region)]


def _affine_problems(facts: Facts) -> Iterator[str]:
    a, b, _, d, e, _ = facts.affine[:6]
    if facts.gcps:
        yield "is placed by ground control points only; rectify it: gdalwarp"
    elif not facts.georeferenced:
        yield f"has no geotransform; write it into the file: gdal_edit.py {_CORNERS}"
    elif not all(map(math.isfinite, facts.affine[:6])) or a * e == b * d:
        yield f"has a geotransform that maps to nothing ({a:g}, {b:g}; {d:g}, {e:g}); write it again: gdal_edit.py"
    elif max(abs(b) * facts.shape[0], abs(d) * facts.shape[1]) > PHASE_TOLERANCE * min(abs(a), abs(e)):
        yield "is rotated or sheared; rectify it: gdalwarp"
    elif a < 0 or e > 0:
        yield f"is {'south-up' if e > 0 else 'mirrored'} (pixel size {a:g} × {e:g}); turn it: gdalwarp"


def _crs_problems(facts: Facts) -> Iterator[str]:
    if facts.gcps:  # their CRS comes with rectifying
        return
    if facts.crs is None:
        yield "has no coordinate reference system; write it into the file: gdal_edit.py -a_srs EPSG:<code>"
    elif not (facts.crs.is_geographic or facts.crs.is_projected):
        yield "has a coordinate reference system without a place on earth; write the right one: gdal_edit.py -a_srs"


def _range_problems(facts: Facts) -> Iterator[str]:
    left, bottom, right, top = facts.bounds
    if not max(map(abs, facts.bounds)) < FARTHEST:
        yield f"lies at {left:g}, {top:g}, which is nowhere on earth; is its geotransform right?"
        return
    if min(facts.affine.a, -facts.affine.e) < FINEST * max(map(abs, facts.bounds)):
        yield f"has pixels of {facts.affine.a:g}, too fine for coordinates like {left:g}; is its geotransform right?"
        return
    slack = abs(facts.affine.a)  # a pixel may reach over the edge by rounding
    if _is_geographic(facts):
        if left < -360 or right > 360:
            yield f"has longitudes from {left:g} to {right:g}, beyond ±360; is its coordinate reference system right?"
        elif left < -180 - slack or right > 180 + slack:
            yield f"crosses the antimeridian (longitudes {left:g} to {right:g}); {_TO_UTM}"
        if bottom < -90 - slack or top > 90 + slack:
            yield f"has latitudes from {bottom:g} to {top:g}, beyond ±90; is its coordinate reference system right?"
    elif _is_mercator(facts) and (left < -MERCATOR_EDGE - slack or right > MERCATOR_EDGE + slack):
        yield f"crosses the antimeridian (x from {left:.0f} to {right:.0f} m); {_TO_UTM}"


_TO_UTM = "warp it to a projected CRS, e.g. UTM: gdalwarp -t_srs"


def half_world(crs: CRS) -> float:
    """Half the way around the world, in units of a CRS that ends at the antimeridian; infinite where none does."""
    if crs.is_geographic:
        return 180.0
    return MERCATOR_EDGE if crs == CRS.from_epsg(3857) else math.inf


def _is_geographic(facts: Facts) -> bool:
    return facts.crs is not None and bool(facts.crs.is_geographic)


def _is_mercator(facts: Facts) -> bool:
    return facts.crs is not None and facts.crs == CRS.from_epsg(3857)


def _band_problems(facts: Facts, region: Region) -> Iterator[str]:
    bands, explicit = region.pixels.bands, "bands" in region.pixels.model_fields_set
    colours = [colour for colour in facts.colours if colour != "alpha"]
    named = tuple(facts.colours.index(name) + 1 for name in ("red", "green", "blue") if name in facts.colours)
    if "palette" in facts.colours:
        yield "holds indices into a colour table; expand it: gdal_translate -expand rgb"
    elif max(bands) > facts.count:
        grey = "; for grey imagery: pixels.bands: [1, 1, 1]" if len(colours) == 1 else ""
        yield f"has {facts.count} band{'s' * (facts.count != 1)}, but pixels.bands is {list(bands)}{grey}"
    elif facts.alpha in bands:
        yield f"has its alpha in band {facts.alpha}, but pixels.bands is {list(bands)}; name colour bands only"
    elif not explicit and len(colours) > 3:
        yield f"has {len(colours)} bands; say which are red, green and blue, e.g. pixels.bands: [1, 2, 3]"
    elif not explicit and len(named) == 3 and named != bands:
        yield f"has red, green and blue in other bands; say so: pixels.bands: {list(named)}"


def _value_problems(facts: Facts, region: Region) -> Iterator[str]:
    if facts.dtype == "mixed" or np.dtype(facts.dtype).kind not in "uif":
        yield f"holds {facts.dtype} values; convert it: gdal_translate -ot Byte"
        return
    if facts.dtype != "uint8" and region.pixels.scale == "auto":
        yield f"holds {facts.dtype} values; say which range becomes 0..255: pixels.scale: [low, high]"
    nodata = region.pixels.nodata
    if nodata != "auto" and not _occurs(nodata, facts.dtype):
        yield f"holds {facts.dtype} values, so pixels.nodata {nodata:g} never occurs in it"


def _occurs(value: float, dtype: str) -> bool:
    if np.dtype(dtype).kind == "f":
        return True
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max and value == int(value)


def joint_problems(found: Sequence[Facts], region: Region) -> list[str]:
    """What is wrong with scenes together, each of them sound alone."""
    if not found:
        return []
    first, problems = found[0], [*_crs_option_problems(found[0], region), *_antimeridian_problems(found)]
    other = next((facts for facts in found if facts.dtype != first.dtype), None)
    if other and region.pixels.scale != "auto":
        rule = "one pixels.scale cannot fit both; convert one, or make two regions"
        problems.append(f"{other.source}: holds {other.dtype} and {first.source} {first.dtype} values; {rule}")
    if region.probability.masks:
        problems += _mask_problems(found)
    if not resamples(region):
        problems += [f"{facts.source}: {problem}" for facts in found[1:] for problem in _grid_problems(first, facts)]
    return problems


def _crs_option_problems(first: Facts, region: Region) -> Iterator[str]:
    if region.grid.crs == "auto":
        return
    try:
        crs = CRS.from_user_input(region.grid.crs)
    except CRSError:
        yield f"grid.crs: {region.grid.crs!r} is not a coordinate reference system; write e.g. EPSG:32633"
        return
    if not (crs.is_geographic or crs.is_projected):
        yield f"grid.crs: {region.grid.crs} is neither projected nor geographic; write e.g. EPSG:32633"
    elif crs != first.crs and not resamples(region):
        yield f"grid.crs: {region.grid.crs} is not the scenes' own; set grid.resample: true to resample them"


def _antimeridian_problems(found: Sequence[Facts]) -> Iterator[str]:
    """Scenes on both sides of it would make a mosaic around the world."""
    for kind in (_is_geographic, _is_mercator):
        placed = [facts for facts in found if kind(facts)]
        yield from _around_the_world(placed) if placed else ()


def _around_the_world(placed: Sequence[Facts]) -> Iterator[str]:
    west, east = min(placed, key=lambda facts: facts.bounds[0]), max(placed, key=lambda facts: facts.bounds[2])
    if east.bounds[2] - west.bounds[0] > half_world(placed[0].crs or CRS()):
        yield f"{west.source} and {east.source} lie on both sides of the antimeridian; process them as two regions"


def _mask_problems(found: Sequence[Facts]) -> Iterator[str]:
    """A mask is named as its scene, so that scenes of one name would have one mask."""
    named: dict[str, Facts] = {}
    for facts in found:
        first = named.setdefault(Path(facts.source).stem, facts)
        if first is not facts:
            cure = "rename one, or set probability.masks: false"
            yield f"{facts.source}: is named as {first.source}, and so would be its mask; {cure}"


def resamples(region: Region) -> bool:
    """Whether scenes may be brought to another grid than their own."""
    return region.grid.resample or region.grid.resolution != "auto"


def _grid_problems(first: Facts, other: Facts) -> Iterator[str]:
    if other.crs != first.crs:
        yield f"is in {_crs_name(other)}, but {first.source} in {_crs_name(first)}; {_TO_RESAMPLE}"
        return
    size, corner = drift(~first.affine, other)
    if size > PHASE_TOLERANCE:
        pixels = [f"{facts.affine.a:.9g} × {-facts.affine.e:.9g}" for facts in (other, first)]
        yield f"has pixels of {pixels[0]}, but {first.source} of {pixels[1]}; {_TO_RESAMPLE}"
    elif corner > PHASE_TOLERANCE:
        yield f"lies {corner:.2f} px off the pixel grid of {first.source}; {_TO_RESAMPLE}"


_TO_RESAMPLE = "set grid.resample: true to resample it"


def _crs_name(facts: Facts) -> str:
    epsg = facts.crs.to_epsg() if facts.crs else None
    return f"EPSG:{epsg}" if epsg else "another coordinate reference system"


def drift(to_pixels: Affine, other: Facts) -> tuple[float, float]:
    """Px by which a scene's size, and its corner, miss the pixel grid that ``to_pixels`` leads to (in the same CRS)."""
    height, width = other.shape
    x, y = to_pixels @ (other.affine @ (0, 0))
    right, bottom = to_pixels @ (other.affine @ (width, height))
    size = max(abs(right - x - width), abs(bottom - y - height))
    return size, max(abs(x - round(x)), abs(y - round(y)))
