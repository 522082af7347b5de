"""Training with a frozen encoder.

The classic trap: batch norm inside a frozen encoder. Its statistics are those of ImageNet, not of aerial scenes, and a
frozen one keeps normalising by them, which lowers IoU. So the default freezes the convolutions only.
"""

from typing import Literal, get_args

from torch import nn

BatchNormPolicy = Literal["trainable", "statistics", "frozen"]


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that stays in evaluation mode, whatever mode the network around it is put in."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        """Ignores ``mode``."""
        return super().train(mode=False)


def freeze_encoder(network: nn.Module, batch_norm: BatchNormPolicy = "trainable") -> None:
    """Freeze the convolutions of ``network.encoder``; ``batch_norm`` says what its normalisations still do in training.

    ``trainable``: what they always did: scale and shift are trained, statistics follow the data. ``statistics``: only
    the statistics follow. ``frozen``: nothing changes, and the stored statistics normalise. Raises ValueError for
    another policy.
    """
    if batch_norm not in get_args(BatchNormPolicy):
        raise ValueError(f"batch norm can be {', '.join(get_args(BatchNormPolicy))}, not {batch_norm!r}")
    encoder = network.get_submodule("encoder")
    for layer in encoder.modules():
        if not isinstance(layer, nn.BatchNorm2d):
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
        elif batch_norm != "trainable":
            layer.requires_grad_(False)
            if batch_norm == "frozen":
                _freeze(layer)


def _freeze(layer: nn.BatchNorm2d) -> None:
    """Make ``layer`` a FrozenBatchNorm2d in place: networks hold it under several names, so it cannot be replaced."""
    layer.__class__ = FrozenBatchNorm2d
    layer.eval()
