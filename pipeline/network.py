"""The network on a worker's device: loaded once, one tile at a time, in parts where the memory does not hold a tile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.memory import trim
from models.weights import describe
from pipeline import worker
from pipeline.engine import Engine
from pipeline.errors import PipelineError
from pipeline.plan import Plan
from tiling.grid import Span, Window, round_up

if TYPE_CHECKING:
    from torch import Tensor

    from models.predictor import Predictor

    Pixels = NDArray[np.uint8] | Tensor
    """(h, w, 3) uint8 of a tile, on the device or on its way there."""

KEPT = 2
"""Networks in memory at a time: the plan's, and the same in fp32 for tiles that overflow it."""

_slot = threading.Lock()
_predictors: dict[Engine, "Predictor"] = {}
# The smallest tile, in pixels, that the device could not hold in a run of an output folder.
_too_large: dict[Path, int] = {}


@contextmanager
def device() -> Iterator[None]:
    """Wait for the device, and have it alone; a worker to which it is lost ends, and is started anew."""
    with _slot:
        try:
            yield
        except RuntimeError as error:
            if is_lost():
                worker.give_up(f"its GPU is lost to it ({first_line(error)})")
            raise


def is_lost() -> bool:
    """Whether CUDA fails at all that this process asks of it from now on, as after an illegal access."""
    import torch  # noqa: PLC0415 - the driver knows the tasks but must not pay for it

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        for name in {engine.device for engine in _predictors} - {"cpu"} or {"cuda"}:
            torch.cuda.synchronize(name)
    except RuntimeError:
        return True
    return False


@contextmanager
def room(name: str) -> Iterator[None]:
    """Raise MemoryError where the device of that name has no room for a network, which torch says in several ways."""
    from models.predictor import is_out_of_memory  # noqa: PLC0415

    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(f"{name} has no room for the network") from error
        raise


def first_line(error: Exception) -> str:
    """What torch says of an error, without its advice."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def predictor(engine: Engine) -> "Predictor":
    """The network, loaded once per process on the device that the engine names.

    Raises:
        PipelineError: the weights are not those that the engine was made from.
        MemoryError: the device has no room for it.
    """
    if engine not in _predictors:
        adopt(engine, _load(engine))
    return _predictors[engine]


def adopt(engine: Engine, loaded: "Predictor") -> None:
    """Keep a network that has been loaded, instead of one of before."""
    for stale in list(_predictors)[: 1 - KEPT]:
        del _predictors[stale]
    _predictors[engine] = loaded


def forget() -> None:
    """Give back what the networks take, layers of the next tile included."""
    _predictors.clear()
    trim()


def forget_limits(output: Path) -> None:
    """Forget which tiles were too large for a run."""
    _too_large.pop(output, None)


def _load(engine: Engine) -> "Predictor":
    from models.checkpoints import load  # noqa: PLC0415 - torch: the driver knows the tasks but must not pay for it
    from models.predictor import Predictor  # noqa: PLC0415

    weights = describe(engine.weights)
    if weights.sha256 != engine.sha256:
        raise PipelineError(f"{engine.weights}: changed since the run began; start it anew with --overwrite")
    network = load(engine.weights, engine.network)
    with room(engine.device):
        return Predictor(network, weights, engine.device, engine.precision, engine.tta)


def ahead(plan: Plan, rgb: NDArray[np.uint8]) -> "Pixels":
    """A tile on the device already, while the one before it is computed; as it is, where that must wait.

    The first tiles of a worker come before its network, and tiles that the device has no room for are halved.
    """
    loaded = _predictors.get(plan.engine)
    if loaded is None or rgb.shape[0] * rgb.shape[1] > largest(plan):
        return rgb
    try:
        return loaded.upload(rgb)
    except (MemoryError, RuntimeError):  # what is wrong with the device shows again when it is this tile's turn
        return rgb


def samples(plan: Plan, rgb: "Pixels", seen: Window, window: Window) -> NDArray[np.uint8]:
    """Run the network on the tile ``seen`` and keep ``window``; a tile that the device cannot hold is halved."""
    halves = split(window, plan.grid.rows.stride)
    if len(halves) == 1 or seen.area <= largest(plan):
        try:
            return finite(plan.engine, rgb)[window.within(seen)].copy()
        except MemoryError:  # the predictor's DeviceMemoryError is one
            if len(halves) == 1:
                raise
            _too_large[plan.output] = seen.area
    parts = [_half(plan, rgb, seen, half) for half in halves]
    return np.concatenate(parts, axis=0 if halves[0].cols == window.cols else 1)


def largest(plan: Plan) -> float:
    """Pixels of the largest tile that is worth trying: what was too large for the device once would be again."""
    return min(plan.most, _too_large.get(plan.output, inf) - 1)


def finite(engine: Engine, rgb: "Pixels") -> NDArray[np.uint8]:
    """Samples of a tile; where a half precision overflows, once more in fp32."""
    try:
        return predictor(engine).samples(rgb)
    except ArithmeticError:  # the predictor's NotFiniteError is one
        if engine.precision == "fp32":
            raise
        return predictor(replace(engine, precision="fp32")).samples(rgb)


def _half(plan: Plan, rgb: "Pixels", seen: Window, half: Window) -> NDArray[np.uint8]:
    """Samples of a part of a block, from the part of its tile that reaches as far as the halo."""
    part = Window(plan.grid.rows.around(half.rows), plan.grid.cols.around(half.cols)).intersection(seen)
    return samples(plan, rgb[part.within(seen)], part, half)


def split(window: Window, stride: int) -> list[Window]:
    """Two halves of a window along its longer side, cut on the stride; the window itself when it is too small."""
    rows, cols = window.rows, window.cols
    longer = rows if len(rows) >= len(cols) else cols
    middle = longer.start + round_up(len(longer) // 2, stride)
    if middle >= longer.stop:
        return [window]
    first, second = Span(longer.start, middle), Span(middle, longer.stop)
    if longer is rows:
        return [Window(first, cols), Window(second, cols)]
    return [Window(rows, first), Window(rows, second)]
