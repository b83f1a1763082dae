"""How a sampler goes from one time to the next and heeds what is known of the picture: the data steps, by name.

All four are this: the network's estimate of the clean picture is drawn to y, and noise of the next time put on it. They
differ in how hard they draw, and in how much of the noise is new (`eta`) and how much was there before.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from restore.diffusion.operators import Operator
from restore.diffusion.proximal import proximal

Name = Literal["ddnm", "ddnm+", "diffpir", "repaint"]
Draw = Callable[[str], Tensor]

_LAMBDA = 1.0  # DiffPIR's: how much its prior weighs; its authors use 1 and more


@dataclass(frozen=True)
class Known:
    """What is known of the picture.

    Args:
        operator: A.
        y: A of the picture, in [-1, 1], plus noise.
        sigma: the standard deviation of that noise, on [-1, 1]'s scale.
    """

    operator: Operator
    y: Tensor
    sigma: float


@dataclass(frozen=True)
class Place:
    """Where the sampler stands, and where it goes.

    Args:
        x_t: the noisy picture.
        noise: what the network takes for the noise in it.
        x0: the clean picture that follows, clipped to [-1, 1].
        now: the schedule's alpha of `x_t`.
        next: that of the result; 1 is the end.
    """

    x_t: Tensor
    noise: Tensor
    x0: Tensor
    now: float
    next: float

    def noise_of(self, x0: Tensor) -> Tensor:
        """The noise in `x_t`, were `x0` the picture."""
        return (self.x_t - math.sqrt(self.now) * x0) / math.sqrt(1 - self.now)

    def with_noise(self, x0: Tensor, noise: Tensor, fresh: Tensor, eta: float) -> Tensor:
        """`x0` as noisy as the next time wants it; of the noise's variance, eta^2 is `fresh`."""
        spread = math.sqrt(1 - self.next)
        return math.sqrt(self.next) * x0 + spread * (eta * fresh + math.sqrt(1 - eta**2) * noise)


Step = Callable[[Place, Known, float, Draw], Tensor]


def ddnm(place: Place, known: Known, eta: float, draw: Draw) -> Tensor:
    """x0 made consistent with y; the network's noise. Wang et al., "Zero-shot image restoration using denoising
    diffusion null-space model" (ICLR 2023), algorithm 1 with the authors' code's DDIM noise (there, eta 0.85).
    """
    x0 = known.operator.consistent(place.x0, known.y)
    return place.with_noise(x0, place.noise, draw("step"), eta)


def ddnm_plus(place: Place, known: Known, eta: float, draw: Draw) -> Tensor:
    """DDNM for a noisy y, whose noise takes the place of noise that would be added. Ibid., section 3.3, with
    range and null space kept apart as in the authors' code.

    Where that noise is more than the next time wants, x0 is drawn to y by less, at the end not at all. All singular
    values are taken to be `Operator.singular`: exact for masks and means. Without noise this is `ddnm`.
    """
    if not known.sigma:
        return ddnm(place, known, eta, draw)
    operator, spread = known.operator, math.sqrt(1 - place.next)
    brought = math.sqrt(place.next) * known.sigma / operator.singular
    if spread >= brought:
        pull, rest = 1.0, math.sqrt(spread**2 - brought**2)
    else:
        pull, rest = spread * math.sqrt(1 - eta**2) / brought, spread * eta
    fresh = draw("step")
    x0 = place.x0 + pull * operator.pinv(known.y - operator.forward(place.x0))
    x_s = place.with_noise(x0, place.noise, fresh, eta)
    noise = x_s - math.sqrt(place.next) * x0
    return x_s + operator.pinv(operator.forward(rest * fresh - noise))


def diffpir(place: Place, known: Known, eta: float, draw: Draw) -> Tensor:
    """x0 between the network's and y, as their noises weigh; the noise that x0 leaves in x_t. Zhu et al., "Denoising
    diffusion models for plug-and-play image restoration" (CVPRW 2023), algorithm 1; its zeta is eta^2 here: 1 for
    inpainting, about 0.3 for super-resolution.

    With rho = lambda sigma^2 / sigma_t^2, where sigma_t^2 = (1 - alpha) / alpha; both on [-1, 1]'s scale (the authors'
    code has sigma on [0, 1]'s: their lambda is four times ours).
    """
    rho = _LAMBDA * known.sigma**2 * place.now / (1 - place.now)
    operator, x0 = known.operator, place.x0
    x0 = proximal(operator, x0, known.y, rho) if rho else operator.consistent(x0, known.y)
    return place.with_noise(x0, place.noise_of(x0), draw("step"), eta)


def repaint(place: Place, known: Known, eta: float, draw: Draw) -> Tensor:
    """A step of DDPM, then what is known is put in, as noisy as the rest. Lugmayr et al., "RePaint: inpainting using
    denoising diffusion probabilistic models" (CVPR 2022), algorithm 1. `eta` has no say: the
    variance is DDPM's posterior's (the authors' networks learned theirs).

    For shrunk pictures this is, with our A+, Choi et al.'s "ILVR" (ICCV 2021).
    """
    own = math.sqrt((1 - place.now / place.next) / (1 - place.now))
    x_s = place.with_noise(place.x0, place.noise_of(place.x0), draw("step"), own)
    noisy = math.sqrt(place.next) * known.y + math.sqrt(1 - place.next) * known.operator.forward(draw("known"))
    return known.operator.consistent(x_s, noisy)


STEPS: dict[Name, Step] = {"ddnm": ddnm, "ddnm+": ddnm_plus, "diffpir": diffpir, "repaint": repaint}
