"""Data sets of pictures: pairs, GT with LQ made on the fly, and LQ alone."""

import operator
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from restore import images, keyed
from restore.data.landmarks import read_landmarks
from restore.data.records import open_records
from restore.data.sample import Picture, Sample
from restore.degradations.pipeline import Pipeline
from restore.degradations.resize import Downsample, shrink
from restore.errors import UserError
from restore.images import Polarity
from restore.keyed import Draws
from restore.options.paths import DataPath, DataPaths, resolve
from restore.ranges import Positive
from restore.registry import DATASETS, TRANSFORMS, DegradationPart, TransformPart

Window = tuple[int, int, int, int]  # y, x, height, width in LQ pixels


class PictureDataset:
    """Base of the data sets: an indexed set of samples, each made from the draws that belong to it."""

    keys: Sequence[str]  # a name for each sample
    pipeline: Pipeline | None = None  # what makes the LQ after the augmentations, where `read` does not
    deferred = False  # whether that is left to the device

    def __init__(self, scale: int, gt_size: int | None, transforms: list[TransformPart]) -> None:
        if gt_size is not None and gt_size % scale:
            raise UserError(f"gt_size {gt_size} is no multiple of the scale {scale}")
        self.scale = scale
        self.lq_size = gt_size // scale if gt_size else None
        self.transforms = [TRANSFORMS.build(part) for part in transforms]

    def read(self, key: str, draws: Draws) -> Sample:
        """The sample, cropped and not yet augmented. Raises `images.UnreadableImage`."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.keys)

    def load(self, index: int, draws: Draws) -> Sample:
        """The sample at `index`; equal draws give an equal sample."""
        sample = self.read(self.keys[index], draws)
        for transform in self.transforms:
            sample = transform(sample, draws)
        return self._degrade(sample, draws) if self.pipeline is not None else sample

    def _degrade(self, sample: Sample, draws: Draws) -> Sample:
        assert self.pipeline is not None
        seed = int(draws.integers(2**63))
        if self.deferred:
            return {**sample, "seed": seed}
        made = self.pipeline(images.to_unit(sample["gt"]), [keyed.draws("degrade", seed)])
        return cast(Sample, sample | {name: images.to_uint8(picture[0]) for name, picture in made.items()})

    def open_gt(self, dataroot: DataPaths, meta_info: str | None, landmarks: str | None) -> None:
        """Opens the GT pictures, and their landmarks where there are such: then only those with a face are used."""
        self.gt = open_records(dataroot, meta_info)
        self.landmarks = read_landmarks(resolve(landmarks), self.gt.keys) if landmarks else {}
        self.keys = list(self.landmarks) if landmarks else self.gt.keys

    def cropped(self, gt: Picture, window: Window, key: str) -> Sample:
        """The sample of a window of a GT picture, its landmarks moved along."""
        sample: Sample = {"gt": cut(gt, window, self.scale), "key": key, "path": self.gt.where(key)}
        if key in self.landmarks:
            sample["landmarks"] = self.landmarks[key] - np.float32(self.scale) * np.array(window[1::-1], np.float32)
        return sample

    def window(self, height: int, width: int, where: str, draws: Draws) -> Window:
        """The part of an LQ picture of that size to use: a random square, or all of it when no size is set."""
        size = self.lq_size
        if size is None:
            return 0, 0, height, width
        if min(height, width) < size:
            need = f"{size * self.scale} px of GT"
            raise images.UnreadableImage(f"{where}: smaller than the crop of {need}; lower gt_size or enlarge it")
        y, x = draws.integers((height - size + 1, width - size + 1))
        return int(y), int(x), size, size


def cut(picture: Picture, window: Window, scale: int = 1) -> Picture:
    """The window of a picture that is `scale` times the size the window counts in."""
    y, x, height, width = (scale * value for value in window)
    return picture[y : y + height, x : x + width]


def _alone(keys: Sequence[str], partner: Callable[[str], str], others: Sequence[str]) -> str | None:
    """The first key whose partner is not among `others`; None as a rule, both having one order: that needs no set."""
    if len(keys) == len(others) and all(map(operator.eq, map(partner, keys), others)):
        return None
    known = set(others)
    return next((key for key in keys if partner(key) not in known), None)


@DATASETS.register
class PairedImageDataset(PictureDataset):
    """LQ and GT pictures of the same names, from folders or LMDBs.

    Args:
        dataroot_gt: folder or `.lmdb` of GT pictures, a glob of such, or a list.
        dataroot_lq: the same of LQ pictures, smaller by `scale`.
        scale: GT size over LQ size.
        gt_size: side of the random GT crop; None uses whole pictures.
        filename_tmpl: the LQ's name made from the GT's, such as `{}x4`.
        dataroot_mask: the same of masks of the GT's names and size: what is missing in the LQ.
        mask_polarity: which colour of a mask says so.
        meta_info: text file that lists the GT pictures to use.
        transforms: augmentations, in order.
    """

    def __init__(
        self,
        dataroot_gt: DataPaths,
        dataroot_lq: DataPaths,
        scale: Positive = 1,
        gt_size: Positive | None = None,
        filename_tmpl: str = "{}",
        dataroot_mask: DataPaths | None = None,
        mask_polarity: Polarity = "white_missing",
        meta_info: DataPath | None = None,
        transforms: list[TransformPart] = [],  # noqa: B006
    ) -> None:
        super().__init__(scale, gt_size, transforms)
        self.gt = open_records(dataroot_gt, meta_info)
        self.keys = self.gt.keys
        self.lq = open_records(dataroot_lq)
        self.masks = open_records(dataroot_mask) if dataroot_mask else None
        self.filename_tmpl, self.mask_polarity = filename_tmpl, mask_polarity
        if (key := _alone(self.keys, self.lq_key, self.lq.keys)) is not None:
            raise UserError(f"{dataroot_lq}: no LQ picture `{self.lq_key(key)}` for GT `{key}`")
        if self.masks and (key := _alone(self.keys, str, self.masks.keys)) is not None:
            raise UserError(f"{dataroot_mask}: no mask for GT `{key}`")

    def lq_key(self, key: str) -> str:
        """The LQ record's key for a GT record's key."""
        if self.filename_tmpl == "{}":
            return key
        folder, slash, name = key.rpartition("/")
        return folder + slash + self.filename_tmpl.format(name)

    def read(self, key: str, draws: Draws) -> Sample:
        where = self.gt.where(key)
        gt = images.decode(self.gt.get(key), where)
        lq = images.decode(self.lq.get(self.lq_key(key)), self.lq.where(self.lq_key(key)))
        height, width = lq.shape[:2]
        surplus = [gt.shape[axis] - lq.shape[axis] * self.scale for axis in (0, 1)]
        if min(surplus) < 0 or max(surplus) >= self.scale:  # a GT that was not mod-cropped may be a little larger
            raise images.UnreadableImage(f"{where}: GT {gt.shape[:2]} is not {self.scale} times LQ {lq.shape[:2]}")
        window = self.window(height, width, where, draws)
        sample: Sample = {"lq": cut(lq, window), "gt": cut(gt, window, self.scale), "key": key, "path": where}
        if self.masks:
            sample["mask"] = cut(self._mask(key, gt.shape[:2]), window, self.scale)
        return sample

    def _mask(self, key: str, size: tuple[int, ...]) -> Picture:
        assert self.masks is not None
        where = self.masks.where(key)
        mask = images.decode_mask(self.masks.get(key), where, self.mask_polarity)
        if mask.shape[:2] != size:
            raise images.UnreadableImage(f"{where}: the mask is {mask.shape[:2]}, the GT {size}")
        return mask


@DATASETS.register
class GTImageDataset(PictureDataset):
    """GT pictures; LQ is made on the fly by downsampling, equal to that of the whole picture also in a crop.

    Args:
        dataroot_gt: folder or `.lmdb` of GT pictures, a glob of such, or a list.
        scale: GT size over LQ size.
        gt_size: side of the random GT crop; None uses whole pictures, less what no multiple of the scale reaches.
        downsample: `bicubic` is MATLAB's antialiased imresize, `bicubic_pil` Pillow's, `aliased_cv2` OpenCV's
            INTER_CUBIC without antialiasing, which several published face models were trained and scored with.
        degradation: what makes the LQ instead: parts in order, or one preset. It follows the augmentations.
        gt_usm: sharpen the target, as Real-ESRGAN trains; for use with `degradation`.
        meta_info: text file that lists the pictures to use.
        landmarks: what `restore prepare landmarks` wrote; pictures in which it found no face are left out.
        transforms: augmentations, in order.
    """

    def __init__(
        self,
        dataroot_gt: DataPaths,
        scale: Positive = 1,
        gt_size: Positive | None = None,
        downsample: Downsample = "bicubic",
        degradation: list[DegradationPart] = [],  # noqa: B006
        gt_usm: bool = False,
        meta_info: DataPath | None = None,
        landmarks: DataPath | None = None,
        transforms: list[TransformPart] = [],  # noqa: B006
    ) -> None:
        super().__init__(scale, gt_size, transforms)
        self.downsample = downsample
        if degradation:
            self.pipeline = Pipeline(degradation, scale, gt_usm)
        elif gt_usm:
            raise UserError("gt_usm: true: the target is sharpened only where a `degradation` makes the LQ; add one")
        self.open_gt(dataroot_gt, meta_info, landmarks)

    def read(self, key: str, draws: Draws) -> Sample:
        where = self.gt.where(key)
        gt = images.decode(self.gt.get(key), where)
        height, width = gt.shape[0] // self.scale, gt.shape[1] // self.scale
        if not height or not width:
            raise images.UnreadableImage(f"{where}: smaller than the scale {self.scale}")
        whole = (0, 0, height, width)
        gt = cut(gt, whole, self.scale)
        window = self.window(height, width, where, draws)
        sample = self.cropped(gt, window, key)
        if self.pipeline is None:
            sample["lq"] = shrink(gt, self.scale, self.downsample, None if window == whole else window)
        return sample


@DATASETS.register
class SingleImageDataset(PictureDataset):
    """LQ pictures without a GT, to apply a model to.

    Args:
        dataroot_lq: folder or `.lmdb` of LQ pictures, a glob of such, or a list.
    """

    def __init__(self, dataroot_lq: DataPaths) -> None:
        super().__init__(scale=1, gt_size=None, transforms=[])
        self.lq = open_records(dataroot_lq)
        self.keys = self.lq.keys

    def read(self, key: str, draws: Draws) -> Sample:
        where = self.lq.where(key)
        return {"lq": images.decode(self.lq.get(key), where), "key": key, "path": where}
