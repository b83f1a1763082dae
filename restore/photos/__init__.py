"""Photo files, from one door: `read_photo` gives a `Photo`, `write_photo` writes one and keeps what it carried."""

from restore.photos.note import DONE, Note
from restore.photos.photo import Lossy, Photo
from restore.photos.reading import decode_photo, read_photo
from restore.photos.writing import encode_photo, left_out, write_photo

__all__ = ["DONE", "Lossy", "Note", "Photo", "decode_photo", "encode_photo", "left_out", "read_photo", "write_photo"]
