"""A list of degradations as a data set has it: GT in, LQ out."""

from collections.abc import Sequence

from torch import Tensor

from restore.degradations.pictures import Degradation, Pictures
from restore.degradations.sharpen import usm_sharpen
from restore.keyed import Draws
from restore.registry import DEGRADATIONS, Part


class Pipeline:
    """Makes the LQ of a batch of GT pictures, and sharpens the target where that is asked for."""

    def __init__(self, parts: Sequence[Part], scale: int, gt_usm: bool = False) -> None:
        """`gt_usm`: LQ is made from the sharpened GT, which is the target too, as Real-ESRGAN trains."""
        self.parts: list[Degradation] = [DEGRADATIONS.build(part) for part in parts]
        self.scale, self.gt_usm = scale, gt_usm

    def __call__(self, gt: Tensor, draws: Sequence[Draws]) -> dict[str, Tensor]:
        """`lq`, and where the target is sharpened `gt` and, as it was, `real`.

        Args:
            gt: (N, 3, H, W) RGB in [0, 1], H and W being multiples of the scale.
            draws: a generator for each picture.

        Raises:
            UserError: the parts do not end at the size of the LQ.
        """
        target = usm_sharpen(gt) if self.gt_usm else gt
        pictures = Pictures.of(target, (gt.shape[2] // self.scale, gt.shape[3] // self.scale))
        for part in self.parts:
            pictures = part(pictures, draws)
        return {"lq": pictures.batch()} | ({"gt": target, "real": gt} if self.gt_usm else {})
