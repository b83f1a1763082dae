"""Aligning: against OpenCV, scikit-image and grid_sample; gradients against differences."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from restore.faces.align import similarity, warp

TEMPLATE = torch.tensor([[30.3, 51.7], [65.5, 51.5], [48.0, 71.7], [33.5, 92.4], [62.7, 92.2]])


def random(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def as_numpy(matrices):
    return [matrix.numpy() for matrix in matrices]


def test_equals_umeyama_of_skimage():
    """scikit-image's estimate, by a decomposition; within float64's rounding, with points that no transform fits."""
    transform = pytest.importorskip("skimage.transform")
    source, target = 100 * random(8, 5, 2), 30 * random(8, 5, 2, seed=1)
    for ours, p, q in zip(similarity(source, target), source, target, strict=True):
        theirs = transform.estimate_transform("similarity", p.numpy(), q.numpy())
        assert np.allclose(ours, theirs.params[:2], atol=1e-9)


def test_finds_what_opencv_finds():
    """Points that a similarity fits: OpenCV's robust estimate ends at the same one, within its float32 points."""
    angle, scale = torch.tensor(2.0), 3.0
    turn = scale * torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    source = TEMPLATE @ turn.T + torch.tensor([40.0, -7.0])
    theirs, _ = cv2.estimateAffinePartial2D(source.numpy(), TEMPLATE.numpy())
    ours = similarity(source[None], TEMPLATE)[0]
    assert np.allclose(ours, theirs, atol=1e-4)
    assert torch.allclose(source @ ours[:, :2].T + ours[:, 2], TEMPLATE, atol=1e-4)


def test_points_in_one_place_give_numbers():
    assert similarity(torch.full((1, 5, 2), 7.0), TEMPLATE).isfinite().all()


def test_warps_as_opencv_does():
    """`cv2.warpAffine`, bilinear: it rounds places to 1/32 pixel, so smooth pictures, within 1/32 of their slope."""
    pictures = F.interpolate(random(3, 2, 8, 9, dtype=torch.float32), size=(60, 70), mode="bicubic")
    matrices = similarity(40 * random(3, 5, 2, seed=3) + 10, TEMPLATE.double() / 2)
    ours = warp(pictures, matrices, (56, 48))
    slope = max(pictures.diff(dim=-1).abs().max(), pictures.diff(dim=-2).abs().max())
    for picture, matrix, result in zip(pictures, as_numpy(matrices), ours, strict=True):
        planes = [
            cv2.warpAffine(plane.numpy(), matrix, (48, 56), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for plane in picture
        ]
        assert np.abs(result.numpy() - np.stack(planes)).max() <= 2 * float(slope) / 32


def test_samples_as_grid_sample_does():
    """torch's own sampler, borders included, within float64's rounding; one row or column of pixels too."""
    for height, width in ((20, 30), (1, 30), (20, 1), (1, 1)):
        pictures = random(4, 3, height, width)
        matrices = similarity(60 * random(4, 5, 2, seed=2) - 20, TEMPLATE.double() / 4)
        y, x = torch.meshgrid(torch.arange(28.0), torch.arange(24.0), indexing="ij")
        wanted = torch.stack([x, y], -1).view(1, -1, 2).double() - matrices[:, None, :, 2]
        places = torch.linalg.solve(matrices[:, :, :2], wanted.transpose(1, 2)).transpose(1, 2).view(4, 28, 24, 2)
        grid = (2 * places + 1) / torch.tensor([width, height]) - 1
        theirs = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        assert torch.allclose(warp(pictures, matrices, (28, 24)), theirs, atol=1e-12)


def test_what_shrinks_is_averaged():
    """A third of the size with three samples a side is the mean of 3x3 pixels."""
    picture = random(1, 3, 18, 12)
    third = torch.tensor([[[1 / 3, 0, -1 / 3], [0, 1 / 3, -1 / 3]]], dtype=torch.float64)
    assert torch.allclose(warp(picture, third, (6, 4), samples=3), F.avg_pool2d(picture, 3), atol=1e-12)


def test_gradients_reach_the_pictures():
    """Against differences."""
    pictures = random(2, 1, 5, 6).requires_grad_()
    matrices = similarity(random(2, 5, 2, seed=5) * 5, random(5, 2, seed=6) * 5)
    assert torch.autograd.gradcheck(lambda x: warp(x, matrices, (4, 3), samples=2), pictures)


def test_autocast_changes_nothing():
    """Places in a picture of 600 px would be off by pixels in bfloat16."""
    pictures = random(1, 3, 600, 600, dtype=torch.float32)
    points = TEMPLATE[None] * 5.1

    def aligned():
        return warp(pictures, similarity(points, TEMPLATE), (112, 96))

    with torch.autocast("cpu", torch.bfloat16):
        found = aligned()
    assert torch.equal(found, aligned())


def test_half_precision_becomes_float32():
    pictures = random(1, 3, 8, 8, dtype=torch.float32).bfloat16()
    assert warp(pictures, torch.eye(2, 3)[None], (8, 8)).dtype == torch.float32
    assert torch.equal(warp(pictures, torch.eye(2, 3)[None], (8, 8)), pictures.float())
