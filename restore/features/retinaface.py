"""RetinaFace (Deng et al., CVPR 2020) over a quarter of MobileNet: faces and their five landmarks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.features.load import load_frozen

MEAN = (104.0, 117.0, 123.0)  # of B, G, R in [0, 255]
# By level: pixels between its places, and the sides of the two squares that each place starts from.
LEVELS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
VARIANCES = 0.1, 0.2  # of the places' and the sizes' numbers, as SSD scales them
WIDTH = 64

# Input and output channels, and stride, of each stage's blocks.
_STAGES = (
    ((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)),
    ((64, 128, 2), (128, 128, 1), (128, 128, 1), (128, 128, 1), (128, 128, 1), (128, 128, 1)),
    ((128, 256, 2), (256, 256, 1)),
)


def _convolution(in_ch: int, out_ch: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(out_ch)]


def _active(*how: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(*how), nn.LeakyReLU(0.1))


def _separable(in_ch: int, out_ch: int, stride: int) -> nn.Sequential:
    """Filters each channel by itself, then mixes them (MobileNet, Howard et al. 2017)."""
    return nn.Sequential(*_active(in_ch, in_ch, 3, stride, in_ch), *_active(in_ch, out_ch, 1))


class _Pyramid(nn.Module):
    """What deep layers see, handed up to the finer ones (Lin et al., CVPR 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (_active(stage[-1][1], WIDTH, 1) for stage in _STAGES)
        self.merge1, self.merge2 = _active(WIDTH, WIDTH), _active(WIDTH, WIDTH)

    def forward(self, fine: Tensor, middle: Tensor, deep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        deep = self.output3(deep)
        middle = self.output2(middle)
        middle = self.merge2(middle + F.interpolate(deep, size=middle.shape[-2:]))
        fine = self.output1(fine)
        fine = self.merge1(fine + F.interpolate(middle, size=fine.shape[-2:]))
        return fine, middle, deep


class _Context(nn.Module):
    """Looks 3, 5 and 7 pixels wide (SSH, Najibi et al., ICCV 2017)."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = WIDTH // 2, WIDTH // 4
        self.conv3X3 = nn.Sequential(*_convolution(WIDTH, half))
        self.conv5X5_1, self.conv5X5_2 = _active(WIDTH, quarter), nn.Sequential(*_convolution(quarter, quarter))
        self.conv7X7_2, self.conv7x7_3 = _active(quarter, quarter), nn.Sequential(*_convolution(quarter, quarter))

    def forward(self, x: Tensor) -> Tensor:
        five = self.conv5X5_1(x)
        parts = [self.conv3X3(x), self.conv5X5_2(five), self.conv7x7_3(self.conv7X7_2(five))]
        return torch.cat(parts, 1).relu()


class _Head(nn.Module):
    """`numbers` for each of the two squares of each place."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.conv1x1 = nn.Conv2d(WIDTH, len(LEVELS[0][1]) * numbers, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1x1(x)
        return y.permute(0, 2, 3, 1).reshape(len(x), -1, self.numbers)


class RetinaFace(nn.Module):
    """RetinaFace-MobileNet0.25, frozen and in evaluation; state-dict keys are those of the published file.

    Args:
        weights: None takes the registered file, a path another one, `random` numbers that mean nothing.

    Raises:
        UserError: the file is missing, damaged, or does not hold this network.
    """

    file = "retinaface"
    mean: Tensor

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        with torch.device("meta"):  # no time and no random numbers spent on weights that are replaced
            self._lay_out()
        load_frozen(self, self.file, weights)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)

    def _lay_out(self) -> None:
        stages = [[_separable(*block) for block in stage] for stage in _STAGES]
        stages[0].insert(0, _active(3, 8, 3, 2))
        self.body = nn.ModuleDict({f"stage{n}": nn.Sequential(*blocks) for n, blocks in enumerate(stages, 1)})
        self.fpn = _Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = (_Context() for _ in LEVELS)
        self.ClassHead = nn.ModuleList(_Head(2) for _ in LEVELS)
        self.BboxHead = nn.ModuleList(_Head(4) for _ in LEVELS)
        self.LandmarkHead = nn.ModuleList(_Head(10) for _ in LEVELS)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What stands at each of the A squares laid over the pictures.

        Args:
            pictures: (N, 3, H, W), BGR in [0, 255].

        Returns:
            The probability (N, A) of a face; its box (N, A, 4) and landmarks (N, A, 5, 2) in pixels, counted from the
            corner of the picture: the middle of the first pixel is at 0.5.
        """
        seen, x = [], pictures - self.mean
        for stage in self.body.values():
            x = stage(x)
            seen.append(x)
        features = [ssh(x) for ssh, x in zip((self.ssh1, self.ssh2, self.ssh3), self.fpn(*seen), strict=True)]
        scores, boxes, points = (
            torch.cat([head(x) for head, x in zip(heads, features, strict=True)], 1)
            for heads in (self.ClassHead, self.BboxHead, self.LandmarkHead)
        )
        middles, sides = _squares([(x.shape[-2], x.shape[-1]) for x in features], pictures.device)
        center = middles + VARIANCES[0] * boxes[..., :2] * sides
        half = sides * (VARIANCES[1] * boxes[..., 2:]).exp() / 2
        landmarks = middles.unsqueeze(1) + VARIANCES[0] * points.view(*points.shape[:2], 5, 2) * sides.unsqueeze(1)
        return scores.softmax(-1)[..., 1], torch.cat([center - half, center + half], -1), landmarks


def _squares(sizes: list[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """The middles (A, 2) and sides (A, 1) of the squares: by level, row, column, then size."""
    middles, sides = [], []
    for (height, width), (step, lengths) in zip(sizes, LEVELS, strict=True):
        y, x = ((torch.arange(length, device=device) + 0.5) * step for length in (height, width))
        place = torch.stack([x.expand(height, -1), y.unsqueeze(1).expand(-1, width)], -1).reshape(-1, 2)
        middles.append(place.repeat_interleave(len(lengths), 0))
        sides.append(torch.tensor(lengths, device=device, dtype=y.dtype).repeat(len(place)).unsqueeze(1))
    return torch.cat(middles), torch.cat(sides)
