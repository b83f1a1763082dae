"""What covers a face in a photo, found by a network: masks above all, hands, things, painted strokes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore import pretrained
from restore.engine.device import pick_device
from restore.errors import UserError, nearest
from restore.faces.crop import Crop
from restore.faces.face import Face
from restore.images import Image
from restore.inference.holes import Fill, NothingHidden, shown_as
from restore.inference.model import shipped
from restore.occlusions.occlusion import Mask, Occluded
from restore.tasks.own_network import own_network
from restore.weights import read_facts

SMALLEST = 0.004  # of the face's frame: smaller pieces are noise, smaller gaps in a piece belong to it
LEAST = 0.1  # of the largest piece: an eye that was taken for something would be made up
RIM = 0.025  # of the width of the face's box: what is found is widened by that, so that no edge of it stays


class Occluders:
    """Says where something lies over a face. May be called from several threads at once.

    It sees a face upright in the frame that training showed it, and nothing beyond that frame.

    Args:
        name: a model that ships, or a weights file that `task: {type: Segmentation}` trained.
        device: as an option file says it.

    Raises:
        UserError: there is no such model, it is broken, or is no model of this kind.
    """

    def __init__(self, name: str | Path = "occluder", device: Literal["auto", "cpu", "cuda", "mps"] = "auto") -> None:
        known = shipped()
        path = known.get(str(name), Path(name))
        if not path.exists():
            raise UserError(f"{name}: no such weights file, and no model that ships{nearest(str(name), known)}")
        facts = read_facts(path)
        if (facts.get("task") or {}).get("type") != "Segmentation" or not facts.get("size"):
            raise UserError(f"{path}: no model that finds what covers a face; train one with task: Segmentation")
        self.size, self.device = int(facts["size"]), pick_device(device)
        self.network = own_network(path, facts).to(self.device)

    def __call__(self, picture: Image, face: Face) -> Mask:
        """(H, W): True where something covers the face in a picture (H, W, 3), and on a narrow rim around it."""
        crop = Crop.of(face, self.size)
        window = crop.reach(*picture.shape[:2])
        sure = cleaned(self.sure(crop.cut(picture)))
        found = (crop.back(sure, window)[0, 0].numpy() > 0.5) & crop.holds(window)
        mask = np.zeros(picture.shape[:2], np.bool_)
        mask[window] = within(found, RIM * (face.box[2] - face.box[0]))
        return mask

    @torch.inference_mode()
    def sure(self, frame: Tensor) -> Tensor:
        """How sure the network is of each pixel of a face's frame (1, 3, size, size): (1, 1, size, size) in [0, 1].

        The mean of what it says of the face and of its mirror image.
        """
        frames = torch.cat([frame, frame.flip(-1)]).to(self.device)
        one, other = self.network(frames).float().cpu().split(1)
        mean: Tensor = (one + other.flip(-1)) / 2
        return mean


class OccluderHole:
    """Whatever covers the faces, as a network finds it.

    Args:
        fill: what a network is shown there.
        occluders: what finds it; by default the model that ships.
    """

    needs_faces = True

    def __init__(self, fill: Fill = "keep", occluders: Occluders | None = None) -> None:
        self.fill, self.occluders = fill, occluders or Occluders()

    def __call__(self, key: str, picture: Image, faces: Sequence[Face]) -> Occluded:
        """The picture with the hole filled, and the hole. Raises `NothingHidden` where nothing covers any face."""
        mask = np.zeros(picture.shape[:2], np.bool_)
        for face in faces:
            mask |= self.occluders(picture, face)
        if not mask.any():
            raise NothingHidden("nothing that covers a face was found; --mask FILE names it")
        return Occluded(shown_as(picture, mask, self.fill), mask)


def cleaned(sure: Tensor) -> Tensor:
    """The same (1, 1, h, w) without small pieces and small gaps: their pixels are brought to the other side of a half.

    What is left stays as sure as it was, so that edges between pixels stay where they are when the frame is enlarged.
    """
    found = sure[0, 0].numpy() > 0.5
    least = SMALLEST * found.size
    whole = torch.from_numpy(~large(~large(found, least, LEAST), least))
    return torch.where(whole, sure.clamp(min=0.51), sure.clamp(max=0.49))


def large(mask: Mask, least: float, share: float = 0.0) -> Mask:
    """The pieces of a mask (h, w) that have `least` pixels and that share of the largest one's, or more."""
    _, pieces, about, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = about[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # what is in no piece
    kept: NDArray[np.bool_] = areas >= max(least, share * areas.max(), 1)
    found: Mask = kept[pieces]
    return found


def within(mask: Mask, radius: float) -> Mask:
    """The mask (h, w) and what is at most `radius` pixels away from it."""
    if not mask.any():
        return mask
    distance = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    wider: Mask = distance <= radius
    return wider


def detector_for_masks() -> str:
    """The detector that finds masked faces best, of those whose weights are here.

    Of 60 photos of people with masks YuNet found a face in 50, RetinaFace in all.
    """
    return "retinaface" if pretrained.candidates(pretrained.describe("retinaface")) else "yunet"
