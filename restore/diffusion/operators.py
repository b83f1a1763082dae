"""What happened to a picture, as a linear operation A with an exact right inverse A+: of what A made, A A+ y = y.

Wang et al., "Zero-shot image restoration using denoising diffusion null-space model" (ICLR 2023), ask for no more.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F


class Operator(ABC):
    """A linear operation on pictures (N, C, H, W), in [0, 1] or [-1, 1] alike: flat areas keep their value.

    Attributes:
        singular: how strongly A passes on what it does not lose: exact for `Mask` and `AreaDown` (all their singular
            values but the zeros), the largest one for `BicubicDown`, and the product in a `Compose`.
    """

    singular: float

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y: the sum of `adjoint(y) * x` is that of `y * forward(x)`."""

    @abstractmethod
    def pinv(self, y: Tensor) -> Tensor:
        """A+ y: a picture that A makes `y` of."""

    def consistent(self, x: Tensor, y: Tensor) -> Tensor:
        """`x`, changed in its range space only, so that A makes `y` of it: x + A+(y - A x)."""
        return x + self.pinv(y - self.forward(x))


class Mask(Operator):
    """Pixels are lost: zeros where `mask` (N, 1, H, W) is 1.

    Raises:
        ValueError: the mask has another shape.
    """

    singular = 1.0

    def __init__(self, mask: Tensor) -> None:
        if mask.ndim != 4 or mask.shape[1] != 1:
            raise ValueError(f"the mask is {tuple(mask.shape)}: (N, 1, H, W) is needed")
        self.missing = mask > 0

    def forward(self, x: Tensor) -> Tensor:
        return x.masked_fill(self.missing, 0)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def pinv(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def consistent(self, x: Tensor, y: Tensor) -> Tensor:
        """`y` where it is known, to the last bit, which the sum of the general rule would round."""
        return torch.where(self.missing, x, y)


class AreaDown(Operator):
    """Each pixel is the mean of `scale` x `scale`; A+ repeats it.

    Raises:
        ValueError: the scale is not positive; `forward`: a side is no multiple of it.
    """

    def __init__(self, scale: int) -> None:
        if scale < 1:
            raise ValueError(f"the scale is {scale}: 1 or more is needed")
        self.scale, self.singular = scale, 1 / scale

    def forward(self, x: Tensor) -> Tensor:
        _check_multiple(x.shape[-2], x.shape[-1], self.scale)
        return F.avg_pool2d(x, self.scale)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.pinv(y) / self.scale**2

    def pinv(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(self.scale, -2).repeat_interleave(self.scale, -1)


class BicubicDown(Operator):
    """MATLAB's antialiased bicubic shrinking, the one of `degradations/resize.py`, of pictures of one size.

    Rows and columns are resized apart, so that the pseudo-inverse of all is that of either axis. Products are made in
    float64, which neither autocast nor TF32 touches, and picture by picture: how many there are would decide how a
    product is summed.

    Args:
        scale: how many times smaller.
        size: height and width of the large picture.

    Raises:
        ValueError: the scale is not positive, or a side no multiple of it.
    """

    def __init__(self, scale: int, size: tuple[int, int]) -> None:
        from restore.degradations.resize import resize_matrix  # brings OpenCV

        _check_multiple(*size, scale)
        self.down, self.across = (torch.tensor(resize_matrix(side, side // scale)) for side in size)
        self.up, self.back = torch.linalg.pinv(self.down), torch.linalg.pinv(self.across)
        self.singular = float(torch.linalg.matrix_norm(self.down, 2) * torch.linalg.matrix_norm(self.across, 2))

    def forward(self, x: Tensor) -> Tensor:
        return _product(self.down, x, self.across)

    def adjoint(self, y: Tensor) -> Tensor:
        return _product(self.down.T, y, self.across.T)

    def pinv(self, y: Tensor) -> Tensor:
        return _product(self.up, y, self.back)


class Compose(Operator):
    """One operation after the other, in the order given: `Compose(AreaDown(4), Mask(mask))` shrinks, then masks.

    The inverse undoes them from the last to the first. That is exact as long as each but the last reaches every
    picture, as shrinking does: a mask can only come last, and then is one of the small picture. (The mean over a pixel
    and a missing one tells neither: shrinking after a mask has no exact inverse of this form.)

    Raises:
        ValueError: there is no operation, or a mask that is not the last.
    """

    def __init__(self, *parts: Operator) -> None:
        if not parts or any(isinstance(part, Mask) for part in parts[:-1]):
            raise ValueError("Compose wants one operation or more, and a Mask, which has to fit the result, last")
        self.parts = parts
        self.singular = 1.0
        for part in parts:
            self.singular *= part.singular

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part.forward(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.adjoint(y)
        return y

    def pinv(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.pinv(y)
        return y


def _product(rows: Tensor, pictures: Tensor, columns: Tensor) -> Tensor:
    """`rows @ picture @ columns.T` of each picture and channel."""
    rows, columns = rows.to(pictures.device), columns.T.to(pictures.device)
    return torch.stack([rows @ picture.double() @ columns for picture in pictures]).to(pictures.dtype)


def _check_multiple(height: int, width: int, scale: int) -> None:
    if scale < 1 or height % scale or width % scale:
        raise ValueError(f"cannot shrink {height}x{width} by {scale}: crop the picture to multiples of it first")
