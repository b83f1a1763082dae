"""Metrics of the hole and the known part, zeroed ones, and VGG distances: against NumPy, scikit-image, torchvision."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from restore.metrics.vgg_metric import vgg_distance, vgg_distance_normalised
from tests.metrics.test_psnr_ssim import build, pictures, tensor

HOLE = ("mse_hole", "psnr_hole", "l1_hole", "ssim_hole")
KNOWN = ("mse_known", "psnr_known")
LEGACY = ("psnr_legacy_zeroed", "ssim_legacy_zeroed")
LIKENESS = {"psnr_hole", "psnr_known", "ssim_hole", *LEGACY}


def masked(seed=0, height=48, width=61):
    """A pair of 8-bit pictures, and a mask of a rectangle and single pixels, also at the edges."""
    pred, gt = pictures(height, width, seed)
    rng = np.random.default_rng(seed + 100)
    hole = rng.random((height, width)) < 0.05
    y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
    hole[y : y + 20, x : x + 25] = True
    return pred, gt, hole


def tensors(pred, gt, hole):
    return tensor(pred), tensor(gt), torch.from_numpy(hole.astype(np.float32))[None, None]


def similarity(pred, gt):
    """scikit-image's map, (H, W): mean of the channels."""
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return structural_similarity(gt, pred, channel_axis=2, full=True, **how)[1].mean(axis=2)


def expected(name, pred, gt, hole):
    """By NumPy's boolean indexing, and scikit-image's map of SSIM."""
    inside = np.zeros_like(hole)
    inside[5:-5, 5:-5] = True
    if name == "ssim_hole":
        return similarity(pred, gt)[hole & inside].mean()
    if name == "ssim_legacy_zeroed":
        return similarity(pred * hole[..., None], gt * hole[..., None])[inside].mean()
    away = (pred.astype(np.float64) - gt) / 255
    if name == "psnr_legacy_zeroed":
        return 10 * np.log10(1 / np.mean((away * hole[..., None]) ** 2))
    away = away[~hole if "known" in name else hole]
    if name == "l1_hole":
        return np.abs(away).mean()
    return np.mean(away**2) if "mse" in name else 10 * np.log10(1 / np.mean(away**2))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", HOLE + KNOWN + LEGACY)
def test_equals_an_independent_computation(name, seed):
    sample = masked(seed)
    values = build(name)(*tensors(*sample))
    assert values.dtype == torch.float64
    assert values.tolist() == pytest.approx([expected(name, *sample)], abs=1e-9)


@pytest.mark.parametrize("name", HOLE + KNOWN + LEGACY)
def test_one_value_per_image_whatever_the_batch(name):
    samples = [tensors(*masked(seed)) for seed in range(3)]
    batch = [torch.cat(parts) for parts in zip(*samples, strict=True)]
    single = [build(name)(*sample).item() for sample in samples]
    assert build(name)(*batch).tolist() == pytest.approx(single, abs=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_zeroing_inflates_psnr_by_the_area(share):
    """10 log10(1 / area): 6.02 dB for a quarter of the picture."""
    pred, gt, hole = masked()
    columns = np.arange(hole.size).reshape(hole.shape[::-1]).T  # from the left
    hole = columns < round(share * hole.size)
    sample = tensors(pred, gt, hole)
    more = build("psnr_legacy_zeroed")(*sample) - build("psnr_hole")(*sample)
    assert more.item() == pytest.approx(10 * np.log10(1 / hole.mean()), abs=1e-9)
    assert build("ssim_legacy_zeroed")(*sample) > build("ssim_hole")(*sample)


@pytest.mark.parametrize("name", HOLE + KNOWN + LEGACY)
def test_only_its_part_counts(name):
    """But for SSIM, whose windows reach over the edge of the hole."""
    pred, gt, mask = tensors(*masked())
    part = 1 - mask if "known" in name else mask
    spoilt = torch.where(part.bool(), pred, 1 - pred)
    alike = build(name)(spoilt, gt, mask).item() == build(name)(pred, gt, mask).item()
    assert alike == (name != "ssim_hole")
    assert build(name)(1 - pred, gt, mask).tolist() != build(name)(pred, gt, mask).tolist()


@pytest.mark.parametrize("name", HOLE + KNOWN + LEGACY)
def test_no_hole_no_figure(name):
    pred, gt, mask = tensors(*masked())
    metric = build(name)
    assert metric(pred, gt).isnan().all()
    assert metric(pred, gt, torch.zeros_like(mask)).isnan().all()
    both = metric(pred.expand(2, -1, -1, -1), gt.expand(2, -1, -1, -1), torch.cat([mask, torch.zeros_like(mask)]))
    assert both.isnan().tolist() == [False, True]
    assert metric(pred, gt, torch.ones_like(mask)).isnan().item() == (name in KNOWN)


def test_a_hole_at_the_edge_has_no_window_of_ssim():
    pred, gt, mask = tensors(*masked())
    edge = torch.ones_like(mask)
    edge[..., 5:-5, 5:-5] = 0
    assert build("ssim_hole")(pred, gt, edge).isnan().all()
    edge[..., 5, 5] = 1
    assert build("ssim_hole")(pred, gt, edge).isfinite().all()
    assert build("psnr_hole")(pred, gt, edge).isfinite().all()


def test_equal_pictures_and_directions():
    _, gt, mask = tensors(*masked())
    for name in HOLE + KNOWN + LEGACY:
        best = 0 if name not in LIKENESS else np.inf if "psnr" in name else 1
        assert build(name)(gt, gt, mask).item() == pytest.approx(best, abs=1e-12)
        assert build(name).higher_is_better == (name in LIKENESS)


@pytest.mark.parametrize("name", HOLE + KNOWN + LEGACY)
def test_pictures_are_clamped_and_rounded_to_8_bits(name):
    pred, gt, mask = tensors(*masked())
    wanted = build(name)(pred, gt, mask).tolist()
    inside = pred + 0.4 / 255 * torch.rand(pred.shape).mul(2).sub(1)
    beyond = torch.where(pred == 1, 1.7, torch.where(pred == 0, -0.3, inside))
    assert build(name)(beyond, gt, mask).tolist() == wanted


@pytest.mark.parametrize("name", HOLE + KNOWN + LEGACY)
def test_wrong_masks_are_refused_in_one_line(name):
    pred = torch.zeros(1, 3, 24, 30)
    for wrong in (torch.zeros(1, 24, 30), torch.zeros(1, 3, 24, 30), torch.zeros(1, 1, 24, 29)):
        with pytest.raises(ValueError, match=r"^mask is [^\n]* is needed$"):
            build(name)(pred, pred, wrong)
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)$"):
        build(name)(pred, pred[:, :, :20], torch.zeros(1, 1, 24, 30))


def test_protocols_say_what_is_measured():
    assert "centre in the hole" in build("ssim_hole").protocol
    assert "known pixels only" in build("mse_known").protocol
    assert "10 log10(1 / area)" in build("psnr_legacy_zeroed").protocol


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_vgg_distance_equals_torchvisions_layers():
    """VGG19 as torchvision lays it out, with our weights: what comes after the ReLUs 1, 6, 11, 20 and 29."""
    vgg = pytest.importorskip("torchvision.models.vgg")
    metric = vgg_distance("random")
    layers = vgg.make_layers(vgg.cfgs["E"])[:30]
    numbers = {name: i for i, name in enumerate(metric.features.names)}
    convolutions = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    ours = [layer for layer in metric.features.trunk if isinstance(layer, torch.nn.Conv2d)]
    for theirs, own in zip(convolutions, ours, strict=True):
        theirs.load_state_dict(own.state_dict())
    assert [numbers[name] for name in metric.layers] == [1, 6, 11, 20, 29]
    pair = [tensor(picture).contiguous() for picture in pictures()]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x, y = ((picture - mean) / std for picture in pair)
    total = 0.0
    with torch.no_grad():
        for number, layer in enumerate(layers):
            x, y = layer(x), layer(y)
            if number in (1, 6, 11, 20, 29):
                total += np.abs(x.double().numpy() - y.double().numpy()).mean()
    assert metric(*pair).item() == pytest.approx(total, rel=1e-9)
    assert metric(pair[1], pair[1]).item() == 0
    assert "relu5_1" in metric.protocol
    assert not metric.higher_is_better


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_vgg_distance_of_the_normalised_network():
    metric = vgg_distance_normalised("random")
    pair = [tensor(picture).contiguous() for picture in pictures()]
    seen, wanted = (metric.features(picture) for picture in pair)
    parts = [np.abs(seen[k].double().numpy() - wanted[k].double().numpy()).mean() for k in seen]
    assert len(parts) == 3
    assert metric(*pair).item() == pytest.approx(sum(parts), rel=1e-9)
    doubled = metric(*(picture.repeat(2, 1, 1, 1) for picture in pair))
    assert doubled.tolist() == pytest.approx([metric(*pair).item()] * 2, rel=1e-6)
    assert "not comparable" in metric.protocol
    with pytest.raises(ValueError, match="less than 8"):
        metric(pair[0][..., :7], pair[1][..., :7])
