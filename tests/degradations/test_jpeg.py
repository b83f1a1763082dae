"""JPEG: against libjpeg (OpenCV, Pillow) and BasicSR's DiffJPEG."""

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from restore import images
from restore.degradations.jpeg import jpeg, quantization
from restore.degradations.jpeg_degradation import Jpeg
from restore.degradations.pictures import Pictures, stack
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part
from tests.oracles import basicsr, shared

QUALITIES = (1, 10, 30, 49, 50, 75, 95, 100)
SIZES = ((64, 64), (37, 51), (16, 17), (15, 33), (50, 18), (8, 8), (9, 6), (42, 58))


def picture(height, width, seed=0):
    """Smooth colours under noise: every frequency at every strength."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def libjpeg(rgb, quality):
    data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]


def coded(rgb, quality):
    return images.to_uint8(jpeg(images.to_unit(rgb), [rgb.shape[:2]], [quality])[0])


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("size", SIZES)
def test_tensors_equal_libjpeg_to_the_bit(size, quality):
    """libjpeg-turbo in OpenCV; the bar is 2 levels, and none is needed."""
    for rgb in (picture(*size), np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)):
        np.testing.assert_array_equal(coded(rgb, quality), libjpeg(rgb, quality))


def test_tensors_equal_libjpeg_on_faces():
    for path in sorted(shared("faces_celebahq512", "val").iterdir())[:4]:
        face = images.read(path)
        for quality in (30, 60, 95):
            np.testing.assert_array_equal(coded(face, quality), libjpeg(face, quality))


def test_quantization_is_that_in_pillows_files():
    for quality in QUALITIES:
        file = io.BytesIO()
        Image.fromarray(picture(16, 16)).save(file, "JPEG", quality=quality)
        tables = Image.open(io.BytesIO(file.getvalue())).quantization
        assert quantization(quality).reshape(2, 64).tolist() == [tables[0], tables[1]]
    with pytest.raises(ValueError, match="^JPEG quality 0: from 1 to 100$"):
        quantization(0)


def test_near_basicsrs_diffjpeg():
    """In gray, where its chroma, which it repeats instead of filtering, plays no part. Its luma table is the
    standard's transposed, so it gets the picture transposed. Its other tables are not rounded, and it rounds no
    samples: 0.43 levels apart on average at quality 50, where the tables agree."""
    oracle = basicsr("utils.diffjpeg").DiffJPEG(differentiable=False)
    gray = images.to_unit(picture(48, 64)[:, :, :1].repeat(3, 2))
    for quality, mean in ((50, 0.5), (30, 1.5), (90, 1.2)):
        theirs = oracle(gray.mT.clone(), quality=torch.tensor([float(quality)])).detach().mT
        difference = (jpeg(gray, [(48, 64)], [quality]) - theirs).abs() * 255
        assert difference.mean() < mean
        assert quality != 50 or (difference < 1).float().mean() > 0.9


def test_the_codec_path_is_what_basicsr_makes():
    """Float pictures go through `add_jpg_compression` at a whole quality: the same bytes, so the same pixels."""
    oracle = basicsr("data.degradations").add_jpg_compression
    blurred = cv2.GaussianBlur(picture(40, 56).astype(np.float32) / 255, (0, 0), 0.8)
    pictures = Pictures.of(torch.from_numpy(blurred.transpose(2, 0, 1).copy())[None], (40, 56))
    for quality in (30, 61, 95):
        ours = Jpeg((quality, quality), codec="libjpeg")(pictures, [draws(0)]).canvas[0].permute(1, 2, 0).numpy()
        theirs = oracle(np.ascontiguousarray(blurred[:, :, ::-1]), quality)[:, :, ::-1]
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("codec", ["libjpeg", "tensor"])
def test_each_picture_of_a_batch_as_if_alone(codec):
    """Different sizes on one canvas, a quality for each, garbage beyond the edges."""
    part = Jpeg((10, 95), probability=0.7, codec=codec)
    singles = [images.to_unit(picture(h, w, seed))[0] for seed, (h, w) in enumerate(SIZES)]
    batch = stack(singles, (8, 8))
    for row, (h, w) in zip(batch.canvas, batch.sizes, strict=True):
        row[:, h:] = row[:, :, w:] = 0.7
    together = part(batch, [draws("jpeg", n) for n in range(len(SIZES))])
    changed = 0
    for n, (single, (h, w)) in enumerate(zip(singles, SIZES, strict=True)):
        alone = part(stack([single], (8, 8)), [draws("jpeg", n)]).canvas[0]
        torch.testing.assert_close(together.canvas[n, :, :h, :w], alone, rtol=0, atol=0)
        changed += not torch.equal(alone, single)
    assert 2 <= changed < len(SIZES)


def test_both_codecs_draw_and_make_the_same():
    pictures = Pictures.of(torch.cat([images.to_unit(picture(40, 40, n)) for n in range(6)]), (40, 40))
    made = [Jpeg(codec=codec)(pictures, [draws(n) for n in range(6)]).canvas for codec in ("auto", "libjpeg", "tensor")]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[1], made[2])
    assert torch.equal(made[0] * 255, (made[0] * 255).round())


def test_gradients_pass_straight_through():
    """A step on the picture moves the result by nearly as much: the DCT is orthogonal, the chroma is blurred."""
    x = images.to_unit(picture(32, 32)).requires_grad_()
    made = Jpeg((90, 90))(Pictures.of(x, (32, 32)), [draws(0)]).canvas
    assert torch.equal(made.detach(), Jpeg((90, 90))(Pictures.of(x.detach(), (32, 32)), [draws(0)]).canvas)
    (gradient,) = torch.autograd.grad(made.sum(), x)
    inside = (made > 0.02) & (made < 0.98)
    assert gradient[inside.detach()].mean().item() == pytest.approx(1, abs=0.1)


def test_quality_and_probability_as_asked():
    part = DEGRADATIONS.build(Part(type="Jpeg", quality=[30, 95], probability=0.4, codec="tensor"))
    seen = []
    noise = Pictures.of(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), (8, 8))
    for n in range(400):
        d = draws("q", n)
        is_chosen, quality = d.random() < 0.4, int(d.uniform(30, 95))  # libjpeg takes no other
        expected = jpeg(noise.canvas, [(8, 8)], [quality]) if is_chosen else noise.canvas
        assert torch.equal(part(noise, [draws("q", n)]).canvas, expected)
        seen.append(quality)
    assert min(seen) == 30
    assert max(seen) == 94


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_makes_what_libjpeg_makes():
    faces = [picture(h, w, n) for n, (h, w) in enumerate(SIZES)]
    batch = stack([images.to_unit(face)[0] for face in faces], (8, 8))
    keys = [draws("cuda", n) for n in range(len(SIZES))]
    there = Jpeg()(Pictures(batch.canvas.cuda(), batch.sizes, batch.target), keys).canvas.cpu()
    here = Jpeg()(batch, [draws("cuda", n) for n in range(len(SIZES))]).canvas
    for ours, theirs, (h, w) in zip(there, here, SIZES, strict=True):
        assert torch.equal(ours[:, :h, :w], theirs[:, :h, :w])
