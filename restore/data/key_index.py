"""The keys of several shards as one sequence, and which shard holds a key, in twelve bytes a key."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, count
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]  # places of two equal keys, counted over all shards


class JoinedKeys(Sequence[str]):
    """The keys of one shard after those of another. They stay where they are: a million cost nothing more here."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self.parts = parts
        self.starts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self.starts[-1]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        index = range(len(self))[index]  # negative indices, and IndexError
        part = self.part_of(index)
        return self.parts[part][index - self.starts[part]]

    def part_of(self, index: int) -> int:
        """Number of the part that the key at `index` is of."""
        return bisect_right(self.starts, index) - 1


class EqualKeys(ValueError):
    """Two shards hold the same key: `pairs` are the places of the equal ones."""

    def __init__(self, pairs: list[Pair]) -> None:
        super().__init__(f"{len(pairs)} keys are there twice")
        self.pairs = pairs


class KeyIndex:
    """Which part of `keys` holds a key: sorted 64-bit hashes, and the number of the part beside each.

    A dict of a million keys costs 95 MB, which reference counts make each forked worker copy; this is 12 MB of arrays,
    which they share. Python's own hashes are the quickest by far, and differ from process to process: one that gets an
    index by pickle, as a spawned worker does, makes it anew. Two of a million keys have the same hash once in forty
    million such sets: then all are hashed in another way, so that what is found is certain.

    Raises:
        EqualKeys: a key is there twice.
    """

    def __init__(self, keys: JoinedKeys) -> None:
        self.keys = keys
        for salt in count():
            hashes = np.fromiter((_hash(key, salt) for key in keys), np.int64, len(keys))
            order = np.argsort(hashes)
            hashes = hashes[order]
            same = np.flatnonzero(hashes[1:] == hashes[:-1])
            if not len(same):
                break
            pairs = [(int(min(order[i : i + 2])), int(max(order[i : i + 2]))) for i in same]
            if equal := [pair for pair in pairs if keys[pair[0]] == keys[pair[1]]]:
                raise EqualKeys(sorted(equal))
        self.salt, self.hashes = salt, hashes
        self.parts: NDArray[np.int32] = (np.searchsorted(keys.starts, order, side="right") - 1).astype(np.int32)

    def __reduce__(self) -> tuple[type[Self], tuple[JoinedKeys]]:
        return type(self), (self.keys,)

    def part_of(self, key: str) -> int | None:
        """Number of the part that holds `key`; None where none does (or, rarely, one that does not hold it either)."""
        hashed = _hash(key, self.salt)
        place = self.hashes.searchsorted(hashed)
        found = place < len(self.hashes) and self.hashes[place] == hashed
        return int(self.parts[place]) if found else None


def _hash(key: str, salt: int) -> int:
    """64 bits with a sign."""
    return hash((salt, key)) if salt else hash(key)
