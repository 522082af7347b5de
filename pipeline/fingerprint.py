"""What determines the output, as a value that two runs can compare."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from models.weights import Weights
from pipeline.config import Region
from pipeline.mosaic import Mosaic

# The form of what is stored; raised when a new version of the project would store something else.
FORMAT = 1
# Scenes are tens of megabytes and hundreds of files: their head (all headers), tail and evenly spread samples tell them apart.
PIECE = 1 << 16
PIECES = 18
# Keys that may change between a run and its resumption: they say where and how fast, not what.
INDIFFERENT = {"name", "output", "cluster", "memory", "on_error", "remote", "scenes"}


def digest_of(path: Path) -> str:
    """Digest of a file's size and of pieces spread over it."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        for index in range(PIECES):
            file.seek(max(0, size - PIECE) * index // (PIECES - 1))
            digest.update(file.read(PIECE))
    return digest.hexdigest()


def of(region: Region, mosaic: Mosaic, weights: Weights) -> dict[str, Any]:
    """The fingerprint of a run: flat, JSON, comparable key by key."""
    settings = region.model_dump(mode="json", exclude=INDIFFERENT)
    settings["model"].pop("weights")
    settings["inference"].pop("device")
    if region.area is not None:
        settings["area"] = digest_of(region.area)
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(digest_of, (scene.path for scene in mosaic.scenes)))
    scenes = {f"scenes.{scene.path.name}": digest for scene, digest in zip(mosaic.scenes, digests, strict=True)}
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
