"""Brightness and contrast of a sample: against Pillow and torchvision, and the same for LQ and GT."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from restore.data.transforms.color import RandomBrightness, RandomContrast, mean_gray, scaled
from restore.keyed import draws
from restore.registry import TRANSFORMS, Part

KINDS = {"Brightness": RandomBrightness, "Contrast": RandomContrast}


def picture(seed=0, size=24, dtype=np.uint8):
    coarse = np.random.default_rng(seed).random((6, 6, 3))
    smooth = np.kron(coarse, np.ones((size // 6, size // 6, 1)))
    return (smooth * np.iinfo(dtype).max).astype(dtype)


def sample(gt, **others):
    return {"gt": gt, "key": "k", "path": "p"} | others


@pytest.mark.parametrize("factor", [0.7, 0.93, 1.0, 1.3])
@pytest.mark.parametrize("kind", KINDS)
def test_within_a_level_of_pillow_and_torchvision(kind, factor):
    """Pillow truncates where we round, and rounds the mean gray to a level; torchvision truncates too."""
    from torchvision.transforms import functional

    gt = picture()
    ours = KINDS[kind]((factor, factor), 1.0)(sample(gt), draws(0))["gt"].astype(int)
    pillow = getattr(ImageEnhance, kind)(Image.fromarray(gt)).enhance(factor)
    tensor = torch.from_numpy(gt.transpose(2, 0, 1).copy())
    torchvision = getattr(functional, f"adjust_{kind.lower()}")(tensor, factor).permute(1, 2, 0).numpy()
    assert np.abs(ours - np.asarray(pillow)).max() <= 1
    assert np.abs(ours - torchvision).max() <= 1
    assert (ours != gt).any() == (factor != 1)


@pytest.mark.parametrize("kind", KINDS)
def test_lq_and_gt_change_alike_and_the_mask_does_not(kind):
    """A value has one image, whichever picture it stands in, though the two have different means."""
    gt, mask = picture(), np.ones((24, 24, 1), np.uint8)
    lq = gt[:12, :12]
    changed = KINDS[kind]((1.3, 1.3), 1.0)(sample(gt, lq=lq, mask=mask), draws(0))
    assert np.array_equal(changed["lq"], changed["gt"][:12, :12])
    assert abs(mean_gray(lq) - mean_gray(gt)) > 0.01
    assert changed["mask"] is mask
    alone = KINDS[kind]((1.3, 1.3), 1.0)({"lq": gt, "key": "k", "path": "p"}, draws(0))["lq"]
    assert np.array_equal(alone, changed["gt"])


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_as_published(kind):
    """System B: 0.7 to 1.3, half of the time. A flat gray over black tells the factor."""
    transform = TRANSFORMS.build(Part(type=f"Random{kind}"))
    gt = np.zeros((2, 1, 3), np.uint16)
    gt[0] = 30000
    factors = []
    for position in range(2000):
        bright, dark = transform(sample(gt), draws(1, position))["gt"][:, 0, 0].astype(float)
        factors.append(
            (bright if kind == "Brightness" else bright - 15000) / (30000 if kind == "Brightness" else 15000)
        )
    factors = np.array(factors)
    moved = factors[factors != 1]
    assert abs(len(moved) / 2000 - 0.5) < 4 * 0.5 / 2000**0.5
    assert 0.7 <= moved.min() < 0.71
    assert 1.29 < moved.max() <= 1.3001
    assert abs(moved.mean() - 1) < 4 * 0.6 / 12**0.5 / len(moved) ** 0.5


def test_16_bits_are_the_same_picture():
    """257 levels of 16 bits are one of 8."""
    deep = scaled(sample(picture().astype(np.uint16) * 257), 1.21, 0.4)["gt"]
    shallow = scaled(sample(picture()), 1.21, 0.4)["gt"]
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - shallow).max() <= 0.51


def test_equal_keys_equal_pictures_and_the_input_stays():
    gt = picture()
    before = gt.copy()
    pair = [RandomContrast(probability=1.0)(sample(gt), draws("a"))["gt"] for _ in range(2)]
    assert np.array_equal(*pair)
    assert np.array_equal(gt, before)
