"""Weights files as strangers might send them: broken, absurd, or made to run code, for `bad_input.py`."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore.keyed import draws
from restore.registry import ARCHS, Part
from restore.weights import tensors_bytes
from tests.photos.test_photo_mutations import KINDS

NET = {"type": "MSRResNet", "num_feat": 8, "num_block": 1, "upscale": 2}
HOLE = {"type": "UNet", "num_feat": 4, "num_level": 2}
NOISE = {"type": "DenoisingUNet", "block_out_channels": [8, 8], "norm_num_groups": 4, "attention_levels": []}
HUGE = 10**9
SECRET = "/etc/passwd"

Case = tuple[str, bytes]

# What a file of the network NET may say of itself beside it. Each is wrong, or must count for nothing.
FACTS: list[Any] = [
    *({"scale": scale} for scale in ("x", HUGE, -1, 0, 2.5, [2], True, {"a": 1}, 3, 64)),
    *({"size": size} for size in (-1, 0, "x", HUGE, 1.5, [64], {})),
    *({"faces": faces} for faces in ("yes", 2, [], {})),
    *({"task": task} for task in ("x", [], 5, {}, {"type": "Nope"}, {"type": 5}, {"type": "Segmentation"})),
    {"task": {"type": "Inpainting", "show_hole": "x"}},
    {"task": {"type": "Inpainting", "oops": 1}},
    *({"arch": arch} for arch in ("MSRResNet", [], 5, {}, {"type": 5}, {"type": "Nope"}, {"type": "evil.Net"})),
    *({"arch": {"type": name}} for name in ("evil\nNet", "\x1b[31mred", "\ud800", "x" * 10_000, "basicsr/Nope")),
    *({"arch": NET | more} for more in ({"oops": 1}, {"num_feat": "x"}, {"num_feat": -1}, {"num_feat": 0})),
    *({"arch": NET | {key: value}} for key in ("num_feat", "num_block", "upscale") for value in (HUGE, 10**30, 40_000)),
    {"arch": NET | {"upscale": 2.5}},
    {"arch": NET | {"upscale": [2]}, "scale": None},
    {"arch": {"type": "Spandrel", "file": SECRET}},
    {"arch": {"type": "Spandrel", "file": "/dev/zero"}, "scale": 2},
    {"arch": {"type": "basicsr/SpyNet", "load_path": "evil.pth"}},
    {"arch": {"type": "basicsr/MSRResNet", "num_feat": SECRET}},
    {"arch": NOISE, "task": {"type": "Diffusion", "start_with": SECRET, "start_from": 0.5}},
    {"arch": NOISE, "task": {"type": "Diffusion", "num_steps": HUGE}},
    {"arch": NOISE | {"layers_per_block": HUGE}},
    {"arch": NOISE | {"block_out_channels": [HUGE, HUGE]}},
    {"plugins": ["evil"], "path": {"pretrain_network_g": SECRET}, "device": "cuda"},  # counts for nothing
]


class Evil:
    """Unpickled, it writes the file that says so."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.sentinel),)


class Scripted(nn.Module):
    """TorchScript that writes a file while it is loaded."""

    sentinel: str

    def __init__(self, sentinel: str) -> None:
        super().__init__()
        self.sentinel = sentinel
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        """As it is."""
        return x * self.weight.sum()

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return self.weight, self.sentinel, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        self.weight, self.sentinel, self.training = state
        self.weight = torch.from_file(state[1], True, 4).fill_(1.0)


def cases(sentinel: Path, count: int, seed: int) -> Iterator[Case]:
    """`count` names and files; the last ones are chance damages to good files.

    Args:
        sentinel: is written by code in them that runs.
    """
    own = [*_facts(), *_headers(), *_tensors(), *_pickles(sentinel), *_onnx()]
    order = draws(seed, "which weights").permutation(len(own))
    for number in order[:count]:
        yield own[number]
    good = [("good.safetensors", _file({})), ("good.pth", _saved({"params": _state()})), ("good.onnx", _identity())]
    for number in range(count - len(own)):
        name, data = good[number % len(good)]
        stem, _, suffix = name.partition(".")
        damaged = KINDS[number // len(good) % len(KINDS)](data, draws(seed, "weights", number))
        yield f"{stem}_{number}.{suffix}", damaged


def evil_module(folder: Path, sentinel: Path) -> None:
    """What facts name as a module, where imports would find it."""
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(sentinel)!r})\nclass Net: pass\n")


def _state(**more: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(0)
    network: nn.Module = ARCHS.build(Part.model_validate(NET))
    return network.state_dict() | more


def _file(facts: Any, tensors: dict[str, Tensor] | None = None) -> bytes:
    said = {"arch": NET, "scale": 2, "size": 64} | facts if isinstance(facts, dict) else facts
    return tensors_bytes(_state() if tensors is None else tensors, said)


def _facts() -> Iterator[Case]:
    for number, facts in enumerate([*FACTS, [1], 7, None, "x"]):
        yield f"facts_{number}.safetensors", _file(facts)
    for name, text in {"deep": "[" * 50_000, "nan": '{"scale": NaN}', "inf": '{"scale": 1e999}', "cut": '{"a'}.items():
        yield f"json_{name}.safetensors", _with_header({"__metadata__": {"restore": text}})
    yield "digits.safetensors", _with_header({"__metadata__": {"restore": '{"scale": ' + "9" * 9000 + "}"}})


def _with_header(changes: dict[str, Any], data: bytes | None = None) -> bytes:
    """A good file with other entries in its header."""
    data = data or _file({})
    length = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(json.loads(data[8 : 8 + length]) | changes).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _headers() -> Iterator[Case]:
    tensor = {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}
    for number, change in enumerate(
        (
            {"shape": [HUGE, HUGE]},
            {"shape": [-1]},
            {"shape": "x"},
            {"shape": [2**62, 2**62]},
            {"data_offsets": [0, 2**62]},
            {"data_offsets": [32, 0]},
            {"dtype": "F4"},
            {"dtype": "X"},
            {"dtype": "F8_E4M3", "shape": [32]},
            {"dtype": "C64", "shape": [4]},
        )
    ):
        yield f"header_{number}.safetensors", _with_header({"conv_first.bias": tensor | change})
    yield "metadata.safetensors", _with_header({"__metadata__": {"restore": 5}})
    for name, length in {"long": 2**63, "over": 10**7, "none": 0}.items():
        yield f"length_{name}.safetensors", struct.pack("<Q", length) + _file({})[8:]
    yield "empty.safetensors", b""


def _tensors() -> Iterator[Case]:
    state = _state()
    yield "nan.safetensors", _file({}, {name: each * float("nan") for name, each in state.items()})
    yield "large.safetensors", _file({}, {name: each + 3e38 for name, each in state.items()})
    for kind in (torch.int64, torch.bool, torch.float8_e4m3fn, torch.bfloat16, torch.complex64):
        yield f"{kind}.safetensors", _file({}, {name: each.to(kind) for name, each in state.items()})
    yield "no_tensors.safetensors", _file({}, {})
    yield "flat.safetensors", _file({}, {name: each.flatten() for name, each in state.items()})
    yield "more.safetensors", _file({}, state | {"a\nb" * 1000: torch.zeros(3), "\x1b[2J": torch.zeros(1)})
    yield "fewer.safetensors", _file({}, dict(list(state.items())[2:]))


def _saved(state: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def _pickles(sentinel: Path) -> Iterator[Case]:
    evil, state = Evil(sentinel), _state()
    for suffix in ("pth", "pt", "ckpt"):
        yield f"evil.{suffix}", _saved({"params": state, "x": evil})
        yield f"evil_old.{suffix}", _saved(evil, _use_new_zipfile_serialization=False)
        yield f"evil_pickle.{suffix}", pickle.dumps(evil)
        yield f"script.{suffix}", _script(sentinel)
    yield "evil.safetensors", _saved({"params": evil})
    yield "module.pth", _saved(nn.Linear(2, 2))
    yield "bomb.pth", _bomb()
    yield "expanded.pth", _saved({"params": {name: torch.zeros(1).expand(each.shape) for name, each in state.items()}})
    yield "endless.pth", _saved({"conv_first.weight": torch.zeros(1).expand(HUGE, 3, 3, 3), "a.b": torch.zeros(3)})
    yield "numbers.pth", _saved({1: torch.zeros(3)})
    yield "list.pth", _saved([torch.zeros(3)])
    yield "sparse.pth", _saved({"conv_first.weight": torch.zeros(3, 3).to_sparse()})
    yield "meta.pth", _saved({name: each.to("meta") for name, each in state.items()})
    yield "cut.pth", _saved(state)[:-200]
    yield "empty.pth", b""
    yield "text.pth", b"hello"


def _script(sentinel: Path) -> bytes:
    """TorchScript with the sentinel in it. Made with another file, which it writes as it is made."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Scripted(str(sentinel))), file)
    return file.getvalue()


def _bomb() -> bytes:
    """A small archive of a large tensor of zeros."""
    file = io.BytesIO()
    good = zipfile.ZipFile(io.BytesIO(_saved({"weight": torch.zeros(3)})))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bad:
        for entry in good.namelist():
            bad.writestr(entry, bytes(300 << 20) if entry.endswith("/data/0") else good.read(entry))
    return file.getvalue()


def _identity(location: str | None = None, **facts: str) -> bytes:
    """An ONNX file that makes pictures of themselves; `location`: what it adds lies in that file."""
    from onnx import TensorProto, helper

    shape = ["n", 3, "h", "w"]
    picture, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("lq", "out"))
    added = helper.make_tensor("added", TensorProto.FLOAT, [1], [0.0])
    if location:
        added.ClearField("float_data")
        added.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": "4"}.items():
            entry = added.external_data.add()
            entry.key, entry.value = key, value
    graph = helper.make_graph([helper.make_node("Add", ["lq", "added"], ["out"])], "g", [picture], [result], [added])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"scale": "1"} | facts)
    data: bytes = model.SerializeToString()
    return data


def _onnx() -> Iterator[Case]:
    for number, location in enumerate(("../" * 12 + "etc/passwd", SECRET, "/dev/zero", "none.bin", "")):
        yield f"outside_{number}.onnx", _identity(location or "../x")
    for number, scale in enumerate(("x", str(HUGE), "-1", "", "9" * 9000, "3")):
        yield f"scale_{number}.onnx", _identity(scale=scale)
    yield "size.onnx", _identity(size=str(HUGE))
    yield "none.onnx", b""
    yield "text.onnx", b"hello"
