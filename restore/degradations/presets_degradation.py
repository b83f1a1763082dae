"""The published pipelines of degradations, each a list of parts such as an option file can hold itself."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from restore.degradations.blur_degradation import MIXED, KernelSize, Sigma
from restore.degradations.color_degradation import Range, Turn
from restore.degradations.compose_degradation import Chain
from restore.degradations.jpeg_degradation import Quality
from restore.degradations.noise_degradation import Level
from restore.degradations.resize_degradation import Factor, Weight
from restore.ranges import Limits, Share
from restore.registry import DEGRADATIONS, Part

Sigmas = Limits[Sigma]
Levels = Limits[Level]
Factors = Limits[Factor]
Qualities = Limits[Quality]
UpDownKeep = tuple[Weight, Weight, Weight]
Section = dict[str, Any]


class _Preset(Chain):
    """A pipeline under a name."""

    def __init__(self, sections: Sequence[Section]) -> None:
        self.sections = sections
        super().__init__([Part.model_validate(section) for section in sections])


@DEGRADATIONS.register
class gfpgan(_Preset):
    """First-order degradation of faces (Wang et al., GFPGAN, CVPR 2021), its defaults those of train_gfpgan_v1.yml.

    Blur, shrink, noise, JPEG, back to the target's size, then colour. Only the LQ loses its colours; GFPGAN's own
    `gt_gray` makes the GT gray along with it, which no degradation can do.

    Args:
        blur_kernel_size: side of the kernels, odd.
        kernel_prob: weights of isotropic and anisotropic Gaussians.
        blur_sigma: range of their standard deviations, in pixels.
        downsample_range: range of the number that the sides are divided by.
        noise_range: range of the Gaussian noise, in levels of 8 bits.
        jpeg_range: range of the quality.
        color_jitter_prob: how often each channel is shifted.
        color_jitter_shift: by how much at most, in levels of 8 bits.
        gray_prob: how often the colour goes.
        color_jitter_pt_prob: how often brightness, contrast, saturation and hue change.
        brightness: range of the factor, as for `ColorJitter`; so the next two.
        hue: range of the turn, in turns.
    """

    def __init__(
        self,
        blur_kernel_size: KernelSize = 41,
        kernel_prob: tuple[Weight, Weight] = (0.5, 0.5),
        blur_sigma: Sigmas = (0.1, 10.0),
        downsample_range: Factors = (0.8, 8.0),
        noise_range: Levels = (0.0, 20.0),
        jpeg_range: Qualities = (60.0, 100.0),
        color_jitter_prob: Share = 0.3,
        color_jitter_shift: Annotated[float, Field(ge=0, le=255)] = 20.0,
        gray_prob: Share = 0.01,
        color_jitter_pt_prob: Share = 0.3,
        brightness: Range | None = (0.5, 1.5),
        contrast: Range | None = (0.5, 1.5),
        saturation: Range | None = (0.0, 1.5),
        hue: Limits[Turn] | None = (-0.1, 0.1),
    ) -> None:
        jitter = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        super().__init__(
            [
                _part(
                    "Blur",
                    kernels=dict(zip(("iso", "aniso"), kernel_prob, strict=True)),
                    kernel_size=(blur_kernel_size, blur_kernel_size),
                    sigma=blur_sigma,
                    sinc_probability=0.0,
                ),
                _part("Downsample", factor=downsample_range),
                _part("GaussianNoise", sigma=noise_range, gray_probability=0.0),
                _part("Jpeg", quality=jpeg_range),
                _part("ResizeToTarget", modes=("bilinear",)),
                _part("ColorShift", shift=color_jitter_shift, probability=color_jitter_prob),
                _part("Gray", probability=gray_prob),
                _part("ColorJitter", **jitter, probability=color_jitter_pt_prob),
            ]
        )


@DEGRADATIONS.register
class realesrgan(_Preset):
    """Second-order degradation with a final sinc (Wang et al., Real-ESRGAN, ICCVW 2021); defaults as published.

    Those of train_realesrgan_x4plus.yml and its fine-tuning file, whose names the arguments have: a trailing 2 is the
    second round. Every sigma is in pixels of the picture as it is then, so that they mean more on a smaller GT.

    Args:
        blur_sigma: range of the kernels' standard deviations; `betag_range` and `betap_range` of their exponents.
        sinc_prob: how often a sinc takes the kernel's place.
        resize_prob: weights of enlarging, shrinking and keeping.
        resize_range: the smallest and the largest factor; the second round's is of the LQ's size.
        gaussian_noise_prob: how often the noise is Gaussian; else it is Poisson's.
        noise_range: of Gaussian noise, in levels of 8 bits.
        poisson_scale_range: of Poisson noise.
        gray_noise_prob: how often the channels have the same noise.
        jpeg_range: range of the quality.
        second_blur_prob: how often the second round begins with a blur.
        final_sinc_prob: how often the last resizing is followed by a sinc.
    """

    def __init__(
        self,
        blur_sigma: Sigmas = (0.2, 3.0),
        betag_range: Sigmas = (0.5, 4.0),
        betap_range: Sigmas = (1.0, 2.0),
        sinc_prob: Share = 0.1,
        resize_prob: UpDownKeep = (0.2, 0.7, 0.1),
        resize_range: Factors = (0.15, 1.5),
        gaussian_noise_prob: Share = 0.5,
        noise_range: Levels = (1.0, 30.0),
        poisson_scale_range: Levels = (0.05, 3.0),
        gray_noise_prob: Share = 0.4,
        jpeg_range: Qualities = (30.0, 95.0),
        second_blur_prob: Share = 0.8,
        blur_sigma2: Sigmas = (0.2, 1.5),
        betag_range2: Sigmas = (0.5, 4.0),
        betap_range2: Sigmas = (1.0, 2.0),
        sinc_prob2: Share = 0.1,
        resize_prob2: UpDownKeep = (0.3, 0.4, 0.3),
        resize_range2: Factors = (0.3, 1.2),
        gaussian_noise_prob2: Share = 0.5,
        noise_range2: Levels = (1.0, 25.0),
        poisson_scale_range2: Levels = (0.05, 2.5),
        gray_noise_prob2: Share = 0.4,
        jpeg_range2: Qualities = (30.0, 95.0),
        final_sinc_prob: Share = 0.8,
    ) -> None:
        jpeg = _part("Jpeg", quality=jpeg_range2)
        last = [_part("ResizeToTarget"), _part("Sinc", probability=final_sinc_prob)]
        super().__init__(
            [
                _blur(blur_sigma, betag_range, betap_range, sinc_prob, 1.0),
                _part("Resize", scale=resize_range, probabilities=resize_prob),
                _noise(gaussian_noise_prob, noise_range, poisson_scale_range, gray_noise_prob),
                _part("Jpeg", quality=jpeg_range),
                _blur(blur_sigma2, betag_range2, betap_range2, sinc_prob2, second_blur_prob),
                _part("Resize", scale=resize_range2, probabilities=resize_prob2, of="target"),
                _noise(gaussian_noise_prob2, noise_range2, poisson_scale_range2, gray_noise_prob2),
                _part("OneOf", choices=[_part("Chain", parts=[*last, jpeg]), _part("Chain", parts=[jpeg, *last])]),
            ]
        )


@DEGRADATIONS.register
class old_photo(_Preset):
    """A print of long ago that was scanned: soft, faded, grainy, scratched and dusty. Our own choice of ranges.

    The parts and their order follow what Wan et al., "Bringing Old Photos Back to Life" (CVPR 2020), count among the
    defects of such photos.

    Args:
        blur_sigma: range of the softness, in pixels.
        fade_prob: how often the colours have faded or turned to sepia.
        grain: range of the film's grain, in levels of 8 bits.
        scratch_prob: how often there are scratches.
        dust_prob: how often there are dust and lint.
        jpeg_range: range of the scan's quality.
    """

    def __init__(
        self,
        blur_sigma: Sigmas = (0.3, 2.0),
        fade_prob: Share = 0.9,
        grain: Levels = (2.0, 14.0),
        scratch_prob: Share = 0.8,
        dust_prob: Share = 0.8,
        jpeg_range: Qualities = (60.0, 95.0),
    ) -> None:
        super().__init__(
            [
                _part("Blur", kernels={"iso": 0.7, "aniso": 0.3}, sigma=blur_sigma, sinc_probability=0.0),
                _part("GaussianNoise", sigma=grain, gray_probability=0.8),
                _part("Fade", probability=fade_prob),
                _part("Scratches", probability=scratch_prob),
                _part("Dust", probability=dust_prob),
                _part("ResizeToTarget", modes=("area", "bilinear")),
                _part("Jpeg", quality=jpeg_range),
            ]
        )


def _part(name: str, **args: Any) -> Section:
    """`{type: name, ...}` as an option file says it."""
    return {"type": name} | args


def _blur(sigma: Sigmas, betag: Sigmas, betap: Sigmas, sinc: float, probability: float) -> Section:
    return _part(
        "Blur",
        kernels=dict(MIXED),
        kernel_size=(7, 21),
        sigma=sigma,
        beta_gaussian=betag,
        beta_plateau=betap,
        sinc_probability=sinc,
        probability=probability,
    )


def _noise(gaussian: float, sigma: Levels, scale: Levels, gray: float) -> Section:
    choices = [
        _part("GaussianNoise", sigma=sigma, gray_probability=gray),
        _part("PoissonNoise", scale=scale, gray_probability=gray),
    ]
    return _part("OneOf", choices=choices, probabilities=[gaussian, 1 - gaussian])
