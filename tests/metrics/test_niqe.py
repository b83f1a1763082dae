"""NIQE: against BasicSR, and against the steps of the authors' MATLAB release written with SciPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, special
from skimage import data, transform

from restore import images
from restore.metrics import niqe_metric
from restore.metrics.niqe_metric import niqe_of
from tests.metrics.test_psnr_ssim import build, tensor
from tests.oracles import basicsr, shared


@pytest.fixture(autouse=True)
def statistics(monkeypatch):
    """The file of natural pictures' statistics, which BasicSR carries."""
    monkeypatch.setenv("RESTORE_WEIGHTS", str(Path(basicsr("metrics.niqe").__file__).parent))
    niqe_metric.pristine.cache_clear()


def astronaut():
    return np.ascontiguousarray(data.astronaut())


def blurred_and_noisy():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(astronaut()[:300, 50:450].astype(float), (1, 1, 0))
    return (smooth + rng.normal(0, 3, smooth.shape)).clip(0, 255).round().astype(np.uint8)


PICTURES = {
    "astronaut": astronaut,
    "odd size": lambda: astronaut()[3:300, :411],
    "blurred": blurred_and_noisy,
    "gray": lambda: np.repeat(data.camera()[..., None], 3, axis=2),
}


@pytest.mark.parametrize("border", [0, 7])
@pytest.mark.parametrize("name", PICTURES)
def test_equals_basicsr(name, border):
    """BasicSR 1.4.2. Rounding is all that varies in flat regions, so that nothing less than its float32 will do."""
    picture = np.ascontiguousarray(PICTURES[name]())
    expected = basicsr("metrics.niqe").calculate_niqe(picture[:, :, ::-1], crop_border=border)
    ours = build("niqe", crop_border=border)(tensor(picture), None).item()
    assert ours == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_equals_basicsr_on_faces():
    for path in sorted(shared("faces_celebahq512", "val").glob("*.jpg"))[:8]:
        picture = images.read(path)
        expected = basicsr("metrics.niqe").calculate_niqe(picture[:, :, ::-1], crop_border=0)
        assert build("niqe")(tensor(picture), None).item() == pytest.approx(expected, rel=1e-5)


def fit(values):
    shapes = np.arange(0.2, 10.0005, 0.001)
    ratios = special.gamma(2 / shapes) ** 2 / special.gamma(1 / shapes) / special.gamma(3 / shapes)
    left, right = (np.sqrt(np.mean(side**2)) for side in (values[values < 0], values[values > 0]))
    asymmetry = left / right
    wanted = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    wanted *= (asymmetry**3 + 1) * (asymmetry + 1) / (asymmetry**2 + 1) ** 2
    shape = shapes[np.argmin((ratios - wanted) ** 2)]
    scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * scale, right * scale


def statistics_of(block):
    shape, left, right = fit(block.ravel())
    row = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = fit((block * np.roll(block, (down, across), (0, 1))).ravel())
        row += [shape, (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape), left, right]
    return row


def computequality_m(gray, model):
    """The steps of the authors' `computequality.m`, for pictures in which nothing is flat."""
    gray = gray[: gray.shape[0] // 96 * 96, : gray.shape[1] // 96 * 96].astype(float)
    columns = []
    for block in (96, 48):
        mean = ndimage.gaussian_filter(gray, 7 / 6, mode="nearest", radius=3)
        deviation = np.sqrt(np.abs(ndimage.gaussian_filter(gray**2, 7 / 6, mode="nearest", radius=3) - mean**2))
        field = (gray - mean) / (deviation + 1)
        tiles = [np.hsplit(strip, field.shape[1] // block) for strip in np.vsplit(field, field.shape[0] // block)]
        columns.append(np.array([statistics_of(tile) for row in tiles for tile in row]))
        for axis in (0, 1):
            gray = ndimage.correlate1d(gray, keys_halving(), axis, mode="reflect", origin=-1)
            gray = np.take(gray, range(0, gray.shape[axis], 2), axis)
    rows = np.hstack(columns)
    away = model["mu_pris_param"][0] - rows.mean(0)
    return np.sqrt(away @ np.linalg.inv((model["cov_pris_param"] + np.cov(rows.T)) / 2) @ away)


def keys_halving():
    """Keys' kernel spread over two pixels, as `imresize` does to antialias; around a point between two of them."""
    x = np.abs(np.arange(-4, 6) - 0.5) / 2
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    kernel = np.where(x <= 1, near, np.where(x <= 2, far, 0))
    return np.append(kernel, 0) / kernel.sum()


@pytest.mark.parametrize("deviation", [2, 10])
def test_niqe_matlab_by_the_steps_of_the_release(deviation):
    """Figures of the release itself, in MATLAB, are in docs/losses_and_metrics.md."""
    noise = np.random.default_rng(0).normal(0, deviation, (400, 300, 3))
    picture = (astronaut()[50:450, 60:360] * 0.8 + 20 + noise).clip(0, 255).round().astype(np.uint8)
    gray = (picture @ [0.298936021293775, 0.587043074451121, 0.114020904255103]).round()
    with np.load(Path(basicsr("metrics.niqe").__file__).with_name("niqe_pris_params.npz")) as model:
        expected = computequality_m(gray, model)
    assert build("niqe_matlab")(tensor(picture), None).item() == pytest.approx(expected, rel=1e-6)


def test_blur_and_noise_are_told():
    """A natural picture scores best; blurring and noise make it worse, and so does enlarging."""
    picture = astronaut()
    small = transform.resize(picture, (128, 128), anti_aliasing=True)
    enlarged = (transform.resize(small, (512, 512), order=1) * 255).round().astype(np.uint8)
    noisy = (picture + np.random.default_rng(0).normal(0, 25, picture.shape)).clip(0, 255).round().astype(np.uint8)
    natural, *worse = (build("niqe")(tensor(p), None).item() for p in (picture, enlarged, noisy))
    assert all(score > natural + 1 for score in worse)
    assert not build("niqe").higher_is_better


def test_each_image_of_a_batch_by_itself():
    pred = torch.cat([tensor(np.ascontiguousarray(astronaut()[:200, x : x + 200])) for x in (0, 200)])
    together = build("niqe")(pred, torch.zeros_like(pred))
    assert together.shape == (2,)
    assert together.dtype == torch.float64
    assert together.tolist() == [build("niqe")(pred[i : i + 1], None).item() for i in range(2)]


def test_flat_and_small_pictures():
    assert build("niqe")(torch.full((1, 3, 192, 192), 0.5), None).isnan().all()
    with pytest.raises(ValueError, match=r"^NIQE needs 96x192 pixels or more inside the border, not 160x160$"):
        build("niqe", crop_border=20)(torch.zeros(1, 3, 200, 200), None)
    with pytest.raises(ValueError, match="less than 96"):
        build("niqe")(torch.zeros(1, 3, 90, 400), None)


def test_a_partly_flat_picture_counts_only_what_varies():
    """A block without statistics is left out of the covariance, as MATLAB's nancov does."""
    gray = torch.from_numpy(data.camera()[:288, :288].astype(np.float64))
    gray[:96, :96] = 40
    assert np.isfinite(niqe_of(gray, niqe_metric.pristine()))
