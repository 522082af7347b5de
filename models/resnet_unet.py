"""U-Net on ResNet 18, 34 or 50, as segmentation_models builds it (P. Iakubovskii 2019)."""

import torch
from torch import Tensor, nn

from models.encoders import ResNet
from models.layers import check_sides, conv_norm_relu

DECODER_CHANNELS = (256, 128, 64, 32, 16)


class UpsamplingBlock(nn.Module):
    """Doubles the resolution by repeating pixels, then two convolutions over that and the skipped features."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv1 = conv_norm_relu(inputs + skipped, outputs)
        self.conv2 = conv_norm_relu(outputs, outputs)

    def forward(self, x: Tensor, skipped: list[Tensor]) -> Tensor:
        """(N, inputs, H, W) and at most one (N, skipped, 2H, 2W) -> (N, outputs, 2H, 2W)."""
        convolved: Tensor = self.conv2(self.conv1(torch.cat([self.up(x), *skipped], 1)))
        return convolved


class TransposeBlock(nn.Module):
    """Doubles the resolution by a transposed convolution with kernel 4, then one convolution."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        up = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.up = nn.Sequential(up, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
        self.conv = conv_norm_relu(outputs + skipped, outputs)

    def forward(self, x: Tensor, skipped: list[Tensor]) -> Tensor:
        """(N, inputs, H, W) and at most one (N, skipped, 2H, 2W) -> (N, outputs, 2H, 2W)."""
        convolved: Tensor = self.conv(torch.cat([self.up(x), *skipped], 1))
        return convolved


class ResNetUNet(nn.Module):
    """A ResNet encoder with skips at 1/16, 1/8, 1/4 and 1/2; ``decoder`` is ``upsampling`` or ``transpose``."""

    stride = 32

    def __init__(self, depth: int = 34, decoder: str = "upsampling", num_classes: int = 1) -> None:
        super().__init__()
        self.encoder = ResNet(depth)
        self.imagenet = f"resnet{depth}"
        block = {"upsampling": UpsamplingBlock, "transpose": TransposeBlock}[decoder]
        *skips, deepest = self.encoder.channels
        widths = zip((deepest, *DECODER_CHANNELS), (*reversed(skips), 0), DECODER_CHANNELS, strict=False)
        self.decoder = nn.ModuleList(block(inputs, skipped, outputs) for inputs, skipped, outputs in widths)
        self.final = nn.Conv2d(DECODER_CHANNELS[-1], num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised RGB, H and W divisible by 32 -> (N, num_classes, H, W) logits; else ValueError."""
        check_sides(x, self.stride)
        *skips, x = self.encoder(x)
        for block in self.decoder:
            x = block(x, [skips.pop()] if skips else [])  # 256, /16; 128, /8; 64, /4; 32, /2; 16
        logits: Tensor = self.final(x)
        return logits
