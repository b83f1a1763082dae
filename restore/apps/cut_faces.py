"""`restore prepare faces`: the largest face of each picture, cut out upright and in the frame of FFHQ."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from restore import images
from restore.apps.lmdb_build import build
from restore.apps.makers import Item, RecordMaker
from restore.apps.pool import Work
from restore.data.encode import encode
from restore.data.landmarks import Landmarks, read_landmarks
from restore.data.lmdb_store import Record
from restore.errors import UserError
from restore.faces.crop import Crop
from restore.faces.face import Face
from restore.options.paths import resolve
from restore.pretrained import sha256_of


@dataclass(frozen=True)
class CropMaker(RecordMaker):
    """Cuts the face out of a folder's or LMDB's pictures, to `size` pixels a side, 8 bits, by a file of landmarks."""

    landmarks: str
    size: int
    compact: bool = False

    @cached_property
    def points(self) -> Mapping[str, Landmarks]:
        return read_landmarks(Path(self.landmarks), self.pictures.keys)

    def records(self, item: Item) -> list[Record]:
        crop = Crop.of(Face.of_landmarks(self.points[item.key]), self.size).cut(self.decoded(item.key))
        return [encode(item.key, images.to_uint8(crop[0]), self.compact)]


def run(args: argparse.Namespace) -> None:
    """Writes the LMDB. The same landmarks cut other pictures of the same faces, such as masks, in the same place.

    Raises:
        UserError: no landmarks, none of these pictures, or what `lmdb_build.build` raises.
    """
    source = resolve(str(args.input))
    file = resolve(str(args.landmarks)) if args.landmarks else source.with_name(f"{source.stem}_landmarks.json")
    if not file.is_file():
        raise UserError(f"{file}: no such file; write it first: `restore prepare landmarks {args.input} -o {file}`")
    maker = CropMaker(str(args.input), str(file), args.size, args.compact)
    keys = maker.pictures.keys
    items = [Item(key, key) for key in keys if key in maker.points]
    if left := len(keys) - len(items):
        print(f"{source}: {left:,} of {len(keys):,} pictures without a face are left out")
    about = {"faces": sha256_of(file)}
    build(resolve(str(args.output)), maker, items, about, Work.of(args))
