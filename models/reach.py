"""How far a network looks: its stride and the exact reach of its dependencies, derived from the network itself.

The network is traced (torch.fx), and an interval of output pixels is followed back through every node to the interval
of input pixels that it depends on. Networks here treat rows and columns alike, so one axis is enough.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from operator import add
from typing import Any

import torch
from torch import fx, nn

Interval = tuple[int, int]
# ^ first and last pixel, both inclusive

POINTWISE = (nn.ReLU, nn.BatchNorm2d, nn.Identity, nn.Dropout, nn.Dropout2d)
_JOINS = (torch.cat, add)


@dataclass(frozen=True, slots=True)
class Reach:
    """What an output pixel depends on, px. Blocks have their edges on the stride."""

    stride: int
    """Sides and origins of the input are multiples of it."""
    before: int
    """The first input pixel that a block depends on lies so far before its first pixel."""
    after: int
    """The last one lies so far after its last pixel."""
    worst_before: int
    """The same for the worst single pixel, wherever it lies on the stride's grid."""
    worst_after: int
    """Likewise."""

    @property
    def halo(self) -> tuple[int, int]:
        """``before`` and ``after`` rounded up to the stride: what a tile needs, whose edges lie on the stride too."""
        before, after = (-(-side // self.stride) * self.stride for side in (self.before, self.after))
        return before, after


def reach(network: nn.Module) -> Reach:
    """The reach of ``network``, a tree of convolutions, poolings, upsamplings, concatenations and sums.

    Raises ValueError for a layer whose reach is unbounded or unknown.
    """
    graph = Graph(network)
    pixels = [graph.dependency((pixel, pixel)) for pixel in range(graph.stride)]
    first, last = graph.dependency((0, graph.stride - 1))
    return Reach(
        stride=graph.stride,
        before=-first,
        after=last - (graph.stride - 1),
        worst_before=max(pixel - interval[0] for pixel, interval in enumerate(pixels)),
        worst_after=max(interval[1] - pixel for pixel, interval in enumerate(pixels)),
    )


class Graph:
    """A traced network: its nodes in the order of execution, the layer that each one runs, the size of its pixels."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.layers: dict[str, nn.Module] = dict(network.named_modules(remove_duplicate=False))
        self.nodes = list(fx.Tracer().trace(network).nodes)
        self.sizes = self._sizes()
        self.stride = math.lcm(*(size.numerator for size in self.sizes.values()))

    def dependency(self, block: Interval) -> Interval:
        """The input pixels that the output pixels ``block`` depend on."""
        needed: dict[fx.Node, Interval] = {self.nodes[-1]: block}
        for node in reversed(self.nodes):
            if node.op == "placeholder":
                return needed[node]
            if node in needed:
                seen = self._seen(node, needed[node])
                for source in node.all_input_nodes:
                    needed[source] = _hull(seen, needed.get(source, seen))
        raise ValueError("the network has no input")

    def _seen(self, node: fx.Node, interval: Interval) -> Interval:
        """The pixels of its inputs that ``interval`` of the output of ``node`` depends on."""
        layer = self.layer(node)
        return interval if layer is None else looks_at(layer, interval)

    def layer(self, node: fx.Node) -> nn.Module | None:
        """The layer that ``node`` runs; None when it only joins or passes on; raises ValueError for other functions."""
        if node.op == "call_module":
            return self.layers[str(node.target)]
        if node.op == "output" or (node.op == "call_function" and node.target in _JOINS):
            return None
        raise ValueError(f"the reach of {node.op} {node.target} is not known; use layers of torch.nn, torch.cat and +")

    def _sizes(self) -> dict[fx.Node, Fraction]:
        """The size of each node's pixels, in input pixels."""
        sizes: dict[fx.Node, Fraction] = {}
        for node in self.nodes:
            if node.op == "placeholder":
                sizes[node] = Fraction(1)
                continue
            incoming = {sizes[source] for source in node.all_input_nodes}
            if len(incoming) != 1:
                raise ValueError(f"{node} joins features of different resolutions: {sorted(map(float, incoming))}")
            layer = self.layer(node)
            sizes[node] = incoming.pop() * (1 if layer is None else scale(layer))
        return sizes


def _hull(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def scale(layer: nn.Module) -> Fraction:
    """By how much the pixels of a layer's output are larger than its input's."""
    match layer:
        case nn.ConvTranspose2d():
            return Fraction(1, _side(layer.stride))
        case nn.Conv2d() | nn.MaxPool2d():
            return Fraction(_side(layer.stride))
        case nn.Upsample():
            return Fraction(1, _factor(layer))
        case _:
            return Fraction(1)


def looks_at(layer: nn.Module, interval: Interval) -> Interval:
    """The pixels of a layer's input that ``interval`` of its output depends on; ValueError for an unknown layer."""
    first, last = interval
    match layer:
        case nn.ConvTranspose2d():
            step, padding, extent = _window(layer)
            return -((extent - first - padding) // step), (last + padding) // step
        case nn.Conv2d() | nn.MaxPool2d():
            step, padding, extent = _window(layer)
            return first * step - padding, last * step - padding + extent
        case nn.Upsample(mode="nearest"):
            return first // _factor(layer), last // _factor(layer)
        case nn.Upsample(mode="bilinear"):
            return _bilinear(layer, interval)
        case nn.Module() if isinstance(layer, POINTWISE):
            return interval
    raise ValueError(f"the reach of the layer {layer} is not known or not bounded")


def _window(layer: Any) -> tuple[int, int, int]:
    """(stride, padding, dilated kernel - 1) of a convolution or a pooling."""
    return _side(layer.stride), _side(layer.padding), _side(layer.dilation) * (_side(layer.kernel_size) - 1)


def _bilinear(layer: nn.Upsample, interval: Interval) -> Interval:
    """Output pixel o samples the input at (o + 1/2) / factor - 1/2, from the pixels on both sides of it."""
    factor = _factor(layer)
    if layer.align_corners:
        raise ValueError("bilinear upsampling with aligned corners depends on the input's size: its reach is unbounded")
    first, last = (Fraction(2 * pixel + 1, 2 * factor) - Fraction(1, 2) for pixel in interval)
    return math.floor(first), math.ceil(last)


def _factor(layer: nn.Upsample) -> int:
    """The integer factor of an upsampling; raises ValueError for any other."""
    if not isinstance(layer.scale_factor, float) or not layer.scale_factor.is_integer():
        raise ValueError(f"{layer} does not upsample by one integer factor")
    return int(layer.scale_factor)


def _side(value: int | tuple[int, ...]) -> int:
    """The one number of a square parameter; raises ValueError for an oblong one."""
    sides = {value} if isinstance(value, int) else set(value)
    if len(sides) != 1:
        raise ValueError(f"rows and columns must be treated alike, not {value}")
    return sides.pop()
