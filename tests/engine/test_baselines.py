"""Fills of what is missing, against OpenCV called directly."""

import cv2
import numpy as np
import pytest
import torch

from restore import images
from restore.data.drawn import draw_face
from restore.engine.baselines import baseline
from restore.errors import UserError

PICTURE = draw_face(0, 0, 64).image
MASK = np.zeros((64, 64), np.uint8)
MASK[40:60, 16:48] = 1


def filled(name):
    lq = images.to_unit(PICTURE)
    mask = torch.from_numpy(MASK.astype(np.float32))[None, None]
    return images.to_uint8(baseline(name, 1)(lq, mask)[0])


@pytest.mark.parametrize(("name", "flag"), [("telea", cv2.INPAINT_TELEA), ("navier_stokes", cv2.INPAINT_NS)])
def test_fills_are_opencv_s(name, flag):
    bgr = cv2.inpaint(np.ascontiguousarray(PICTURE[:, :, ::-1]), MASK, 3, flag)
    seen = filled(name)
    assert np.abs(seen.astype(int) - bgr[:, :, ::-1]).max() <= 1  # the order of the channels shifts its roundings
    assert (seen[MASK == 0] == PICTURE[MASK == 0]).all()
    assert (seen[MASK == 1] != PICTURE[MASK == 1]).any()


def test_mean_fill_and_input():
    seen = filled("mean_fill")
    mean = PICTURE[MASK == 0].mean(axis=0)
    assert np.abs(seen[MASK == 1] - mean).max() <= 0.5
    assert (seen[MASK == 0] == PICTURE[MASK == 0]).all()
    assert (filled("input") == PICTURE).all()


def test_a_fill_needs_a_mask():
    with pytest.raises(UserError, match="telea fills what a mask says is missing"):
        baseline("telea", 1)(images.to_unit(PICTURE), None)
