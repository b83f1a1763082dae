"""Randomness from keys: the same key gives the same draws, whatever the worker, the rank or the restart.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): Philox is a counter-based generator, so that
a fresh stream costs a hash and no state has to be saved.
"""

import hashlib

import numpy as np

Key = str | int
Draws = np.random.Generator


def _digest(key: tuple[Key, ...]) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=16).digest()


def draws(*key: Key) -> Draws:
    """The random generator that belongs to `key`, for instance `draws(seed, "train", epoch, position)`."""
    return np.random.Generator(np.random.Philox(key=np.frombuffer(_digest(key), dtype=np.uint64)))


def number(*key: Key) -> int:
    """One integer in [0, 2**63) that belongs to `key`: a seed for libraries that only take a number."""
    return int.from_bytes(_digest(key)[:8], "little") >> 1
