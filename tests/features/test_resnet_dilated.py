"""The dilated ResNet-50: against torchvision's, with the stem of CSAIL's."""

import pytest
import torch
from torch import nn

from restore.errors import UserError
from restore.features.layers import IMAGENET_MEAN, IMAGENET_STD
from restore.features.resnet_dilated import ADDRESS, ResNetDilated

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights, as asked for")


def torchvision_network() -> nn.ModuleDict:
    """torchvision's stages 1 to 4 at an eighth of the size, behind three convolutions of 3x3 in the place of one."""
    resnet = pytest.importorskip("torchvision").models.resnet
    network = resnet.resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
    network.inplanes, network.dilation = 128, 1
    network.layer1 = network._make_layer(resnet.Bottleneck, 64, 3)
    stem = {}
    for number, (before, after) in enumerate(((3, 64), (64, 64), (64, 128)), 1):
        stem[f"conv{number}"] = nn.Conv2d(before, after, 3, 2 if number == 1 else 1, 1, bias=False)
        stem[f"bn{number}"] = nn.BatchNorm2d(after)
    stages = {f"layer{number}": getattr(network, f"layer{number}") for number in range(1, 5)}
    return nn.ModuleDict(stem | stages).eval()


def shake(network: nn.Module) -> None:
    """Normalisations that do something, and keep the features of 16 blocks within bounds."""
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                value.data.copy_(low + torch.rand(value.shape, generator=draw))
            module.running_mean.copy_(torch.rand(module.running_mean.shape, generator=draw) - 0.5)


def picture(height=57, width=72):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_every_stage_equals_torchvisions(tmp_path):
    theirs = torchvision_network()
    shake(theirs)
    torch.save(theirs.state_dict(), tmp_path / "encoder.pth")
    x = picture()
    with torch.no_grad():
        ours = ResNetDilated(str(tmp_path / "encoder.pth"))(x)
        y = (x - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
        for number in (1, 2, 3):
            y = theirs[f"bn{number}"](theirs[f"conv{number}"](y)).relu()
        y = nn.functional.max_pool2d(y, 3, 2, 1)
        for number in (1, 2, 3, 4):
            y = theirs[f"layer{number}"](y)
            scale = y.abs().max().item()
            torch.testing.assert_close(ours[number - 1] / scale, y / scale, rtol=1e-5, atol=1e-6)
            assert y.std() > 0.01 * scale


def test_a_file_without_counters_loads(tmp_path):
    """As from before PyTorch counted batches; what else is in the file is left out."""
    state = {k: v for k, v in torchvision_network().state_dict().items() if "num_batches" not in k}
    torch.save(state | {"fc.weight": torch.zeros(1)}, tmp_path / "encoder.pth")
    network = ResNetDilated(str(tmp_path / "encoder.pth"))
    assert set(network.trunk.state_dict()) == set(state)
    # resnet50's published 25,557,032 without its classifier; three convolutions for one of 7x7; 128 channels for 64
    # into the first block and its shortcut; the normalisations of the other two, and all means and variances.
    parameters = 25_557_032 - 2_049_000 - 9_408 + (1_728 + 36_864 + 73_728) + 64 * (64 + 256) + 2 * (64 + 128)
    scales = 53_120 + 2 * (64 + 128)
    assert sum(value.numel() for value in network.trunk.state_dict().values()) == parameters + scales


def test_shapes_and_a_wide_view():
    """An eighth of the size from stage 2 on; a corner's feature hears of pixels 200 away."""
    network = ResNetDilated("random")
    x = picture(256, 256)[:1].requires_grad_()
    stages = network(x)
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (256, 64, 64),
        (512, 32, 32),
        (1024, 32, 32),
        (2048, 32, 32),
    ]
    (slope,) = torch.autograd.grad(stages[3][0, :, 0, 0].sum(), x)
    assert slope[0, :, 200, 200].abs().sum() > 0


def test_frozen_in_evaluation_and_float32():
    holder = nn.ModuleList([ResNetDilated("random")]).train()
    assert not any(module.training for module in holder[0].modules())
    assert not any(parameter.requires_grad for parameter in holder.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert {stage.dtype for stage in holder[0](picture())} == {torch.float32}


def test_weights_are_named_by_the_user(tmp_path):
    with pytest.raises(UserError, match="is not fetched by itself: get http") as told:
        ResNetDilated()
    assert ADDRESS in str(told.value)
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "plain.pth")
    with pytest.raises(UserError, match=r"plain\.pth: does not hold `resnet50_dilated_ade20k`: no conv1\.weight of"):
        ResNetDilated(str(tmp_path / "plain.pth"))
