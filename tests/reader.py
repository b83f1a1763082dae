"""The folder of somebody who follows the pages: photos, masks, a film, data sets, option files, models; all tiny."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image as Pillow

from restore import cli, images
from restore.data.drawn import draw_face
from restore.faces.face import Face
from restore.images import Image
from restore.keyed import draws
from restore.occlusions.face_mask_occlusion import FaceMask
from restore.registry import ARCHS, Part
from tests.lab import REPOSITORY, Lab, lower_half, tiny_options

FOLDERS = (
    *("photos", "other_photos", "faces", "faces/val", "gt", "without_mask", "more/sub", "lfw", "Set5/GT", "album/anna"),
    *("datasets/faces/val", "datasets/drawn_faces/astronaut"),
    *("path/to/pictures", "path/to/images1024x1024", "path/to/CelebAMask-HQ/CelebA-HQ-img"),
    *("path/to/download/celeba/img_align_celeba", "path/to/portraits/train", "path/to/portraits/val"),
)
WITH_LANDMARKS = ("photos", "other_photos", "path/to/portraits/train", "path/to/portraits/val")
PICTURES = 4
LMDBS = (
    *("faces", "datasets/faces/val", "datasets/drawn_faces/train", "datasets/drawn_faces/val"),
    *("datasets/celebahq_train", "datasets/ffhq_512_val", "datasets/ffhq_256_test"),
)
COMPACT = {"type": "SRVGGNetCompact", "upscale": 4}
OTHERS = {  # weights files as others publish them, which name no network
    "MSRResNet_x4.pth": {"type": "MSRResNet", "num_block": 16},
    "realesr-animevideov3.pth": COMPACT | {"num_conv": 16},
    "realesr-general-x4v3.pth": COMPACT | {"num_conv": 32},
    "realesr-general-wdn-x4v3.pth": COMPACT | {"num_conv": 32},
    "other.pth": COMPACT | {"num_conv": 16},
    "weights/x4.pth": {"type": "EDSR", "num_feat": 64, "upscale": 4},
}
FILLING = (
    "scale=1",
    "task={type: Inpainting}",
    "datasets.train.type=OccludedImageDataset",
    "datasets.train.occlusion=[{type: LowerFace}]",
    "datasets.train.transforms=[]",
    "datasets.train.gt_size=null",
    "datasets.val.type=OccludedImageDataset",
    "datasets.val.occlusion=[{type: LowerFace}]",
    "val.metrics={psnr_hole: {}}",
)
NETWORKS = {  # of experiments, by a word in the name of one that fills holes
    "GANsformer": "{type: GANsformer, num_feat: 4, num_level: 2, num_latent: 3, latent_dim: 8, num_mapping: 1}",
    "Diffusion": "{type: DenoisingUNet, block_out_channels: [8, 8], layers_per_block: 1, attention_levels: [1], "
    "norm_num_groups: 4}",
    "UNet": "{type: UNet, num_feat: 2, num_level: 2, norm: none}",
}


def call(*words: str) -> None:
    """Does what `restore WORDS` does, in this process."""
    args = cli.build_parser().parse_args(words)
    args.run(args)


def furnish(root: Path, faces: Path, val_faces: Path) -> Path:
    """Puts everything there."""
    _pictures(root)
    shutil.copytree(REPOSITORY / "options", root / "options")
    options = tiny_options(faces, val_faces)
    (root / "options" / "mine.yml").write_text(yaml.safe_dump(options | {"name": "mine"}))
    for name in LMDBS:
        call("prepare", "lmdb", str(root / "gt"), str(root / f"{name}.lmdb"), "--workers", "1")
    for name in WITH_LANDMARKS:
        call("prepare", "landmarks", str(root / name), "--detector", "aligned")
    for name, section in OTHERS.items():
        (root / name).parent.mkdir(exist_ok=True)
        torch.save({"params_ema": ARCHS.build(Part.model_validate(section)).state_dict()}, root / name)
    _experiments(Lab(root, options))
    if find_spec("av"):
        _film(root / "film.mp4", draw_face(0, 1, 32).image)
    return root


def _pictures(root: Path) -> None:
    one = draw_face(0, 1, 96).image
    images.write(root / "photo.png", one)
    images.write(root / "hole.png", lower_half(96, 96))
    worn = masked(one)
    for name, picture in (("small", one[::3, ::3]), ("group", one), ("masked", worn), ("group_masked", worn)):
        images.write(root / f"{name}.png", np.ascontiguousarray(picture))
    Pillow.fromarray(one).save(root / "photo.jpg", quality=92)
    Pillow.fromarray(one).save(root / "group.jpg", quality=92)
    Pillow.fromarray(worn).save(root / "masked.jpg", quality=92)
    for number in range(PICTURES):
        picture = draw_face(0, number, 64).image
        names = dict.fromkeys(FOLDERS, picture) | {
            **dict.fromkeys(("with_mask", "masked", "masked/val"), masked(picture)),
            **dict.fromkeys(("masks", "masks/val"), 255 - lower_half(64, 64)),
            **dict.fromkeys(("lq", "Set5/LRbicx4"), picture[::4, ::4]),
            "small_faces": picture[::2, ::2],
        }
        for folder, each in names.items():
            prefix = "sub" if folder == "more/sub" else ""
            images.write(root / folder / f"{prefix}{number}.png", np.ascontiguousarray(each))


def _film(path: Path, picture: Image) -> None:
    """Three frames."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25, width=picture.shape[1], height=picture.shape[0], pix_fmt="yuv420p")
        for frame in [av.VideoFrame.from_ndarray(picture, format="rgb24")] * 3 + [None]:
            out.mux(stream.encode(frame))


def masked(picture: Image) -> Image:
    """A drawn face with a mask worn."""
    side = len(picture)
    worn, _ = FaceMask(kind="surgical", straps=False)(picture, Face.aligned(side, side), draws("reader"))
    return worn


def _experiments(lab: Lab) -> None:
    """An experiment that enlarges, and one that fills holes for each network, of two iterations each."""
    short = ("train.total_iter=2", "train.warmup_iter=0", "logger.save_checkpoint_freq=2", "val.val_freq=2")
    short += ("logger.use_tb_logger=true", "logger.print_freq=1")
    lab.train(*short, "name=SR", runs="trained")
    shutil.copytree(lab.experiment("trained", "SR"), lab.root / "experiments" / "quickstart")
    for name, network in NETWORKS.items():
        task = ("task={type: Diffusion, num_steps: 3}", "train.losses={}") if name == "Diffusion" else ()
        lab.train(*short, *FILLING, f"name={name}", f"network_g={network}", *task, runs="trained")


def experiments_for(root: Path, words: Sequence[str]) -> None:
    """Puts experiments of the names that a command uses into `experiments/`, each such that it suits the command."""
    fills = any(word in words for word in ("unmask", "--mask", "--occlude", "--occlusion"))
    usual = "GANsformer" if "--candidates" in words else "UNet" if fills else "SR"
    for word in words:
        name = word.split("experiments/")[-1].split("/")[0] if "experiments/" in word else ""
        target = root / "experiments" / name
        if name and not target.exists():
            kind = next((kind for kind in NETWORKS if kind in name), usual)
            shutil.copytree(root / "trained" / kind, target)
        if "checkpoints/" in word and not (root / word).exists():  # of another iteration than the last
            shutil.copytree(target / "checkpoints" / "2", root / word)
