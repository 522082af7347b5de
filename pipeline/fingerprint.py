"""What determines the output, as a value that two runs can compare."""

import hashlib
from collections.abc import Mapping
from typing import Any

from models.weights import Weights
from pipeline.config import Region
from pipeline.mosaic import Mosaic

# The form of what is stored; raised when a new version of the project would store something else.
FORMAT = 1
# Keys that may change between a run and its resumption: they say where and how fast, not what.
INDIFFERENT = {"name", "output", "cluster", "memory", "on_error", "remote", "scenes"}


def of(region: Region, mosaic: Mosaic, weights: Weights) -> dict[str, Any]:
    """The fingerprint of a run: flat, JSON, comparable key by key."""
    settings = region.model_dump(mode="json", exclude=INDIFFERENT)
    settings["model"].pop("weights")
    settings["inference"].pop("device")
    if region.area is not None:
        settings["area"] = hashlib.sha256(mosaic.area or b"").hexdigest()
    scenes = {f"scenes.{scene.name}": scene.stamp for scene in mosaic.scenes}
    return {"format": FORMAT, "weights": weights.sha256, "crs": mosaic.crs, **flat(settings), **scenes}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of mappings as one mapping with dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One sentence for each key that differs, in the order of the keys."""
    keys = sorted({*before, *after})
    return [_sentence(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def _sentence(key: str, old: object, new: object) -> str:
    if old is None:
        return f"{key}: added ({new})"
    if new is None:
        return f"{key}: removed (was {old})"
    return f"{key}: was {old}, is now {new}"
