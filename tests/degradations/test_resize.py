"""LQ pictures: against MATLAB's own files, BasicSR, Pillow and OpenCV, and a window against the whole."""

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from restore import images
from restore.degradations.resize import resize_matrix, shrink, upscale
from restore.metrics.psnr_metric import psnr_y
from tests.oracles import basicsr, shared

SET5 = ("baby", "bird", "butterfly", "head", "woman")
KERNELS = ("bicubic", "bicubic_pil", "aliased_cv2")


def noise(height, width, dtype=np.uint8, seed=0):
    levels = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, levels, (height, width, 3), dtype, endpoint=True)


def set5(name, scale):
    lq = images.read(shared("Set5", f"LRbicx{scale}", f"{name}.png"))
    gt = images.read(shared("Set5", "GT", f"{name}.png"))
    return gt[: lq.shape[0] * scale, : lq.shape[1] * scale], lq


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", SET5)
def test_set5_is_reproduced_to_the_last_bit(name, scale):
    """Set5's LRbicx{2,3,4} as distributed with BasicSR, made by MATLAB's imresize on 8-bit pictures."""
    gt, lq = set5(name, scale)
    np.testing.assert_array_equal(shrink(gt, scale), lq)


@pytest.mark.parametrize("name", SET5)
def test_set5_x8_inside_its_borders(name):
    """LRbicx8 comes from an older MATLAB, which repeated the border sample where today's mirrors: the outer two rows
    differ, by up to 7 levels."""
    gt, lq = set5(name, 8)
    ours = shrink(gt, 8)
    np.testing.assert_array_equal(ours[2:-2, 2:-2], lq[2:-2, 2:-2])
    assert not np.array_equal(ours, lq)


@pytest.mark.parametrize(("scale", "published"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_baseline_scores_as_published_on_set5(scale, published):
    """Table 1 of Kim et al., VDSR (CVPR 2016), where Y is rounded to 8 bits and the LQ is shrunk in Y alone."""
    metric, scores = psnr_y(crop_border=scale), []
    for name in SET5:
        gt, lq = set5(name, scale)
        scores.append(metric(images.to_unit(upscale(lq, scale)), images.to_unit(gt)).item())
    assert np.mean(scores) == pytest.approx(published, abs=0.05)


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 1 / 8, 0.75, 2, 3])
def test_matrix_equals_basicsr_before_rounding(factor):
    """BasicSR's imresize works in float32: its own error is about 1e-6."""
    picture = np.random.default_rng(1).random((96, 72, 3), np.float32)
    expected = basicsr("utils.matlab_functions").imresize(picture, factor)
    height, width = expected.shape[:2]
    ours = np.einsum("ij,jwc,vw->ivc", resize_matrix(96, height), picture, resize_matrix(72, width), optimize=True)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 48), (48, 136), (136, 48)])
def test_pillow_kernel_is_pillow(shape):
    picture = noise(*shape)
    size = shape[1] // 4, shape[0] // 4
    expected = np.asarray(Pillow.fromarray(picture).resize(size, Pillow.Resampling.BICUBIC))
    np.testing.assert_array_equal(shrink(picture, 4, "bicubic_pil"), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_aliased_kernel_is_opencv(dtype):
    picture = noise(60, 90, dtype)
    expected = cv2.resize(picture, (30, 20), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(shrink(picture, 3, "aliased_cv2"), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [2, 3, 4, 7, 8])
def test_window_equals_crop_of_the_whole(scale, kernel, dtype):
    rng = np.random.default_rng(scale)
    for height, width in ((37, 34), (12, 41), (41, 12)):
        picture = noise(height * scale, width * scale, dtype, seed=height)[:, :, ::-1]  # as OpenCV's reader gives it
        whole = shrink(picture, scale, kernel)
        assert whole.shape == (height, width, 3)
        assert whole.dtype == dtype
        for _ in range(20):
            h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
            # one in three at the near border, one in three at the far one
            y, x = (int(rng.choice([0, rng.integers(0, n + 1), n])) for n in (height - h, width - w))
            part = shrink(picture, scale, kernel, (y, x, h, w))
            np.testing.assert_array_equal(part, whole[y : y + h, x : x + w])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_constant_stays_constant(kernel, level):
    assert (shrink(np.full((33, 45, 3), level, np.uint8), 3, kernel) == level).all()


def test_a_tie_rounds_up_in_both_depths():
    """Stripes of 0 and 1: far from the border the weights of both are alike at x2, and each pixel is exactly 0.5."""
    for dtype in (np.uint8, np.uint16):
        stripes = np.zeros((8, 32, 3), dtype)
        stripes[:, 1::2] = 1
        assert (shrink(stripes, 2)[:, 2:-2] == 1).all()


def test_16_bits_keep_their_depth():
    """257 times the levels shrink to the same values, more finely rounded; the two axes add up to about a level."""
    picture = noise(64, 64)
    fine = shrink(picture.astype(np.uint16) * 257, 4) / 257
    assert np.abs(fine - shrink(picture, 4)).max() < 1.2
    assert (fine % 1 != 0).any()


def test_matrix_rows_sum_to_one_and_are_read_only():
    for n_in, n_out in ((96, 12), (95, 31), (12, 48), (5, 5), (3, 1)):
        np.testing.assert_allclose(resize_matrix(n_in, n_out).sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(resize_matrix(5, 5), np.eye(5), atol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        resize_matrix(96, 12)[0, 0] = 1


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_upscale_is_pillow(method):
    picture = noise(12, 20)
    expected = np.asarray(Pillow.fromarray(picture).resize((60, 36), getattr(Pillow.Resampling, method.upper())))
    np.testing.assert_array_equal(upscale(picture, 3, method), expected)
    np.testing.assert_array_equal(upscale(picture, (36, 60), method), expected)


def test_upscale_takes_16_bits():
    picture = noise(12, 20)
    np.testing.assert_array_equal(upscale(picture.astype(np.uint16) * 257, 2), upscale(picture, 2))


def test_upscaled_matrix_and_pillow_agree_inside():
    """Two implementations of Keys' kernel; Pillow rounds after each axis. Grays in the middle, so that none clips."""
    picture = noise(16, 16) // 4 + 96
    grow = resize_matrix(16, 64)
    ours = np.clip(np.einsum("ij,jwc,vw->ivc", grow, picture.astype(float), grow), 0, 255)
    assert np.abs(ours - upscale(picture, 4))[12:-12, 12:-12].max() < 1.8


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, 0, 0, 2), (0, 15, 2, 2)])
def test_window_outside_is_refused(window):
    with pytest.raises(ValueError, match="leaves the LQ of 16x16"):
        shrink(noise(64, 64), 4, window=window)


def test_sides_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="64x65 by 4"):
        shrink(noise(64, 65), 4)
    with pytest.raises(ValueError, match="0x10"):
        upscale(noise(8, 8), (0, 10))
    with pytest.raises(ValueError, match="to 0"):
        resize_matrix(8, 0)


def test_shrinking_leaves_the_picture_alone():
    picture = noise(32, 32)
    before = picture.copy()
    for kernel in KERNELS:
        shrink(picture, 4, kernel)
    np.testing.assert_array_equal(picture, before)
