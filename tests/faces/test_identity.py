"""Whose face it is: the network against plain functions over its file, and people told apart with the real weights."""

import pytest
import torch
from torch.nn import functional as F

from restore import images
from restore.errors import UserError
from restore.faces.identity import Identity
from restore.features.mobilefacenet import MobileFaceNet
from restore.registry import DETECTORS, Part
from tests.oracles import shared

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights, as asked for")


@pytest.fixture
def weights(monkeypatch):
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))
    return torch.load(
        shared("../weights", "recognition", "mobilefacenet_112x96_068.ckpt"), map_location="cpu", weights_only=True
    )["net_state_dict"]


def plain(x, w):
    """MobileFaceNet over the file's own names, in nothing but torch's functions; input as its authors normalise it."""

    def unit(x, conv, norm, prelu, **how):
        x = F.conv2d(x, w[f"{conv}.weight"], **how)
        mean, var, scale, shift = (w[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, var, scale, shift)
        return F.prelu(x, w[f"{prelu}.weight"]) if prelu else x

    def named(x, name, linear=False, **how):
        return unit(x, f"{name}.conv", f"{name}.bn", None if linear else f"{name}.prelu", **how)

    x = named((255 * x - 127.5) / 128, "conv1", stride=2, padding=1)
    x = named(x, "dw_conv1", padding=1, groups=64)
    for block in range(15):
        c = f"blocks.{block}.conv"
        groups = len(w[f"{c}.3.weight"])
        y = unit(x, f"{c}.0", f"{c}.1", f"{c}.2")
        y = unit(y, f"{c}.3", f"{c}.4", f"{c}.5", padding=1, groups=groups, stride=2 if block in (0, 5, 12) else 1)
        y = unit(y, f"{c}.6", f"{c}.7", None)
        x = x + y if x.shape == y.shape else y
    x = named(x, "conv2")
    return named(named(x, "linear7", linear=True, groups=512), "linear1", linear=True).flatten(1)


def test_equals_plain_functions(weights):
    """Within float32's rounding over 50 layers."""
    faces = torch.rand(2, 3, 112, 96, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(MobileFaceNet()(faces), plain(faces, weights), atol=1e-4)


def portraits(folder, names):
    detector = DETECTORS.build(Part(type="yunet"))
    for name in names:
        picture = images.read(shared(folder, name))
        yield images.to_unit(picture), torch.from_numpy(detector(picture)[0].landmarks)[None]


def test_one_person_is_nearer_than_two(weights):
    """Twelve people: each one's portrait as published, and the same photo aligned at another size."""
    names = sorted(path.name for path in shared("congress_raw").glob("*.jpg"))[:12]
    identity = Identity()
    raw, aligned = (
        torch.cat([identity(*face) for face in portraits(folder, names)])
        for folder in ("congress_raw", "faces_congress160")
    )
    cosines = raw @ aligned.T
    others = cosines[~torch.eye(len(names), dtype=torch.bool)]
    assert cosines.diagonal().min() > 0.8
    assert others.max() < 0.5
    assert others.mean() < 0.15


def test_a_mirror_image_is_the_same_person_when_eyes_keep_their_sides(weights):
    ((picture, landmarks),) = portraits("congress_raw", ["B000243.jpg"])
    mirrored = landmarks[:, [1, 0, 2, 4, 3]] * torch.tensor([-1, 1]) + torch.tensor([picture.shape[-1] - 1, 0])
    identity = Identity()
    mine = identity(picture, landmarks)
    assert (mine * identity(picture.flip(-1), mirrored)).sum() > 0.8
    assert (mine * identity(picture.flip(-1), mirrored[:, [1, 0, 2, 4, 3]])).sum() < 0.5  # stood on its head


def test_a_file_of_another_network(tmp_path):
    torch.save({"net_state_dict": {"x": torch.zeros(1)}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"x\.ckpt: does not fit MobileFaceNet"):
        MobileFaceNet(str(tmp_path / "x.ckpt"))
