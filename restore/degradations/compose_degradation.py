"""Degradations made of others: one after the other, or one of several."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from restore.degradations.pictures import Degradation, Pictures
from restore.errors import UserError
from restore.keyed import Draws
from restore.registry import DEGRADATIONS, DegradationPart

Weight = Annotated[float, Field(ge=0)]


@DEGRADATIONS.register
class Chain(Degradation):
    """Several degradations in their order: `{type: Chain, parts: [{type: Blur}, {type: Resize}]}`."""

    def __init__(self, parts: list[DegradationPart]) -> None:
        self.parts: list[Degradation] = [DEGRADATIONS.build(part) for part in parts]

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        for part in self.parts:
            pictures = part(pictures, draws)
        return pictures


@DEGRADATIONS.register
class OneOf(Degradation):
    """One of several degradations, drawn for each picture: `{type: OneOf, choices: [{type: GaussianNoise}, ...]}`.

    Args:
        choices: the degradations; a `Chain` holds more than one.
        probabilities: a weight for each; all alike by default.
    """

    def __init__(self, choices: list[DegradationPart], probabilities: list[Weight] | None = None) -> None:
        weights = probabilities or [1.0] * len(choices)
        if len(weights) != len(choices) or sum(weights) <= 0:
            raise UserError(
                f"OneOf: {len(weights)} probabilities for {len(choices)} choices; give one above 0 for each"
            )
        self.choices: list[Degradation] = [DEGRADATIONS.build(part) for part in choices]
        self.probabilities = [weight / sum(weights) for weight in weights]

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        drawn = [int(rng.choice(len(self.choices), p=self.probabilities)) for rng in draws]
        for number, choice in enumerate(self.choices):
            chosen = [i for i, draw in enumerate(drawn) if draw == number]
            if chosen:
                changed = choice(pictures.select(chosen), [draws[i] for i in chosen])
                pictures = pictures.replaced(chosen, changed)
        return pictures
