"""A network run patch by patch, so that its widest layers are never whole in memory.

At full resolution a U-Net has most of its memory and little of its work. Here only what later layers need again is held
whole: features coarser than the input, where their resolution changes or several layers read them. All between is
computed for one patch of a held layer at a time, small enough for a processor's cache, from just those pixels that the
patch depends on (``models.reach``). That is exact, as tiling is, and takes no longer (docs/performance.md).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, isqrt, prod
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from models.arena import Life, offsets
from models.memory import trim
from models.reach import POINTWISE, Graph, Span, looks_at, scale

Shape = tuple[int, int]
"""(height, width), px."""

RECOMPUTED = 0.01
# ^ Full-resolution features are computed twice rather than held where that adds no more to the network's work: 0.4 %
# for TernausNet11's first convolution, whose 64 channels would double the memory.
GRAIN = 16
# ^ px; patches start on even numbers at every resolution change, and rows of vectors are whole


class Patch(NamedTuple):
    """A rectangle of pixels."""

    rows: Span
    """Down."""
    cols: Span
    """Across."""

    @property
    def slices(self) -> tuple[slice, slice]:
        """The index of the patch in an array of (rows, cols)."""
        return slice(*self.rows), slice(*self.cols)


Read = Callable[[Patch], Tensor]
"""Where -> (1, 3, h, w) of the input."""
Write = Callable[[Patch, Tensor], None]
"""Takes where, and (1, C, h, w) of the output there."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """The computation of one held layer, or of the output."""

    target: fx.Node
    """What it computes."""
    bytes_per_pixel: float
    """All features that it computes on the way, per pixel of the target, B."""
    done: tuple[fx.Node, ...]
    """Held layers that no later stage reads."""


class Patchwork:
    """A network as a list of stages, each computed patch by patch from the layers that are held."""

    def __init__(self, network: nn.Module, patch_bytes: int) -> None:
        """``network`` is one that ``reach`` understands; a patch with all its features takes ``patch_bytes``."""
        self.graph = Graph(network)
        self.patch_bytes = patch_bytes
        self.channels = _channels(self.graph)
        parameter = next(network.parameters())
        self.itemsize, self.device = parameter.element_size(), parameter.device
        targets = [*_held(self.graph), self.graph.nodes[-1]]
        paths = {target: _path(target, set(targets)) for target in targets}
        last = {source: target for target, (_, sources) in paths.items() for source in sources}
        done = {target: tuple(source for source, user in last.items() if user is target) for target in targets}
        self.stages = [
            _Stage(target, self._bytes(_made(self.graph, inner), target), done[target])
            for target, (inner, _) in paths.items()
        ]
        held = targets[:-1]
        self.lives = [
            Life(step, targets.index(last[layer]), self._bytes([layer], self.graph.nodes[0]))
            for step, layer in enumerate(held)
        ]
        self.offsets = dict(zip(held, offsets(self.lives), strict=True))
        self.arena: Tensor | None = None

    @property
    def held_bytes(self) -> float:
        """Memory that held layers take, per pixel of the input, B."""
        ends = (begin + life.size for begin, life in zip(self.offsets.values(), self.lives, strict=True))
        return max(ends, default=0.0)

    @property
    def most_pixels(self) -> int:
        """The largest input, px: no held layer may pass 2³¹ elements, where CUDA kernels of PyTorch have failed."""
        widest = max(self._bytes([stage.target], self.graph.nodes[0]) for stage in self.stages) / self.itemsize
        return int((2**31 - 1) / max(widest, 3))

    def run(self, shape: Shape, read: Read, write: Write) -> None:
        """Map an input of ``shape``, its sides multiples of the stride, to an output written in patches."""
        pixels = shape[0] * shape[1]
        arena = self._take(ceil(self.held_bytes * pixels))
        places = {target: arena[int(offset * pixels) :] for target, offset in self.offsets.items()}
        run = _Run(self.graph, shape, read, places)
        for stage in self.stages:
            for patch in self._patches(stage, run.shape(stage.target)):
                part = run.compute(stage.target, patch)
                if stage.target.op == "output":
                    write(patch, part)
                else:
                    run.hold(stage.target, patch, part)
            for node in stage.done:
                run.held.pop(node, None)
        self.arena = arena
        trim()

    def _take(self, size: int) -> Tensor:
        """The arena, or a new one where it is too small, B; whoever runs meanwhile gets another."""
        arena, self.arena = self.arena, None
        if arena is None or len(arena) < size:
            del arena
            arena = torch.empty(size, dtype=torch.uint8, device=self.device)
        return arena

    def _bytes(self, nodes: list[fx.Node], target: fx.Node) -> float:
        """Memory of the features of ``nodes`` for each pixel of ``target``, B."""
        sizes = self.graph.sizes
        return self.itemsize * sum(self.channels[node] * float(sizes[target] / sizes[node]) ** 2 for node in nodes)

    def _patches(self, stage: _Stage, shape: Shape) -> Iterator[Patch]:
        """Patches of a stage, twice as wide as high where there is room: rows are contiguous, but margins cost."""
        area = max(1, int(self.patch_bytes / stage.bytes_per_pixel))
        width = _step(shape[1], isqrt(2 * area))
        height = _step(shape[0], area // width)
        rows, cols = (_spans(side, step) for side, step in zip(shape, (height, width), strict=True))
        return (Patch(down, across) for down in rows for across in cols)


class _Run:
    """One input on its way through the network."""

    def __init__(self, graph: Graph, shape: Shape, read: Read, places: Mapping[fx.Node, Tensor]) -> None:
        self.graph = graph
        self.input_shape = shape
        self.read = read
        self.places = places
        self.held: dict[fx.Node, Tensor] = {}

    def shape(self, node: fx.Node) -> Shape:
        """The shape of a node's features."""
        height, width = (int(side / self.graph.sizes[node]) for side in self.input_shape)
        return height, width

    def hold(self, node: fx.Node, patch: Patch, part: Tensor) -> None:
        """Keep a patch of a held layer, channels last."""
        if node not in self.held:
            shape = (1, *self.shape(node), part.shape[1])
            memory = self.places[node][: prod(shape) * part.itemsize]
            self.held[node] = memory.view(part.dtype).view(shape).permute(0, 3, 1, 2)
        self.held[node][:, :, *patch.slices] = part

    def compute(self, node: fx.Node, patch: Patch) -> Tensor:
        """(1, C, h, w): a node's features in ``patch``, from the features that it reads."""
        sources = node.all_input_nodes
        layer = self.graph.layer(node)
        if layer is None:
            return _joined(node, [self._window(source, patch) for source in sources])
        if isinstance(layer, POINTWISE):
            activated: Tensor = layer(self._window(sources[0], patch))
            return activated
        looks = [_looks(layer, span, size) for span, size in zip(patch, self.shape(sources[0]), strict=True)]
        (rows, down), (cols, across) = looks
        out = _apply(layer, self._window(sources[0], Patch(rows, cols)))
        return out[:, :, *Patch(down, across).slices]

    def _window(self, node: fx.Node, patch: Patch) -> Tensor:
        if node in self.held:
            return self.held[node][:, :, *patch.slices]
        return self.read(patch) if node.op == "placeholder" else self.compute(node, patch)


def _apply(layer: nn.Module, features: Tensor) -> Tensor:
    """What a layer makes of features; halving by maximum without torch's int64 indices, four times a bf16 input."""
    if isinstance(layer, nn.MaxPool2d) and _halves(layer):
        across = torch.maximum(features[..., 0::2], features[..., 1::2])
        return torch.maximum(across[:, :, 0::2], across[:, :, 1::2])
    out: Tensor = layer(features)
    return out


def _halves(layer: nn.MaxPool2d) -> bool:
    """Whether a layer takes the maximum of each 2 × 2 px."""
    return (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == (2, 2, 0, 1)


def _joined(node: fx.Node, parts: list[Tensor]) -> Tensor:
    if node.op == "output":
        return parts[0]
    return torch.cat(parts, 1) if node.target is torch.cat else parts[0] + parts[1]


def _looks(layer: nn.Module, span: Span, size: int) -> tuple[Span, Span]:
    """The input that a layer needs for ``span`` of its output, and where in the output of that input it lies.

    It is clipped to the ``size`` px of the input, where the layer's own padding is right, and begins on its stride.
    """
    start, stop = looks_at(layer, span)
    ratio = scale(layer)
    start = max(start, 0) // ratio.numerator * ratio.numerator
    begin = start * ratio.denominator // ratio.numerator
    return (start, min(stop, size)), (span[0] - begin, span[1] - begin)


def _step(size: int, most: int) -> int:
    """The step that divides ``size`` px evenly, about ``most`` px or less, in whole grains."""
    pieces = ceil(size / max(most, 1))
    return ceil(size / pieces / GRAIN) * GRAIN


def _spans(size: int, step: int) -> list[Span]:
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def _channels(graph: Graph) -> dict[fx.Node, int]:
    """Channels of each node's features."""
    widths: dict[fx.Node, int] = {graph.nodes[0]: 3}
    for node in graph.nodes[1:]:
        incoming = [widths[source] for source in node.all_input_nodes]
        layer = graph.layer(node)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            widths[node] = layer.out_channels
        else:
            widths[node] = sum(incoming) if node.target is torch.cat else incoming[0]
    return widths


def _held(graph: Graph) -> list[fx.Node]:
    """The layers that are held whole, in the order of execution."""
    work = {node: _work(graph, node) for node in graph.nodes}
    limit = RECOMPUTED * sum(work.values())
    held: list[fx.Node] = []
    for node in graph.nodes[1:-1]:
        again = len(node.users) > 1
        if graph.sizes[node] > 1:
            wanted = again or _resized(graph, node) or _feeds_upsampling(graph, node)
        else:
            wanted = again and sum(work[inner] for inner in _path(node, set(held))[0]) > limit
        if wanted and not _feeds_activation(graph, node):
            held.append(node)
    return held


def _resized(graph: Graph, node: fx.Node) -> bool:
    """Whether a node has another resolution than what it reads, activations aside; upsampled ones are made again."""
    layer = graph.layer(node)
    if isinstance(layer, POINTWISE):
        return node.all_input_nodes[0].op != "placeholder" and _resized(graph, node.all_input_nodes[0])
    return layer is not None and scale(layer) != 1 and not isinstance(layer, nn.Upsample)


def _feeds_upsampling(graph: Graph, node: fx.Node) -> bool:
    """Whether a layer is what an upsampling reads, alone or joined with others."""
    return graph.layer(node) is not None and _leads_to_upsampling(graph, node)


def _leads_to_upsampling(graph: Graph, node: fx.Node) -> bool:
    for user in node.users:
        layer = graph.layer(user)
        if isinstance(layer, nn.Upsample) or (layer is None and _leads_to_upsampling(graph, user)):
            return True
    return False


def _made(graph: Graph, nodes: list[fx.Node]) -> list[fx.Node]:
    """The nodes without activations and norms, which need no memory of their own."""
    return [node for node in nodes if node is graph.nodes[0] or not isinstance(graph.layer(node), POINTWISE)]


def _feeds_activation(graph: Graph, node: fx.Node) -> bool:
    """Whether an activation, or a norm, is all that reads a node: then that is held instead."""
    users = list(node.users)
    return len(users) == 1 and isinstance(graph.layer(users[0]), POINTWISE)


def _work(graph: Graph, node: fx.Node) -> float:
    """Multiplications per input pixel of a convolution; 0 for everything else."""
    layer = None if node.op == "placeholder" else graph.layer(node)
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return 0.0
    at = node.all_input_nodes[0] if isinstance(layer, nn.ConvTranspose2d) else node
    return layer.weight.numel() / float(graph.sizes[at]) ** 2


def _path(target: fx.Node, held: set[fx.Node]) -> tuple[list[fx.Node], list[fx.Node]]:
    """The nodes computed for ``target``, itself included, and the held ones that are read for it."""
    inner, sources, waiting = [target], [], list(target.all_input_nodes)
    while waiting:
        node = waiting.pop()
        if node in inner or node in sources:
            continue
        if node in held:
            sources.append(node)
        else:
            inner.append(node)
            waiting += node.all_input_nodes
    return inner, sources
