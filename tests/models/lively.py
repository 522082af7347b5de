"""Weights under which a mistake shows."""

import torch
from torch import nn


def lively(network: nn.Module) -> nn.Module:
    """``network`` in evaluation mode, with weights drawn so that nothing in it can be forgotten unnoticed.

    Kernels of He et al. 2015, under which probabilities spread over 0..1 instead of all being one half; biases and
    norms without which a lost row of padding, or a lost norm, would change nothing.
    """
    torch.manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fan_in = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.weight[:, 0].numel() / 4
            nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -0.1, 0.1)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.running_var, 1, 3)  # so that what residual blocks add up does not grow without end
            nn.init.normal_(layer.bias, 0, 0.2)
            nn.init.normal_(layer.running_mean, 0, 0.2)
    return network.eval()
