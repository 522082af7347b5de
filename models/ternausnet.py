"""TernausNet: U-Nets on a VGG encoder (Iglovikov & Shvets 2018, arXiv:1801.05746).

State-dict names are those of the original code and of PyPI ``ternausnet``, so every published checkpoint fits.
"""

import torch
from torch import Tensor, nn

# VGG11 without batch norm (Simonyan & Zisserman 2015, table 1, column A); "M" is a 2 × 2 max pooling.
VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


def vgg_features(layout: tuple[int | str, ...]) -> nn.Sequential:
    """The convolutional part of a VGG, numbered as torchvision's ``vgg*.features``."""
    layers: list[nn.Module] = []
    channels = 3
    for item in layout:
        if isinstance(item, int):
            layers += [nn.Conv2d(channels, item, 3, padding=1), nn.ReLU(inplace=True)]
            channels = item
        else:
            layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


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


class DecoderBlock(nn.Module):
    """Convolution, then a transposed convolution (kernel 3, stride 2) that doubles the resolution."""

    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        upsample = nn.ConvTranspose2d(middle, outputs, 3, stride=2, padding=1, output_padding=1)
        self.block = nn.Sequential(ConvRelu(inputs, middle), upsample, nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, 2H, 2W)."""
        upsampled: Tensor = self.block(x)
        return upsampled


class TernausNet11(nn.Module):
    """UNet11: a VGG11 encoder with a U-Net decoder (paper, figure 1); one class, logits out."""

    def __init__(self, filters: int = 32) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.encoder = vgg_features(VGG11)
        self.relu = self.encoder[1]
        # The original names each convolution a second time, and so do its checkpoints.
        self.conv1, self.conv2 = self.encoder[0], self.encoder[3]
        self.conv3s, self.conv3 = self.encoder[6], self.encoder[8]
        self.conv4s, self.conv4 = self.encoder[11], self.encoder[13]
        self.conv5s, self.conv5 = self.encoder[16], self.encoder[18]
        self.center = DecoderBlock(filters * 16, filters * 16, filters * 8)
        self.dec5 = DecoderBlock(filters * (16 + 8), filters * 16, filters * 8)
        self.dec4 = DecoderBlock(filters * (16 + 8), filters * 16, filters * 4)
        self.dec3 = DecoderBlock(filters * (8 + 4), filters * 8, filters * 2)
        self.dec2 = DecoderBlock(filters * (4 + 2), filters * 4, filters)
        self.dec1 = ConvRelu(filters * (2 + 1), filters)
        self.final = nn.Conv2d(filters, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised RGB, H and W divisible by 32 -> (N, 1, H, W) logits."""
        conv1 = self.relu(self.conv1(x))  # 64
        conv2 = self.relu(self.conv2(self.pool(conv1)))  # 128, /2
        conv3 = self.relu(self.conv3(self.relu(self.conv3s(self.pool(conv2)))))  # 256, /4
        conv4 = self.relu(self.conv4(self.relu(self.conv4s(self.pool(conv3)))))  # 512, /8
        conv5 = self.relu(self.conv5(self.relu(self.conv5s(self.pool(conv4)))))  # 512, /16
        center = self.center(self.pool(conv5))  # 256, /16
        dec5 = self.dec5(torch.cat([center, conv5], 1))  # 256, /8
        dec4 = self.dec4(torch.cat([dec5, conv4], 1))  # 128, /4
        dec3 = self.dec3(torch.cat([dec4, conv3], 1))  # 64, /2
        dec2 = self.dec2(torch.cat([dec3, conv2], 1))  # 32
        dec1 = self.dec1(torch.cat([dec2, conv1], 1))  # 32
        logits: Tensor = self.final(dec1)
        return logits
