"""BasicSR's losses and discriminators told in our keys: part of `restore.options.basicsr`, which see."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.options.basicsr import Keys, Translation

OTHER_LOSSES = ("ldl_opt", "cl_opt", "tv_opt")
WORDS = (
    *("pixel_opt", "perceptual_opt", "gan_opt", *OTHER_LOSSES, "loss_weight", "reduction", "layer_weights", "vgg_type"),
    *("perceptual_weight", "style_weight", "real_label_val", "fake_label_val", "net_d_iters", "net_d_init_iters"),
)
PIXEL: "Keys" = ("train", "pixel_opt")
PERCEPTUAL: "Keys" = ("train", "perceptual_opt")
GAN: "Keys" = ("train", "gan_opt")


def translate_losses(t: "Translation", relativistic: bool) -> None:
    """Fills `train.losses`, and `train.discriminator` where there is one."""
    if PIXEL[-1] in t.section("train"):
        _pixel(t)
    if t.section(*PERCEPTUAL):
        _perceptual(t)
    if t.section(*GAN):
        _adversarial(t, relativistic)
    for key in OTHER_LOSSES:
        if t.pop("train", key):
            t.refuse(("train", key), "this loss is not known here yet; remove it to train without")
    for key, trivial in (("net_d_iters", 1), ("net_d_init_iters", 0)):
        if t.pop("train", key) not in (None, trivial):
            t.refuse(("train", key), f"the discriminator has one step to each of the generator's; set it to {trivial}")


def _pixel(t: "Translation") -> None:
    t.move((*PIXEL, "loss_weight"), "weight")
    reduction = t.section(*PIXEL).get("reduction")
    if reduction not in (None, "mean"):
        t.refuse((*PIXEL, "reduction"), f"losses are means here, found {reduction!r}; set mean, and adapt loss_weight")
    t.pop(*PIXEL, "reduction")
    t.put(PIXEL, ("train", "losses", "pixel"), t.pop(*PIXEL))
    t.document.names[("train", "losses", "pixel", "weight")] = (*PIXEL, "loss_weight")


def _perceptual(t: "Translation") -> None:
    _expect(t, (*PERCEPTUAL, "use_input_norm"), True)
    _expect(t, (*PERCEPTUAL, "range_norm"), False)
    weights = [t.pop(*PERCEPTUAL, key) for key in ("perceptual_weight", "style_weight")]
    t.move((*PERCEPTUAL, "layer_weights"), "layers")
    t.move((*PERCEPTUAL, "vgg_type"), "network")
    if t.section(*PERCEPTUAL).get("criterion") == "fro":
        t.refuse((*PERCEPTUAL, "criterion"), "`fro` is the norm of a whole batch there, of a sample here; set l1 or l2")
    section: dict[str, Any] = t.pop(*PERCEPTUAL)
    for name, kind, weight in zip(("perceptual", "style"), ("PerceptualLoss", "StyleLoss"), weights, strict=True):
        weight = 1.0 if weight is None and name == "perceptual" else weight
        if weight:
            t.put(PERCEPTUAL, ("train", "losses", name), {**section, "type": kind, "weight": weight})


def _adversarial(t: "Translation", relativistic: bool) -> None:
    _expect(t, (*GAN, "real_label_val"), 1)
    _expect(t, (*GAN, "fake_label_val"), 0)
    t.move((*GAN, "loss_weight"), "weight")
    section: dict[str, Any] = t.pop(*GAN)
    if relativistic and section.get("type") == "GANLoss":
        section["type"] = "RelativisticGANLoss"
    t.put(GAN, ("train", "losses", "adversarial"), section)


def _expect(t: "Translation", at: "Keys", value: object) -> None:
    """Takes out a key that has to have this value."""
    found = t.pop(*at)
    if found is not None and found != value:
        t.refuse(at, f"only {value!r} is known here, found {found!r}")
