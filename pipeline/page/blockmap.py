"""The map of blocks: what became of each, and how long it took."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.jobs import SAMPLES
from pipeline.journal import Journal
from pipeline.names import LOG
from pipeline.page import images
from pipeline.plan import Plan
from tiling.grid import BlockIndex

# px; a phone's width, at two dots a pixel.
SIDE = 720
# Blocks drawn smaller than this have no gaps between them, px.
LEAST_WITH_GAPS = 6
# RGBA; seen on white and on black. Seconds go from FAST to SLOW; blocks outside the area or without a scene stay clear.
FAST, SLOW = np.array((159, 211, 255, 255)), np.array((24, 83, 158, 255))
NO_DATA, FAILED = (139, 148, 158, 140), (229, 72, 77, 255)


@dataclass(frozen=True, slots=True)
class BlockMap:
    """The map, and what its colours mean."""

    uri: str
    """A PNG as a data URI."""
    counts: Mapping[str, int]
    """Blocks by state."""
    seconds: tuple[float, float, float]
    """Least, median and greatest time of a block, s; 0 where none was measured."""
    slowest: str
    """The block that took longest, or nothing."""


def draw(plan: Plan, content: Mapping[str, Any], journal: Journal) -> BlockMap:
    """The map of a run."""
    seconds = _seconds(plan)
    done, empty, failed = _states(plan, content, journal)
    measured = seconds[done & (seconds > 0)]
    spread = (measured.min(), np.median(measured), measured.max()) if len(measured) else (0.0, 0.0, 0.0)
    colours = np.zeros((*plan.grid.blocks, 4), np.uint8)
    colours[done] = _ramp(seconds[done], spread[0], spread[2])
    colours[empty], colours[failed] = NO_DATA, FAILED
    counts = {"done": done, "no data": empty, "failed": failed}
    counts["not looked at"] = ~(done | empty | failed)
    row, col = np.unravel_index(int(np.argmax(np.where(done, seconds, 0))), seconds.shape)
    return BlockMap(
        uri=images.uri(Image.fromarray(_enlarged(colours, plan)), "PNG", optimize=True),
        counts={name: int(flags.sum()) for name, flags in counts.items()},
        seconds=(float(spread[0]), float(spread[1]), float(spread[2])),
        slowest=str(BlockIndex(int(row), int(col))) if len(measured) else "",
    )


def _states(plan: Plan, content: Mapping[str, Any], journal: Journal) -> tuple[NDArray[np.bool_], ...]:
    """Flags of the blocks: with probabilities, without data, failed."""
    done, empty, failed = (np.zeros(plan.grid.blocks, bool) for _ in range(3))
    for line in journal.facts(SAMPLES):
        (done if line["counts"]["predicted"] else empty)[_place(line["block"])] = True
    for block in content["failed_blocks"]:
        failed[_place(block)] = True
    return done & ~failed, empty & ~failed, failed


def _place(text: str) -> tuple[int, int]:
    block = BlockIndex.parse(text)
    return block.row, block.col


def _seconds(plan: Plan) -> NDArray[np.float32]:
    """Time that each block's samples took, s, as the log of this run and those that it resumes says; 0: unknown."""
    seconds = np.zeros(plan.grid.blocks, np.float32)
    for event in _log(plan.output / LOG):
        place = _place(event["block"])
        if all(index < size for index, size in zip(place, plan.grid.blocks, strict=True)):
            seconds[place] = sum(event["seconds"].values())
    return seconds


def _log(path: Path) -> Iterator[dict[str, Any]]:
    """Its lines on samples that were stored; lines that a crash cut short are passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if '"event": "done"' in line and f'"stage": "{SAMPLES}"' in line and line.endswith("}\n"):
                yield json.loads(line)


def _ramp(seconds: NDArray[np.float32], least: float, greatest: float) -> NDArray[np.uint8]:
    """RGBA of times."""
    share = (np.clip(seconds, least, greatest) - least) / max(greatest - least, 1e-9)
    return np.asarray(FAST + share[:, None] * (SLOW - FAST), np.uint8)


def _enlarged(colours: NDArray[np.uint8], plan: Plan) -> NDArray[np.uint8]:
    """Blocks at their places in the mosaic, (h, w, 4), with a clear line between those that are large enough."""
    scale = max(plan.grid.shape) / SIDE
    rows, cols = (_blocks_of(axis.size, axis.block, scale) for axis in (plan.grid.rows, plan.grid.cols))
    image = colours[rows[:, None], cols[None, :]]
    if min(plan.grid.block_shape) / scale >= LEAST_WITH_GAPS:
        image[np.flatnonzero(np.diff(rows)), :] = 0
        image[:, np.flatnonzero(np.diff(cols))] = 0
    return image


def _blocks_of(size: int, block: int, scale: float) -> NDArray[np.int64]:
    """The block of each pixel of the map along one axis."""
    places = (np.arange(max(1, round(size / scale))) + 0.5) * scale
    return np.asarray(np.minimum(places, size - 1) // block, np.int64)
