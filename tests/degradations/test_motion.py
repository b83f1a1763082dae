"""Motion and defocus: what the kernels of a moving or defocused camera must have in common."""

import math

import numpy as np
import pytest
import torch

from restore.degradations.motion_degradation import disk_kernel, motion_kernel
from restore.degradations.pictures import Pictures
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part


def moments(kernel):
    """Mean and covariance of x and y from the centre."""
    line = np.arange(len(kernel)) - len(kernel) // 2
    x, y = np.meshgrid(line, line)
    mean = np.array([(kernel * x).sum(), (kernel * y).sum()])
    covariance = np.array([[(kernel * x * x).sum(), (kernel * x * y).sum()], [0, (kernel * y * y).sum()]])
    covariance[1, 0] = covariance[0, 1]
    return mean, covariance


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, -1.2, math.pi / 2])
@pytest.mark.parametrize("length", [3.0, 8.5, 21.0])
def test_motion_has_the_moments_of_a_segment(length, angle):
    """A segment's variance along itself is length^2 / 12; sharing between neighbours adds at most 1/4 to each axis."""
    kernel = motion_kernel(length, angle)
    mean, covariance = moments(kernel)
    direction = np.array([math.cos(angle), math.sin(angle)])
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(mean).max() < 1e-5
    assert -0.02 <= direction @ covariance @ direction - length**2 / 12 <= 0.27
    across = np.array([-direction[1], direction[0]])
    assert across @ covariance @ across < 0.27


def test_motion_of_a_whole_length_along_an_axis_is_a_box():
    kernel = motion_kernel(6.0, 0.0)
    middle = kernel[len(kernel) // 2]
    assert np.abs(np.delete(kernel, len(kernel) // 2, 0)).max() == 0
    np.testing.assert_allclose(middle[(len(middle) - 5) // 2 : (len(middle) + 5) // 2], 1 / 6, atol=1e-6)


@pytest.mark.parametrize("radius", [0.0, 0.7, 1.0, 2.5, 4.0, 7.3])
def test_defocus_is_a_disk(radius):
    """A disk's variance along any axis is radius^2 / 4; summing over pixels adds their own 1/12."""
    kernel = disk_kernel(radius)
    mean, covariance = moments(kernel)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(kernel, kernel.T)
    assert np.array_equal(kernel, kernel[::-1])
    assert np.abs(mean).max() < 1e-5
    if radius >= 2:
        assert covariance[0, 0] == pytest.approx(radius**2 / 4 + 1 / 12, abs=0.06)
        assert kernel.max() * math.pi * radius**2 == pytest.approx(1, abs=0.05)
    assert (disk_kernel(0.0) == 1).all()


@pytest.mark.parametrize(("name", "args"), [("MotionBlur", {"length": [3, 9]}), ("DefocusBlur", {"radius": [1, 4]})])
def test_parts_blur_each_picture_by_its_own_kernel(name, args):
    part = DEGRADATIONS.build(Part(type=name, probability=0.7, **args))
    points = torch.zeros(6, 3, 31, 31)
    points[:, :, 15, 15] = 1
    made = part(Pictures.of(points, (31, 31)), [draws("m", n) for n in range(6)]).canvas
    kinds = set()
    for n, picture in enumerate(made):
        kernel = part.kernel(draws("m", n))
        weights = np.ones((1, 1)) if kernel is None else kernel.weights
        edge = len(weights) // 2
        found = picture[0, 15 - edge : 16 + edge, 15 - edge : 16 + edge].numpy()
        np.testing.assert_allclose(found, weights, atol=2e-5)
        kinds.add(len(weights))
    assert len(kinds) > 2


def test_a_turn_of_the_camera_is_drawn_evenly():
    """Mean and variance of the length's and the angle's uniform distributions, through the kernels' moments."""
    part = DEGRADATIONS.build(Part(type="MotionBlur", length=[4, 16]))
    spread = [np.trace(moments(part.kernel(draws(n)).weights)[1]) for n in range(400)]
    assert np.mean(spread) == pytest.approx((16**3 - 4**3) / (3 * 12) / 12 + 0.2, abs=1)
