"""AlexNet as one tower (Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014)."""

from torch import nn

from restore.features.layers import FeatureNetwork


class AlexNet(FeatureNetwork):
    """AlexNet's convolutions with torchvision's keys: `conv1`, `relu1`, `pool1`, ..., `conv5`, `relu5`, `pool5`."""

    file = "alexnet"

    @classmethod
    def modules_by_name(cls) -> dict[str, nn.Module]:
        return {
            "conv1": nn.Conv2d(3, 64, 11, stride=4, padding=2),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(3, 2),
            "conv2": nn.Conv2d(64, 192, 5, padding=2),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(3, 2),
            "conv3": nn.Conv2d(192, 384, 3, padding=1),
            "relu3": nn.ReLU(),
            "conv4": nn.Conv2d(384, 256, 3, padding=1),
            "relu4": nn.ReLU(),
            "conv5": nn.Conv2d(256, 256, 3, padding=1),
            "relu5": nn.ReLU(),
            "pool5": nn.MaxPool2d(3, 2),
        }
