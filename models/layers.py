"""Layers that several networks share, and the check of an input's sides."""

from torch import Tensor, fx, nn


class ConvRelu(nn.Module):
    """A 3 × 3 convolution with ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        activated: Tensor = self.activation(self.conv(x))
        return activated


def conv_norm_relu(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 × 3 convolution with batch norm and ReLU; the norm's shift makes a bias needless."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def bilinear() -> nn.Upsample:
    """Doubles the resolution; corners unaligned, because aligned ones make a pixel depend on the image's size."""
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


def check_sides(x: Tensor, stride: int) -> None:
    """Raise ValueError unless the sides of ``x`` (N, C, H, W) are multiples of ``stride``, px."""
    if isinstance(x, fx.Proxy):  # traced, not run: there are no sides yet
        return
    for name, side in zip(("height", "width"), x.shape[-2:], strict=True):
        if side < 1 or side % stride:
            low = side // stride * stride
            nearest = " and ".join(str(n) for n in (low, low + stride) if n)
            raise ValueError(f"{name} {side} is not a positive multiple of the stride {stride}; nearest: {nearest}")
