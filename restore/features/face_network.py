"""What every network that tells faces apart is."""

from typing import ClassVar

from torch import Tensor

from restore.features.load import Frozen

Points = tuple[tuple[float, float], ...]

# Where the networks that were trained on faces of 112x112 as InsightFace aligns them want the five landmarks.
ARCFACE_TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


class FaceNetwork(Frozen):
    """Base of the networks that make a vector of an aligned face; frozen, and in evaluation for ever."""

    size: tuple[int, int] = (112, 112)  # height and width of its input
    template: Points = ARCFACE_TEMPLATE  # of the five landmarks of `restore.faces`, in pixels of its input
    frame: int = 128  # pixels a side of an aligned picture whose face is about as large as in the input
    differentiable: ClassVar[bool] = True

    def __init__(self, weights: str | None = None) -> None:
        """`weights`: None takes the registered file, a path another one, `random` numbers that mean nothing."""
        super().__init__()

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, *size) aligned RGB faces in [0, 1] to (N, D), of any length: their angles tell people apart."""
        raise NotImplementedError
