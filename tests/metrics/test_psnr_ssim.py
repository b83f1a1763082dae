"""PSNR and SSIM: against scikit-image and BasicSR, on 8-bit pictures."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore.errors import UserError
from restore.metrics.protocol import eight_bit_pair, luma
from restore.metrics.psnr_metric import mse_per_image
from restore.metrics.ssim_metric import ssim_map, ssim_map_in_strips
from restore.registry import METRICS, Part
from tests.oracles import basicsr

NAMES = ("psnr", "psnr_y", "ssim", "ssim_y")


def pictures(height=48, width=61, seed=0):
    """Two alike 8-bit pictures of smooth blobs, the second with noise."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 7, 9)))
    gt = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    pred = gt + rng.normal(0, 0.05, gt.shape)
    return tuple((np.clip(p, 0, 1) * 255).round().astype(np.uint8) for p in (pred, gt))


def tensor(picture):
    return torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 255)[None]


def build(name, **args):
    return METRICS.build(Part(type=name, **args))


@pytest.mark.parametrize("seed", range(3))
def test_psnr_equals_skimage(seed):
    pred, gt = pictures(seed=seed)
    expected = peak_signal_noise_ratio(gt, pred, data_range=255)
    assert build("psnr")(tensor(pred), tensor(gt)).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_ssim_equals_skimage(seed):
    """scikit-image with the settings of its docs for Wang et al.; truncate = 3.5 gives 11 taps, 5 of border to cut."""
    pred, gt = pictures(seed=seed)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, full = structural_similarity(gt.astype(float), pred.astype(float), channel_axis=2, full=True, **settings)
    expected = full[5:-5, 5:-5]
    assert build("ssim")(tensor(pred), tensor(gt)).item() == pytest.approx(expected.mean(), abs=1e-9)
    ours = ssim_map(tensor(pred).double(), tensor(gt).double())[0].permute(1, 2, 0)
    np.testing.assert_allclose(ours, expected, atol=1e-6)  # float32 inputs


@pytest.mark.parametrize("border", [0, 4])
@pytest.mark.parametrize("name", NAMES)
def test_equals_basicsr(name, border):
    """BasicSR 1.4.2 takes BGR; its Y is computed in float32, hence the tolerance."""
    pred, gt = pictures()
    kind, *y = name.split("_")
    oracle = getattr(basicsr("metrics.psnr_ssim"), f"calculate_{kind}")
    expected = oracle(pred[:, :, ::-1], gt[:, :, ::-1], crop_border=border, test_y_channel=bool(y))
    assert build(name, crop_border=border)(tensor(pred), tensor(gt)).item() == pytest.approx(expected, abs=1e-5)


def test_psnr_by_hand():
    """One level off everywhere: 20 log10(255) dB, whatever the channel; a gray level of 1 is 219/255 in Y."""
    gt = torch.full((1, 3, 16, 16), 100 / 255)
    pred = torch.full((1, 3, 16, 16), 101 / 255)
    assert build("psnr")(pred, gt).item() == pytest.approx(20 * np.log10(255), abs=1e-9)
    assert build("psnr_y")(pred, gt).item() == pytest.approx(20 * np.log10(255 * 255 / 219), abs=1e-9)


def test_luma_of_black_white_and_primaries():
    """ITU-R BT.601: black is 16, white 235; red 81, green 145, blue 41 when rounded."""
    rgb = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).double()[..., None, None]
    assert (luma(rgb) * 255).round().flatten().tolist() == [16, 235, 81, 145, 41]


@pytest.mark.parametrize("name", NAMES)
def test_one_value_per_image_whatever_the_batch(name):
    pairs = [pictures(seed=seed) for seed in range(3)]
    pred, gt = (torch.cat([tensor(pair[i]) for pair in pairs]) for i in (0, 1))
    together = build(name)(pred, gt)
    assert together.shape == (3,)
    assert together.dtype == torch.float64
    one_by_one = torch.cat([build(name)(pred[i : i + 1], gt[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-12)
    assert len(set(together.tolist())) == 3


@pytest.mark.parametrize(("name", "best"), [("psnr", np.inf), ("psnr_y", np.inf), ("ssim", 1), ("ssim_y", 1)])
def test_equal_pictures(name, best):
    pred = tensor(pictures()[0])
    assert build(name)(pred, pred).item() == pytest.approx(best, abs=1e-12)
    assert build(name).higher_is_better


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_clamped_and_rounded_to_8_bits(name):
    pred, gt = map(tensor, pictures())
    expected = build(name)(pred, gt)
    inside = pred + 0.4 / 255 * torch.rand(pred.shape).mul(2).sub(1)
    beyond = torch.where(pred == 1, 1.7, torch.where(pred == 0, -0.3, inside))
    assert build(name)(beyond, gt).tolist() == expected.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_border_is_left_out(name):
    pred, gt = map(tensor, pictures())
    spoilt = pred.clone()
    spoilt[:, :, :4] = spoilt[:, :, -4:] = 0
    spoilt[..., :4] = spoilt[..., -4:] = 0
    metric = build(name, crop_border=4)
    assert metric(spoilt, gt).tolist() == metric(pred, gt).tolist()
    assert metric(spoilt, gt).tolist() != build(name, crop_border=3)(spoilt, gt).tolist()
    assert "border 4" in metric.protocol


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_is_refused_in_one_line(name):
    pred = torch.zeros(1, 3, 24, 30)
    for wrong in (torch.zeros(2, 3, 24, 30), torch.zeros(1, 3, 24, 29), torch.zeros(3, 24, 30)):
        with pytest.raises(ValueError, match=r"^[^\n]*\(N, 3, H, W\)$"):
            build(name)(pred, wrong)
    with pytest.raises(ValueError, match=r"^crop_border 12 leaves less than [^\n]*$"):
        build(name, crop_border=12)(pred, pred)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        METRICS.get(name).schema(crop_border=-1)


def test_ssim_needs_its_window():
    """A border of 7 leaves 10 rows of 24: enough for PSNR, one too few for the window."""
    pred = torch.zeros(1, 3, 24, 30)
    assert build("psnr", crop_border=7)(pred, pred).item() == np.inf
    with pytest.raises(ValueError, match="less than 11"):
        build("ssim", crop_border=7)(pred, pred)
    with pytest.raises(ValueError, match="11 pixels"):
        ssim_map(pred[:, :, :10], pred[:, :, :10])


def test_gradients_flow_through_the_functions():
    pred, gt = (p[:, :1, :14, :13].double() for p in map(tensor, pictures()))
    assert torch.autograd.gradcheck(ssim_map, (pred.requires_grad_(), gt.requires_grad_()))
    assert torch.autograd.gradcheck(mse_per_image, (pred, gt))


def test_ssim_map_in_float32_is_close_enough_for_a_loss():
    pred, gt = map(tensor, pictures())
    exact = ssim_map(pred.double(), gt.double()).mean()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ssim_map(pred, gt).mean().item() == pytest.approx(exact.item(), abs=1e-5)


def test_unknown_metric_names_the_nearest():
    with pytest.raises(UserError, match="did you mean `psnr_y`"):
        build("psnr_Y")


def test_eight_bit_pair_is_exact():
    levels = torch.arange(256).float().div(255).expand(1, 3, 2, 256)
    pred, _ = eight_bit_pair(levels, levels)
    assert pred.dtype == torch.float64
    assert (pred * 255).round().eq(torch.arange(256)).all()
    assert torch.equal(pred[0, 0, 0], torch.arange(256).double() / 255)


@pytest.mark.parametrize("size", [(11, 11), (12, 700), (300, 200), (48, 12300), (97, 1500)])
def test_ssim_in_strips_is_that_of_the_whole(size):
    draws = torch.Generator().manual_seed(0)
    pred, gt = (torch.rand(1, 3, *size, generator=draws, dtype=torch.float64) for _ in range(2))
    assert torch.equal(ssim_map_in_strips(pred, gt), ssim_map(pred, gt))
