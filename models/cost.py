"""What a network costs."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(network: nn.Module) -> int:
    """Number of parameters, each counted once."""
    return sum(parameter.numel() for parameter in network.parameters())


def flops_per_pixel(network: nn.Module) -> int:
    """Floating-point operations (a multiplication and an addition are two) of a forward pass per input pixel.

    ``network`` must be on the meta device, where nothing is computed; it is put in evaluation mode. Raises ValueError
    when pixels cost differently.
    """
    side = int(getattr(network, "stride", 1))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, 3, side, side, device="meta"))
    per_pixel, rest = divmod(counter.get_total_flops(), side * side)
    if rest:
        raise ValueError(f"{type(network).__name__} does not cost the same at every pixel")
    return int(per_pixel)
