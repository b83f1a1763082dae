"""Unsharp masking: against BasicSR's USMSharp, which has the 51 x 51 kernel in one piece."""

import torch

from restore.degradations.sharpen import usm_sharpen
from tests.degradations.pairs import pictures
from tests.oracles import basicsr


def test_equals_basicsr():
    """In float32; the mask is a threshold, so that the picture must not sit on it."""
    oracle = basicsr("utils.img_process_util").USMSharp()
    batch = torch.stack(pictures(sizes=((70, 90), (70, 90))))
    expected = oracle(batch)
    assert (expected - batch).abs().max() > 0.05
    torch.testing.assert_close(usm_sharpen(batch), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(usm_sharpen(batch[:1]), expected[:1], rtol=0, atol=1e-5)


def test_flat_pictures_and_the_given_batch_stay_as_they_are():
    batch = torch.stack(pictures(sizes=((70, 90),)))
    before = batch.clone()
    usm_sharpen(batch)
    assert torch.equal(batch, before)
    flat = torch.full((1, 3, 40, 40), 0.4)
    torch.testing.assert_close(usm_sharpen(flat), flat, rtol=0, atol=1e-6)
