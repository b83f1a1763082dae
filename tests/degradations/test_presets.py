"""Presets: the lists that they stand for, the numbers that were published, and what is drawn from them."""

import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from restore import images
from restore.degradations import convolution, jpeg_degradation, noise_degradation, resize_degradation
from restore.degradations.pictures import Pictures, stack
from restore.degradations.pipeline import Pipeline
from restore.degradations.resize import shrink
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part
from tests.degradations.test_color import uniform_distance

DOCS = Path(__file__).parents[2] / "docs" / "degradations.md"
PRESETS = ("bicubic", "aliased_cv2", "gfpgan", "realesrgan", "old_photo")

# options/train_realesrgan_x4plus.yml of xinntao/Real-ESRGAN; options/finetune_realesrgan_x4plus.yml has the same.
REALESRGAN = {
    "resize_prob": (0.2, 0.7, 0.1),
    "resize_range": (0.15, 1.5),
    "gaussian_noise_prob": 0.5,
    "noise_range": (1, 30),
    "poisson_scale_range": (0.05, 3),
    "gray_noise_prob": 0.4,
    "jpeg_range": (30, 95),
    "second_blur_prob": 0.8,
    "resize_prob2": (0.3, 0.4, 0.3),
    "resize_range2": (0.3, 1.2),
    "gaussian_noise_prob2": 0.5,
    "noise_range2": (1, 25),
    "poisson_scale_range2": (0.05, 2.5),
    "gray_noise_prob2": 0.4,
    "jpeg_range2": (30, 95),
    "sinc_prob": 0.1,
    "blur_sigma": (0.2, 3),
    "betag_range": (0.5, 4),
    "betap_range": (1, 2),
    "sinc_prob2": 0.1,
    "blur_sigma2": (0.2, 1.5),
    "betag_range2": (0.5, 4),
    "betap_range2": (1, 2),
    "final_sinc_prob": 0.8,
}
# options/train_gfpgan_v1.yml of TencentARC/GFPGAN; the last four from ffhq_degradation_dataset.py.
GFPGAN = {
    "blur_kernel_size": 41,
    "kernel_prob": (0.5, 0.5),
    "blur_sigma": (0.1, 10),
    "downsample_range": (0.8, 8),
    "noise_range": (0, 20),
    "jpeg_range": (60, 100),
    "color_jitter_prob": 0.3,
    "color_jitter_shift": 20,
    "color_jitter_pt_prob": 0.3,
    "gray_prob": 0.01,
    "brightness": (0.5, 1.5),
    "contrast": (0.5, 1.5),
    "saturation": (0, 1.5),
    "hue": (-0.1, 0.1),
}


def faces(count=3, size=64):
    """Smooth colours with edges."""
    rng = np.random.default_rng(0)
    made = [cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (size, size), interpolation=2) for _ in range(count)]
    return torch.cat([images.to_unit(picture) for picture in made])


def keys(count, name="p"):
    return [draws(name, n) for n in range(count)]


@pytest.mark.parametrize(("name", "published"), [("realesrgan", REALESRGAN), ("gfpgan", GFPGAN)])
def test_defaults_are_the_published_numbers(name, published):
    fields = DEGRADATIONS.get(name).schema.model_fields
    assert {key: field.default for key, field in fields.items()} == published


def documented():
    """Presets written out by hand, as the page on degradations shows them."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    return {block.split("\n", 1)[0].removeprefix("# "): yaml.safe_load(block) for block in blocks}


@pytest.mark.parametrize("name", ["gfpgan", "realesrgan", "old_photo"])
@pytest.mark.parametrize("scale", [1, 4])
def test_a_preset_is_the_list_that_the_docs_show(name, scale):
    by_hand = [Part.model_validate(section) for section in documented()[name]["degradation"]]
    batch = faces(6)
    preset = Pipeline([Part(type=name)], scale)(batch, keys(6))["lq"]
    assert torch.equal(preset, Pipeline(by_hand, scale)(batch, keys(6))["lq"])
    assert preset.shape == (6, 3, 64 // scale, 64 // scale)
    assert not torch.equal(preset, Pipeline([Part(type=name)], scale)(batch, keys(6, "q"))["lq"])


@pytest.mark.parametrize("name", PRESETS)
def test_each_picture_of_a_batch_as_if_alone(name):
    """One picture is convolved another way than many, to rounding: a pixel that rounds to another level can turn a
    coefficient of JPEG over, and its block changes by a step. With kernels trimmed at 1e-5 in place of
    1e-6, `realesrgan` (99.78 %) and `old_photo` (99.86 %) fail."""
    count = 36
    batch, pipeline = faces(count, 128), Pipeline([Part(type=name)], 1)
    together = pipeline(batch, keys(count))["lq"]
    alone = torch.cat([pipeline(batch[n : n + 1], [draws("p", n)])["lq"] for n in range(count)])
    assert ((together - alone).abs() <= 1.001 / 255).float().mean() > 0.999


@pytest.mark.parametrize("size", [(64, 64), (52, 36)])
def test_bicubic_is_matlabs_and_aliased_is_opencvs(size):
    """`shrink` is proved on MATLAB's own files; OpenCV computes 8-bit pictures in fixed point, hence the level."""
    gt = faces(1)[:, :, : size[0], : size[1]]
    rgb = images.to_uint8(gt[0])
    made = {name: Pipeline([Part(type=name)], 4)(gt, keys(1))["lq"][0] for name in ("bicubic", "aliased_cv2")}
    assert np.array_equal(images.to_uint8(made["bicubic"]), shrink(rgb, 4))
    theirs = shrink(rgb, 4, "aliased_cv2").astype(int)
    assert np.abs(images.to_uint8(made["aliased_cv2"]) - theirs).max() <= 1
    assert np.abs(shrink(rgb, 4).astype(int) - theirs).max() > 1


@pytest.mark.parametrize("name", ["bicubic", "aliased_cv2"])
def test_downsampling_of_different_sizes(name):
    part, gt = DEGRADATIONS.build(Part(type=name)), faces(2)
    pictures = [gt[0], gt[1, :, :40, :56]]
    together = part(stack(pictures, (10, 14)), keys(2))
    for row, picture in zip(together.canvas, pictures, strict=True):
        torch.testing.assert_close(row, part(stack([picture], (10, 14)), keys(1)).canvas[0], rtol=0, atol=1e-6)


class Dry:
    """Runs a preset without computing a pixel, and keeps what it would have done, in order."""

    def __init__(self, monkeypatch):
        self.log = []
        monkeypatch.setattr(convolution, "convolve", self.convolve)
        monkeypatch.setattr(resize_degradation, "resize", self.resize)
        monkeypatch.setattr(jpeg_degradation, "_libjpeg", self.jpeg)
        for kind in ("GaussianNoise", "PoissonNoise"):
            monkeypatch.setattr(getattr(noise_degradation, kind), "__call__", lambda *args: self.noise(*args))

    def convolve(self, pictures, kernels):
        self.log.append(("kernel", kernels[0]))
        return pictures

    def resize(self, pictures, plans):
        self.log.append(("resize", plans[0].size[0] / pictures.sizes[0][0], plans[0].mode))
        return Pictures(pictures.canvas, (plans[0].size,), pictures.target)

    def jpeg(self, canvas, sizes, quality):
        self.log.append(("jpeg", quality[0]))
        return canvas

    def noise(self, part, pictures, own):
        drawn = noise_degradation.Drawn.of(
            getattr(part, "sigma", getattr(part, "scale", None)), part.gray_probability, own
        )
        self.log.append((type(part).__name__, drawn.strengths[0], drawn.gray[0]))
        return pictures

    def runs(self, name, count, size):
        part = DEGRADATIONS.build(Part(type=name))
        logs = []
        for n in range(count):
            self.log = []
            part(Pictures(torch.zeros(1, 3, 1, 1), ((size, size),), (size // 4, size // 4)), [draws(name, n)])
            logs.append(self.log)
        return logs


def assert_share(found, count, expected):
    assert abs(found / count - expected) < 4 * (expected * (1 - expected) / count) ** 0.5 + 1e-9


def assert_uniform(values, low, high):
    assert uniform_distance(np.array(values), low, high) < 1.95 / len(values) ** 0.5  # Kolmogorov's 0.1 % point


def test_realesrgan_draws_what_is_published(monkeypatch):
    """Order, probabilities and ranges over 2,000 pictures, as `feed_data` and RealESRGANDataset have them."""
    count, size = 2000, 8000  # so large that sizes hardly round the factors
    logs = Dry(monkeypatch).runs("realesrgan", count, size)
    orders = Counter(tuple("noise" if "Noise" in step[0] else step[0] for step in log) for log in logs)
    first = ("kernel", "resize", "noise", "jpeg", "kernel", "resize", "noise")
    ends = (("resize", "kernel", "jpeg"), ("jpeg", "resize", "kernel"))
    assert set(orders) == {first + end for end in ends}
    assert_share(orders[first + ends[0]], count, 0.5)
    assert_share(sum(log[4][1] is not None for log in logs), count, 0.8)
    last = [log[8 if log[7][0] == "resize" else 9][1] for log in logs]
    assert_share(sum(kernel is not None for kernel in last), count, 0.8)
    sides = Counter(len(log[0][1].weights) for log in logs)
    assert set(sides) == set(range(7, 22, 2))
    for side in sides:
        assert_share(sides[side], count, 1 / 8)
    assert_share(sum(log[0][1].weights.min() < -1e-4 for log in logs), count, 0.1)  # only a sinc is negative
    for at, noise, poisson in ((2, (1, 30), (0.05, 3)), (6, (1, 25), (0.05, 2.5))):
        gaussian = [log[at][1] for log in logs if log[at][0] == "GaussianNoise"]
        assert_share(len(gaussian), count, 0.5)
        assert_share(sum(log[at][2] for log in logs), count, 0.4)
        assert_uniform(gaussian, *noise)
        assert_uniform([log[at][1] for log in logs if log[at][0] == "PoissonNoise"], *poisson)
    qualities = np.array([[step[1] for step in log if step[0] == "jpeg"] for log in logs])
    for column in qualities.T:
        assert_uniform(column + 0.5, 30, 95)
    assert_resized([log[1] for log in logs], count, (0.2, 0.7, 0.1), (0.15, 1.5))
    second = [(step[0], step[1] * round(size * log[1][1]) / (size // 4), step[2]) for log in logs for step in [log[5]]]
    assert_resized(second, count, (0.3, 0.4, 0.3), (0.3, 1.2))


def assert_resized(steps, count, shares, limits):
    factors = np.array([factor for _, factor, _ in steps])
    up, down = factors[factors > 1.0005], factors[factors < 0.9995]
    for found, share in zip((len(up), len(down), count - len(up) - len(down)), shares, strict=True):
        assert abs(found / count - share) < 4 * (share * (1 - share) / count) ** 0.5 + 0.002
    assert_uniform(up, 1, limits[1])
    assert_uniform(down, limits[0], 1)
    modes = Counter(mode for _, _, mode in steps)
    assert set(modes) == {"area", "bilinear", "bicubic"}
    for mode in modes:
        assert_share(modes[mode], count, 1 / 3)


def gfpgan_by_basicsr(gt, seed):
    """GFPGAN's FFHQDegradationDataset without its colour jitter, made of BasicSR's functions."""
    import random

    from tests.oracles import basicsr

    theirs = basicsr("data.degradations")
    random.seed(seed)
    np.random.seed(seed)
    kernel = theirs.random_mixed_kernels(
        ["iso", "aniso"], [0.5, 0.5], 41, (0.1, 10), (0.1, 10), [-np.pi, np.pi], noise_range=None
    )
    side, scale = len(gt), np.random.uniform(0.8, 8)
    lq = cv2.resize(cv2.filter2D(gt, -1, kernel), (int(side // scale),) * 2, interpolation=cv2.INTER_LINEAR)
    lq = theirs.random_add_gaussian_noise(lq, (0, 20))
    lq = theirs.add_jpg_compression(lq, int(np.random.uniform(60, 100)))
    return cv2.resize(lq, (side, side), interpolation=cv2.INTER_LINEAR)


def test_gfpgan_does_as_much_harm_as_gfpgans():
    """The logarithm of the error over 300 draws of one picture each: two samples of one distribution (0.1 % point)."""
    rng = np.random.default_rng(3)
    rgb = cv2.resize(rng.integers(0, 256, (24, 24, 3), np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
    gt, count = images.to_unit(rgb), 300
    part = Part(type="gfpgan", color_jitter_prob=0, color_jitter_pt_prob=0, gray_prob=0)
    pipeline = Pipeline([part], 1)
    ours = [(pipeline(gt, [draws("g", n)])["lq"] - gt).square().mean().log().item() for n in range(count)]
    bgr = np.ascontiguousarray(rgb[:, :, ::-1]).astype(np.float32) / 255
    theirs = [np.log(np.square(gfpgan_by_basicsr(bgr, n) - bgr).mean()) for n in range(count)]
    points = np.sort(ours + theirs)
    distance = np.abs(
        np.searchsorted(np.sort(ours), points, "right") - np.searchsorted(np.sort(theirs), points, "right")
    ).max()
    assert distance / count < 1.95 * (2 / count) ** 0.5
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * np.std(theirs) * (2 / count) ** 0.5
