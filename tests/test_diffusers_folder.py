"""Folders that diffusers saved: models and pipelines, old and new, and what is no network of ours."""

import inspect
import json
import os

import pytest
import torch
from safetensors.torch import save_file

from restore.archs.denoising_unet_arch import DenoisingUNet
from restore.errors import UserError
from restore.registry import ARCHS, Part
from restore.weights import load_weights, locate, read_facts, read_weights

CONFIG = {
    "_class_name": "UNet2DModel",
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "sample_size": 32,
}
ARCH = {
    "type": "DenoisingUNet",
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "attention_levels": [1],
    "attention_head_dim": None,
    "norm_num_groups": 4,
    "norm_eps": 1e-6,
    "dropout": 0.0,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}
LINEAR = {"_class_name": "DDPMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def network(seed=0):
    torch.manual_seed(seed)
    return ARCHS.build(Part(**ARCH))


def folder(root, tensors=None, scheduler=None, name="diffusion_pytorch_model.safetensors", **config):
    """A model's folder as diffusers writes it."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.json").write_text(json.dumps(CONFIG | config))
    if scheduler is not None:
        (root / "scheduler_config.json").write_text(json.dumps(scheduler))
    tensors = network().state_dict() if tensors is None else tensors
    (save_file if name.endswith("safetensors") else torch.save)(tensors, root / name)
    return root


def loaded(path):
    """The network that the folder's facts describe, with its weights."""
    built = ARCHS.build(Part(**read_facts(path)["arch"]))
    assert load_weights(built, path).complete
    return built.eval()


def answer(model):
    torch.manual_seed(1)
    x, time = torch.randn(2, 3, 8, 12), torch.tensor([1, 900])
    with torch.no_grad():
        found = model.eval()(x, time)
    return found if isinstance(found, torch.Tensor) else found.sample


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("pipeline", [True, False])
def test_what_diffusers_saves_is_loaded(tmp_path, safe, pipeline):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(**{key: value for key, value in CONFIG.items() if key[0] != "_"})
    scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    saved = diffusers.DDPMPipeline(model, scheduler) if pipeline else model
    saved.save_pretrained(tmp_path, safe_serialization=safe)
    schedule = "cosine" if pipeline else "linear"
    assert read_facts(tmp_path) == {
        "arch": ARCH,
        "task": {"type": "Diffusion", "schedule": schedule},
        "size": 32,
    }
    assert torch.allclose(answer(loaded(tmp_path)), answer(model), atol=1e-6)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"])
def test_a_models_folder(tmp_path, name):
    """The layout of google/ddpm-ema-celebahq-256: config, weights and scheduler side by side."""
    path = folder(tmp_path, scheduler=LINEAR, name=name)
    facts = {"arch": ARCH, "task": {"type": "Diffusion", "schedule": "linear"}, "size": 32}
    assert locate(path) == path / name
    assert read_facts(path) == read_facts(path / name) == read_weights(path).facts == facts
    assert torch.equal(answer(loaded(path)), answer(network()))


@pytest.mark.parametrize("averaged", [False, True])
def test_a_trainings_checkpoint_gives_the_average_first(tmp_path, averaged):
    folder(tmp_path / "unet", network(0).state_dict())
    if averaged:
        folder(tmp_path / "unet_ema", network(1).state_dict(), decay=0.9999, optimization_step=10)
    assert torch.equal(answer(loaded(tmp_path)), answer(network(int(averaged))))


def test_attention_under_its_old_names(tmp_path):
    tensors = network().state_dict()
    for new, old in OLD.items():
        tensors = {name.replace(f".{new}.", f".{old}."): value for name, value in tensors.items()}
    assert sum(".proj_attn." in name for name in tensors) == 8
    path = folder(tmp_path, tensors)
    assert torch.equal(answer(loaded(path)), answer(network()))


def test_blocks_and_activation_under_their_old_names(tmp_path):
    blocks = {
        f"{way}_block_types": [f"UNetRes{name}" for name in CONFIG[f"{way}_block_types"]] for way in ("down", "up")
    }
    assert read_facts(folder(tmp_path, act_fn="swish", mid_block_scale_factor=1.0, **blocks))["arch"] == ARCH


def test_what_a_config_leaves_out_is_diffusers_default(tmp_path):
    """Against the defaults of diffusers' own constructor; its first level is the only one that does not attend."""
    parameters = inspect.signature(pytest.importorskip("diffusers").UNet2DModel.__init__).parameters
    (folder(tmp_path) / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    arch = read_facts(tmp_path)["arch"]
    assert (arch.pop("type"), arch.pop("attention_levels")) == ("DenoisingUNet", [1, 2, 3])
    arch["block_out_channels"] = tuple(arch["block_out_channels"])
    assert arch == {key: parameters[key].default for key in arch}


def test_half_precision_becomes_full(tmp_path):
    path = folder(tmp_path, {name: value.half() for name, value in network().state_dict().items()})
    assert all(p.dtype == torch.float32 for p in loaded(path).parameters())


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"_class_name": "UNet2DConditionModel"}, '_class_name is "UNet2DConditionModel"; .* only "UNet2DModel"'),
        ({"_class_name": None}, "_class_name is null"),
        ({"num_class_embeds": 10}, "num_class_embeds is 10; DenoisingUNet knows only null"),
        ({"class_embed_type": "timestep"}, 'class_embed_type is "timestep"'),
        ({"out_channels": 6}, "out_channels is 6; DenoisingUNet knows only 3"),
        ({"time_embedding_type": "fourier"}, 'time_embedding_type is "fourier"'),
        ({"resnet_time_scale_shift": "scale_shift"}, 'resnet_time_scale_shift is "scale_shift"'),
        (
            {"down_block_types": ["DownBlock2D", "SkipDownBlock2D"]},
            "down_block_types: DenoisingUNet has no SkipDownBlock2D, only DownBlock2D and AttnDownBlock2D",
        ),
        ({"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]}, "up_block_types attend at other sizes"),
        ({"up_block_types": "UpBlock2D"}, "up_block_types is 'UpBlock2D', no list"),
    ],
)
def test_networks_that_are_not_ours(tmp_path, config, told):
    path = folder(tmp_path, **config)
    for read in (read_facts, read_weights):
        with pytest.raises(UserError, match=rf"config\.json: {told}") as error:
            read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        ({"beta_schedule": "scaled_linear"}, 'beta_schedule is "scaled_linear"; .* "linear" or "squaredcos_cap_v2"'),
        ({"prediction_type": "v_prediction"}, 'prediction_type is "v_prediction"'),
        ({"num_train_timesteps": 4000}, "num_train_timesteps is 4000"),
        ({"beta_end": 0.012}, "beta_end is 0.012; Diffusion knows only 0.02"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is true"),
    ],
)
def test_noise_that_is_not_ours(tmp_path, scheduler, told):
    path = folder(tmp_path, scheduler=LINEAR | scheduler)
    with pytest.raises(UserError, match=rf"scheduler_config\.json: {told}"):
        read_facts(path)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(UserError, match="neither network_g.safetensors nor diffusers' config.json in this folder"):
        locate(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(UserError, match="a pipeline of diffusers without unet/config.json"):
        locate(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="has a config.json, but neither diffusion_pytorch_model.safetensors nor"):
        locate(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_settings_that_cannot_be_read(tmp_path, text):
    (folder(tmp_path) / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.json: (cannot be read as JSON|holds no settings, but a list)"):
        read_facts(tmp_path)


def test_nothing_in_a_bin_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    path = folder(tmp_path / "model", {"conv_in.weight": Evil()}, name="diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match=r"diffusion_pytorch_model\.bin: not a weights file that can be read safely"):
        load_weights(DenoisingUNet(), path)
    assert not (tmp_path / "pwned").exists()


def test_weights_of_that_name_without_a_config_are_like_any_others(tmp_path):
    path = folder(tmp_path)
    (path / "config.json").unlink()
    assert read_facts(path / "diffusion_pytorch_model.safetensors") == {}
    target = network(1)
    load_weights(target, path / "diffusion_pytorch_model.safetensors")
    assert torch.equal(answer(target), answer(network()))
