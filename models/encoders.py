"""The encoders: VGG without batch norm, and ResNet, under torchvision's names, so that its ImageNet weights fit."""

from torch import Tensor, nn

# Simonyan & Zisserman 2015 (arXiv:1409.1556), table 1, columns A and D; "M" is a 2 × 2 max pooling.
VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


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


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What fits a residual block's input to its output (option B of He et al. 2016); None where they fit."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Residual block of two 3 × 3 convolutions (He et al. 2016, arXiv:1512.03385, figure 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, channels, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        summed: Tensor = self.relu(residual + (x if self.downsample is None else self.downsample(x)))
        return summed


class Bottleneck(nn.Module):
    """Residual block of 1 × 1, 3 × 3 and 1 × 1 convolutions (figure 5 right); as in torchvision, the 3 × 3 strides."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 · channels, H / stride, W / stride)."""
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(residual)))))
        summed: Tensor = self.relu(residual + (x if self.downsample is None else self.downsample(x)))
        return summed


Block = type[BasicBlock] | type[Bottleneck]

# He et al. 2016, table 1: kind and number of residual blocks in each stage
RESNETS: dict[int, tuple[Block, tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}


class ResNet(nn.Module):
    """ResNet 18, 34 or 50 without its head."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        block, repeats = RESNETS[depth]
        widths = [channels * block.expansion for channels in (64, 128, 256, 512)]
        self.channels = (64, *widths)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, 64, repeats[0], 1)
        self.layer2 = _stage(block, widths[0], 128, repeats[1], 2)
        self.layer3 = _stage(block, widths[1], 256, repeats[2], 2)
        self.layer4 = _stage(block, widths[2], 512, repeats[3], 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> features of ``self.channels`` channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution."""
        features = [self.relu(self.bn1(self.conv1(x)))]
        features.append(self.layer1(self.maxpool(features[-1])))
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def _stage(block: Block, inputs: int, channels: int, repeats: int, stride: int) -> nn.Sequential:
    """``repeats`` residual blocks; the first one has the stride."""
    first = block(inputs, channels, stride)
    return nn.Sequential(first, *(block(channels * block.expansion, channels, 1) for _ in range(repeats - 1)))
