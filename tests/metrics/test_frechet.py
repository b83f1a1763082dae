"""Frechet distances: closed forms, SciPy's matrix root, torch-fidelity with the same random weights."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import linalg

from restore.metrics.frechet_metric import fid_inception_tf, frechet_distance
from restore.registry import METRICS
from tests.metrics.test_psnr_ssim import build

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")


def features(count, dims, seed, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dims, dims, generator=generator)
    return scale * torch.randn(count, dims, generator=generator) @ mixing + shift


def photos(count, seed, size=40):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


@pytest.mark.parametrize(("count", "other"), [(300, 200), (12, 15), (40, 9)])
def test_equals_the_formula_with_scipys_root(count, other):
    """More pictures than features, fewer, and one of each: three ways through the code."""
    one, two = features(count, 16, 0), features(other, 16, 1, 1.3, 0.5)
    means, covariances = zip(*((x.numpy().mean(0), np.cov(x.double().numpy().T)) for x in (one, two)), strict=True)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(two, one) == pytest.approx(frechet_distance(one, two), rel=1e-12)


def test_commuting_covariances():
    """Diagonal ones: |m1 - m2|^2 plus the squared differences of the deviations."""
    spread = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 2.0, 0.25])
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).repeat(5, 1)  # uncorrelated, of equal deviation
    shift = torch.tensor([0.1, -0.2, 0.3])
    excess = (len(signs) / (len(signs) - 1)) ** 0.5  # the divisor is N - 1
    expected = (shift.square().sum() + (excess * (spread[0] - spread[1])).square().sum()).item()
    assert frechet_distance(signs * spread[0], signs * spread[1] + shift) == pytest.approx(expected, rel=1e-6)


def test_equal_sets_and_too_few():
    x = features(50, 16, 0)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9 * x.var().item() * 16)
    assert frechet_distance(x + 2, x) == pytest.approx(16 * 4, rel=1e-5)
    assert np.isnan(frechet_distance(x[:1], x))


def test_statistics_equal_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    one, two = features(200, 64, 0), features(150, 64, 1, 1.1, 0.2)
    statistics = [metric.fid_features_to_statistics(x) for x in (one, two)]
    expected = metric.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_fid_equals_torch_fidelity(tmp_path):
    """The whole way, from pictures: the same random Inception in both, one picture at a time here, batches there."""
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    metric = fid_inception_tf("random")
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(metric.network.trunk.state_dict() | head, tmp_path / "inception.pth")
    extractor = FeatureExtractorInceptionV3("ours", ["2048"], str(tmp_path / "inception.pth")).eval()
    sets = photos(5, 0), photos(6, 1, 64)
    with torch.no_grad():
        seen = [extractor(pictures.mul(255).round().byte())[0] for pictures in sets]
    statistics = [fid.fid_features_to_statistics(x) for x in seen]
    # its `sqrtm` of singular matrices is unreliable, and 2,048 x 2,048 take long: eigenvalues, in the features' span
    basis = torch.linalg.qr(torch.cat(seen).double().T).Q.numpy()
    one, two = (basis.T @ s["sigma"] @ basis for s in statistics)
    root = np.sqrt(np.linalg.eigvals(one @ two).astype(complex)).real.sum()
    apart = np.square(statistics[0]["mu"] - statistics[1]["mu"]).sum()
    expected = apart + np.trace(one) + np.trace(two) - 2 * root
    rows = [torch.cat([metric.features(p[None]) for p in pictures]) for pictures in sets]
    assert frechet_distance(*rows) == pytest.approx(expected, rel=1e-3)


def test_collects_pictures_whatever_the_batches():
    metric = build("fd_squeezenet", weights="random")
    pred, gt = (photos(6, seed).mul(255).round() / 255 for seed in (0, 1))
    expected = frechet_distance(metric.features(pred), metric.features(gt))
    for cuts in ([0, 6], [0, 2, 6], [0, 1, 2, 3, 4, 5, 6]):
        batches = [slice(*pair) for pair in pairwise(cuts)]
        kept = [metric.keep(pred[batch], gt[batch]) for batch in batches]
        assert metric.figure(kept) == pytest.approx(expected, rel=1e-4), cuts


def test_pictures_are_clamped_and_rounded():
    metric = build("fd_squeezenet", weights="random")
    gt, pred = photos(4, 0), photos(4, 1).mul(255).round() / 255
    kept = [metric.keep(picture, gt) for picture in (pred, torch.where(pred == 1, 1.4, pred + 0.3 / 255))]
    assert metric.figure(kept[:1]) == metric.figure(kept[1:])


def test_the_gt_is_seen_once_for_several_methods():
    metric = build("fd_squeezenet", weights="random")
    seen = []
    rows = metric.rows
    metric.rows = lambda pictures: (seen.append(1), rows(pictures))[1]
    gt = photos(1, 0)
    for _ in range(3):
        metric.keep(photos(1, 1), gt)
    assert len(seen) == 4
    metric.keep(photos(1, 1), photos(1, 2))
    assert len(seen) == 6


def test_few_pictures_are_told():
    metric = build("fd_squeezenet_caffe", weights="random")
    assert np.isnan(metric.figure([]))
    assert metric.note([metric.keep(photos(3, 0), photos(3, 1))]).startswith("of 3 pictures, fewer than 2,048: ")
    assert metric.note([{"pred": torch.zeros(1024, 1)}] * 2) is None
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        metric.keep(photos(1, 0), photos(1, 0, 41))


def test_only_fid_is_called_fid():
    names = [entry.name for entry in METRICS if entry.module.endswith("frechet_metric")]
    assert names == ["fd_squeezenet", "fd_squeezenet_caffe", "fid_inception_tf"]
    assert "not FID" in build("fd_squeezenet", weights="random").protocol
    assert not build("fd_squeezenet", weights="random").higher_is_better
