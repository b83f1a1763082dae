"""VGG16 and VGG19 (Simonyan and Zisserman, ICLR 2015), with torchvision's keys; and the normalised VGG19."""

from torch import nn

from restore.features.layers import FeatureNetwork


def _stages(counts: tuple[int, ...]) -> dict[str, nn.Module]:
    """Five stages of 3x3 convolutions, `conv1_1, relu1_1, ..., pool5`."""
    modules: dict[str, nn.Module] = {}
    channels = 3
    for stage, (count, width) in enumerate(zip(counts, (64, 128, 256, 512, 512), strict=True), 1):
        for number in range(1, count + 1):
            modules[f"conv{stage}_{number}"] = nn.Conv2d(channels, width, 3, padding=1)
            modules[f"relu{stage}_{number}"] = nn.ReLU()
            channels = width
        modules[f"pool{stage}"] = nn.MaxPool2d(2)
    return modules


class VGG19(FeatureNetwork):
    """VGG19: `conv1_1` is the output before its ReLU, `relu1_1` behind it; up to `conv5_4`, `relu5_4`, `pool5`."""

    file = "vgg19"

    @classmethod
    def modules_by_name(cls) -> dict[str, nn.Module]:
        return _stages((2, 2, 4, 4, 4))


class VGG16(FeatureNetwork):
    """VGG16, named as VGG19: up to `conv5_3`, `relu5_3`, `pool5`."""

    file = "vgg16"

    @classmethod
    def modules_by_name(cls) -> dict[str, nn.Module]:
        return _stages((2, 2, 3, 3, 3))


class VGGNormalised(FeatureNetwork):
    """VGG19 up to `relu3_1`, scaled so that each filter's mean activation on ImageNet is 1 (Gatys et al., CVPR 2016).

    Pads by reflection; a 1x1 convolution of its own normalises RGB in [0, 1]. Its outputs are not VGG19's in size.
    """

    file = "vgg_normalised"
    prefix = ""
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    @classmethod
    def modules_by_name(cls) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"colour": nn.Conv2d(3, 3, 1)}
        channels = 3
        for name, width in (("1_1", 64), ("1_2", 64), ("2_1", 128), ("2_2", 128), ("3_1", 256)):
            if name in ("2_1", "3_1"):
                modules[f"pool{int(name[0]) - 1}"] = nn.MaxPool2d(2)
            modules[f"pad{name}"] = nn.ReflectionPad2d(1)
            modules[f"conv{name}"] = nn.Conv2d(channels, width, 3)
            modules[f"relu{name}"] = nn.ReLU()
            channels = width
        return modules
