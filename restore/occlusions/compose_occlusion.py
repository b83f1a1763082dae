"""Occlusions made of others: one after the other, one of several, one now and then, one with a wider edge."""

from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from restore.errors import UserError
from restore.faces.face import Face
from restore.images import Image
from restore.keyed import Draws
from restore.occlusions.occlusion import Mask, Occluded, Occlusion
from restore.occlusions.region import Fill, filled
from restore.ranges import Count, Share
from restore.registry import OCCLUSIONS, OcclusionPart

Weight = Annotated[float, Field(ge=0)]
Parts = Annotated[list[OcclusionPart], Field(min_length=1)]


@OCCLUSIONS.register
class Chain(Occlusion):
    """Several occlusions in their order: `{type: Chain, parts: [{type: LowerFace}, {type: Eyes}]}`."""

    def __init__(self, parts: Parts) -> None:
        self.parts: list[Occlusion] = [OCCLUSIONS.build(part) for part in parts]

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        mask = np.zeros(picture.shape[:2], np.bool_)
        for part in self.parts:
            picture, more = part(picture, face, draws)
            mask = mask | more
        return Occluded(picture, mask)


@OCCLUSIONS.register
class OneOf(Occlusion):
    """One of several occlusions, drawn for each picture: `{type: OneOf, choices: [{type: Eyes}, {type: Mouth}]}`.

    Args:
        choices: the occlusions; a `Chain` holds more than one.
        probabilities: a weight for each; all alike by default.
    """

    def __init__(self, choices: Parts, probabilities: list[Weight] | None = None) -> None:
        weights = probabilities or [1.0] * len(choices)
        if len(weights) != len(choices) or sum(weights) <= 0:
            raise UserError(
                f"OneOf: {len(weights)} probabilities for {len(choices)} choices; give one above 0 for each"
            )
        self.choices: list[Occlusion] = [OCCLUSIONS.build(part) for part in choices]
        self.probabilities = [weight / sum(weights) for weight in weights]

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        return self.choices[int(draws.choice(len(self.choices), p=self.probabilities))](picture, face, draws)


@OCCLUSIONS.register
class Maybe(Occlusion):
    """An occlusion that comes now and then, and otherwise leaves the picture as it is, with an empty mask.

    Args:
        part: the occlusion.
        probability: how often.
    """

    def __init__(self, part: OcclusionPart, probability: Share = 0.5) -> None:
        self.part: Occlusion = OCCLUSIONS.build(part)
        self.probability = probability

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        if draws.random() < self.probability:
            return self.part(picture, face, draws)
        return Occluded(picture.copy(), np.zeros(picture.shape[:2], np.bool_))


@OCCLUSIONS.register
class Dilate(Occlusion):
    """An occlusion whose mask is widened by a disk; the ring that this adds is filled.

    Args:
        part: the occlusion.
        pixels: the disk's radius.
        share: the disk's radius, as a share of the picture's shorter side, instead.
        fill: of the ring alone; see `RegionOcclusion`.

    Raises:
        UserError: neither or both of `pixels` and `share`.
    """

    def __init__(
        self, part: OcclusionPart, pixels: Count | None = None, share: Share | None = None, fill: Fill = "black"
    ) -> None:
        if (pixels is None) == (share is None):
            raise UserError("Dilate: give the radius once, as `pixels: 5` or as `share: 0.02` of the shorter side")
        self.part: Occlusion = OCCLUSIONS.build(part)
        self.pixels, self.share, self.fill = pixels or 0, share or 0.0, fill

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        occluded, mask = self.part(picture, face, draws)
        if not mask.any():
            return Occluded(occluded, mask)
        distance = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        wider: Mask = distance <= self.pixels + self.share * min(mask.shape)
        return Occluded(filled(occluded, wider & ~mask, self.fill, draws), wider)
