"""The first layers of a network, the auxiliary head, and what image sizes they allow."""

from collections.abc import Sequence

from torch import Tensor, nn

from nas.errors import ConfigError, require
from nas.spaces.norm import batch_norm
from nas.spaces.signals import is_signal


class CifarStem(nn.Module):
    """3x3 convolution to `multiplier * C` channels and BN; both cell inputs are its result."""

    def __init__(self, c_in: int, channels: int, multiplier: int):
        super().__init__()
        self.channels = (multiplier * channels, multiplier * channels)
        self.reduced = False
        self.conv = nn.Conv2d(c_in, multiplier * channels, 3, padding=1, bias=False)
        self.bn = batch_norm(multiplier * channels, affine=True)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C_in, H, W] -> twice [B, multiplier*C, H, W]."""
        s_BCHW = self.bn(self.conv(x_BCHW))
        return s_BCHW, s_BCHW


class ImagenetStem(nn.Module):
    """Three stride-2 3x3 convolutions (224 -> 28); the second and the third are the cell inputs."""

    def __init__(self, c_in: int, channels: int):
        super().__init__()
        require(channels % 2 == 0, f"init_channels={channels}: the ImageNet stem needs an even number")
        self.channels = (channels, channels)
        self.reduced = True
        self.stem0 = nn.Sequential(
            nn.Conv2d(c_in, channels // 2, 3, 2, 1, bias=False),
            batch_norm(channels // 2, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 2, channels, 3, 2, 1, bias=False),
            batch_norm(channels, affine=True),
        )
        self.stem1 = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1, bias=False), batch_norm(channels, affine=True)
        )

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C_in, H, W] -> [B, C, H/4, W/4] and [B, C, H/8, W/8]."""
        s0_BCHW = self.stem0(x_BCHW)
        return s0_BCHW, self.stem1(s0_BCHW)


def build_stem(kind: str, c_in: int, channels: int, multiplier: int) -> CifarStem | ImagenetStem:
    """Builds the stem `cifar` (full resolution) or `imagenet` (an eighth of it)."""
    if kind == "cifar":
        return CifarStem(c_in, channels, multiplier)
    if kind == "imagenet":
        return ImagenetStem(c_in, channels)
    raise ConfigError(f"stem={kind}: unknown stem; known are cifar, imagenet")


def check_image_size(image_shape: Sequence[int], stem: str, reductions: int) -> tuple[int, int]:
    """The (H, W) left after stem and reductions.

    Raises:
        ConfigError: a side is not divisible by the total stride, so a factorised reduction would not fit.
    """
    stride = (8 if stem == "imagenet" else 1) * 2**reductions
    _, height, width = image_shape
    if is_signal(image_shape):
        require(
            width >= stride and width % stride == 0,
            f"signals of {width} time steps are too short or uneven: with stem={stem} and {reductions} "
            f"reductions they must be a multiple of {stride} long",
        )
        return 1, width // stride
    for side in (height, width):
        require(
            side >= stride and side % stride == 0,
            f"images of {height}x{width} pixels are too small or uneven: with stem={stem} and {reductions} "
            f"reductions both sides must be multiples of {stride}",
        )
    return height // stride, width // stride


class AuxiliaryHead(nn.Module):
    """A second classifier on a middle cell, used in training only (Szegedy et al. 2015, as DARTS has it).

    The authors' ImageNet variant pools with stride 2 and leaves the last BN out; both are kept. Of signals it
    reaches along time alone.
    """

    def __init__(
        self, channels: int, num_classes: int, stem: str, feature_size: Sequence[int], signal: bool = False
    ):
        super().__init__()
        stride = 2 if stem == "imagenet" else 3
        pooled = [(side - 5) // stride + 1 for side in feature_size[1 if signal else 0 :]]
        require(
            min(pooled) >= 2,
            f"recipe.auxiliary_weight: the auxiliary head needs feature maps of at least {5 + stride} pixels "
            f"a side, these are {feature_size[0]}x{feature_size[1]}; set recipe.auxiliary_weight=0",
        )
        last_norm = [] if stem == "imagenet" else [batch_norm(768, affine=True)]
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride, count_include_pad=False),
            nn.Conv2d(channels, 128, 1, bias=False),
            batch_norm(128, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            *last_norm,
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, classes], averaged over positions where the maps are large."""
        return self.classifier(self.features(x_BCHW).mean(dim=(2, 3)))
