"""The U-Net discriminator of Real-ESRGAN (Wang et al., ICCV Workshops 2021, arXiv:2107.10833)."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm  # the newer `parametrizations` has other keys than the published weights

from restore.ranges import Positive
from restore.registry import ARCHS


def _conv(in_ch: int, out_ch: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(in_ch, out_ch, kernel, stride, padding=1, bias=False))


@ARCHS.register
class UNetDiscriminatorSN(nn.Module):
    """A U-Net with spectral normalisation that judges every pixel.

    State-dict keys are Real-ESRGAN's. In training mode each forward pass takes one power iteration.

    Args:
        num_in_ch: channels of the input.
        num_feat: channels at full size.
        skip_connection: add the features of the way down to those of the way up.
    """

    def __init__(self, num_in_ch: Positive = 3, num_feat: Positive = 64, skip_connection: bool = True) -> None:
        super().__init__()
        self.skip_connection = skip_connection
        self.conv0 = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.conv1 = _conv(num_feat, num_feat * 2, 4, 2)
        self.conv2 = _conv(num_feat * 2, num_feat * 4, 4, 2)
        self.conv3 = _conv(num_feat * 4, num_feat * 8, 4, 2)
        self.conv4 = _conv(num_feat * 8, num_feat * 4, 3, 1)
        self.conv5 = _conv(num_feat * 4, num_feat * 2, 3, 1)
        self.conv6 = _conv(num_feat * 2, num_feat, 3, 1)
        self.conv7 = _conv(num_feat, num_feat, 3, 1)
        self.conv8 = _conv(num_feat, num_feat, 3, 1)
        self.conv9 = nn.Conv2d(num_feat, 1, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), at least 8x8, to logits (N, 1, H, W)."""
        feats = [self.lrelu(self.conv0(x))]
        for conv in (self.conv1, self.conv2, self.conv3):
            feats.append(self.lrelu(conv(feats[-1])))
        feat = feats.pop()
        for conv in (self.conv4, self.conv5, self.conv6):
            beside = feats.pop()
            larger = F.interpolate(feat, size=beside.shape[-2:], mode="bilinear")
            feat = self.lrelu(conv(larger))
            if self.skip_connection:
                feat = feat + beside
        return self.conv9(self.lrelu(self.conv8(self.lrelu(self.conv7(feat)))))
