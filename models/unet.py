"""U-Nets after Ronneberger et al. 2015 (arXiv:1505.04597), padded so that the output has the input's size."""

import torch
from torch import Tensor, nn

from models.encoders import VGG16, vgg_features
from models.layers import ConvRelu, bilinear, check_sides, conv_norm_relu


def double_conv(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Two 3 × 3 convolutions, each with batch norm and ReLU."""
    return nn.Sequential(*conv_norm_relu(inputs, middle), *conv_norm_relu(middle, outputs))


class UNet(nn.Module):
    """Double convolutions with batch norm, 64 to 512 channels, four poolings, bilinear upsampling."""

    stride = 16

    def __init__(self, num_classes: int = 1) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.up = bilinear()
        down = ((3, 64), (64, 128), (128, 256), (256, 512), (512, 512))
        self.encoder = nn.ModuleList(double_conv(inputs, outputs, outputs) for inputs, outputs in down)
        up = ((1024, 256), (512, 128), (256, 64), (128, 64))
        self.decoder = nn.ModuleList(double_conv(inputs, inputs // 2, outputs) for inputs, outputs in up)
        self.final = nn.Conv2d(64, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised RGB, H and W divisible by 16 -> (N, num_classes, H, W) logits; else ValueError."""
        check_sides(x, self.stride)
        features = [self.encoder[0](x)]  # 64
        for down in list(self.encoder)[1:]:
            features.append(down(self.pool(features[-1])))  # 128, /2; 256, /4; 512, /8; 512, /16
        x = features.pop()
        for up in self.decoder:
            x = up(torch.cat([features.pop(), self.up(x)], 1))  # 256, /8; 128, /4; 64, /2; 64
        logits: Tensor = self.final(x)
        return logits


class VGG16UNet(nn.Module):
    """A VGG16 encoder without a centre block: the deepest features are those of conv5, at 1/16; channels 64 to 512."""

    stride = 16
    imagenet = "vgg16"

    def __init__(self, num_classes: int = 1) -> None:
        super().__init__()
        self.up = bilinear()
        self.encoder = vgg_features(VGG16)
        up = ((512 + 512, 512), (256 + 512, 256), (128 + 256, 128), (64 + 128, 64))
        self.decoder = nn.ModuleList(nn.Sequential(ConvRelu(i, o), ConvRelu(o, o)) for i, o in up)
        self.final = nn.Conv2d(64, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised RGB, H and W divisible by 16 -> (N, num_classes, H, W) logits; else ValueError."""
        check_sides(x, self.stride)
        features = []
        for layer in list(self.encoder)[:-1]:  # the last pooling would lead to the centre
            if isinstance(layer, nn.MaxPool2d):
                features.append(x)  # 64; 128, /2; 256, /4; 512, /8
            x = layer(x)  # 512, /16
        for up in self.decoder:
            x = up(torch.cat([features.pop(), self.up(x)], 1))  # 512, /8; 256, /4; 128, /2; 64
        logits: Tensor = self.final(x)
        return logits
