"""The doors that bad input comes through, each as a function of bytes, with good inputs to begin from.

A target works in the current folder, which `prepare` fills. It returns for what is accepted and lets only the house's
errors through; what its contract allows beside them it swallows itself. Pictures have at most `PIXELS` here, so that
one that gets round the limit is seen.
"""

import contextlib
import hashlib
import io
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore.errors import UserError

PIXELS = 1 << 20
MIB = 1 << 20


@dataclass(frozen=True)
class Target:
    """A door. `share`: how many inputs it gets of those that a cheap one gets; `longest`: bytes of one.

    `words` are what its inputs are made of, for the mutator. `limit` says what is known to go wrong
    in others' code, and cannot be kept from it at a reasonable price.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    share: float = 1.0
    longest: int = 4096
    words: tuple[bytes, ...] = ()
    limit: str = ""


# ----------------------------------------------------------------------------------------------------------- options


def options(data: bytes) -> None:
    """An option file."""
    from restore.options.load import load_stages

    Path("input.yml").write_bytes(data)
    load_stages(Path("input.yml"), tell=_ignore)


def basicsr(data: bytes) -> None:
    """An option file of BasicSR's."""
    options(data if b"model_type" in data else b"model_type: SRModel\n" + data)


def overrides(data: bytes) -> None:
    """What follows `--set`, a line each."""
    from restore.options.load import load_stages

    load_stages(Path("good.yml"), os.fsdecode(data).split("\n")[:4], tell=_ignore)


def option_path(data: bytes) -> None:
    """What follows `-opt`."""
    from restore.options.load import load

    load(os.fsdecode(data).replace("\n", ""), tell=_ignore)


def _option_seeds() -> list[bytes]:
    from tests.options.test_mutations import GOOD

    tricks = (
        "extends: base.yml\nname: b\n",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "base: &base {lr: 1e-4}\ntrain: {<<: *base, total_iter: 5}\n",
        'name: "\\ud800\\x00\\U0001F600"\n',
        "name: !!python/object/apply:os.system [id]\n",
        "stages: [{name: a, train: {total_iter: 1}}, {name: b}]\n",
        "total: 99999999999999999999\nfloat: -.inf\nnan: .nan\nnone: ~\nb: !!binary aGk=\ns: !!set {a}\n",
        "scale: 2\nnetwork_g: {type: basicsr/RRDBNet, num_in_ch: 3}\n",
    )
    return [GOOD.encode(), *(text.encode() for text in tricks)]


def _basicsr_seeds() -> list[bytes]:
    text = """\
name: x
model_type: SRGANModel
scale: 4
num_gpu: auto
manual_seed: 0
datasets:
  train: {name: D, type: PairedImageDataset, dataroot_gt: faces, dataroot_lq: faces, filename_tmpl: '{}',
    io_backend: {type: disk}, gt_size: 32, use_hflip: true, use_rot: true, batch_size_per_gpu: 4,
    num_worker_per_gpu: 1, dataset_enlarge_ratio: 1, prefetch_mode: ~}
  val: {name: V, type: PairedImageDataset, dataroot_gt: faces, dataroot_lq: faces, io_backend: {type: disk}}
network_g: {type: MSRResNet, num_in_ch: 3, num_out_ch: 3, num_feat: 8, num_block: 1, upscale: 4}
path: {pretrain_network_g: ~, strict_load_g: true, resume_state: ~}
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: !!float 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [5], gamma: 0.5}
  total_iter: 10
  warmup_iter: -1
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
val: {val_freq: !!float 5e3, save_img: false, metrics: {p: {type: calculate_psnr, crop_border: 4, test_y_channel: no}}}
logger: {print_freq: 100, save_checkpoint_freq: !!float 5e3, use_tb_logger: true, wandb: {project: ~}}
"""
    gan = "  gan_opt: {type: GANLoss, gan_type: vanilla, real_label_val: 1.0, fake_label_val: 0.0, loss_weight: 5e-3}\n"
    perceptual = (
        "  perceptual_opt: {type: PerceptualLoss, layer_weights: {conv5_4: 1}, vgg_type: vgg19, criterion: l1}\n"
    )
    return [text.encode(), text.replace("  total_iter", gan + perceptual + "  total_iter").encode()]


# ----------------------------------------------------------------------------------------------------------- records


def meta_info(data: bytes) -> None:
    """The list of an LMDB's records; no key leads out of the folder that results are written to."""
    from restore.data.lmdb_store import MetaInfo

    Path("meta_info.txt").write_bytes(data)
    keys = MetaInfo(Path("meta_info.txt"))
    for index, key in enumerate(keys):
        assert key == keys[index]
        keys.shape(index)
        _require_below(key)


def keys(data: bytes) -> None:
    """A record's name, as `restore prepare` takes one."""
    from restore.data.lmdb_store import check_key

    key = os.fsdecode(data)
    check_key(key, "input")
    _require_below(key)


def _require_below(key: str) -> None:
    """A result that is called by that key lies in its folder."""
    folder = os.getcwd() + os.sep
    path = os.path.normpath(Path(folder, f"{key}.png"))
    assert path.startswith(folder), f"`{key}` leads to {path}"
    assert "\0" not in path


def lmdb_pages(data: bytes) -> None:
    """A damaged `data.mdb`: five bytes an edit, place in the file (4) and new byte; a last odd byte cuts it off."""
    from restore.data.lmdb_store import LmdbReader
    from restore.images import UnreadableImage

    file = bytearray(Path("good.lmdb/data.mdb").read_bytes())
    for at in range(0, len(data) - 4, 5):
        place, value = struct.unpack_from("<IB", data, at)
        file[place % len(file)] = value
    if len(data) % 5 == 1:
        del file[len(file) * data[-1] // 256 :]
    Path("input.lmdb/data.mdb").unlink(missing_ok=True)  # another file: LMDB knows one by its number
    Path("input.lmdb/data.mdb").write_bytes(file)
    reader = LmdbReader("input.lmdb")
    for key in reader.keys:
        try:
            reader.get(key)
        except UnreadableImage:
            continue


def _lmdb_seeds() -> list[bytes]:
    whole = Path("good.lmdb/data.mdb").stat().st_size
    places = [page + at for page in range(0, whole, 4096) for at in (*range(0, 64, 4), *range(64, 160, 16), 4000)]
    return [struct.pack("<IB", place, 255) for place in places] + [b"\x80", b""]


# ---------------------------------------------------------------------------------------------------------- pictures


def image(data: bytes) -> None:
    """A picture, as training reads one."""
    from restore import images

    picture = images.decode(data, "input")
    assert picture.shape[0] * picture.shape[1] <= PIXELS, f"{picture.shape} got round the limit"


def mask(data: bytes) -> None:
    """A mask."""
    from restore import images

    made = images.decode_mask(data, "input", "black_missing")
    assert made.shape[0] * made.shape[1] <= PIXELS, f"{made.shape} got round the limit"
    assert set(made.flat) <= {0, 255}


def header(data: bytes) -> None:
    """What a picture says of itself, which no bytes keep from being asked."""
    from restore.image_header import header, jpeg_segments

    if header(data) is None:
        raise UserError("no picture")
    list(jpeg_segments(data))


def photo(data: bytes) -> None:
    """A photo with all that it carries, there and back."""
    from restore.photos import decode_photo, encode_photo

    read = decode_photo(data, "input")
    assert read.pixels.shape[0] * read.pixels.shape[1] <= PIXELS, f"{read.pixels.shape} got round the limit"
    assert encode_photo(f"input{read.suffix}", read)


def exif(data: bytes) -> None:
    """EXIF, edited in place; broken, it is a `ValueError`."""
    from restore.photos import exif

    assert exif.orientation(data) in range(1, 9)
    try:
        exif.settled(data, 40, 24)
    except ValueError as error:
        raise UserError("broken") from error


def xmp(data: bytes) -> None:
    """An XMP packet; broken, it is a `ValueError`."""
    from restore.photos import xmp

    try:
        xmp.settled(data)
    except ValueError as error:
        raise UserError("broken") from error


def upload(data: bytes) -> None:
    """What a visitor sends: a photo, a mask or a painting, by the first byte."""
    from restore.demo.uploads import Limits, open_mask, open_photo, painted_mask

    path, limits = Path("upload.png"), Limits(mb=1, pixels=200_000)
    path.write_bytes(data[1:])
    door = data[:1] or b"\0"
    if door[0] % 3 == 0:
        open_photo(path, limits)
    elif door[0] % 3 == 1:
        open_mask(path, limits, (24, 40))
    else:
        painted_mask([path], limits, (24, 40))


def _picture_seeds() -> list[bytes]:
    from tests.photos.seeds import seeds

    return [data for data in seeds().values() if len(data) < 1 << 14] + _other_pictures()


def _other_pictures() -> list[bytes]:
    """Of formats that OpenCV reads as well."""
    import cv2
    import numpy as np

    made, level = [], np.full((6, 5, 3), 90, np.uint8)
    for suffix in (".jp2", ".sr", ".pam", ".pbm", ".hdr", ".pfm", ".gif", ".avif", ".tiff"):
        try:
            picture: Any = np.float32(level) / 255 if suffix in (".hdr", ".pfm") else level
            done, data = cv2.imencode(suffix, picture)
        except cv2.error:
            continue  # not built in
        if done:
            made.append(data.tobytes())
    return made


def _exif_seeds() -> list[bytes]:
    from tests.photos import seeds

    return [seeds.exif(6).removeprefix(b"Exif\0\0"), seeds.exif(3, b"\xff\xd8\xff\xd9").removeprefix(b"Exif\0\0")]


def _xmp_seeds() -> list[bytes]:
    from tests.photos.seeds import XMP

    return [XMP]


def _upload_seeds() -> list[bytes]:
    return [bytes([door]) + data for data in _picture_seeds() for door in range(3)]


# ----------------------------------------------------------------------------------------------------------- weights


def checkpoint(data: bytes) -> None:
    """A checkpoint of which one file is `data[1:]`, by the first byte: manifest, options, state, or what points to it.

    The manifest's hashes are made to agree, so that what is inside is read.
    """
    from restore.engine.checkpoint import Checkpoints, open_checkpoint

    names = ("manifest.json", "options.yml", "state.pt", "latest")
    name = names[data[0] % len(names)] if data else names[0]
    folder = Path("checkpoints/7")
    files = {each: Path("good_checkpoint", each).read_bytes() for each in names[:3]} | {name: data[1:]}
    if name in names[1:3]:
        hashes = {each: hashlib.sha256(files[each]).hexdigest() for each in names[1:3]}
        files["manifest.json"] = json.dumps({"format": 1, "iter": 7, "files": hashes}).encode()
    for each, content in files.items():
        (folder / each if each != "latest" else folder.parent / each).write_bytes(content)
    Path("checkpoints/latest").touch()
    Checkpoints(Path("checkpoints"), 0).newest()
    opened = open_checkpoint(Path("checkpoints/latest") if name == "latest" else folder)
    opened.state()
    opened.options()


def safetensors(data: bytes) -> None:
    """A safetensors file."""
    from restore.weights import read_facts, read_weights

    Path("input.safetensors").write_bytes(data)
    read_facts(Path("input.safetensors"))
    read_weights(Path("input.safetensors"))


def pickled(data: bytes) -> None:
    """A file of PyTorch's, old or new."""
    from restore.weights import read_weights

    Path("input.pth").write_bytes(data)
    read_weights(Path("input.pth"))


def facts(data: bytes) -> None:
    """What a good file of tensors says of itself; the model that it says it is gets built."""
    from restore.inference.model import kind_of, load_model

    header = json.dumps({"__metadata__": {"restore": data.decode(errors="replace")}, **_tensor("a")}).encode()
    path = Path("facts.safetensors")
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    kind_of(path)
    load_model(path, device="cpu")


def diffusers(data: bytes) -> None:
    """The `config.json` and, behind a NUL, the `scheduler_config.json` of a folder that diffusers saved."""
    from restore.diffusers_folder import facts_beside

    config, _, scheduler = data.partition(b"\0")
    Path("diffusers/config.json").write_bytes(config)
    Path("diffusers/scheduler_config.json").write_bytes(scheduler or b"{}")
    facts_beside(Path("diffusers/diffusion_pytorch_model.safetensors"))


def pretrained(data: bytes) -> None:
    """A file that bears the name of a pretrained one, and the name of one that there is not."""
    from restore import pretrained

    Path("weights/niqe_pris_params.npz").write_bytes(data)
    with contextlib.suppress(UserError):
        pretrained.describe(os.fsdecode(data[:100]))
    os.environ[pretrained.FOLDER] = "weights"
    pretrained.find("niqe")


def onnx(data: bytes) -> None:
    """An ONNX file."""
    from restore.inference.onnx_model import OnnxNetwork

    Path("input.onnx").write_bytes(data)
    OnnxNetwork(Path("input.onnx"))


def _tensor(name: str) -> dict[str, Any]:
    return {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}


def _checkpoint_seeds() -> list[bytes]:
    names = ("manifest.json", "options.yml", "state.pt")
    good = [bytes([number]) + Path("good_checkpoint", name).read_bytes() for number, name in enumerate(names)]
    return [*good, b"\x037\n", b"\x01a: &a [*a]\n"]


def _weights_seeds() -> list[bytes]:
    import torch

    from restore.weights import tensors_bytes

    return [tensors_bytes({"a": torch.zeros(3)}, {"scale": 2, "arch": {"type": "MSRResNet", "num_feat": 4}})]


def _pickle_seeds() -> list[bytes]:
    import torch

    made = []
    tensors = {"a.b": torch.zeros(3), "c": torch.zeros(1, dtype=torch.bfloat16)}
    for state in (tensors, {"params": tensors}, {"n": 1, "s": "x", "l": [1.5, None]}):
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save(state, file, _use_new_zipfile_serialization=zipped)
            made.append(file.getvalue())
    return made


def _facts_seeds() -> list[bytes]:
    from benchmarks.bad_weights import FACTS, NET

    return [json.dumps(each).encode() for each in ({"arch": NET, "scale": 2}, *FACTS) if len(str(each)) < 1000]


def _diffusers_seeds() -> list[bytes]:
    from restore.diffusers_folder import _DOWN, _FIXED, _LINEAR, _NOISE, _TAKEN, _UP

    config = {key: values[0] for key, values in _FIXED.items()} | _TAKEN
    config |= {"down_block_types": _DOWN, "up_block_types": _UP, "sample_size": 64}
    noise = {key: values[0] for key, values in (_NOISE | _LINEAR).items()}
    return [json.dumps(config).encode() + b"\0" + json.dumps(noise).encode()]


def _onnx_seeds() -> list[bytes]:
    from benchmarks.bad_weights import _identity

    return [_identity(), _identity("../../x")]


# ------------------------------------------------------------------------------------------------------------ pieces

_YAML = (b"extends: ", b"!!python/", b"&a ", b"*a", b"<<: ", b"\\ud800", b"\\U7fffffff", b"\\0", b"stages: ", b".inf")
_YAML += (
    b"[[[[",
    b"{}",
    b"[]",
    b"~",
    b"!!float ",
    b"!!int ",
    b"- ",
    b": ",
    b"99999999999999999999",
    b"..",
    b"/dev/zero",
)
_PARTS = (
    b"PNG",
    b"IHDR",
    b"IDAT",
    b"IEND",
    b"\xff\xd8",
    b"\xff\xc0",
    b"\xff\xda",
    b"RIFF",
    b"VP8X",
    b"II*\0",
    b"II+\0",
)
_PARTS += (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"P7\n", b"#?RADIANCE\n", b"-Y 9999 +X 9999\n")
_JSON = (b'"', b"{", b"[", b"null", b"1e999", b"NaN", b"-1", b"\\u0000", b"\\ud800", b"../", b"9" * 40)
_PICKLE = (b"cposix\nsystem\n", b"c__builtin__\neval\n", b"R.", b"\x80\x02", b"PK\x03\x04", b"ctorch\n", b"data.pkl")

_TRUSTS = "LMDB trusts its pages, and to check every page costs as much as reading the whole file"

TARGETS = {
    "options": Target(options, _option_seeds, 0.1, 2048, _YAML),
    "basicsr": Target(basicsr, _basicsr_seeds, 0.1, 3072, _YAML),
    "overrides": Target(
        overrides, lambda: [b"train.total_iter=5", b"network_g:type=EDSR", b"a.0.b=[1, 2]"], 0.1, 256, _YAML
    ),
    "option_path": Target(option_path, lambda: [b"good.yml", b"no/such.yml", b"options/x.yml", b"~x/y"], 1.0, 512),
    "meta_info": Target(
        meta_info, lambda: [b"a/b.png (8,8,3) 1\nc.bmp (4,4,3) 0\n"], 1.0, 512, (b"../", b" (1,1,3) 1\n")
    ),
    "keys": Target(keys, lambda: [b"a/b", b"a" * 500], 1.0, 600, (b"../", b"/", b"\\", b"C:")),
    "lmdb_pages": Target(lmdb_pages, _lmdb_seeds, 0.2, 64, limit=_TRUSTS),
    "header": Target(header, _picture_seeds, 1.0, 1 << 13, _PARTS),
    "image": Target(image, _picture_seeds, 1.0, 1 << 13, _PARTS),
    "mask": Target(mask, _picture_seeds, 1.0, 1 << 13, _PARTS),
    "photo": Target(photo, _picture_seeds, 0.3, 1 << 13, _PARTS),
    "exif": Target(exif, _exif_seeds, 1.0, 1024),
    "xmp": Target(xmp, _xmp_seeds, 1.0, 2048, (b"<!", b"<!--", b"<![CDATA[", b"&a;", b"xmlns:", b"<rdf:RDF")),
    "upload": Target(upload, _upload_seeds, 0.5, 1 << 13, _PARTS),
    "checkpoint": Target(checkpoint, _checkpoint_seeds, 0.5, 4096, (*_JSON, *_YAML, *_PICKLE)),
    "safetensors": Target(safetensors, _weights_seeds, 1.0, 1024, _JSON),
    "pickled": Target(pickled, _pickle_seeds, 1.0, 4096, _PICKLE),
    "facts": Target(facts, _facts_seeds, 0.1, 1024, _JSON),
    "diffusers": Target(diffusers, _diffusers_seeds, 1.0, 4096, _JSON),
    "pretrained": Target(pretrained, lambda: [b"niqe", b"vgg", b""], 1.0, 256),
    "onnx": Target(onnx, _onnx_seeds, 0.3, 1024),
}


def prepare(folder: Path) -> None:
    """Fills the folder that the targets work in, and makes it the current one. Modules named in `plugins` are refused:
    to import them is what that option is for, and so is nothing that a stranger's file should be asked for.
    """
    from restore import images
    from restore.options import check
    from tests.options.test_mutations import GOOD

    os.chdir(folder)
    for name in ("faces", "weights", "diffusers", "checkpoints/7", "good_checkpoint", "input.lmdb"):
        Path(name).mkdir(parents=True, exist_ok=True)
    Path("good.yml").write_text(GOOD)
    Path("base.yml").write_text(GOOD)
    images.MOST_PIXELS = PIXELS
    check.import_part_module = _no_plugin
    _write_records(Path("good.lmdb"))
    Path("input.lmdb/meta_info.txt").write_bytes(Path("good.lmdb/meta_info.txt").read_bytes())
    _write_checkpoint(Path("good_checkpoint"))


def _write_records(path: Path) -> None:
    """A small LMDB of all kinds of pages: one record within a leaf, others on pages of their own."""
    from restore.data.lmdb_store import LmdbWriter

    with LmdbWriter(path, map_size=MIB) as writer:
        for number in range(4):
            writer.put(f"folder/{number}", bytes([number]) * (50 if number % 2 else 5000), (4, 4, 3), 0, "bmp")


def _write_checkpoint(folder: Path) -> None:
    import torch

    from restore.engine.checkpoint import Checkpoints, state_bytes

    counts = {"iter": 7, "first": 0, "stage": None, "validated": -1, "best": None, "set_aside": []}
    state = counts | {"update": {}, "parts": {}, "optimizers": {"g": {"m": torch.zeros(2)}}, "schedules": {}}
    files = {"state.pt": state_bytes(state), "options.yml": b"name: x\nscale: 4\n"}
    written = Checkpoints(folder.parent / "written", 0).save(7, files, best=False)
    for name in ("manifest.json", *files):
        (folder / name).write_bytes((written / name).read_bytes())


def _no_plugin(name: str) -> None:
    raise UserError(f"no module `{name!a}`")


def _ignore(note: str) -> None:
    pass
