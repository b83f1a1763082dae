"""Restores photos and videos: `python restore/infer.py photo.jpg --model photo_x4 -o results`."""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the package, and let no module in this folder shadow another's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from restore.apps.arguments import positive
from restore.apps.shard import add_shard
from restore.errors import run_main

Group = argparse._ArgumentGroup


def add_arguments(parser: argparse.ArgumentParser, output: str | None = "results") -> None:
    """Adds the options of `restore infer`; without `output`, results are beside their photos if no folder is named."""
    parser.usage = "%(prog)s INPUT [INPUT ...] [-o DIR] [--model NAME | --task sr|unmask] [options]"
    _add_what(parser.add_argument_group("what"), output)
    _add_how(parser.add_argument_group("how"))
    _add_faces(parser.add_argument_group("faces"))
    _add_unmasking(parser.add_argument_group("unmasking"))
    _add_files(parser.add_argument_group("files"))
    parser.set_defaults(run=run)


def _add_what(group: Group, output: str | None) -> None:
    group.add_argument("input", nargs="+", metavar="INPUT", help="photos and videos: files, folders, 'patterns/*.jpg'")
    where = f"folder for the results ({output or 'beside each photo, as NAME_unmasked'})"
    group.add_argument("-o", "--output", default=output, metavar="DIR", help=where)
    group.add_argument(
        "--model", metavar="NAME|FILE|DIR", help="a shipped model, a weights file, a checkpoint or experiment's folder"
    )
    group.add_argument(
        "--task",
        metavar="sr|unmask|YAML",
        help="what to do: without --model by the shipped model, with one it has to be of that kind; "
        "or what the model does otherwise than its file says: '{num_steps: 20}'",
    )
    group.add_argument("--outscale", type=_factor, metavar="N", help="enlarge N times, such as 2.5 (the model's own)")
    group.add_argument("--network_g", metavar="YAML", help="its network, if the file does not say: '{type: UNet}'")
    group.add_argument("--fidelity", type=_share, metavar="0..1", help="of CodeFormer: 0 looks best, 1 is truest")


def _add_how(group: Group) -> None:
    about = "what networks compute on (auto: CUDA, where there is one)"
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help=about)
    about = "what networks compute in (auto: fp16 on CUDA, else fp32)"
    group.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"), help=about)
    about = (
        "side of the tiles of a large photo, in pixels; 0: none (auto: what memory allows, halved where it does not)"
    )
    group.add_argument("--tile", type=_tile, default="auto", metavar="auto|N|0", help=about)
    group.add_argument("--seed", type=int, default=0, help="draws of --occlude, and of a diffusion (0)")


def _add_faces(group: Group) -> None:
    seen = group.add_mutually_exclusive_group()
    seen.add_argument(
        "--faces",
        metavar="whole|all|largest|1,3|box:X0,Y0,X1,Y1;...",
        help="whole: the network sees the whole photo; else which faces it sees, each upright in a frame, the largest "
        "being 1 (whole for super-resolution by a model not made for faces, else all)",
    )
    seen.add_argument("--whole", dest="faces", action="store_const", const="whole", help="as --faces whole")
    group.add_argument(
        "--size",
        type=positive,
        help="side of a face's frame in the result, as in training (its file's; else 256 times the model's scale)",
    )
    about = "yunet, retinaface, ssd, aligned (yunet; with --mask auto retinaface, where its weights are)"
    group.add_argument("--detector", metavar="NAME", help=about)
    group.add_argument(
        "--background",
        metavar="NAME|bicubic|lanczos|none",
        help="what enlarges the rest of the photo when faces are: a model, or bicubic; none: it stays (bicubic)",
    )
    group.add_argument(
        "--blend",
        choices=("feather", "poisson", "multiband"),
        help="how a face meets the rest (feather; when unmasking poisson)",
    )
    group.add_argument("--no_match", action="store_true", help="do not match a face's colours with those around it")


def _add_unmasking(group: Group) -> None:
    hole = group.add_mutually_exclusive_group()
    hole.add_argument(
        "--mask",
        metavar="FILE|DIR|auto|lower|face_mask",
        help="what to rebuild: a mask, masks of the photos' names, whatever covers a face (auto), or by the face's "
        "geometry what a mask would cover",
    )
    hole.add_argument("--occlude", metavar="YAML", help="hide a part first, then rebuild it: '{type: LowerFace}'")
    group.add_argument(
        "--mask_polarity", choices=("white_missing", "black_missing"), default="white_missing", help="of mask files"
    )
    group.add_argument(
        "--fill",
        choices=("keep", "black", "white", "grey", "mean"),
        default="keep",
        help="what the network is shown in the hole of --mask, as in its training (keep: what is there)",
    )
    group.add_argument("--candidates", type=positive, default=1, metavar="K", help="results of each photo (1)")


def _add_files(group: Group) -> None:
    group.add_argument(
        "--format", choices=("lossless", "keep"), help="lossless: JPEG becomes PNG; keep: it stays (keep; "
        "when unmasking lossless, which leaves what is outside the hole byte for byte)"
    )  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="do again what is there")
    group.add_argument("--dry_run", "--dry-run", action="store_true", help="only tell what would be done, and where to")
    compared = group.add_mutually_exclusive_group()
    compared.add_argument(
        "--compare", action="store_true", default=None, help="NAME_compare.png beside each result; usual when unmasking"
    )
    compared.add_argument("--no_compare", dest="compare", action="store_false", default=None, help="none")
    about = "NAME_report.json and NAME_report.png beside each result: what was made up, and how alike the faces are"
    group.add_argument("--report", action="store_true", help=about)
    about = "photos of the person, for --report: how alike the results are; several candidates are ranked by it"
    group.add_argument("--reference", nargs="+", metavar="DIR|FILE", help=about)
    group.add_argument("--mark", action="store_true", help="say in the result's metadata that a model made it")
    add_shard(group)


def _factor(text: str) -> float:
    value = float(text)
    if not 0 < value <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not above 0, and 64 at most")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _tile(text: str) -> int | str | None:
    if text == "auto":
        return text
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value or None


def run(args: argparse.Namespace) -> None:
    """Restores. Raises `RestoreError`."""
    from restore.apps.infer import run as infer

    infer(args)


def main() -> None:
    """The entry point of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    run_main(main)
