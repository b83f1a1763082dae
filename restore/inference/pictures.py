"""Pictures of every kind that Python programs hold them in, as those that models take, and back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import UserError
from restore.images import Image, to_unit
from restore.occlusions.occlusion import Mask

if TYPE_CHECKING:
    from restore.inference.model import Model


def with_hole_filled(
    answer: Callable[[Tensor, Tensor, int], Tensor], picture: Image, mask: Mask, candidate: int = 0
) -> Image:
    """The picture (H, W, 3) with the network's answer where the mask (H, W) is set, at the picture's depth."""
    pred = answer(to_unit(picture), torch.from_numpy(mask)[None, None].float(), candidate)
    result = picture.copy()
    np.copyto(result, levels(pred[0], result.dtype), where=mask[:, :, None])
    return result


def levels(pred: Tensor, dtype: Any) -> NDArray[Any]:
    """A prediction (3, H, W) as a picture (H, W, 3) of that depth."""
    full = float(np.iinfo(dtype).max)
    return (pred.double().clamp(0, 1) * full).round().permute(1, 2, 0).cpu().numpy().astype(dtype)


def restored(model: "Model", image: Any, mask: Any, candidate: int) -> Any:
    """See `Model.__call__`."""
    hole = None if mask is None else as_mask(mask)
    if isinstance(image, Tensor):
        return _tensor(model, image, hole, candidate)
    if isinstance(image, np.ndarray):
        return _array(model, image, hole, candidate)
    from PIL import Image as pil

    if isinstance(image, pil.Image):
        return _pil(model, image, hole, candidate)
    raise UserError(f"{model.name}: cannot take a {type(image).__name__}: give an array, a PIL image or a tensor")


def as_mask(mask: Any) -> Mask:
    """A mask (H, W) out of an array, PIL image or tensor of one channel or several: set where it is above half.

    Raises:
        UserError: of another shape.
    """
    array = np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask)
    full = np.iinfo(array.dtype).max if array.dtype in (np.uint8, np.uint16) else 1
    if isinstance(mask, Tensor) and array.ndim > 2:  # channels come first
        array = array.reshape(-1, *array.shape[-2:]).max(0)
    elif array.ndim == 3:
        array = array[:, :, :3].max(2)
    if array.ndim != 2:
        raise UserError(f"a mask is (H, W), not {tuple(array.shape)}")
    set_: Mask = array > full / 2
    return set_


def _tensor(model: "Model", image: Tensor, mask: Mask | None, candidate: int) -> Tensor:
    batch = image if image.ndim == 4 else image[None]
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.is_floating_point() or not batch.numel():
        raise UserError(f"a tensor is (3, H, W) or (N, 3, H, W) of floats, not {tuple(image.shape)} of {image.dtype}")
    _check(model, tuple(batch.shape[-2:]), mask)
    hole = None if mask is None else torch.from_numpy(mask)[None, None].float().expand(len(batch), -1, -1, -1)
    pred = model.answer(batch.float(), hole, candidate).to(batch)
    if hole is not None:
        pred = torch.where(hole.to(pred.device) > 0, pred, batch)
    return pred if image.ndim == 4 else pred[0]


def _array(model: "Model", image: NDArray[Any], mask: Mask | None, candidate: int) -> NDArray[Any]:
    whole = image[:, :, None] if image.ndim == 2 else image
    if whole.ndim != 3 or whole.shape[2] not in (1, 3, 4) or not whole.size:
        raise UserError(f"a picture is (H, W), (H, W, 3) or (H, W, 4), not {tuple(image.shape)}")
    if image.dtype not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
        raise UserError(f"a picture has 8 or 16 bits, or floats in [0, 1], not {image.dtype}")
    _check(model, whole.shape[:2], mask)
    colours = np.ascontiguousarray(whole[:, :, :3] if whole.shape[2] > 1 else whole.repeat(3, 2))
    done = _floats(model, colours, mask, candidate) if colours.dtype.kind == "f" else None
    result: NDArray[Any] = model.picture(colours, mask, candidate) if done is None else done
    if image.ndim == 2 or whole.shape[2] == 1:
        return _as_grey(result) if image.ndim == 2 else _as_grey(result)[:, :, None]
    return np.dstack([result, _enlarged(whole[:, :, 3], result.shape)]) if whole.shape[2] == 4 else result


def _floats(model: "Model", image: NDArray[Any], mask: Mask | None, candidate: int) -> NDArray[Any]:
    tensor = torch.from_numpy(image.transpose(2, 0, 1)).float()
    result: NDArray[Any] = _tensor(model, tensor, mask, candidate).permute(1, 2, 0).numpy().astype(image.dtype)
    return result


def _as_grey(picture: NDArray[Any]) -> NDArray[Any]:
    mean = picture.astype(np.float64).mean(2)
    grey: NDArray[Any] = (np.rint(mean) if picture.dtype.kind == "u" else mean).astype(picture.dtype)
    return grey


def _enlarged(channel: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if channel.shape == shape[:2]:
        return channel
    return np.asarray(cv2.resize(np.ascontiguousarray(channel), shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _pil(model: "Model", image: Any, mask: Mask | None, candidate: int) -> Any:
    from PIL import Image as pil

    mode = image.mode if image.mode in ("L", "RGB", "RGBA") else "RGBA" if "A" in image.getbands() else "RGB"
    return pil.fromarray(_array(model, np.array(image.convert(mode)), mask, candidate))


def _check(model: "Model", size: tuple[int, ...], mask: Mask | None) -> None:
    if mask is None and model.kind == "unmask":
        raise UserError(f"{model.name}: rebuilds what a mask hides: give one")
    if mask is not None and model.kind == "sr":
        raise UserError(f"{model.name}: has no use for a mask: it enlarges or cleans whole pictures")
    if mask is not None and mask.shape != size:
        raise UserError(f"{model.name}: the mask has {mask.shape} pixels, its picture {size}")
