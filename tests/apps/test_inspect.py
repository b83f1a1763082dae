"""`restore inspect`: checkpoints and weights files told as they are, and nothing in them run."""

import hashlib
import json
import pickle
from typing import ClassVar

import pytest
import torch
import yaml

from restore import cli
from restore.errors import UserError
from restore.registry import ARCHS, Part
from tests.lab import last

BOARD = ("logger.use_tb_logger=true",)
PARAMETERS = 6867  # of the tiny network; `restore check` counts them from its layers


@pytest.fixture
def inspect(capsys):
    """Calls `restore inspect` and gives what it prints, read back."""

    def call(*arguments):
        args = cli.build_parser().parse_args(["inspect", *map(str, arguments)])
        capsys.readouterr()
        args.run(args)
        text = capsys.readouterr().out
        return json.loads(text) if "--json" in arguments else yaml.safe_load(text)

    return call


@pytest.fixture(scope="module")
def run(tmp_path_factory, faces, val_faces):
    """An experiment."""
    from tests.lab import Lab, tiny_options

    return Lab(tmp_path_factory.mktemp("lab"), tiny_options(faces, val_faces)).train(*BOARD)


def test_a_checkpoint(run, inspect):
    checkpoint = last(run)
    told = inspect(checkpoint.path, "--json")
    assert (told["experiment"], told["iter"], told["scale"]) == ("tiny", 12, 4)
    assert told["best"] == {"metric": "psnr", **checkpoint.state()["best"]}
    assert list(told["networks"]) == ["network_g", "network_g_ema"]
    network = told["networks"]["network_g_ema"]
    assert network["arch"] == {"type": "MSRResNet", "num_feat": 8, "num_block": 1, "upscale": 4}
    assert network["parameters"] == PARAMETERS
    assert told["parts"] == {"optimizer g": "Adam", "scheduler g": "MultiStepLR"}
    assert told["options"] == checkpoint.options()
    for name, file in told["files"].items():
        data = (checkpoint.path / name).read_bytes()
        assert file == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert "state.pt" in told["files"]


def test_parameters_are_counted_as_by_the_layers(run):
    from restore.apps.listing import count_parameters
    from restore.registry import Part

    assert count_parameters(Part(type="MSRResNet", num_feat=8, num_block=1, upscale=4)) == PARAMETERS


def test_history(run, inspect):
    told = inspect(run, "--json")
    history = told["history"]["val/psnr"]
    assert list(history) == ["6", "12"]
    assert max(history.values()) == pytest.approx(told["best"]["value"], abs=1e-4)


def test_every_way_to_name_one(run, inspect):
    checkpoints = run / "checkpoints"
    best = int(last(run).state()["best"]["iter"])
    assert [inspect(way)["iter"] for way in (run, checkpoints / "best", checkpoints / str(best))] == [best] * 3
    assert inspect(checkpoints / "latest")["iter"] == 12
    assert inspect(checkpoints / "8")["iter"] == 8


def test_short_and_whole_options(run, inspect):
    short = inspect(run)
    assert short["options"]["train"]["losses"] == {"pixel": {"type": "L1Loss", "weight": 1.0}}
    assert short["options"]["datasets"]["train"]["type"] == "GTImageDataset"
    assert "logger" not in short["options"]
    assert all(file["verified"] for file in short["files"].values())
    assert inspect(run, "--options")["options"] == last(run).options()


def test_without_curves(lab, inspect):
    assert "history" not in inspect(lab.train(), "--json")


def test_safetensors(run, inspect):
    told = inspect(last(run).weights("network_g_ema"))
    assert (told["arch"]["type"], told["scale"], told["iter"]) == ("MSRResNet", 4, 12)
    assert (told["parameters"], told["tensors"], told["dtypes"]) == (PARAMETERS, 14, ["float32"])
    assert told["sha256"] == hashlib.sha256(last(run).weights("network_g_ema").read_bytes()).hexdigest()


def test_a_damaged_checkpoint(run, inspect, tmp_path):
    for file in last(run).path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = bytearray((tmp_path / "state.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "state.pt").write_bytes(data)
    with pytest.raises(UserError, match=r"state\.pt: differs from its hash"):
        inspect(tmp_path)


class TestPth:
    TENSORS: ClassVar = {"conv.weight": torch.zeros(8, 3, 3, 3), "conv.bias": torch.zeros(8), "steps": torch.tensor(3)}

    def test_params_and_params_ema(self, inspect, tmp_path):
        torch.save({"params": self.TENSORS, "params_ema": self.TENSORS, "iter": 5, "name": "x"}, tmp_path / "x.pth")
        entries = inspect(tmp_path / "x.pth")["entries"]
        assert list(entries) == ["params", "params_ema", "iter", "name"]
        assert entries["params_ema"] == {
            "parameters": 8 * 27 + 8 + 1,
            "tensors": 3,
            "dtypes": ["float32", "int64"],
            "shapes": {"conv.weight": "8x3x3x3", "steps": "scalar"},
        }
        assert (entries["iter"], entries["name"]) == (5, "x")

    def test_a_bare_table(self, inspect, tmp_path):
        torch.save(self.TENSORS, tmp_path / "x.pth")
        assert inspect(tmp_path / "x.pth")["entries"]["(the file itself)"]["tensors"] == 3

    def test_of_a_training(self, inspect, tmp_path):
        parameter = torch.nn.Parameter(torch.zeros(3))
        optimizer = torch.optim.Adam([parameter])
        torch.save({"optimizers": [optimizer.state_dict()], "epoch": 3}, tmp_path / "x.state")
        assert inspect(tmp_path / "x.state")["entries"] == {"optimizers": "list of 1", "epoch": 3}

    def test_nothing_in_it_is_run(self, inspect, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        torch.save({"params": Trap()}, tmp_path / "x.pth")
        (tmp_path / "y.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
        for name in ("x.pth", "y.pth"):
            with pytest.raises(UserError, match=r"cannot be read safely .*nothing in it was run"):
                inspect(tmp_path / name)
        assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}/nothing"], r"nothing: no such checkpoint or weights file"),
        (["{run}/tb"], r"tb: no checkpoint: manifest\.json is missing"),
        (["{run}/train.log"], r"train\.log: cannot be read safely"),
        (["{run}/checkpoints/12/network_g.safetensors", "--options"], r"a weights file holds no options"),
    ],
)
def test_refusals(run, inspect, words, message):
    with pytest.raises(UserError, match=message) as told:
        inspect(*(word.format(run=run) for word in words))
    assert "\n" not in str(told.value)


def test_a_folder_that_diffusers_saved(inspect, tmp_path):
    network = ARCHS.build(Part(type="DenoisingUNet", block_out_channels=[8], norm_num_groups=4, attention_levels=[]))
    config = {"_class_name": "UNet2DModel", "block_out_channels": [8], "down_block_types": ["DownBlock2D"]}
    config |= {"up_block_types": ["UpBlock2D"], "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save(network.state_dict(), tmp_path / "diffusion_pytorch_model.bin")
    told = inspect(tmp_path)
    assert told["file"].endswith("diffusion_pytorch_model.bin")
