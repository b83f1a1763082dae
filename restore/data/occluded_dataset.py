"""Pictures of faces with something before them: what was there is the target, where it is the mask."""

import numpy as np

from restore import images
from restore.data.image_dataset import PictureDataset
from restore.data.sample import Sample
from restore.degradations.pipeline import Pipeline
from restore.errors import UserError
from restore.faces.face import Face
from restore.keyed import Draws
from restore.occlusions.compose_occlusion import Chain
from restore.options.paths import DataPath, DataPaths
from restore.ranges import Positive
from restore.registry import DATASETS, DegradationPart, OcclusionPart, TransformPart


@DATASETS.register
class OccludedImageDataset(PictureDataset):
    """GT pictures of faces; LQ is the same picture with a part hidden, the mask says where.

    Args:
        dataroot_gt: folder or `.lmdb` of GT pictures, a glob of such, or a list.
        occlusion: what hides the face, one thing after another; the masks are united.
        landmarks: what `restore prepare landmarks` wrote; pictures in which it found no face are left out. Without,
            each picture is taken to be cut to FFHQ's frame, as FFHQ, CelebA-HQ and drawn faces are.
        gt_size: side of the random GT crop; None uses whole pictures.
        meta_info: text file that lists the pictures to use.
        transforms: augmentations, in order, before the face is hidden.
        degradation: what is done to the LQ once the face is hidden; the mask stays where it was.
    """

    def __init__(
        self,
        dataroot_gt: DataPaths,
        occlusion: list[OcclusionPart],
        landmarks: DataPath | None = None,
        gt_size: Positive | None = None,
        meta_info: DataPath | None = None,
        transforms: list[TransformPart] = [],  # noqa: B006
        degradation: list[DegradationPart] = [],  # noqa: B006
    ) -> None:
        super().__init__(1, gt_size, transforms)
        if not occlusion:
            raise UserError("occlusion: names nothing that hides a face; such as `- type: LowerFace`")
        if gt_size and landmarks is None:
            raise UserError(f"gt_size: {gt_size}: where a face is in a crop, only `landmarks` tell; leave gt_size out")
        self.occlusion = Chain(occlusion)
        self.degradation = Pipeline(degradation, 1) if degradation else None
        self.open_gt(dataroot_gt, meta_info, landmarks)

    def read(self, key: str, draws: Draws) -> Sample:
        where = self.gt.where(key)
        gt = images.decode(self.gt.get(key), where)
        return self.cropped(gt, self.window(gt.shape[0], gt.shape[1], where, draws), key)

    def load(self, index: int, draws: Draws) -> Sample:
        sample = super().load(index, draws)
        gt: images.Image = np.ascontiguousarray(sample["gt"])  # type: ignore[assignment]
        points = sample.get("landmarks")
        face = Face.aligned(*gt.shape[:2]) if points is None else Face.of_landmarks(points)
        picture, mask = self.occlusion(gt, face, draws)
        if self.degradation is not None:
            picture = images.to_uint8(self.degradation(images.to_unit(picture), [draws])["lq"][0])
        sample["lq"], sample["mask"] = picture, np.where(mask, np.uint8(255), np.uint8(0))[:, :, None]
        return sample
