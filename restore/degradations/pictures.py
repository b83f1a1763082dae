"""What degradations pass on to each other: a batch of pictures, each of its own size, and the size they end at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from restore.errors import UserError
from restore.keyed import Draws

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Pictures:
    """Pictures on a common canvas, each filling its upper left corner.

    Args:
        canvas: (N, 3, H, W), RGB float32; what lies outside a picture's own size means nothing.
        sizes: the height and width of each picture.
        target: the height and width that every picture has at the end: the LQ's.
    """

    canvas: Tensor
    sizes: tuple[Size, ...]
    target: Size

    @classmethod
    def of(cls, batch: Tensor, target: Size) -> "Pictures":
        """A batch (N, 3, H, W) whose pictures all fill the canvas."""
        size = (batch.shape[2], batch.shape[3])
        return cls(batch, (size,) * len(batch), target)

    @property
    def even(self) -> bool:
        """Whether every picture fills the canvas: what needs no care for edges inside it."""
        return all(size == tuple(self.canvas.shape[2:]) for size in self.sizes)

    def filled(self, canvas: Tensor) -> "Pictures":
        """The same pictures with other pixels."""
        return replace(self, canvas=canvas)

    def select(self, chosen: Sequence[int]) -> "Pictures":
        """Some of the pictures, on a canvas that the largest of them fills."""
        sizes = tuple(self.sizes[i] for i in chosen)
        height, width = (max(lengths) for lengths in zip(*sizes, strict=True))
        canvas = self.canvas if len(chosen) == len(self.sizes) else self.canvas[list(chosen)]
        return Pictures(canvas[:, :, :height, :width], sizes, self.target)

    def replaced(self, chosen: Sequence[int], others: "Pictures") -> "Pictures":
        """These pictures with `others` in the places `chosen`; the canvas grows where they are larger."""
        if len(chosen) == len(self.sizes):
            return others
        sizes = list(self.sizes)
        for i, size in zip(chosen, others.sizes, strict=True):
            sizes[i] = size
        height, width = (max(lengths) for lengths in zip(*sizes, strict=True))
        canvas = self.canvas.new_zeros(len(sizes), self.canvas.shape[1], height, width)
        h, w = min(height, self.canvas.shape[2]), min(width, self.canvas.shape[3])
        canvas[:, :, :h, :w] = self.canvas[:, :, :h, :w]
        h, w = min(height, others.canvas.shape[2]), min(width, others.canvas.shape[3])
        canvas[list(chosen), :, :h, :w] = others.canvas[:, :, :h, :w]
        return Pictures(canvas, tuple(sizes), self.target)

    def batch(self) -> Tensor:
        """The canvas of pictures that have reached the target, at levels of 8 bits. Raises `UserError` for others."""
        if any(size != self.target for size in self.sizes):
            end, lq = ("x".join(map(str, size)) for size in (self.sizes[0], self.target))
            raise UserError(f"degradation: ends at {end} pixels, the LQ has {lq}; end it with `type: ResizeToTarget`")
        return self.canvas.clamp(0, 1).mul_(255).round_().div_(255)


class Degradation:
    """Base of the degradations: `degradation(pictures, draws) -> pictures`, on whatever device the pictures are.

    Each picture gets what its own generator says: scalars are drawn from `draws[i]` on the CPU, so that a worker, which
    has one picture at a time, and a GPU, which has a batch, draw the same.
    """

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        raise NotImplementedError


def stack(pictures: Sequence[Tensor], target: Size) -> Pictures:
    """Single pictures (3, h, w) of different sizes on one canvas."""
    sizes = tuple((picture.shape[1], picture.shape[2]) for picture in pictures)
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    canvas = pictures[0].new_zeros(len(pictures), pictures[0].shape[0], height, width)
    for row, picture, (h, w) in zip(canvas, pictures, sizes, strict=True):
        row[:, :h, :w] = picture
    return Pictures(canvas, sizes, target)
