"""Whether the face is still the same person's: cosines of face-recognition vectors, and verification rates.

The network that a loss used is no judge of what it trained: take another one here.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from restore import images
from restore.faces.face import Face
from restore.faces.identity import Identity, Network
from restore.metrics.protocol import eight_bit_pair
from restore.registry import DETECTORS, METRICS, DetectorPart

SURE = 10  # impostor pairs accepted, below which a threshold hangs on a few faces


class IdentityMetric:
    """What the metrics share: the network, and where the face is.

    Args:
        network: see `Identity`.
        weights: of the network, in the place of the registered file; `random` for tests.
        faces: what finds the face in the GT; None takes the geometry of pictures aligned as FFHQ's are. The prediction
            is looked at in the same place.

    Raises:
        UserError: weights cannot be had.
    """

    higher_is_better = True

    def __init__(
        self, network: Network = "mobilefacenet", weights: str | None = None, faces: DetectorPart | None = None
    ) -> None:
        self.network, self.weights, self.faces = network, weights, faces
        self.identity = Identity(network, weights)
        self.detector = DETECTORS.build(faces) if faces else None
        self.device = torch.device("cpu")
        self._last: tuple[Tensor, Tensor, Tensor] | None = None  # a GT, its landmarks, its vectors

    def to(self, device: torch.device) -> None:
        """Computes there from now on, wherever the pictures are."""
        self.device = device
        self.identity.to(device)

    @property
    def judge(self) -> str:
        """Which network looks, and where."""
        other = f" ({self.weights})" if self.weights else ""
        faces = f"faces found in the GT by {self.faces.type}" if self.faces else "aligned geometry"
        return f"RGB, 8 bits, {self.network}{other}, {faces}"

    @torch.no_grad()
    def vectors(self, pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (N, D) float64 of both on the CPU; NaN where there is no face in the GT.

        Raises:
            ValueError: see `eight_bit_pair`.
        """
        rounded, wanted = eight_bit_pair(pred, gt)
        if self._last is None or self._last[0] is not gt:  # several methods are compared with one GT
            landmarks = torch.stack([self._landmarks(picture) for picture in wanted])
            self._last = gt, landmarks, self._embed(wanted, landmarks)
        return self._embed(rounded, self._last[1]), self._last[2]

    def _embed(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        missing = landmarks.isnan().any(dim=(1, 2))
        found = self.identity(pictures.float().to(self.device), landmarks.nan_to_num().to(self.device))
        vectors: Tensor = torch.nn.functional.normalize(found.cpu().double())
        return vectors.masked_fill(missing[:, None], torch.nan)

    def _landmarks(self, picture: Tensor) -> Tensor:
        """(5, 2) of the largest face in (3, H, W); NaN where none was found."""
        if self.detector is None:
            return torch.from_numpy(Face.aligned(*picture.shape[1:]).landmarks)
        faces = self.detector(images.to_uint8(picture))
        return torch.from_numpy(faces[0].landmarks) if faces else torch.full((5, 2), torch.nan)


@METRICS.register
class identity_cosine(IdentityMetric):
    """Cosine of the face-recognition vectors of prediction and GT: near 1 for one person, near 0 for two."""

    @property
    def protocol(self) -> str:
        return f"cosine to the GT's vector, {self.judge}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image: (N, 3, H, W) RGB in [0, 1] to (N,) float64. NaN without a face in the GT.

        Raises:
            ValueError: see `eight_bit_pair`.
        """
        ours, theirs = self.vectors(pred, gt)
        return (ours * theirs).sum(dim=1).to(pred.device)


def acceptance(cosines: Tensor, false_accepts: float) -> float:
    """The share of genuine pairs accepted at the threshold at which no more than a share of impostors is.

    Args:
        cosines: (N, N), genuine pairs on the diagonal and impostors elsewhere. A pair is accepted above the threshold,
            which is the largest impostor cosine after `false_accepts` of them, rounded down, are passed over.

    Returns:
        NaN for fewer than two pictures.
    """
    if len(cosines) < 2:
        return math.nan
    impostors = cosines[~torch.eye(len(cosines), dtype=torch.bool)].sort(descending=True).values
    threshold = impostors[_accepted(len(impostors), false_accepts)]
    return float((cosines.diagonal() > threshold).double().mean())


def _accepted(impostors: int, false_accepts: float) -> int:
    return int(impostors * false_accepts + 1e-9)  # 0.01 of 300 is 3, whatever the product rounds to


class _VerificationMetric(IdentityMetric):
    """What the verification rates share. Pictures should show different people: two of one count as impostors."""

    false_accepts: float

    @property
    def protocol(self) -> str:
        rate = f"share of (pred, its GT) above the threshold that {self.false_accepts:g} of (pred, another's GT) pass"
        return f"whole set, {rate}, {self.judge}"

    def keep(self, pred: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """The vectors of (N, 3, H, W), RGB in [0, 1]. Raises `ValueError`: see `eight_bit_pair`."""
        ours, theirs = self.vectors(pred, gt)
        return {"pred": ours, "gt": theirs}

    def figure(self, kept: Sequence[Mapping[str, Tensor]]) -> float:
        """The rate over the pictures with a face; NaN for fewer than two."""
        if not kept:
            return math.nan
        pred, gt = (torch.cat([part[name] for part in kept]) for name in ("pred", "gt"))
        faces = ~gt.isnan().any(dim=1)
        return acceptance(pred[faces] @ gt[faces].T, self.false_accepts)

    def note(self, kept: Sequence[Mapping[str, Tensor]]) -> str | None:
        """How many faces there are, and whether they are enough for the rate."""
        count = sum(int((~part["gt"].isnan().any(dim=1)).sum()) for part in kept)
        all_ = sum(len(part["gt"]) for part in kept)
        impostors = count * (count - 1)
        accepted = _accepted(impostors, self.false_accepts)
        notes = [f"{all_ - count} of {all_} pictures have no face and are left out"] if count < all_ else []
        if accepted == 0:
            told = f"the rate is that at no false accept, below FAR {self.false_accepts:g}"
            notes.append(f"of {impostors:,} impostor pairs, too few for the rate: {told}")
        elif accepted < SURE:
            notes.append(f"of {impostors:,} impostor pairs, {accepted} of which set the threshold: a rough figure")
        return "; ".join(notes) or None


@METRICS.register
class verification_far_1e_2(_VerificationMetric):
    """The share of predictions recognised as their GT's person where 1 % of other people's would be."""

    false_accepts = 1e-2


@METRICS.register
class verification_far_1e_3(_VerificationMetric):
    """The share of predictions recognised as their GT's person where 0.1 % of other people's would be."""

    false_accepts = 1e-3
