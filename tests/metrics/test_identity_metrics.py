"""Identity: cosines and verification rates against NumPy, and real people with the real weights."""

import numpy as np
import pytest
import torch

from restore import images
from restore.faces.face import Face
from restore.metrics.identity_metric import acceptance, verification_far_1e_2
from tests.metrics.test_psnr_ssim import build
from tests.oracles import shared

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
NAMES = ("identity_cosine", "verification_far_1e_2", "verification_far_1e_3")


def random_metric(name):
    return build(name, weights="random")


def photos(count, seed=0, height=64, width=64):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).mul(255).round() / 255


def cosines(metric, pred, gt):
    """(N, N) by NumPy, of every prediction with every GT; the face is where aligned pictures have it."""
    landmarks = torch.from_numpy(Face.aligned(*pred.shape[2:]).landmarks)[None]
    rows = [
        np.concatenate([metric.identity(p[None], landmarks).double().numpy() for p in pictures])
        for pictures in (pred, gt)
    ]
    one, other = (x / np.sqrt((x**2).sum(axis=1, keepdims=True)) for x in rows)
    return np.array([[sum(a * b) for b in other] for a in one])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (80, 57)])
def test_cosine_equals_numpys(height, width):
    metric = random_metric("identity_cosine")
    pred, gt = photos(3, 0, height, width), photos(3, 1, height, width)
    values = [metric(pred[i : i + 1], gt[i : i + 1]).item() for i in range(3)]
    assert values == pytest.approx(np.diag(cosines(metric, pred, gt)).tolist(), abs=1e-9)
    assert metric(pred, gt).tolist() == pytest.approx(values, abs=1e-6)
    assert metric(gt, gt).tolist() == pytest.approx([1] * 3, abs=1e-12)
    assert metric(pred, gt).dtype == torch.float64


def rate(scores, false_accepts):
    """The best share of genuine pairs over all thresholds that let no more than so many impostors pass."""
    genuine, impostors = np.diag(scores), scores[~np.eye(len(scores), dtype=bool)]
    allowed = round(false_accepts * len(impostors) - 0.5 + 1e-9)
    thresholds = [t for t in [-2, *scores.ravel()] if (impostors > t).sum() <= allowed]
    return max((genuine > t).mean() for t in thresholds)


@pytest.mark.parametrize("false_accepts", [0.01, 0.1, 0.25])
@pytest.mark.parametrize("count", [2, 5, 12, 25])
def test_rate_is_the_best_that_any_allowed_threshold_gives(count, false_accepts):
    rng = np.random.default_rng(count)
    scores = rng.normal(0, 0.3, (count, count)) + 0.5 * np.eye(count)
    assert acceptance(torch.from_numpy(scores), false_accepts) == rate(scores, false_accepts)


def test_rate_by_hand():
    """Six impostor pairs of 0.0 to 0.5; genuine ones of 0.05, 0.45 and 0.9."""
    scores = torch.tensor([[0.05, 0.0, 0.1], [0.2, 0.45, 0.3], [0.4, 0.5, 0.9]])
    assert acceptance(scores, 0.01) == pytest.approx(1 / 3)  # none may pass: above 0.5
    assert acceptance(scores, 1 / 6) == pytest.approx(2 / 3)  # one may: above 0.4
    assert acceptance(scores, 5 / 6) == 1
    assert acceptance(torch.full((3, 3), 0.5), 1 / 6) == 0  # a network that sees no difference accepts nobody


@pytest.mark.parametrize("name", NAMES[1:])
def test_verification_is_of_the_whole_set(name):
    metric = random_metric(name)
    gt = photos(12, 1)
    pred = (0.6 * gt + 0.4 * photos(12, 0)).mul(255).round() / 255
    wanted = rate(cosines(metric, pred, gt), metric.false_accepts)
    assert metric.figure([metric.keep(pred[i : i + 1], gt[i : i + 1]) for i in range(12)]) == wanted
    assert metric.figure([metric.keep(pred, gt)]) == wanted


def test_too_few_impostors_are_told():
    metric = random_metric("verification_far_1e_2")
    assert np.isnan(metric.figure([]))
    vectors = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)).double())
    for count, told in ((1, "of 0 impostor"), (10, "of 90 impostor pairs, too few"), (20, "380 impostor pairs, 3 of")):
        kept = [{"pred": vectors[:count], "gt": vectors[:count]}]
        assert told in metric.note(kept)
        assert np.isnan(metric.figure(kept)) == (count == 1)
    kept = [{"pred": vectors, "gt": vectors}]
    assert metric.note(kept) is None
    assert metric.figure(kept) == 1


def test_pictures_without_a_face_are_left_out():
    """The detector is asked for the GT's face, and the prediction is looked at in the same place."""
    metric, rates = random_metric("identity_cosine"), random_metric("verification_far_1e_2")
    asked = []

    def detector(picture):
        asked.append(picture)
        small = Face.of_box((10.0, 8.0, 40.0, 50.0))
        return [] if picture.mean() < 1 else [small, Face.aligned(64, 64)]

    metric.detector = rates.detector = detector
    pred, gt = photos(3, 0), photos(3, 1)
    gt[1] = 0
    values = metric(pred, gt)
    assert values.isnan().tolist() == [False, True, False]
    assert all(picture.dtype == np.uint8 and picture.shape == (64, 64, 3) for picture in asked)
    landmarks = torch.from_numpy(Face.of_box((10.0, 8.0, 40.0, 50.0)).landmarks)[None]
    one, other = (metric.identity(p[:1], landmarks).double() for p in (pred, gt))
    assert values[0].item() == pytest.approx(torch.cosine_similarity(one, other).item(), abs=1e-9)
    kept = [rates.keep(pred, gt)]
    assert "1 of 3 pictures have no face" in rates.note(kept)
    assert np.isfinite(rates.figure(kept))


def test_the_gt_is_seen_once_for_several_methods():
    metric = random_metric("identity_cosine")
    seen = []
    embed = metric._embed
    metric._embed = lambda pictures, landmarks: (seen.append(1), embed(pictures, landmarks))[1]
    gt = photos(1, 0)
    for seed in (1, 2, 3):
        metric(photos(1, seed), gt)
    assert len(seen) == 4
    metric(photos(1, 1), photos(1, 2))
    assert len(seen) == 6


@pytest.mark.parametrize("name", NAMES)
def test_what_protocols_say(name):
    metric = random_metric(name)
    assert "mobilefacenet (random), aligned geometry" in metric.protocol
    assert metric.higher_is_better
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        metric.vectors(photos(1), photos(1, 0, 65))


def test_real_people(monkeypatch):
    """Twelve people: a portrait blurred as a weak restoration would is theirs, another's portrait is not."""
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))
    names = sorted(shared("faces_celebahq512").rglob("*.*"))
    files = [path for path in names if path.suffix in images.SUFFIXES][:12]
    gt = torch.cat([images.to_unit(images.read(path)) for path in files])
    gt = torch.nn.functional.interpolate(gt, (128, 128), mode="area")
    blurred = torch.nn.functional.avg_pool2d(gt, 3, 1, 1, count_include_pad=False)
    cosine = build("identity_cosine")
    assert cosine(blurred, gt).min() > 0.6
    assert cosine(gt.roll(1, 0), gt).mean() < 0.25
    for pred, wanted in ((blurred, 1.0), (gt.roll(1, 0), 0.0)):
        metric = verification_far_1e_2()
        assert metric.figure([metric.keep(pred, gt)]) == wanted
