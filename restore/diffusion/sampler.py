"""Drawing a picture that agrees with what is known of it, with a network that was trained on nothing but pictures.

Song et al., "Denoising diffusion implicit models" (ICLR 2021), with the data steps of `steps`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from restore import keyed
from restore.diffusion import steps
from restore.diffusion.noise import Schedule
from restore.diffusion.operators import Operator
from restore.precision import full
from restore.progress import watched

Network = Callable[[Tensor, Tensor], Tensor]
Key = keyed.Key | tuple[keyed.Key, ...]

JUMP_LENGTH, _JUMP_SAMPLES = 10, 10  # RePaint's: how far it goes back, and how often it is at each place


class Sampler:
    """From noise, or a first guess, to a picture with `operator.forward(picture) = y`.

    Every step calls the network once; `repaint` goes back and forth and calls it 90 times more for each ten steps
    beyond ten: 2,410 times for 250, as published.

    Args:
        schedule: the network's.
        step: the data step. `ddnm+` and `diffpir` are for noisy pictures too.
        num_steps: how many times between noise and picture are visited.
        eta: of the noise after a step, eta^2 is new. 0 is DDIM, 0.85 is DDNM's; DiffPIR calls eta^2 zeta, and has it at
            1 for inpainting and about 0.3 for super-resolution; RePaint has no use for it.
        start_from: the share of the way to noise at which to begin, from a first guess; all the way by default.
        sigma: the standard deviation of the noise in y, on the scale of [0, 1].
        seed: part of every key.

    Raises:
        ValueError: a number out of its range, more steps than times, or noise where the step takes y to be exact.
    """

    def __init__(
        self,
        schedule: Schedule,
        step: steps.Name = "ddnm",
        num_steps: int = 100,
        eta: float = 0.85,
        start_from: float | None = None,
        sigma: float = 0.0,
        seed: int = 0,
    ) -> None:
        share = 1.0 if start_from is None else start_from
        if not 0 <= eta <= 1 or not 0 <= share <= 1 or sigma < 0:
            raise ValueError(
                f"eta {eta}, start_from {share}, sigma {sigma}: in [0, 1] the first two, 0 or more the last"
            )
        if sigma and step in ("ddnm", "repaint"):
            raise ValueError(f"sigma is {sigma}, and {step} takes the picture to be free of noise; ddnm+ does not")
        self.schedule, self.step, self.eta, self.sigma, self.seed = schedule, step, eta, sigma, seed
        self.start_from = start_from
        first = max(round(share * schedule.num_train) - 1, 0)
        if not 1 <= num_steps <= first + 1:
            left = f"start_from {share:g} leaves {first + 1} times of {schedule.num_train}"
            raise ValueError(f"num_steps is {num_steps}, but {left}; take fewer steps, or start from more noise")
        self.times = schedule.timesteps(num_steps, first)

    @torch.no_grad()
    def __call__(
        self,
        network: Network,
        operator: Operator,
        y: Tensor,
        keys: Sequence[Key],
        start: Tensor | None = None,
        tell: str | None = None,
    ) -> Tensor:
        """One picture for each y: (N, 3, H, W) in [0, 1], where `y` is, in float32 at least.

        Without noise in y, the result agrees with it to rounding (known pixels of a mask: to the last bit). For that,
        super-resolution may leave [0, 1] by a little. With noise in y it is clipped.

        Args:
            network: noise of (x_t, times): (N, 3, H, W) in [-1, 1] and (N,) integers to (N, 3, H, W).
            operator: what was done to the pictures.
            y: what is left of them, in [0, 1]; what stands in the hole of a mask plays no part.
            keys: one for each picture; a picture with the same key gets the same noise, whatever is beside it.
            start: the first guess in [0, 1], with `start_from`, and only then.
            tell: shows the progress under this label.

        Raises:
            ValueError: not as many keys as pictures, or a first guess without `start_from`, or the other way round.
        """
        if len(keys) != len(y) or (start is None) != (self.start_from is None):
            raise ValueError(
                f"{len(keys)} keys for {len(y)} pictures, or one of start and start_from without the other"
            )
        y = full(y)
        known = steps.Known(operator, 2 * y - 1, 2 * self.sigma)
        draws = _Draws(self.seed, keys, operator.pinv(y))
        moves = path(len(self.times), self.step == "repaint")
        x = draws(0, "start")
        if start is not None:
            x = self.schedule.noised(2 * full(start) - 1, x, self._time(self.times[0], x))
        for number, (here, there) in enumerate(_shown(moves, tell)):
            x = self._moved(network, x, here, there, known, partial(draws, number))
        x = (x + 1) / 2
        return x.clamp(0, 1) if self.sigma else operator.consistent(x, y)

    def _moved(
        self, network: Network, x: Tensor, here: int, there: int, known: steps.Known, draw: steps.Draw
    ) -> Tensor:
        """From one place of `times` to a neighbour."""
        now, later = self._alpha(here), self._alpha(there)
        if there < here:  # back towards noise
            return math.sqrt(later / now) * x + math.sqrt(1 - later / now) * draw("back")
        time = self._time(self.times[here], x)
        noise = network(x, time).to(x.dtype)  # halves where it runs under autocast
        x0 = self.schedule.clean(x, noise, time).clamp(-1, 1)
        return steps.STEPS[self.step](steps.Place(x, noise, x0, now, later), known, self.eta, draw)

    def _alpha(self, place: int) -> float:
        return float(self.schedule.alphas[self.times[place]]) if place < len(self.times) else 1.0

    def _time(self, time: int, like: Tensor) -> Tensor:
        return torch.full((len(like),), time, device=like.device)


def path(num_steps: int, jumping: bool) -> list[tuple[int, int]]:
    """The moves from place 0, the noisiest, to place `num_steps`, the picture.

    Jumping, as RePaint does: nine times ten places back from the last place before the picture, and from every tenth
    before that one.
    """
    backs = dict.fromkeys(range(num_steps - 1, JUMP_LENGTH - 1, -JUMP_LENGTH), _JUMP_SAMPLES - 1) if jumping else {}
    places = [0]
    while (here := places[-1] + 1) <= num_steps:
        places.append(here)
        if backs.get(here, 0):
            backs[here] -= 1
            places.extend(range(here - 1, here - JUMP_LENGTH - 1, -1))
    return list(pairwise(places))


def _shown(moves: list[tuple[int, int]], tell: str | None) -> Iterable[tuple[int, int]]:
    return moves if tell is None else watched(moves, len(moves), tell)


class _Draws:
    """Standard normal noise for each picture from its own key, drawn on the CPU, so that it is the same anywhere."""

    def __init__(self, seed: int, keys: Sequence[Key], like: Tensor) -> None:
        self.keys = [(seed, "diffusion", *(key if isinstance(key, tuple) else (key,))) for key in keys]
        self.like = like

    def __call__(self, number: int, what: str) -> Tensor:
        """Noise at a move, for a purpose."""
        seeds = [keyed.number(*key, number, what) for key in self.keys]
        noise = [torch.randn(self.like.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(noise).to(self.like)
