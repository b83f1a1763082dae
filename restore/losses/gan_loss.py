"""Adversarial losses: what a discriminator's logits say to the generator, and to itself."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from restore.distributed import mean
from restore.errors import UserError
from restore.losses.hole_loss import mask_of
from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Logits, Step

Judge = Callable[[Tensor, bool], Tensor]  # logits, and whether they should say "real": a mean

_JUDGES: dict[str, Judge] = {
    "vanilla": lambda logits, real: F.softplus(-logits if real else logits).mean(),
    "lsgan": lambda logits, real: (logits - float(real)).square().mean(),
    "hinge": lambda logits, real: F.relu(1 - logits if real else 1 + logits).mean(),
    "wgan": lambda logits, real: (-logits if real else logits).mean(),
}


def scales(logits: Logits) -> list[Tensor]:
    """The logits of each scale, also of a discriminator that has one."""
    return logits if isinstance(logits, list) else [logits]


def judged(judge: Judge, logits: Logits, real: bool) -> Tensor:
    """What `judge` says, the mean over the scales."""
    return torch.stack([judge(scale, real) for scale in scales(logits)]).mean()


class AdversarialLoss(Loss):
    """Base of the losses that need a discriminator: `forward` for the generator, `discriminator` for its opponent."""

    section = "network_d"  # where the option file names the discriminator: one loss has it
    needs: tuple[str, ...] = ("network_d", "train.optim_d")  # sections of the option file
    wants_real = False  # whether the generator's side reads `step.logits_real` too

    def view(self, step: Step, picture: Tensor) -> Tensor:
        """What the discriminator is shown of `step.pred` or `step.real`, differentiably."""
        return picture

    def discriminator(self, step: Step) -> dict[str, Tensor]:
        """The discriminator's own losses by name, from `step.logits_real` and `step.logits_pred`."""
        raise NotImplementedError


@LOSSES.register
class GANLoss(AdversarialLoss):
    """The generator wants its pictures to be called real, the discriminator to tell them apart.

    Args:
        gan_type: `vanilla` is cross entropy (Goodfellow et al., NeurIPS 2014, the non-saturating form), which BasicSR's
            files for StyleGAN2 call `wgan_softplus`; `lsgan` squares (Mao et al., ICCV 2017); `hinge` (Lim and Ye,
            2017) is linear on the generator's side; `wgan` (Arjovsky et al., ICML 2017) needs `r1_weight`.
        conditional: what the discriminator sees beside the picture: nothing; the network's `input`, before it, as in
            pix2pix (Isola et al., CVPR 2017), with `num_in_ch: 6`; or the `mask`, behind it, with `num_in_ch: 4`.
    """

    def __init__(
        self,
        gan_type: Literal["vanilla", "wgan_softplus", "lsgan", "hinge", "wgan"] = "vanilla",
        conditional: Literal["none", "input", "mask"] = "none",
    ) -> None:
        super().__init__()
        self.judge = _JUDGES["vanilla" if gan_type == "wgan_softplus" else gan_type]
        self.to_generator = _JUDGES["wgan"] if gan_type == "hinge" else self.judge
        self.conditional = conditional

    def view(self, step: Step, picture: Tensor) -> Tensor:
        if self.conditional == "input":
            if step.lq.shape[-2:] != picture.shape[-2:]:
                sizes = " and ".join("x".join(map(str, x.shape[-2:])) for x in (step.lq, picture))
                raise UserError(f"{type(self).__name__}: conditional: input needs scale 1; LQ and GT are {sizes}")
            return torch.cat([step.lq, picture], 1)
        if self.conditional == "mask":
            return torch.cat([picture, mask_of(step, self)], 1)
        return picture

    def forward(self, step: Step) -> Tensor:
        return judged(self.to_generator, step.logits_pred, True)

    def discriminator(self, step: Step) -> dict[str, Tensor]:
        real, fake = step.logits_real, step.logits_pred
        return {"l_d_real": judged(self.judge, real, True), "l_d_fake": judged(self.judge, fake, False)}


@LOSSES.register
class HoleGANLoss(AdversarialLoss):
    """The discriminator is to find the hole: of a generated picture, only the patches there count as fake.

    LaMa's (Suvorov et al., WACV 2022), over cross entropy; its weight there is 10, with `r1_weight: 0.002`, which is
    LaMa's 0.001 without the half in R1's definition, and `r1_every: 1`. A patch belongs to the hole when the mask,
    resized to the grid of logits, says so. Means are over all patches, so that a smaller hole weighs less.

    Args:
        use_known_for_discriminator: generated patches outside the hole count as real; otherwise they are left out.
        use_known_for_generator: the generator hears of patches outside the hole too; needed by the former.
        extra_hole_weight: how much more the generator hears of patches in the hole.
        mask_resize: `nearest` takes the mask's pixel at each patch's place, as LaMa does; `max` any missing pixel
            below it, so that thin strokes are not lost.

    Raises:
        UserError: the discriminator uses known patches and the generator does not.
    """

    def __init__(
        self,
        use_known_for_discriminator: bool = True,
        use_known_for_generator: bool = True,
        extra_hole_weight: Annotated[float, Field(ge=0)] = 0.0,
        mask_resize: Literal["nearest", "max"] = "nearest",
    ) -> None:
        super().__init__()
        if use_known_for_discriminator and not use_known_for_generator:
            raise UserError(
                "HoleGANLoss: use_known_for_generator: false needs use_known_for_discriminator: false, or the "
                "discriminator learns what the generator never hears of"
            )
        self.known_is_real, self.known_is_heard = use_known_for_discriminator, use_known_for_generator
        self.extra, self.mask_resize = extra_hole_weight, mask_resize

    def forward(self, step: Step) -> Tensor:
        parts = []
        for logits in scales(step.logits_pred):
            hole = self.hole(step, logits)
            weight = 1 + self.extra * hole if self.known_is_heard else hole
            parts.append((weight * F.softplus(-logits)).mean())
        return torch.stack(parts).mean()

    def discriminator(self, step: Step) -> dict[str, Tensor]:
        fakes = []
        for logits in scales(step.logits_pred):
            hole = self.hole(step, logits)
            known = (1 - hole) * F.softplus(-logits) if self.known_is_real else 0
            fakes.append((hole * F.softplus(logits) + known).mean())
        real = judged(_JUDGES["vanilla"], step.logits_real, True)
        return {"l_d_real": real, "l_d_fake": torch.stack(fakes).mean()}

    def hole(self, step: Step, logits: Tensor) -> Tensor:
        """(N, 1, h, w) on the grid of the logits: 1 where a patch lies in the hole."""
        mask, grid = mask_of(step, self), logits.shape[-2:]
        return F.adaptive_max_pool2d(mask, grid) if self.mask_resize == "max" else F.interpolate(mask, grid)


@LOSSES.register
class RelativisticGANLoss(AdversarialLoss):
    """Real pictures should look more real than generated ones do on average, and the other way round.

    Jolicoeur-Martineau, ICLR 2019 (RaGAN), halved as in ESRGAN (Wang et al., ECCVW 2018).

    Args:
        gan_type: how the difference is judged.
    """

    wants_real = True

    def __init__(self, gan_type: Literal["vanilla", "lsgan", "hinge"] = "vanilla") -> None:
        super().__init__()
        self.judge = _JUDGES[gan_type]

    def forward(self, step: Step) -> Tensor:
        real, fake = self.relative(step)
        return (judged(self.judge, real, False) + judged(self.judge, fake, True)) / 2

    def discriminator(self, step: Step) -> dict[str, Tensor]:
        real, fake = self.relative(step)
        return {"l_d_real": judged(self.judge, real, True) / 2, "l_d_fake": judged(self.judge, fake, False) / 2}

    def relative(self, step: Step) -> tuple[list[Tensor], list[Tensor]]:
        """Real logits less the mean of the generated ones, and generated less that of the real, of all ranks."""
        pairs = list(zip(scales(step.logits_real), scales(step.logits_pred), strict=True))
        return [real - mean(fake.mean()) for real, fake in pairs], [fake - mean(real.mean()) for real, fake in pairs]
