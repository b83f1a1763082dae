"""Diffusion: a network learns to tell noise from picture, and restores what it was never trained to."""

import hashlib
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from restore import images
from restore.diffusion import steps
from restore.diffusion.noise import Kind, Schedule
from restore.diffusion.operators import AreaDown, BicubicDown, Compose, Mask, Operator
from restore.diffusion.sampler import JUMP_LENGTH, Sampler
from restore.errors import UserError
from restore.options.document import Loc
from restore.options.paths import DataPath
from restore.options.schema import Options
from restore.options.walk import section_at
from restore.precision import full
from restore.ranges import Share
from restore.registry import ARCHS, TASKS
from restore.step import Step
from restore.tasks.first_guess import FirstGuess
from restore.tasks.networks import build_network, predicts_noise, replicated, takes_time
from restore.tasks.task import Autocast, Losses, Phase, build_optimizer

NumSteps = Annotated[int, Field(ge=1, le=1000)]
AboveZero = Annotated[float, Field(gt=0)]


@TASKS.register
class Diffusion:
    """Trains a network to predict noise, on GT alone, and restores with it zero-shot (Ho et al., NeurIPS 2020).

    Ho et al., "Denoising diffusion probabilistic models". LQ is what is left of a picture, by `scale` and mask; the
    sampler draws a picture that it may be of.

    Args:
        schedule: how noise grows over the 1,000 times.
        min_snr: losses of times with little noise are weighed down to this signal-to-noise ratio; None: all alike.
        step: how each step of the sampler heeds LQ.
        num_steps: calls of the network for a picture; 10 to 250, `repaint` makes more of them.
        eta: share of fresh noise in each step; 0 is DDIM.
        start_from: the time, as a share, at which to begin with a first guess; None begins with noise.
        start_with: a model whose answer the first guess is, such as a UNet's experiment; None fills and enlarges LQ.
        sigma: standard deviation of LQ's own noise, LQ in [0, 1], so that 12 of 255 levels are 0.047; for `ddnm+` and
            `diffpir`.
        downsample: how LQ was made smaller: the mean of each area, or MATLAB's bicubic.
    """

    brings_loss = True  # `train.losses` stays empty

    def __init__(
        self,
        options: Options,
        device: torch.device,
        autocast: Autocast,
        schedule: Kind = "linear",
        min_snr: AboveZero | None = 5.0,
        step: steps.Name = "ddnm",
        num_steps: NumSteps = 100,
        eta: Share = 0.85,
        start_from: Share | None = None,
        start_with: DataPath | None = None,
        sigma: Share = 0.0,
        downsample: Literal["area", "bicubic"] = "area",
    ) -> None:
        self.autocast, self.min_snr = autocast, min_snr
        self.scale, self.downsample, self.start_from = options.scale, downsample, start_from
        self.schedule = Schedule(schedule)
        try:
            self.sampler = Sampler(self.schedule, step, num_steps, eta, start_from, sigma, options.manual_seed)
        except ValueError as error:
            raise UserError(f"task: Diffusion: {error}") from error
        self.guess = FirstGuess(start_with, self.scale, device)
        self.tell: str | None = None  # what a progress bar over the steps is called, where one is wanted
        self.network_g = build_network(options, "network_g", device)
        if not takes_time(type(self.network_g)):  # a guest, which `mistakes` does not look into
            raise UserError(f"network_g: {options.network_g.type} predicts no noise; DenoisingUNet does")
        self.networks = {"network_g": self.network_g}
        self.phases: list[Phase] = []
        if options.train is None:
            return
        self.forward = replicated(self.network_g, options, device)
        optimizer = build_optimizer(options.train.optim_g, self.network_g)
        self.phases.append(Phase("g", [self.network_g], self.forward, optimizer, self.losses))

    @staticmethod
    def mistakes(data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
        """What in an option file, as it is written, does not go together with this task."""
        task, network, train = (section_at(data, (name,)) for name in ("task", "network_g", "train"))
        step, calls = task.get("step", "ddnm"), task.get("num_steps", 100)
        if str(network.get("type")) in ARCHS and not predicts_noise(network):
            yield ("network_g", "type"), f"{network['type']} predicts no noise; DenoisingUNet does"
        if isinstance(losses := train.get("losses"), dict) and any(losses.values()):
            yield ("train", "losses"), "Diffusion has a loss of its own, `l_noise`, and no other; leave them out"
        if task.get("start_with") is not None and task.get("start_from") is None:
            yield ("task", "start_with"), "also say where to begin, such as `start_from: 0.4`"
        if task.get("sigma") and step in ("ddnm", "repaint"):
            yield ("task", "sigma"), f"{step} takes the picture to be free of noise; `step: ddnm+` does not"
        if step == "repaint" and isinstance(calls, int) and calls <= JUMP_LENGTH:
            yield ("task", "num_steps"), f"repaint goes back by {JUMP_LENGTH} steps: it needs more than {JUMP_LENGTH}"
        for name, section in section_at(data, ("datasets",)).items():
            hides = isinstance(section, dict) and section.get("type") == "OccludedImageDataset"
            if hides and data.get("scale", 1) != 1:
                yield ("datasets", name, "type"), "hides parts of pictures that keep their size; leave `scale` out"

    def prepare(self, batch: dict[str, Tensor], iteration: int) -> Step:
        if "gt" not in batch:
            raise UserError("training needs GT pictures: use a data set that has them, such as GTImageDataset")
        return Step(lq=batch["gt"], gt=batch["gt"], iter=iteration)

    def losses(self, step: Step) -> Losses:
        """How far off the predicted noise is, each picture being at a time of its own."""
        x0 = step.gt * 2 - 1
        time = torch.randint(self.schedule.num_train, x0.shape[:1], device=x0.device)
        noise = torch.randn_like(x0)
        with self.autocast():
            predicted = self.forward(self.schedule.noised(x0, noise, time), time)
        error = (full(predicted) - noise).square().mean(dim=(1, 2, 3))
        return {"l_noise": (self.weights(time).to(error) * error).mean()}

    def weights(self, time: Tensor) -> Tensor:
        """min(SNR, gamma) / SNR of each time: Hang et al., "Efficient diffusion training via min-SNR weighting
        strategy" (ICCV 2023), for networks that predict noise."""
        alphas = self.schedule.alphas.to(time.device)[time]
        snr = alphas / (1 - alphas)
        return torch.ones_like(snr) if self.min_snr is None else snr.clamp(max=self.min_snr) / snr

    def predict(self, network: nn.Module, lq: Tensor, mask: Tensor | None = None, candidate: int = 0) -> Tensor:
        """A picture that LQ may have been made of; which one hangs on LQ, the seed and the candidate's number alone.

        Networks that halve a picture several times want sides to match: what a picture lacks is missing, like a hole.
        """
        if mask is None and self.scale == 1:
            raise UserError("nothing is missing of these pictures: give masks or --occlusion, or `scale`")
        lq = full(lq)
        known = torch.ones_like(lq[:, :1]) if mask is None else (mask == 0).to(lq)
        seen = lq * known
        keys = [(_digest(*one), candidate) for one in zip(seen, known, strict=True)]
        below, right = (-side % _multiple(network, self.scale) for side in lq.shape[-2:])
        missing = None if mask is None and not below and not right else F.pad(1 - known, (0, right, 0, below), value=1)
        y = F.pad(seen, (0, right, 0, below))
        start = None if self.start_from is None else self.guess(y, missing)

        def noise(x: Tensor, time: Tensor) -> Tensor:
            with self.autocast():
                predicted: Tensor = network(x, time)
            return predicted

        pred = self.sampler(noise, self._operator(y, missing), y, keys, start, self.tell)
        return pred[..., : lq.shape[-2] * self.scale, : lq.shape[-1] * self.scale]

    def _operator(self, y: Tensor, missing: Tensor | None) -> Operator:
        """What made `y` of the picture, shrinking first."""
        mask = [] if missing is None else [Mask(missing)]
        if self.scale == 1 and mask:
            return mask[0]
        size = (y.shape[-2] * self.scale, y.shape[-1] * self.scale)
        return Compose(BicubicDown(self.scale, size) if self.downsample == "bicubic" else AreaDown(self.scale), *mask)


def _multiple(network: nn.Module, scale: int) -> int:
    """What sides of LQ have to be a multiple of, for those of the picture to suit the network."""
    multiple = int(getattr(network, "multiple", 1))
    return multiple // math.gcd(multiple, scale)


def _digest(lq: Tensor, known: Tensor) -> int:
    """A number that belongs to a picture as it stands in a file of 8 bits, and to what is known of it."""
    levels = b"".join(images.to_uint8(part).tobytes() for part in (lq, known))
    return int.from_bytes(hashlib.blake2b(levels, digest_size=8).digest(), "little")
