"""Makes the pictures of docs/photos.md with the commands that it shows: `python docs/photos_pictures.py PORTRAITS`.

PORTRAITS is the folder of datasets/congress.md, whose licence allows to show them; the four are of its validation list,
so that no model that ships has seen them.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
SMALL, MASKED, GROUP = "D000602", "S001181", ("H001047", "E000290")
SHOWN = {  # what the commands leave, under the name that the page shows it by
    "photos_larger.jpg": "larger/small_compare.png",
    "photos_unmasked.jpg": "masked_unmasked_compare.png",
    "photos_group.jpg": "group_masked_unmasked_compare.png",
}
MASK = "[{type: FaceMask, kind: surgical, colors: [[120, 190, 225]]}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portraits", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(args.portraits, Path(folder))
        for command in commands():
            print(shlex.join(command), flush=True)
            restore(*command[1:], folder=folder)
        for name, made in SHOWN.items():
            Image.open(Path(folder, made)).convert("RGB").save(HERE / name, quality=88)
            print(f"{HERE / name}: {(HERE / name).stat().st_size / 1000:.0f} kB")


def commands() -> list[list[str]]:
    """Those of the page that make pictures of the photos that `prepare` makes."""
    lines = re.findall(r"^restore (?:infer|unmask) .*", (HERE / "photos.md").read_text(encoding="utf-8"), flags=re.M)
    return [words for words in map(shlex.split, lines) if "film.mp4" not in words and "--mask" not in words]


def prepare(portraits: Path, folder: Path) -> None:
    """`small.png`; `masked.png` and `group_masked.png`, on which this program has drawn masks; `group.png`."""
    people = {name: Image.open(portraits / f"{name}.jpg").convert("RGB") for name in (SMALL, MASKED, *GROUP)}
    small = people[SMALL]
    small.resize((small.width // 3, small.height // 3), Image.Resampling.BICUBIC).save(folder / "small.png")
    bare = folder / "bare"
    bare.mkdir()
    for name in (MASKED, *GROUP):
        people[name].save(bare / f"{name}.png")
    restore("prepare", "occlude", "bare", "worn", "--occlusion", MASK, "--detector", "yunet", folder=str(folder))
    worn = {path.stem: Image.open(path) for path in (folder / "worn" / "with_mask").glob("*.png")}
    shutil.copy(folder / "worn" / "with_mask" / f"{MASKED}.png", folder / "masked.png")
    beside([people[name] for name in GROUP]).save(folder / "group.png")
    beside([worn[name] for name in GROUP]).save(folder / "group_masked.png")


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Two people in one photo, the second one smaller."""
    first, second = (np.asarray(picture) for picture in pictures)
    less = Image.fromarray(second).resize(
        (second.shape[1] * 4 // 5, second.shape[0] * 4 // 5), Image.Resampling.LANCZOS
    )
    above = len(first) - less.height
    below = np.pad(np.asarray(less), ((above, 0), (0, 0), (0, 0)), mode="edge")
    return Image.fromarray(np.concatenate([first, below], axis=1))


def restore(*words: str, folder: str) -> None:
    subprocess.run([sys.executable, "-m", "restore", *words], cwd=folder, check=True)


if __name__ == "__main__":
    main()
