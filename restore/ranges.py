"""Number types with a range, for the signatures of parts and the sections of option files."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

LARGEST = 10**12  # more than any run counts to; far beyond it the lengths of loaders overflow

Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Depth = Annotated[int, Field(ge=1, le=4096)]  # of what is built one by one: a network of more would take hours to build
Share = Annotated[float, Field(ge=0, le=1)]

N = TypeVar("N", bound=float)


def _ascending(limits: tuple[N, N]) -> tuple[N, N]:
    if limits[0] > limits[1]:
        raise ValueError("should have the smaller number first")
    return limits


Limits = Annotated[tuple[N, N], AfterValidator(_ascending)]  # the smallest and the largest number that may be drawn


def multiples_around(number: int, divisor: int) -> str:
    """The multiples of `divisor` next to `number`, below and above, for messages: `6 or 8`."""
    below = number // divisor * divisor
    return " or ".join(str(multiple) for multiple in (below, below + divisor) if multiple)
