"""IoU: how well a mask that was found agrees with the true one."""

from torch import Tensor

from restore.metrics.hole_metric import hole_of
from restore.registry import METRICS


@METRICS.register
class iou:
    """Intersection over union of what was found and what is missing (Jaccard 1912): pixels in both over pixels in any.

    Of networks that say where a mask is: the prediction shows how sure they are, and counts where that is above a half.
    """

    higher_is_better = True

    @property
    def protocol(self) -> str:
        return "pixels of pred > 0.5 against the mask; 1 where there is none and none was found"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image: (N, C, H, W) in [0, 1], mask (N, 1, H, W) with 1 = missing, to (N,) float64.

        Channels are averaged; the GT plays no part. Without a mask there is none to be found.

        Raises:
            ValueError: the mask is not (N, 1, H, W) of the picture's size.
        """
        hole = hole_of(mask, pred)
        found = pred.mean(dim=1, keepdim=True) > 0.5
        both, either = (part.sum(dim=(1, 2, 3)).double() for part in (found & hole, found | hole))
        return (both / either).where(either > 0, both.new_ones(()))
