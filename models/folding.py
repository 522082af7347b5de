"""Batch norm for training only: put behind every convolution of a network that has none, and folded away in the end.

A plain VGG trains from scratch many times slower than one with batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167), and
inference wants none. Folding is exact, because the normalisation follows the convolution, so that zero padding is
untouched: w' = w · γ/σ and b' = (b − μ) · γ/σ + β.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

Convolution = nn.Conv2d | nn.ConvTranspose2d


class Normed(nn.Module):
    """A convolution with batch norm behind it."""

    def __init__(self, conv: Convolution) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """What the convolution takes -> what it gives, normalised."""
        normed: Tensor = self.norm(self.conv(x))
        return normed


def with_batch_norm(network: nn.Module, keep: tuple[str, ...] = ("final",)) -> nn.Module:
    """A copy of ``network`` with batch norm behind each convolution but those named in ``keep``: the layer of logits.

    Raises ValueError for a network that has batch norm already.
    """
    if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise ValueError(f"{type(network).__name__} has batch norm already; train it as it is")
    network = copy.deepcopy(network)
    kept = {id(module) for name, module in network.named_modules() if name in keep}

    def normed(module: nn.Module) -> nn.Module:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and id(module) not in kept:
            return Normed(module)
        return module

    return _replaced(network, normed)


@torch.no_grad()
def settle(network: nn.Module, images: Tensor) -> None:
    """Make each ``Normed`` of trained weights the convolution that it was before, on (N, 3, H, W) typical ``images``.

    Its norm gives back the mean and deviation that it takes away, so that training goes on where it was folded.
    """

    def measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3), correction=0)
        values = {"running_mean": mean, "running_var": variance, "bias": mean, "weight": (variance + norm.eps).sqrt()}
        norm.load_state_dict(values, strict=False)

    norms = [module.norm for module in network.modules() if isinstance(module, Normed)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    network.eval()(images)
    for hook in hooks:
        hook.remove()


def fold(network: nn.Module) -> nn.Module:
    """A copy of ``network`` in evaluation mode, each ``Normed`` folded into its convolution: the original's names."""
    folded = copy.deepcopy(network)
    return _replaced(folded, lambda module: _folded(module) if isinstance(module, Normed) else module).eval()


def _replaced(network: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """``network`` with every module changed, once even where it goes by several names (TernausNet's aliases)."""
    changed: dict[int, nn.Module] = {}

    def visit(module: nn.Module) -> nn.Module:
        if id(module) not in changed:
            changed[id(module)] = new = change(module)
            if new is module:
                for name, child in list(module._modules.items()):
                    module._modules[name] = child and visit(child)
        return changed[id(module)]

    return visit(network)


@torch.no_grad()
def _folded(normed: Normed) -> Convolution:
    conv = copy.deepcopy(normed.conv)
    state = {name: value.double() for name, value in normed.norm.state_dict().items()}
    gain = state["weight"] / (state["running_var"] + normed.norm.eps).sqrt()
    bias = 0 if conv.bias is None else conv.bias.double()
    outputs = 1 if isinstance(conv, nn.ConvTranspose2d) else 0  # the weight's axis of output channels
    weight = conv.weight.double() * gain.view([-1 if axis == outputs else 1 for axis in range(4)])
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype))
    conv.bias = nn.Parameter(((bias - state["running_mean"]) * gain + state["bias"]).to(conv.weight.dtype))
    return conv
