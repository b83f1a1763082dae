"""Networks that diffusers saved, read without it: what a folder's JSON files say, in our terms.

A folder holds `config.json` and the weights beside it, or is a pipeline with these in `unet/`. Its scheduler, which
knows the noise that the network was trained with, lies beside them or in `scheduler/`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from restore.errors import UserError
from restore.facts import parsed

T = TypeVar("T")
Config = dict[str, Any]

_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_NETWORKS = (".", "unet_ema", "unet")  # a model's folder; a training's checkpoint; a pipeline
_SCHEDULERS = (".", "scheduler", "../scheduler")

# What a UNet2DModel can be beside what `DenoisingUNet` is. A setting that a config leaves out is the first.
_FIXED: dict[str, tuple[Any, ...]] = {
    "_class_name": ("UNet2DModel",),
    "num_class_embeds": (None,),
    "class_embed_type": (None,),
    "in_channels": (3,),
    "out_channels": (3,),
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "resnet_time_scale_shift": ("default",),
    "act_fn": ("silu", "swish"),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "add_attention": (True,),
    "attn_norm_num_groups": (None,),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
}
_CONDITIONS = ("_class_name", "num_class_embeds", "class_embed_type")
_TAKEN = {  # what it calls by the same name, and diffusers' defaults
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "dropout": 0.0,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
}
_DOWN = ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"]
_UP = ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"]

_NOISE: dict[str, tuple[Any, ...]] = {
    "prediction_type": ("epsilon",),
    "num_train_timesteps": (1000,),
    "trained_betas": (None,),
    "rescale_betas_zero_snr": (False,),
    "beta_schedule": ("linear", "squaredcos_cap_v2"),
}
_LINEAR: dict[str, tuple[Any, ...]] = {"beta_start": (0.0001,), "beta_end": (0.02,)}

_OLD_ATTENTION = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.")  # before diffusers 0.17
_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def weights_file(folder: Path) -> Path | None:
    """The weights in a folder that diffusers saved; None where it is none.

    Raises:
        UserError: it is one, of a pipeline without such a network, or the weights are missing.
    """
    for place in (folder / name for name in _NETWORKS):
        if (place / "config.json").is_file():
            found = next((place / name for name in _WEIGHTS if (place / name).is_file()), None)
            if found is None:
                raise UserError(f"{place}: has a config.json, but neither {' nor '.join(_WEIGHTS)}")
            return found
    if (folder / "model_index.json").is_file():
        raise UserError(f"{folder}: a pipeline of diffusers without unet/config.json")
    return None


def facts_beside(weights: Path) -> dict[str, Any]:
    """What the files beside diffusers' weights say: `arch`, `task`, `size` of the pictures; empty for other weights.

    Raises:
        UserError: a file is no JSON, or the network is one that `DenoisingUNet` cannot be: conditional, for instance.
    """
    place = weights.parent / "config.json"
    if weights.name not in _WEIGHTS or not place.is_file():
        return {}
    config = _read(place)
    facts = {
        "arch": arch_of(config, place),
        "task": {"type": "Diffusion", "schedule": _schedule(weights.parent)},
    }
    size = config.get("sample_size")
    return facts | ({"size": size} if isinstance(size, int) else {})


def arch_of(config: Config, place: Path | str) -> dict[str, Any]:
    """The section of an option file that makes the network of a `config.json`. Raises as `facts_beside`."""
    _expect(config, _FIXED, place, "DenoisingUNet")
    settings = {key: config.get(key, default) for key, default in _TAKEN.items()}
    return {"type": "DenoisingUNet", **settings, "attention_levels": _attention_levels(config, place)}


def renamed(tensors: Mapping[str, T]) -> dict[str, T]:
    """The same under today's names."""
    return {
        _OLD_ATTENTION.sub(lambda found: f"{found[1]}.{_ATTENTION[found[2]]}.", name): tensor
        for name, tensor in tensors.items()
    }


def _attention_levels(config: Config, place: Path | str) -> list[int]:
    """Which of the sizes attend, full size first; on the way up they have to be those of the way down."""
    down = _attending(config.get("down_block_types", _DOWN), "Down", place)
    up = _attending(config.get("up_block_types", _UP), "Up", place)
    if up != down[::-1]:
        raise UserError(f"{place}: up_block_types attend at other sizes than down_block_types; DenoisingUNet cannot")
    return [level for level, attends in enumerate(down) if attends]


def _attending(names: object, way: str, place: Path | str) -> list[bool]:
    known = {f"{way}Block2D": False, f"Attn{way}Block2D": True}
    key = f"{way.lower()}_block_types"
    if not isinstance(names, list):
        raise UserError(f"{place}: {key} is {names!r}, no list")
    plain = [str(name).removeprefix("UNetRes") for name in names]  # as the first versions called them
    if unknown := [name for name in plain if name not in known]:
        raise UserError(f"{place}: {key}: DenoisingUNet has no {unknown[0]}, only {' and '.join(known)}")
    return [known[name] for name in plain]


def _schedule(folder: Path) -> str:
    """How the noise grows; DDPM's own linear schedule where no scheduler was saved."""
    places = (folder / name / "scheduler_config.json" for name in _SCHEDULERS)
    place = next((place for place in places if place.is_file()), None)
    if place is None:
        return "linear"
    config = _read(place)
    _expect(config, _NOISE, place, "Diffusion")
    if config.get("beta_schedule", "linear") == "squaredcos_cap_v2":
        return "cosine"
    _expect(config, _LINEAR, place, "Diffusion")
    return "linear"


def _expect(config: Config, known: Mapping[str, tuple[Any, ...]], place: Path | str, part: str) -> None:
    for key, values in known.items():
        if (found := config.get(key, values[0])) not in values:
            told = " or ".join(json.dumps(value) for value in values)
            kind = "; only unconditional models can be used" if key in _CONDITIONS else ""
            raise UserError(f"{place}: {key} is {json.dumps(found)}; {part} knows only {told}{kind}")


def _read(place: Path) -> Config:
    try:
        config = parsed(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{place}: cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{place}: holds no settings, but a {type(config).__name__}")
    return config
