"""TernausNet's family: U-Nets on a VGG encoder (Iglovikov & Shvets 2018, arXiv:1801.05746) or on ResNet34 (AlbuNet).

State-dict names are those of the original code and of PyPI ``ternausnet``, so every published checkpoint fits. The
outputs are logits throughout; the sigmoid or log-softmax in which some originals ended has no weights.
"""

import torch
from torch import Tensor, nn

from models.encoders import VGG11, VGG16, ResNet, vgg_features
from models.layers import ConvRelu, bilinear, check_sides


class DecoderBlock(nn.Module):
    """Doubles the resolution, in one of the three ways of the originals.

    ``deconv3``: convolution, then a transposed one with kernel 3 (UNet11); ``deconv4``: with kernel 4, which avoids
    checkerboards (Odena et al. 2016); ``bilinear``: interpolation, then two convolutions.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, upsampling: str) -> None:
        super().__init__()
        if upsampling == "bilinear":
            self.block = nn.Sequential(bilinear(), ConvRelu(inputs, middle), ConvRelu(middle, outputs))
            return
        kernel = {"deconv3": 3, "deconv4": 4}[upsampling]
        transposed = nn.ConvTranspose2d(middle, outputs, kernel, stride=2, padding=1, output_padding=kernel % 2)
        self.block = nn.Sequential(ConvRelu(inputs, middle), transposed, nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, 2H, 2W)."""
        upsampled: Tensor = self.block(x)
        return upsampled


class TernausNet11(nn.Module):
    """UNet11: a VGG11 encoder with a U-Net decoder (paper, figure 1)."""

    stride = 32
    imagenet = "vgg11"

    def __init__(self, num_classes: int = 1, filters: int = 32, upsampling: str = "deconv3") -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.encoder = vgg_features(VGG11)
        self.relu = self.encoder[1]
        # The original names each convolution a second time, and so do its checkpoints.
        self.conv1, self.conv2 = self.encoder[0], self.encoder[3]
        self.conv3s, self.conv3 = self.encoder[6], self.encoder[8]
        self.conv4s, self.conv4 = self.encoder[11], self.encoder[13]
        self.conv5s, self.conv5 = self.encoder[16], self.encoder[18]
        self.center = DecoderBlock(512, filters * 16, filters * 8, upsampling)
        self.dec5 = DecoderBlock(512 + filters * 8, filters * 16, filters * 8, upsampling)
        self.dec4 = DecoderBlock(512 + filters * 8, filters * 16, filters * 4, upsampling)
        self.dec3 = DecoderBlock(256 + filters * 4, filters * 8, filters * 2, upsampling)
        self.dec2 = DecoderBlock(128 + filters * 2, filters * 4, filters, upsampling)
        self.dec1 = ConvRelu(64 + filters, filters)
        self.final = nn.Conv2d(filters, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised RGB, H and W divisible by 32 -> (N, num_classes, H, W) logits; else ValueError."""
        check_sides(x, self.stride)
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


def _group(layers: nn.Sequential, start: int, stop: int) -> nn.Sequential:
    """Some of ``layers``, numbered anew from 0."""
    return nn.Sequential(*list(layers)[start:stop])


class TernausNet16(nn.Module):
    """UNet16: a VGG16 encoder, decoded by bilinear interpolation or transposed convolution."""

    stride = 32
    imagenet = "vgg16"

    def __init__(self, num_classes: int = 1, filters: int = 32, upsampling: str = "bilinear") -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.encoder = vgg_features(VGG16)
        # The original groups the encoder's convolutions a second time, and so do its checkpoints' names.
        self.conv1 = _group(self.encoder, 0, 4)
        self.conv2 = _group(self.encoder, 5, 9)
        self.conv3 = _group(self.encoder, 10, 16)
        self.conv4 = _group(self.encoder, 17, 23)
        self.conv5 = _group(self.encoder, 24, 30)
        self.center = DecoderBlock(512, filters * 16, filters * 8, upsampling)
        self.dec5 = DecoderBlock(512 + filters * 8, filters * 16, filters * 8, upsampling)
        self.dec4 = DecoderBlock(512 + filters * 8, filters * 16, filters * 8, upsampling)
        self.dec3 = DecoderBlock(256 + filters * 8, filters * 8, filters * 2, upsampling)
        self.dec2 = DecoderBlock(128 + filters * 2, filters * 4, filters, upsampling)
        self.dec1 = ConvRelu(64 + filters, filters)
        self.final = nn.Conv2d(filters, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised RGB, H and W divisible by 32 -> (N, num_classes, H, W) logits; else ValueError."""
        check_sides(x, self.stride)
        conv1 = self.conv1(x)  # 64
        conv2 = self.conv2(self.pool(conv1))  # 128, /2
        conv3 = self.conv3(self.pool(conv2))  # 256, /4
        conv4 = self.conv4(self.pool(conv3))  # 512, /8
        conv5 = self.conv5(self.pool(conv4))  # 512, /16
        center = self.center(self.pool(conv5))  # 256, /16
        dec5 = self.dec5(torch.cat([center, conv5], 1))  # 256, /8
        dec4 = self.dec4(torch.cat([dec5, conv4], 1))  # 256, /4
        dec3 = self.dec3(torch.cat([dec4, conv3], 1))  # 64, /2
        dec2 = self.dec2(torch.cat([dec3, conv2], 1))  # 32
        dec1 = self.dec1(torch.cat([dec2, conv1], 1))  # 32
        logits: Tensor = self.final(dec1)
        return logits


class AlbuNet34(nn.Module):
    """AlbuNet: a ResNet34 encoder (Shvets et al. 2018, arXiv:1803.01207) and one more pooling, so stride 64."""

    stride = 64
    imagenet = "resnet34"

    def __init__(self, num_classes: int = 1, filters: int = 32, upsampling: str = "bilinear") -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.encoder = ResNet(34)
        # The originals keep ImageNet's unused classifier. Frozen, because DistributedDataParallel waits for gradients.
        self.encoder.fc = nn.Linear(512, 1000).requires_grad_(False)
        self.conv1 = nn.Sequential(self.encoder.conv1, self.encoder.bn1, self.encoder.relu, self.pool)
        self.conv2, self.conv3 = self.encoder.layer1, self.encoder.layer2
        self.conv4, self.conv5 = self.encoder.layer3, self.encoder.layer4
        self.center = DecoderBlock(512, filters * 16, filters * 8, upsampling)
        self.dec5 = DecoderBlock(512 + filters * 8, filters * 16, filters * 8, upsampling)
        self.dec4 = DecoderBlock(256 + filters * 8, filters * 16, filters * 8, upsampling)
        self.dec3 = DecoderBlock(128 + filters * 8, filters * 8, filters * 2, upsampling)
        self.dec2 = DecoderBlock(64 + filters * 2, filters * 4, filters * 4, upsampling)
        self.dec1 = DecoderBlock(filters * 4, filters * 4, filters, upsampling)
        self.dec0 = ConvRelu(filters, filters)
        self.final = nn.Conv2d(filters, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised RGB, H and W divisible by 64 -> (N, num_classes, H, W) logits; else ValueError."""
        check_sides(x, self.stride)
        conv1 = self.conv1(x)  # 64, /4
        conv2 = self.conv2(conv1)  # 64, /4
        conv3 = self.conv3(conv2)  # 128, /8
        conv4 = self.conv4(conv3)  # 256, /16
        conv5 = self.conv5(conv4)  # 512, /32
        center = self.center(self.pool(conv5))  # 256, /32
        dec5 = self.dec5(torch.cat([center, conv5], 1))  # 256, /16
        dec4 = self.dec4(torch.cat([dec5, conv4], 1))  # 256, /8
        dec3 = self.dec3(torch.cat([dec4, conv3], 1))  # 64, /4
        dec2 = self.dec2(torch.cat([dec3, conv2], 1))  # 128, /2
        dec1 = self.dec1(dec2)  # 32
        logits: Tensor = self.final(self.dec0(dec1))
        return logits
