"""What the discriminators of eyes and mouth are shown."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from restore.archs.component_discriminator_arch import FacialComponentDiscriminator
from restore.data.drawn import draw_face
from restore.images import to_unit
from restore.losses.component_loss import ComponentGANLoss
from restore.step import Step

UPRIGHT = torch.tensor([[20.0, 30], [60, 30], [40, 50], [24, 70], [56, 70]])  # the eyes 40 px apart, as eyes and mouth
CENTERS = torch.tensor([[20.0, 30], [60, 30], [40, 70]])


def a_step(picture, landmarks):
    return Step(lq=picture, gt=picture, landmarks=landmarks)


def ramp(size=100):
    """A picture whose red is x, green is y."""
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)])[None]


def test_crops_are_centered_and_as_large_as_told():
    """In an upright face, 40 px of scale: squares of 20 px for eyes and 30 for the mouth, at a pixel each of 10."""
    loss = ComponentGANLoss(eye=0.5, mouth=0.75, size=10)
    crops = loss.view(a_step(ramp(), UPRIGHT[None]), ramp())
    assert crops.shape == (3, 3, 10, 10)
    assert torch.allclose(crops[:, :2].mean((2, 3)), CENTERS, atol=1e-4)
    for crop, step in zip(crops, (2, 2, 3), strict=True):
        assert torch.allclose(crop[0].diff(dim=1), torch.tensor(float(step)), atol=1e-3)
        assert torch.allclose(crop[1].diff(dim=0), torch.tensor(float(step)), atol=1e-3)
        assert torch.allclose(crop[0].diff(dim=0), torch.tensor(0.0), atol=1e-3)


def test_an_upright_face_is_cropped_as_roi_align_does():
    """torchvision's, with two samples a side; its boxes count from the picture's corner."""
    ops = pytest.importorskip("torchvision.ops")
    picture = to_unit(draw_face(0, 1, 100).image)
    boxes = [
        torch.cat([CENTERS[part] + 0.5 - side / 2, CENTERS[part] + 0.5 + side / 2])
        for part, side in enumerate((26, 26, 38))
    ]
    expected = ops.roi_align(picture, [torch.stack(boxes)], output_size=20, sampling_ratio=2, aligned=True)
    crops = ComponentGANLoss(eye=0.65, mouth=0.95, size=20).view(a_step(picture, UPRIGHT[None]), picture)
    assert torch.allclose(crops, expected, atol=1e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_face_shows_the_same_crops(quarters):
    """Landmarks turned by a function of their own here."""
    picture = to_unit(draw_face(0, 1, 96).image)
    landmarks = torch.from_numpy(draw_face(0, 1, 96).landmarks)[None] - 0.5
    turned, points = picture, landmarks
    for _ in range(quarters):
        turned, points = turned.rot90(1, (2, 3)), torch.stack([points[..., 1], 95 - points[..., 0]], -1)
    loss = ComponentGANLoss(size=24)
    expected = loss.view(a_step(picture, landmarks), picture)
    assert torch.allclose(loss.view(a_step(turned, points), turned), expected, atol=1e-4)


def test_parts_of_all_pictures_come_together():
    """Left eyes of all, then right eyes, then mouths: as one picture after the other."""
    faces = [draw_face(0, index, 96) for index in range(4)]
    pictures = torch.cat([to_unit(face.image) for face in faces])
    landmarks = torch.from_numpy(np.stack([face.landmarks for face in faces]))
    loss = ComponentGANLoss(size=24)
    all_crops = loss.view(a_step(pictures, landmarks), pictures).view(3, 4, 3, 24, 24)
    for number in range(4):
        one = slice(number, number + 1)
        assert torch.allclose(
            all_crops[:, number], loss.view(a_step(pictures, landmarks[one]), pictures[one]), atol=1e-6
        )


def test_a_face_turned_aside_keeps_its_scale():
    """The eyes nearly meet; the distance to the mouth stands in."""
    aside = torch.tensor([[58.0, 30], [60, 30], [63, 50], [57, 70], [61, 70]])
    crops = ComponentGANLoss(eye=0.5, size=10).view(a_step(ramp(), aside[None]), ramp())
    assert float(crops[1, 0].diff(dim=1).mean()) == pytest.approx(2, abs=0.01)


def test_equal_eyes_give_numbers():
    crops = ComponentGANLoss(size=8).view(a_step(ramp(), torch.full((1, 5, 2), 30.0)), ramp())
    assert crops.isfinite().all()


def test_gradients_reach_only_what_is_shown():
    picture = torch.rand(1, 3, 100, 100, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ComponentGANLoss(eye=0.5, mouth=0.75, size=20).view(a_step(picture, UPRIGHT[None]), picture).sum().backward()
    weight = picture.grad[0, 0]
    assert torch.allclose(weight[22:38, 12:28], torch.ones(16, 16), atol=1e-3)  # the left eye, at its own size
    assert weight[87:].abs().max() == weight[:, 75:].abs().max() == 0  # below the mouth and right of the eyes


def test_three_bodies_that_share_nothing():
    network = FacialComponentDiscriminator(num_feat=4).eval()
    crops = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    logits = network(crops)
    assert logits.shape == (6, 1, 4, 4)
    bodies = (network.left_eye, network.right_eye, network.mouth)
    for part, body in enumerate(bodies):
        assert torch.equal(logits[2 * part : 2 * part + 2], body(crops[2 * part : 2 * part + 2]))
    network.zero_grad()
    F.softplus(network(crops)[4:]).mean().backward()
    assert all(p.grad is None or not p.grad.any() for body in bodies[:2] for p in body.parameters())
    assert all(p.grad.any() for p in network.mouth.parameters())
    with pytest.raises(ValueError, match="4 pictures are not as many"):
        network(crops[:4])
