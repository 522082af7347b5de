"""How far a network looks: its stride and the exact reach of its dependencies, derived from the network itself.

The network is traced (torch.fx), and a span of output pixels is followed back through every node to the span of input
pixels that it depends on. Networks here treat rows and columns alike, so one axis is enough.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from operator import add
from typing import Any

import torch
from torch import fx, nn

Span = tuple[int, int]
"""First pixel and one past the last, on one axis; outside the features, too."""

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
    start, stop = graph.dependency((0, graph.stride))
    pixels = [(pixel, pixel + 1) for pixel in range(graph.stride)]
    seen = [graph.dependency(pixel) for pixel in pixels]
    return Reach(
        stride=graph.stride,
        before=-start,
        after=stop - graph.stride,
        worst_before=max(pixel[0] - needed[0] for pixel, needed in zip(pixels, seen, strict=True)),
        worst_after=max(needed[1] - pixel[1] for pixel, needed in zip(pixels, seen, strict=True)),
    )


class Graph:
    """A traced network: its nodes in the order of execution, the layer that each one runs, the size of its pixels."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.layers: dict[str, nn.Module] = dict(network.named_modules(remove_duplicate=False))
        self.nodes = list(fx.Tracer().trace(network).nodes)
        self.sizes = self._sizes()
        self.stride = math.lcm(*(size.numerator for size in self.sizes.values()))

    def dependency(self, block: Span) -> Span:
        """The input pixels that the output pixels ``block`` depend on."""
        needed: dict[fx.Node, Span] = {self.nodes[-1]: block}
        for node in reversed(self.nodes):
            if node.op == "placeholder":
                return needed[node]
            if node in needed:
                seen = self._seen(node, needed[node])
                for source in node.all_input_nodes:
                    needed[source] = _hull(seen, needed.get(source, seen))
        raise ValueError("the network has no input")

    def _seen(self, node: fx.Node, span: Span) -> Span:
        """The pixels of its inputs that ``span`` of the output of ``node`` depends on."""
        layer = self.layer(node)
        return span if layer is None else looks_at(layer, span)

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


def _hull(a: Span, b: Span) -> Span:
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


def looks_at(layer: nn.Module, span: Span) -> Span:
    """The pixels of a layer's input that ``span`` of its output depends on; ValueError for an unknown layer."""
    start, stop = span
    match layer:
        case nn.ConvTranspose2d():
            step, padding, side = _window(layer)
            return (start + padding - side) // step + 1, -(-(stop + padding) // step)
        case nn.Conv2d() | nn.MaxPool2d():
            step, padding, side = _window(layer)
            return start * step - padding, (stop - 1) * step - padding + side
        case nn.Upsample(mode="nearest"):
            return start // _factor(layer), -(-stop // _factor(layer))
        case nn.Upsample(mode="bilinear"):
            return _bilinear(layer, span)
        case nn.Module() if isinstance(layer, POINTWISE):
            return span
    raise ValueError(f"the reach of the layer {layer} is not known or not bounded")


def _window(layer: Any) -> tuple[int, int, int]:
    """(stride, padding, side of the dilated kernel) of a convolution or a pooling, px."""
    return _side(layer.stride), _side(layer.padding), _side(layer.dilation) * (_side(layer.kernel_size) - 1) + 1


def _bilinear(layer: nn.Upsample, span: Span) -> Span:
    """Output pixel o samples the input at (o + 1/2) / factor - 1/2, from the pixels on both sides of it."""
    factor = _factor(layer)
    if layer.align_corners:
        raise ValueError("bilinear upsampling with aligned corners depends on the input's size: its reach is unbounded")
    first, last = (Fraction(2 * pixel + 1, 2 * factor) - Fraction(1, 2) for pixel in (span[0], span[1] - 1))
    return math.floor(first), math.ceil(last) + 1


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
