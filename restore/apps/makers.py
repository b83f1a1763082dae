"""What makes the records of an LMDB: of picture files, of the pictures of another set, of drawn faces."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from restore import images
from restore.data.drawn import draw_face
from restore.data.encode import encode, square, sub_images
from restore.data.lmdb_store import Record
from restore.data.records import Records, open_records


class Item(NamedTuple):
    """What records are made of: the key, and the path of a picture or the number of a drawn face."""

    key: str
    source: str | int


class Maker(Protocol):
    """Makes an item's records, in a worker thread. Its fields are the parameters that an LMDB remembers."""

    @property
    def compact(self) -> bool:
        """Whether records are PNG."""

    def first_key(self, item: Item) -> str:
        """The key of the item's first record: when it is there, so are the others."""

    def records(self, item: Item) -> list[Record]:
        """Raises `UnreadableImage` when the item has to be set aside."""


@dataclass(frozen=True)
class PictureMaker:
    """A picture file as it is, brought to a square of `size`, or cut into sub-images when `crop` is given."""

    size: int | None
    crop: int | None
    step: int
    thresh: int
    compact: bool

    def first_key(self, item: Item) -> str:
        return f"{item.key}_s001" if self.crop else item.key

    def records(self, item: Item) -> list[Record]:
        where = str(item.source)
        image = images.read(where)
        if self.size:
            return [encode(item.key, square(image, self.size, where), self.compact)]
        if self.crop:
            crops = sub_images(image, self.crop, self.step, self.thresh, where)
            return [encode(f"{item.key}_s{n:03d}", crop, self.compact) for n, crop in enumerate(crops, 1)]
        return [encode(item.key, image, self.compact)]


@dataclass(frozen=True)
class RecordMaker:
    """Base of the makers that make one record of each picture in a folder or LMDB, under the same key."""

    source: str

    @cached_property
    def pictures(self) -> Records:
        return open_records(self.source)

    def first_key(self, item: Item) -> str:
        return item.key

    def decoded(self, key: str) -> images.Image:
        """The picture of that key."""
        return images.decode(self.pictures.get(key), self.pictures.where(key))


@dataclass(frozen=True)
class FaceMaker:
    """A drawn face of the series `seed`."""

    seed: int
    size: int
    compact: bool = False

    def first_key(self, item: Item) -> str:
        return item.key

    def records(self, item: Item) -> list[Record]:
        return [encode(item.key, draw_face(self.seed, int(item.source), self.size).image, self.compact)]
