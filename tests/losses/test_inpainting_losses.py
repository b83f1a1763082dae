"""Losses of inpainting: holes, feature matching, adversaries with masks and scales, high receptive field."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from restore.errors import UserError
from restore.features.resnet_dilated import ResNetDilated
from restore.losses.gan_loss import GANLoss, HoleGANLoss, RelativisticGANLoss
from restore.losses.high_receptive_field_loss import HighReceptiveFieldLoss
from restore.registry import LOSSES, Part
from restore.step import Step

GRIDS = ((6, 7), (3, 4))  # of the logits of two scales
TYPES = ["vanilla", "wgan_softplus", "lsgan", "hinge", "wgan"]


def tensor(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step(mask="half", n=2, size=(24, 28)):
    """Pictures off by noise, masked by kind, with logits of two scales and features of five layers."""
    gt = tensor(n, 3, *size).sigmoid()
    masks = {"half": (tensor(n, 1, *size, seed=1) > 0.3).float(), "none": torch.zeros(n, 1, *size)}
    made = Step(lq=gt * 0.5, gt=gt, mask=masks["half"] if mask == "half" else masks["none"] + (mask == "all"))
    made.pred = (gt + 0.1 * tensor(*gt.shape, seed=2)).requires_grad_()
    made.logits_pred = [tensor(n, 1, *grid, seed=3).requires_grad_() for grid in GRIDS]
    made.logits_real = [tensor(n, 1, *grid, seed=4) for grid in GRIDS]
    made.features_pred = [tensor(n, width, 5, 4, seed=width).requires_grad_() for width in (2, 4, 8, 2, 4)]
    made.features_real = [tensor(*seen.shape, seed=9) for seen in made.features_pred]
    return made


def build(name, **args):
    return LOSSES.build(Part(type=name, **args))


def numbers(*tensors):
    return [value.detach().double().numpy() for value in tensors]


@pytest.mark.parametrize("name", ["HoleL1Loss", "HoleMSELoss"])
@pytest.mark.parametrize("mask", ["half", "none", "all"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 10.0), (6.0, 0.5)])
def test_hole_losses_by_the_formula(name, mask, weights):
    made = step(mask)
    pred, gt, missing = numbers(made.pred, made.gt, made.mask)
    distance = np.abs(pred - gt) if name == "HoleL1Loss" else (pred - gt) ** 2
    expected = np.mean(distance * np.where(missing == 1, *weights))
    value = build(name, weight_hole=weights[0], weight_known=weights[1])(made)
    assert value.item() == pytest.approx(expected, rel=1e-5, abs=1e-12)
    (slope,) = torch.autograd.grad(value, made.pred)
    touched = np.broadcast_to(np.where(missing == 1, *weights) > 0, slope.shape)
    assert np.array_equal(slope.numpy() != 0, touched)


def test_equal_weights_are_the_plain_losses():
    made = step()
    assert build("HoleL1Loss")(made).item() == pytest.approx(F.l1_loss(made.pred, made.gt).item(), rel=1e-6)
    assert build("HoleMSELoss")(made).item() == pytest.approx(F.mse_loss(made.pred, made.gt).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["HoleL1Loss", "HoleMSELoss", "HoleGANLoss"])
def test_data_without_masks_is_told(name):
    made = step()
    made.mask = None
    with pytest.raises(UserError, match=f"^{name} needs masks, and the data has none: use OccludedImageDataset$"):
        build(name)(made)


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_feature_matching_is_the_mean_of_the_layers_means(criterion):
    made = step()
    differences = [a - b for a, b in zip(numbers(*made.features_pred), numbers(*made.features_real), strict=True)]
    expected = np.mean([np.mean(np.abs(d) if criterion == "l1" else d**2) for d in differences])
    value = build("FeatureMatchingLoss", criterion=criterion)(made)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert all(slope.abs().sum() > 0 for slope in torch.autograd.grad(value, made.features_pred))
    made.features_real = [real.requires_grad_() for real in made.features_real]
    assert not any(
        slope is not None
        for slope in torch.autograd.grad(
            build("FeatureMatchingLoss")(made), made.features_real, allow_unused=True, materialize_grads=False
        )
    )
    made.features_real = made.features_pred
    assert build("FeatureMatchingLoss", criterion=criterion)(made).item() == 0


def test_feature_matching_says_what_it_needs():
    part = LOSSES.get("FeatureMatchingLoss").build
    assert part.wants_features
    assert part.needs == ("network_d",)
    made = step()
    made.features_real.pop()
    with pytest.raises(ValueError, match="shorter"):
        part()(made)


def alone(made, index):
    """The step as the discriminator of one scale would make it."""
    other = Step(lq=made.lq, gt=made.gt, mask=made.mask)
    other.pred, other.logits_pred, other.logits_real = made.pred, made.logits_pred[index], made.logits_real[index]
    return other


@pytest.mark.parametrize(
    "loss",
    [*map(GANLoss, TYPES), *map(RelativisticGANLoss, ["vanilla", "lsgan", "hinge"]), HoleGANLoss()],
    ids=lambda loss: f"{type(loss).__name__}",
)
def test_several_scales_count_alike(loss):
    made = step()
    singles = [alone(made, index) for index in range(len(GRIDS))]
    assert loss(made).item() == pytest.approx(np.mean([loss(one).item() for one in singles]), rel=1e-6)
    for name, value in loss.discriminator(made).items():
        assert value.shape == ()
        expected = np.mean([loss.discriminator(one)[name].item() for one in singles])
        assert value.item() == pytest.approx(expected, rel=1e-6)
    made.logits_pred = made.logits_pred[:1]
    made.logits_real = made.logits_real[:1]
    assert loss(made).item() == loss(singles[0]).item()  # a list of one is no list, to the last bit


def softplus(x):
    return np.logaddexp(0, x)


@pytest.mark.parametrize("gan_type", TYPES)
def test_gan_losses_by_their_formulas(gan_type):
    made = alone(step(), 0)
    fake, real = numbers(made.logits_pred, made.logits_real)
    generator, on_real, on_fake = {
        "lsgan": ((fake - 1) ** 2, (real - 1) ** 2, fake**2),
        "hinge": (-fake, np.maximum(1 - real, 0), np.maximum(1 + fake, 0)),
        "wgan": (-fake, -real, fake),
    }.get(gan_type, (softplus(-fake), softplus(-real), softplus(fake)))
    loss = GANLoss(gan_type)
    assert loss(made).item() == pytest.approx(generator.mean(), rel=1e-5)
    parts = loss.discriminator(made)
    assert parts["l_d_real"].item() == pytest.approx(on_real.mean(), rel=1e-5)
    assert parts["l_d_fake"].item() == pytest.approx(on_fake.mean(), rel=1e-5)


def test_relativistic_by_the_papers_formula():
    """Each side against the mean of the other, scale by scale."""
    made, loss = step(), RelativisticGANLoss("lsgan")
    pairs = list(zip(numbers(*made.logits_real), numbers(*made.logits_pred), strict=True))
    generator = [((r - f.mean()) ** 2).mean() + ((f - r.mean() - 1) ** 2).mean() for r, f in pairs]
    assert loss(made).item() == pytest.approx(np.mean(generator) / 2, rel=1e-5)
    parts = loss.discriminator(made)
    on_real = [((r - f.mean() - 1) ** 2).mean() for r, f in pairs]
    on_fake = [((f - r.mean()) ** 2).mean() for r, f in pairs]
    assert parts["l_d_real"].item() == pytest.approx(np.mean(on_real) / 2, rel=1e-5)
    assert parts["l_d_fake"].item() == pytest.approx(np.mean(on_fake) / 2, rel=1e-5)


def test_what_a_conditional_discriminator_is_shown():
    made = step()
    assert GANLoss().view(made, made.pred) is made.pred
    beside = GANLoss(conditional="input").view(made, made.pred)
    assert torch.equal(beside, torch.cat([made.lq, made.pred], 1))  # pix2pix: the input, then the answer
    behind = GANLoss(conditional="mask").view(made, made.real)
    assert torch.equal(behind[:, :3], made.real)
    assert torch.equal(behind[:, 3:], made.mask)
    (slope,) = torch.autograd.grad(beside.sum(), made.pred)
    assert (slope == 1).all()


def test_conditions_that_are_not_there_are_told():
    made = step()
    made.mask, made.lq = None, made.lq[..., ::2, ::2]
    with pytest.raises(UserError, match=r"^GANLoss needs masks, and the data has none"):
        GANLoss(conditional="mask").view(made, made.pred)
    with pytest.raises(UserError, match=r"conditional: input needs scale 1; LQ and GT are 12x14 and 24x28$"):
        GANLoss(conditional="input").view(made, made.pred)
    with pytest.raises(ValueError, match="conditional"):
        LOSSES.get("GANLoss").schema(conditional="output")


def nearest(mask, grid):
    """Of each patch the pixel at floor(place * side / patches)."""
    rows, columns = (np.arange(n) * side // n for n, side in zip(grid, mask.shape[2:], strict=True))
    return mask[:, :, rows][..., columns]


def highest(mask, grid):
    """Of each patch the largest of its pixels; 24x28 divides into both grids."""
    n, _, height, width = mask.shape
    return mask.reshape(n, 1, grid[0], height // grid[0], grid[1], width // grid[1]).max(axis=(3, 5))


@pytest.mark.parametrize("mask", ["half", "none", "all"])
@pytest.mark.parametrize(("resize", "known_d", "known_g", "extra"), [
    ("nearest", True, True, 0.0),  # LaMa
    ("max", True, True, 3.0),
    ("nearest", False, True, 0.5),
    ("max", False, False, 0.0),
])  # fmt: skip
def test_hole_gan_by_the_formula(mask, resize, known_d, known_g, extra):
    made = step(mask)
    loss = HoleGANLoss(known_d, known_g, extra, resize)
    generator, fakes, reals = [], [], []
    for grid, fake, real in zip(GRIDS, numbers(*made.logits_pred), numbers(*made.logits_real), strict=True):
        hole = (nearest if resize == "nearest" else highest)(made.mask.double().numpy(), grid)
        generator.append(np.mean(softplus(-fake) * ((1 + extra * hole) if known_g else hole)))
        fakes.append(np.mean(np.where(hole == 1, softplus(fake), softplus(-fake) * known_d)))
        reals.append(np.mean(softplus(-real)))
    assert loss(made).item() == pytest.approx(np.mean(generator), rel=1e-5, abs=1e-12)
    parts = loss.discriminator(made)
    assert parts["l_d_fake"].item() == pytest.approx(np.mean(fakes), rel=1e-5, abs=1e-12)
    assert parts["l_d_real"].item() == pytest.approx(np.mean(reals), rel=1e-5)


def test_the_discriminator_is_pulled_apart_at_the_holes_edge():
    """A step down its loss lowers logits in the hole and raises those outside; the generator wants all raised."""
    made = alone(step(), 0)
    hole = nearest(made.mask.numpy(), GRIDS[0]) == 1
    assert 0 < hole.mean() < 1
    (slope,) = torch.autograd.grad(HoleGANLoss().discriminator(made)["l_d_fake"], made.logits_pred)
    assert np.array_equal(slope.numpy() > 0, hole)
    (slope,) = torch.autograd.grad(HoleGANLoss()(made), made.logits_pred)
    assert (slope < 0).all()


def test_everything_missing_is_the_plain_loss():
    made = step("all")
    ours, plain = HoleGANLoss(), GANLoss()
    assert ours(made).item() == plain(made).item()
    assert {k: v.item() for k, v in ours.discriminator(made).items()} == pytest.approx(
        {k: v.item() for k, v in plain.discriminator(made).items()}
    )


def test_what_the_generator_never_hears_of_is_refused():
    with pytest.raises(UserError, match=r"^HoleGANLoss: use_known_for_generator: false needs"):
        HoleGANLoss(use_known_for_generator=False)


@pytest.fixture(scope="module")
def perceptual():
    with pytest.warns(UserWarning, match="random weights, as asked for"):
        return HighReceptiveFieldLoss("random")


def test_high_receptive_field_is_the_sum_of_the_stages_means(perceptual):
    made = step()
    network = perceptual.features
    assert isinstance(network, ResNetDilated)
    pairs = zip(numbers(*network(made.pred)), numbers(*network(made.gt)), strict=True)
    expected = sum(np.mean((one - other) ** 2) for one, other in pairs)
    assert perceptual(made).item() == pytest.approx(expected, rel=1e-5)


def test_high_receptive_field_pulls_towards_the_target(perceptual):
    made = step()
    made.gt.requires_grad_()
    value = perceptual(made)
    to_pred, to_gt = torch.autograd.grad(value, (made.pred, made.gt), allow_unused=True)
    assert to_gt is None
    made.pred = (made.pred - 1e-3 * to_pred / to_pred.abs().max()).detach()
    assert perceptual(made) < value
    made.pred = made.gt
    assert perceptual(made).item() == 0
    assert not any(parameter.requires_grad for parameter in perceptual.parameters())


@pytest.mark.parametrize("name", ["HoleL1Loss", "HoleMSELoss", "FeatureMatchingLoss", "HoleGANLoss"])
def test_the_mean_of_per_sample_values(name):
    loss, made = build(name), step(n=3)
    singles = []
    for i in range(3):
        one = Step(lq=made.lq[i : i + 1], gt=made.gt[i : i + 1], mask=made.mask[i : i + 1])
        one.pred = made.pred[i : i + 1]
        for field in ("logits_pred", "logits_real", "features_pred", "features_real"):
            setattr(one, field, [value[i : i + 1] for value in getattr(made, field)])
        singles.append(loss(one).item())
    assert loss(made).item() == pytest.approx(np.mean(singles), rel=1e-5)
    assert len(set(singles)) == 3
