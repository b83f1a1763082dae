"""Adversarial losses: what a discriminator's logits say to the generator, and to itself."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step

Judge = Callable[[Tensor, bool], Tensor]  # logits, and whether they should say "real": a mean

_JUDGES: dict[str, Judge] = {
    "vanilla": lambda logits, real: F.softplus(-logits if real else logits).mean(),
    "lsgan": lambda logits, real: (logits - float(real)).square().mean(),
    "hinge": lambda logits, real: F.relu(1 - logits if real else 1 + logits).mean(),
    "wgan": lambda logits, real: (-logits if real else logits).mean(),
}


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
    """

    def __init__(self, gan_type: Literal["vanilla", "wgan_softplus", "lsgan", "hinge", "wgan"] = "vanilla") -> None:
        super().__init__()
        self.judge = _JUDGES["vanilla" if gan_type == "wgan_softplus" else gan_type]
        self.to_generator = _JUDGES["wgan"] if gan_type == "hinge" else self.judge

    def forward(self, step: Step) -> Tensor:
        return self.to_generator(step.logits_pred, True)

    def discriminator(self, step: Step) -> dict[str, Tensor]:
        return {"l_d_real": self.judge(step.logits_real, True), "l_d_fake": self.judge(step.logits_pred, False)}


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
        real, fake = step.logits_real, step.logits_pred
        return (self.judge(real - fake.mean(), False) + self.judge(fake - real.mean(), True)) / 2

    def discriminator(self, step: Step) -> dict[str, Tensor]:
        real, fake = step.logits_real, step.logits_pred
        return {
            "l_d_real": self.judge(real - fake.mean(), True) / 2,
            "l_d_fake": self.judge(fake - real.mean(), False) / 2,
        }
