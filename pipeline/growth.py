"""Scenes added to a region: what was computed stays, but for blocks whose tiles new scenes or the new extent change."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import store
from pipeline.durable import remove
from pipeline.jobs import SAMPLES
from pipeline.journal import Journal
from pipeline.names import GROWN, STORE
from pipeline.plan import Plan
from pipeline.workspace import Workspace
from tiling.grid import Axis, BlockIndex, Grid, Span, Window


def extend(space: Workspace, plan: Plan, fingerprint: Mapping[str, Any], new: Iterable[Window]) -> Journal:
    """Continue a run, finished or not, with more scenes.

    A crash leaves the old journal, from which this starts anew, or the new one, which is complete.

    Args:
        space: the output folder; its journal is of the scenes before.
        plan: the plan with all scenes, of the same blocks.
        fingerprint: of all scenes.
        new: the mosaic's pixels that the added scenes cover.
    """
    before = Journal.open(space.journal_path)
    keep = _unchanged(plan.grid, before.head["shape"], new)
    blocks = [block for block in before.blocks(SAMPLES) if block in plan.grid and keep[block.row, block.col]]
    _move_store(space, plan, blocks)
    return before.renewed({"fingerprint": dict(fingerprint), "shape": list(plan.grid.shape)}, blocks)


def _move_store(space: Workspace, plan: Plan, blocks: Iterable[BlockIndex]) -> None:
    """Make a store of the new extent that holds ``blocks`` of the one that is there."""
    published = space.output / STORE
    source = plan.probabilities if plan.probabilities.exists() else published
    grown = plan.work / GROWN
    remove(grown)
    store.create(grown, plan.grid, plan.mosaic.affine, plan.mosaic.crs)
    store.adopt(grown, source, blocks)
    store.refresh()
    space.grow(plan.probabilities, grown)


def _unchanged(grid: Grid, shape: tuple[int, int], new: Iterable[Window]) -> NDArray[np.bool_]:
    """Blocks that see what they saw before: bool (blocks down, blocks across)."""
    rows, cols = (_same(axis, size) for axis, size in zip((grid.rows, grid.cols), shape, strict=True))
    same = rows[:, None] & cols
    for window in new:
        down, across = _seeing(grid.rows, window.rows), _seeing(grid.cols, window.cols)
        same[down.start : down.stop, across.start : across.stop] = False
    return same


def _same(axis: Axis, size: int) -> NDArray[np.bool_]:
    """Whether each block of an axis has the span and the tile that it had when the axis measured ``size``."""
    before = replace(axis, size=size)
    return np.array([i < before.blocks and _views(axis, i) == _views(before, i) for i in range(axis.blocks)], bool)


def _views(axis: Axis, index: int) -> tuple[Span, Span, Span]:
    """A block, its tile, and what of that are pixels: the rest, up to the stride, is filled from them."""
    tile = axis.tile(index)
    return axis.span(index), tile, tile.clip(axis.size)


def _seeing(axis: Axis, span: Span) -> range:
    """The blocks whose tiles meet ``span``."""
    before, after = axis.context
    return axis.spans_over(Span(span.start - after, span.stop + before + axis.stride))
