"""Data sets on disk as labelled scenes: every layout that train.yaml knows, checked before anything is trained."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from glob import glob
from itertools import pairwise
from pathlib import Path

import numpy as np
from rasterio.errors import RasterioIOError

from models.metrics import IGNORE
from pipeline.durable import replace as replaced
from pipeline.errors import InputError
from pipeline.render import View, World, render
from pipeline.render.files import Encoding, Place, write_image, write_mask
from pipeline.training.scenes import LabelledScene, layer_of, opened, whole
from pipeline.training.settings import DataSet, Held
from tiling.grid import Span, Window

IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
INRIA_HELD = range(1, 6)
# ^ the contest's own recommendation: the first five scenes of each city validate
RENDERER = 1
# ^ to be counted up when ``pipeline.render`` draws other places from equal seeds: what older ones left is not reused
RENDERED_AT = Place("EPSG:32633", 500_000, 5_500_000)


@dataclass(frozen=True, slots=True)
class Split:
    """The scenes of a data set."""

    training: tuple[LabelledScene, ...]
    """What is trained on."""
    validation: tuple[LabelledScene, ...]
    """What is held out; no pixel of it is in ``training``."""


def find(name: str, data: DataSet, work: Path, between: Callable[[], None] = lambda: None) -> Split:
    """The scenes of the data set ``name``; rendered ones are made in the folder ``work`` where they are not there yet.

    Rendering takes seconds a place: ``between`` is called before each one, and may end it by raising.

    Raises:
        InputError: every file that is missing or cannot be trained on.
    """
    pairs = _rendered(name, data, work, between) if data.kind == "rendered" else ON_DISK[data.kind](name, data)
    problems = list(dict.fromkeys(problem for scene, _ in pairs for problem in _problems(scene)))
    if not pairs:
        problems = [f"data.{name}: no image found in {data.images or data.folder}"]
    if problems:
        raise InputError(*problems)
    return _split(pairs, data.validation)


Pair = tuple[LabelledScene, bool]
"""A whole scene, and whether its data set's layout holds it out."""


def _scene(source: str, image: Path, labels: Path, form: str = "mask") -> LabelledScene:
    """A scene whose part is not known yet: files are opened when all are found."""
    nothing = Window.of((0, 0))
    return LabelledScene(source, image, labels, form, nothing)  # type: ignore[arg-type]


def city(image: Path) -> tuple[str, int]:
    """City and number of an Inria scene, by its file name alone: ``tyrol-w12.tif`` is scene 12 of tyrol-w."""
    match = re.fullmatch(r"(\D.*?)(\d+)", image.stem)
    if match is None:
        raise InputError(f"{image}: is not named as an Inria scene, such as austin1.tif")
    return match[1], int(match[2])


def _inria(_: str, data: DataSet) -> list[Pair]:
    folder = data.folder or Path()
    images = _images(folder / "images")
    named = [(image, *city(image)) for image in images]
    return [(_scene(where, image, folder / "gt" / image.name), number in INRIA_HELD) for image, where, number in named]


def _masks(name: str, data: DataSet) -> list[Pair]:
    labels = data.labels or Path()
    folder = labels.is_dir()
    return [
        (_scene(name, image, _mask_of(image, labels, data.suffix) if folder else labels), False)
        for image in _images(data.images or "")
        if not (data.suffix and image.stem.endswith(data.suffix))
    ]


def _mask_of(image: Path, folder: Path, suffix: str) -> Path:
    """The mask of ``image``: its name with ``suffix``, with whatever ending is there."""
    names = [folder / f"{image.stem}{suffix}{ending}" for ending in (image.suffix, *IMAGES)]
    return next((name for name in names if name.exists()), names[0])


def _footprints(name: str, data: DataSet) -> list[Pair]:
    labels = data.labels or Path()
    return [(_scene(name, image, labels, "footprints"), False) for image in _images(data.images or "")]


def _voc(name: str, data: DataSet) -> list[Pair]:
    folder = data.folder or Path()
    masks = folder / "SegmentationClass"
    listed = {part: _listed(folder / "ImageSets" / "Segmentation" / f"{part}.txt") for part in ("train", "val")}
    images = _images(folder / "JPEGImages")
    known = listed["train"] | listed["val"] or {image.stem for image in images}
    return [
        (_scene(name, image, masks / f"{image.stem}.png", "classes"), image.stem in listed["val"])
        for image in images
        if image.stem in known
    ]


def _listed(path: Path) -> set[str]:
    """The names in one of VOC's lists; none where there is no list."""
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


ON_DISK = {"inria": _inria, "masks": _masks, "footprints": _footprints, "voc": _voc}


def _rendered(name: str, data: DataSet, work: Path, between: Callable[[], None]) -> list[Pair]:
    folder = work / f"{name}-{_recipe(data)}"
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for seed in range(data.scenes):
        between()
        pairs.append((_scene(name, *_render_once(folder, data, seed)), False))
    return pairs


def _recipe(data: DataSet) -> str:
    """A name for what determines rendered places besides their seeds: other settings are never taken for these."""
    recipe = RENDERER, data.style, data.size, data.resolution
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]


def _render_once(folder: Path, data: DataSet, seed: int) -> tuple[Path, Path]:
    """Image and mask of the rendered place ``seed``, made unless they are there: whole or not at all."""
    rng = np.random.default_rng(seed)
    low, high = (math.log(metres) for metres in data.resolution)
    row, col = (int(value) for value in rng.integers(-4096, 4096, 2))
    view = View(row, col, data.size, data.size, math.exp(rng.uniform(low, high)))
    image, mask = folder / f"{seed:05}.tif", folder / f"{seed:05}_mask.tif"
    if not image.exists():
        scene = render(World(seed, data.style), view)
        with replaced(mask) as aside:
            write_mask(aside, scene, view, RENDERED_AT)
        with replaced(image) as aside:
            write_image(aside, scene, view, RENDERED_AT, Encoding())
    return image, mask


def _images(where: Path | str) -> list[Path]:
    """The images of a folder, a glob or a single path, in the order of their names."""
    if Path(where).is_dir():
        return sorted(path for path in Path(where).iterdir() if path.suffix.lower() in IMAGES)
    return [Path(path) for path in sorted(glob(str(where), recursive=True))]  # noqa: PTH207 - patterns are absolute


def _problems(scene: LabelledScene) -> Iterator[str]:
    """What is wrong with a pair of files, as sentences."""
    try:
        image = opened(scene.image)
        if image.count < 3 or set(image.dtypes[:3]) != {"uint8"}:
            yield f"{scene.image}: has {image.count} band(s) of {image.dtypes[0]}; training takes RGB of uint8"
        if not scene.labels.exists():
            yield f"{scene.labels}: is missing; it holds the labels of {scene.image.name}"
        elif scene.form == "footprints":
            yield from _unplaced(scene)
        elif scene.form == "classes" and (opened(scene.labels).count, opened(scene.labels).dtypes[0]) != (1, "uint8"):
            bands = f"{opened(scene.labels).count} band(s) of {opened(scene.labels).dtypes[0]}"
            yield f"{scene.labels}: has {bands}; class indices are one band of uint8, not the colours of a palette"
        elif opened(scene.labels).shape != image.shape:
            shapes = " x ".join(map(str, opened(scene.labels).shape)), " x ".join(map(str, image.shape))
            yield f"{scene.labels}: is {shapes[0]} px, but its image {scene.image.name} {shapes[1]}"
    except RasterioIOError as error:
        yield f"{error.args[0] if error.args else scene.image}: cannot be read"


def unknown_classes(scenes: Iterable[LabelledScene], classes: int) -> Iterator[str]:
    """The masks with class indices that a network of so many classes does not have, as sentences; reads each once."""
    for path in dict.fromkeys(scene.labels for scene in scenes if scene.form == "classes" and classes > 1):
        values = opened(path).read(1)
        largest = int(values.max(where=values != IGNORE, initial=0))
        if largest >= classes:
            cure = f"set network.options.num_classes to {largest + 1} or more"
            yield f"{path}: has class {largest}, but the network {classes} classes, counted from 0; {cure}"


def _unplaced(scene: LabelledScene) -> Iterator[str]:
    """Why footprints cannot be placed on an image."""
    if opened(scene.image).crs is None:
        yield f"{scene.image}: has no CRS, so that footprints cannot be placed on it; give masks instead"
    try:
        layer_of(scene.labels)
    except InputError as error:
        yield from error.problems


def _split(pairs: Sequence[Pair], held: Held) -> Split:
    """Scenes with their parts, those for training and those held out."""
    training: list[LabelledScene] = []
    validation: list[LabelledScene] = []
    for scene, out in pairs:
        whole_scene = replace(scene, part=whole(scene.image))
        if out or any(fnmatch(scene.image.stem, pattern) for pattern in held.scenes):
            validation.append(whole_scene)
        elif held.columns is None:
            training.append(whole_scene)
        else:
            before, inside, behind = _cut(whole_scene, held.columns)
            validation += inside
            training += before + behind
    return Split(tuple(training), () if held.unused else tuple(validation))


def _cut(scene: LabelledScene, columns: tuple[int, int]) -> list[list[LabelledScene]]:
    """The scene's parts before, inside and behind ``columns``; each a list of one, or of none where it is empty."""
    width = scene.part.cols.stop
    edges = (0, *(min(column, width) for column in columns), width)
    spans = [Span(*pair) for pair in pairwise(edges)]
    return [[replace(scene, part=Window(scene.part.rows, span))] if len(span) else [] for span in spans]
