"""``python -m pipeline.run --init scenes/``: a region.yaml for a folder of scenes, filled in from their headers."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import yaml
from numpy.typing import NDArray
from rasterio.crs import CRS

from models.weights import WeightsError, describe
from pipeline import config, durable, survey
from pipeline.errors import InputError
from pipeline.scenes.gdal import GDAL_OPTIONS, opened
from pipeline.scenes.headers import Facts

NETWORK = "ternausnet11"
# Scenes whose pixels are looked at, and the side of what is looked at of each, px: a second's work.
LOOKED_AT, SIDE = 4, 256
# Of the pixels. A white roof is never so large that its neighbours in a 256 px picture are as white.
HOLES = 0.005
# Training scales scenes by e^±0.4, so up to there the network knows what it sees.
FAMILIAR = 1.5
# m per pixel: from a drone's to a weather satellite's; else degrees were taken for metres, or metres for degrees.
BELIEVED = 1e-3, 1e4
# Names of folders that say nothing of the place.
GENERIC = frozenset({"scenes", "images", "image", "img", "imgs", "tif", "tiff", "tiffs", "data", "train", "test", ""})


@dataclass(frozen=True, slots=True)
class Choice:
    """A key whose value follows from the files."""

    key: str
    """``section.key``."""
    value: str
    """As YAML."""
    reason: str
    """What in the files it follows from."""


RESAMPLE = Choice("grid.resample", "true", "the scenes do not share one pixel grid")


def write(scenes: str, path: Path) -> str:
    """Write a region.yaml for scenes.

    Args:
        scenes: A folder, a file or a glob.
        path: Where to write it.

    Returns:
        What was done, and the command that comes next.

    Raises:
        InputError: the file exists, its folder does not, or the scenes cannot be opened.
    """
    if os.path.lexists(path):
        raise InputError(
            f"{path}: is there already; give another name: python -m pipeline.run other.yaml --init {scenes}"
        )
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")
    found = survey.facts([str(Path(scenes).resolve())])
    own = _choices(found)
    drafts = [own, [*own, RESAMPLE]]
    wrong = [_problems(_saved(path, _text(scenes, path, found, draft))) for draft in drafts]
    best = 0 if len(wrong[0]) <= len(wrong[1]) else 1
    _saved(path, _text(scenes, path, found, drafts[best]))
    return _told(path, _about(found), drafts[best], wrong[best])


def _saved(path: Path, text: str) -> Path:
    with durable.replace(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return path


def _problems(path: Path) -> tuple[str, ...]:
    """What a run would refuse."""
    try:
        survey.survey(config.load(path))
    except InputError as error:
        return error.problems
    return ()


def _choices(found: Sequence[Facts]) -> list[Choice]:
    bands, why = _bands(found[0])
    choices = [Choice("pixels.bands", str(bands), why)] if bands != [1, 2, 3] or "guess" in why else []
    pictures = [_picture(each, bands) for each in found[:: -(-len(found) // LOOKED_AT)]]
    return [*choices, *_nodata(found, pictures), *_scale(found, pictures), *_resolution(found)]


def _bands(first: Facts) -> tuple[list[int], str]:
    """Numbers of the red, green and blue band."""
    colours = [colour for colour in first.colours if colour != "alpha"]
    if {"red", "green", "blue"} <= set(colours):
        return [first.colours.index(name) + 1 for name in ("red", "green", "blue")], "as the files name them"
    if len(colours) < 3:
        return [1, 1, 1], "the files have fewer than three bands; the first is taken as grey"
    guess = "" if len(colours) == 3 else "a guess: the files do not name their bands"
    return [1, 2, 3], guess


def _picture(facts: Facts, bands: Sequence[int]) -> NDArray[np.generic]:
    """A scene's bands, small: (h, w, 3), every so many pixels one."""
    height, width = (min(size, SIDE) for size in facts.shape)
    with rasterio.Env(**GDAL_OPTIONS), opened(facts.source) as dataset:
        usable = [band if band <= dataset.count else 1 for band in bands]
        return np.moveaxis(dataset.read(usable, out_shape=(3, height, width)), 0, 2)


def _nodata(found: Sequence[Facts], pictures: Sequence[NDArray[np.generic]]) -> Iterator[Choice]:
    """Black or white that fills whole patches, where no file says what holds no data."""
    if any(each.nodata is not None or each.mask or each.alpha for each in found):
        return
    for value in (0, 255) if found[0].dtype == "uint8" else (0,):
        share = float(np.mean([_flat(picture == value) for picture in pictures]))
        if share > HOLES:
            yield Choice("pixels.nodata", str(value), f"{share:.1%} of the pixels lie in patches of pure {value}")
            return


def _flat(equal: NDArray[np.bool_]) -> float:
    """Share of pixels that, with their four neighbours, are all equal to a value."""
    flags = np.pad(equal.all(axis=2), 1, mode="edge")
    inner = flags[1:-1, 1:-1] & flags[:-2, 1:-1] & flags[2:, 1:-1] & flags[1:-1, :-2] & flags[1:-1, 2:]
    return float(inner.mean())


def _scale(found: Sequence[Facts], pictures: Sequence[NDArray[np.generic]]) -> Iterator[Choice]:
    """The middle 96 % of the values, where they are not bytes."""
    if found[0].dtype == "uint8":
        return
    values = np.concatenate([picture.reshape(-1) for picture in pictures]).astype(np.float64)
    values = values[np.isfinite(values) & (values != (found[0].nodata or 0))]
    low, high = np.percentile(values, (2, 98)) if len(values) else (0.0, 1.0)
    if low < high:
        yield Choice(
            "pixels.scale", f"[{low:.4g}, {high:.4g}]", f"{found[0].dtype}: 2nd and 98th percentile of a sample"
        )


def _resolution(found: Sequence[Facts]) -> Iterator[Choice]:
    """The resolution of the weights, where that of the scenes is another."""
    known, own = _trained_at(), _metres(found[0])
    if known and own and not 1 / FAMILIAR <= own / known <= FAMILIAR:
        yield Choice("grid.resolution", f"{known:g}", f"m; the weights were trained at it, the scenes have {own:.3g} m")


def _trained_at() -> float | None:
    """Metres per pixel that the shipped weights were trained at."""
    try:
        return describe(config.shipped_weights(NETWORK)).resolution
    except WeightsError:
        return None


def _metres(facts: Facts) -> float | None:
    """Ground metres per pixel, where the scene has a place on the ground that can be believed."""
    crs, affine = facts.crs, facts.affine
    if crs is None or not (crs.is_geographic or crs.is_projected) or affine.is_identity or not affine.a > 0 > affine.e:
        return None
    metres = survey.ground_size(facts)
    return metres if BELIEVED[0] <= metres <= BELIEVED[1] else None


def _text(scenes: str, path: Path, found: Sequence[Facts], choices: Sequence[Choice]) -> str:
    """The file."""
    name = _name(scenes)
    sections = [_section(title, choices) for title in ("pixels", "grid")]
    return TEMPLATE.format(
        file=path.name,
        schema=_schema(path),
        about=_about(found),
        name=_yaml(name),
        entries=_yaml(_entries(scenes, path, found)),
        output=_yaml(f"out/{name}"),
        sections="\n".join(sections),
        network=NETWORK,
    )


def _schema(path: Path) -> str:
    """The line by which editors find the schema, where it came with the project."""
    schema = Path(config.__file__).parents[1] / "configs/region.schema.json"
    return f"# yaml-language-server: $schema={_relative(schema, path)}\n" if schema.exists() else ""


def _section(title: str, choices: Sequence[Choice]) -> str:
    """A section with what was chosen, and in comments what else it may hold."""
    own = [choice for choice in choices if choice.key.startswith(f"{title}.")]
    keys = {choice.key.partition(".")[2] for choice in own}
    lines = [f"  {choice.key.partition('.')[2]}: {choice.value}  # {choice.reason}" for choice in own]
    lines += [f"  # {text}" for key, text in OTHERS[title].items() if key not in keys]
    return "\n".join([f"{title}:", *lines])


OTHERS = {
    "pixels": {
        "bands": "bands: [1, 2, 3]      # 1-based numbers of red, green and blue",
        "nodata": "nodata: 0             # value of empty pixels, if the files do not say it themselves",
        "scale": "scale: [0, 2047]      # what becomes 0..255; for 16-bit and floating-point scenes",
    },
    "grid": {
        "resolution": "resolution: 0.3       # metres on the ground per pixel; scenes are resampled to it",
        "resample": "resample: true        # for scenes that do not share one pixel grid",
    },
}

TEMPLATE = """\
{schema}# {about}
# Look first:  python -m pipeline.run {file} --dry-run      Then:  python -m pipeline.run {file}
# Every key is described in docs/region.md; paths are relative to this file.
name: {name}
scenes: {entries}
output: {output}
# area: boundary.geojson     # only inside these polygons

{sections}
model:
  name: {network}
  # weights: my.safetensors  # default: those that come with the project
# What follows may be changed after a run: it is made anew from the probabilities, without the network.
footprints:
  # threshold: 0.5           # default: the one calibrated for the weights
  # square: true             # right angles where the outline allows it
  # formats: [gpkg, parquet, flatgeobuf, geojson]
probability:
  # cog: true                # also a Cloud-Optimised GeoTIFF, e.g. for QGIS
# memory: 8GiB               # limit for one worker
"""


def _about(found: Sequence[Facts]) -> str:
    """What the headers have in common, in one line; ``most`` where not all do."""
    first, metres = found[0], _metres(found[0])
    shapes = Counter(each.shape for each in found)
    (height, width), equal = shapes.most_common(1)[0]
    size = f"{'' if equal == len(found) else 'most '}{height} x {width} px"
    ground = f", {metres:.3g} m a pixel" if metres else ""
    number = f"{len(found):,} {'scene' if len(found) == 1 else 'scenes'}"
    return f"{number}: {size}, {first.count} bands of {first.dtype}{ground}, {_crs(first.crs)}"


def _crs(crs: CRS | None) -> str:
    if crs is None:
        return "no coordinate reference system"
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else "a coordinate reference system without an EPSG code"


def _entries(scenes: str, path: Path, found: Sequence[Facts]) -> list[str]:
    """The scenes relative to the file: globs for a folder, so that an output beside them is no scene."""
    if not Path(scenes).is_dir():
        return [_relative(Path(scenes), path)]
    suffixes = sorted({Path(each.source).suffix for each in found})
    return [_relative(Path(scenes), path, f"*{suffix}") for suffix in suffixes]


def _relative(target: Path, path: Path, *more: str) -> str:
    folder = os.path.relpath(target.resolve(), path.parent.resolve())
    return Path(folder, *more).as_posix()


def _name(scenes: str) -> str:
    """A name from the first folder above the scenes that says something."""
    folder = Path(scenes).resolve()
    parts = [folder.name if folder.is_dir() else folder.parent.name, *(parent.name for parent in folder.parents)]
    clean = (re.sub(r"[^\w.-]+", "-", part).strip("-. ")[:100] for part in parts if part.lower() not in GENERIC)
    return next((part for part in clean if re.match(r"\w", part)), "region")


def _yaml(value: object) -> str:
    """A value on one line; not through YAML's own guesses, because the reader has none."""
    text = yaml.safe_dump({"x": value}, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removeprefix("{x: ").removesuffix("}")


def _told(path: Path, about: str, choices: Sequence[Choice], problems: Sequence[str]) -> str:
    """What was done, what is left to do, and what comes next."""
    lines = [f"{path}: written, for {about}"]
    lines += [f"  {choice.key}: {choice.value}  ({choice.reason})" for choice in choices if choice.reason]
    if problems:
        lines += ["a run would still refuse this:", *(f"  {problem}" for problem in problems)]
    return "\n".join([*lines, f"next: python -m pipeline.run {path} --dry-run"])
