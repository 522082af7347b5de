"""What determines the output, as a value that two runs can compare."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from affine import Affine

from models.weights import Weights
from pipeline.config import Region
from pipeline.mosaic import Mosaic, Scene
from tiling.grid import Span, Window

# The form of what is stored; raised when a new version of the project would store something else.
FORMAT = 1
# Keys that may change between a run and its resumption: they say where and how fast, not what.
INDIFFERENT = {"output", "cluster", "memory", "on_error", "remote", "scenes"}
# Keys and sections that samples do not depend on: what they decide is made from the samples that are stored.
DERIVED = {"name", "licence", "footprints", "probability"}
# Corners of two mosaics are one place up to so many px apart, and pixels have one size up to this difference.
PHASE, STRETCH = 0.01, 1e-6
# More sentences than this hide the first ones.
SENTENCES = 20


def of(region: Region, mosaic: Mosaic, weights: Weights) -> dict[str, Any]:
    """The fingerprint of a run: JSON, comparable key by key; ``scenes`` is a list in the order of overlaps."""
    settings = region.model_dump(mode="json", exclude=INDIFFERENT)
    settings["model"].pop("weights")
    settings["inference"].pop("device")
    if region.area is not None:
        settings["area"] = hashlib.sha256(mosaic.area or b"").hexdigest()
    place = {"crs": mosaic.crs, "origin": list(mosaic.affine[:6])}
    scenes = [_entry(scene) for scene in mosaic.scenes]
    return {"format": FORMAT, "weights": weights.sha256, **place, **flat(settings), "scenes": scenes}


def _entry(scene: Scene) -> list[Any]:
    """Name, digest of the content and how it is read, and window."""
    read = scene.stamp, scene.bands, scene.nodata, scene.masked, scene.scale, scene.resampled
    rows, cols = scene.window.rows, scene.window.cols
    digest = hashlib.sha256(repr(read).encode()).hexdigest()[:32]
    return [scene.name, digest, rows.start, rows.stop, cols.start, cols.stop]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of mappings as one mapping with dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def of_samples(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a fingerprint that samples depend on."""
    return {key: value for key, value in whole.items() if key.split(".")[0] not in DERIVED}


def added(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Window] | None:
    """Windows of the scenes that ``after`` has more; None when anything else differs that samples depend on."""
    before, after = of_samples(before), of_samples(after)
    if _differing(before, after):
        return None
    known = iter(before["scenes"])
    expected = next(known, None)
    new = []
    for entry in after["scenes"]:
        if entry == expected:
            expected = next(known, None)
        else:
            new.append(Window(Span(entry[2], entry[3]), Span(entry[4], entry[5])))
    return new if expected is None else None


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that differs; none when both are equal."""
    keys = _differing(before, after)
    sentences = [_sentence(key, before.get(key), after.get(key)) for key in keys]
    if "origin" in keys and before.get("crs") == after.get("crs"):
        return [*sentences, "scenes: the mosaic starts at another corner, so every block differs"]
    sentences += _scene_sentences(before.get("scenes", []), after.get("scenes", []))
    rest = len(sentences) - SENTENCES
    return sentences if rest <= 0 else [*sentences[:SENTENCES], f"… and {rest:,} more"]


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, but ``scenes``."""
    keys = sorted({*before, *after} - {"scenes"})
    return [key for key in keys if before.get(key) != after.get(key) and not (key == "origin" and _near(before, after))]


def _near(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two mosaics begin at one place, with pixels of one size: each first scene rounds in its own way."""
    if "origin" not in before or "origin" not in after:
        return False
    old, new = Affine(*before["origin"]), Affine(*after["origin"])
    col, row = ~old @ (new.c, new.f)
    sizes = (new.a / old.a, new.e / old.e)
    return max(abs(col), abs(row)) <= PHASE and all(abs(size - 1) <= STRETCH for size in sizes)


def _sentence(key: str, old: object, new: object) -> str:
    if old is None:
        return f"{key}: added ({new})"
    if new is None:
        return f"{key}: removed (was {old})"
    return f"{key}: was {old}, is now {new}"


def _scene_sentences(before: Sequence[list[Any]], after: Sequence[list[Any]]) -> list[str]:
    old, new = (Counter(map(tuple, entries)) for entries in (before, after))
    gone, come = {entry[0] for entry in old - new}, {entry[0] for entry in new - old}
    sentences = [f"scenes: {name} {_change(name, gone, come)}" for name in sorted(gone | come)]
    if not sentences and list(before) != list(after):
        return ["scenes: listed in another order; where they overlap, the first one wins"]
    return sentences


def _change(name: str, gone: set[str], come: set[str]) -> str:
    if name in gone and name in come:
        return "changed"
    return "is new" if name in come else "is gone"
