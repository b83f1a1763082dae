"""`load_model`: a trained network as something to call with a picture."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from restore.engine.described import inpainting_task, require_own, scale_of, wants_mask
from restore.engine.device import pick_device, prepare_backend
from restore.engine.methods import Model as Network
from restore.errors import RestoreError, UserError, nearest
from restore.facts import bounded, checked
from restore.images import Image
from restore.inference import onnx_model, pictures
from restore.inference.tiling import Tile, restore_picture
from restore.occlusions.occlusion import Mask
from restore.options.check import check
from restore.options.document import Document, Mark
from restore.options.paths import resolve
from restore.options.schema import Options
from restore.pretrained import sha256_of
from restore.tasks.candidates import require_latents
from restore.tasks.networks import predicts_noise
from restore.tasks.own_network import not_built
from restore.weights import locate, read_facts

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Kind = Literal["sr", "unmask"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Answer = Callable[[Tensor, Tensor | None, int], Tensor]  # LQ, mask, number of the candidate; on the device
Picture = TypeVar("Picture", NDArray[Any], "PILImage", Tensor)

SHIPPED = Path(__file__).parents[1] / "models"
_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def shipped() -> dict[str, Path]:
    """The models that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def load_model(
    name: str | Path,
    *,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Precision = "fp32",
    network_g: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    kind: Kind | None = None,
    seed: int = 0,
    fidelity: float | None = None,
    tell: bool = False,
) -> "Model":
    """A model, ready to be called with pictures.

        from restore import load_model
        model = load_model("photo_x4")
        enlarged = model(picture)

    Args:
        name: a model that ships, an experiment's folder, a checkpoint, a weights file (ours, BasicSR's, or one that
            only spandrel knows), an ONNX file of `restore export`, or a folder that diffusers saved.
        device: `auto` is CUDA where there is one.
        precision: what networks compute in; `auto` is fp16 on CUDA, else fp32.
        network_g: the network's section, such as `{"type": "EDSR", ...}`, of files that do not say it.
        task: what it does otherwise than its file says, such as `{"num_steps": 20}`.
        kind: what it is for, where neither its file nor its network says.
        seed: of a diffusion.
        fidelity: of CodeFormer: 0 is sharpest, 1 nearest to the input.
        tell: show on stderr how far it is, where a picture takes many steps.

    Raises:
        UserError: there is no such file, it is broken, or is no model that makes pictures of pictures.
    """
    path = _path_of(name)
    if path.suffix == onnx_model.SUFFIX:
        return _exported(path)
    facts = _facts_of(path, network_g, task)
    network = dict(network_g) if network_g is not None else network_of(path, facts)
    if fidelity is not None:
        network = _with_fidelity(path, network, fidelity)
    unmask = _kind(network, facts, kind) == "unmask"
    data: dict[str, Any] = {"name": "model", "network_g": network, "manual_seed": seed, "device": device}
    if unmask:
        data["task"] = inpainting_task(facts, network) | dict(task or {})
    else:
        data |= {"scale": facts.get("scale") or scale_of(network)} | ({"task": dict(task)} if task else {})
    if network.get("type") != "Spandrel" or not _is(path, network.get("file")):  # which has loaded it already
        data["path"] = {"pretrain_network_g": str(path)}
    options = _validated(path, data)
    chosen = pick_device(options.device)
    prepare_backend(chosen, deterministic=False)
    placed = _built(path, options, chosen, tell)
    model = Model(
        _answer_of(placed, "fp16" if precision == "auto" and chosen.type == "cuda" else precision),
        kind="unmask" if unmask else "sr",
        scale=options.scale,
        network=placed.network,
        device=chosen,
        size=facts.get("size") or getattr(placed.network, "size", None),
        faces=bool(facts.get("faces", unmask or getattr(placed.network, "faces", False))),
        show_hole=getattr(placed.task, "show_hole", False),
    )
    return model._from(path)


def _exported(path: Path) -> "Model":
    """An ONNX file as a model. Raises `UserError`."""
    network = onnx_model.OnnxNetwork(path)
    facts = network.facts
    unmask = "mask" in network.inputs
    try:
        scale, size = int(facts["scale"]), int(facts["size"]) if "size" in facts else None
        checked({"scale": scale, "size": size}, path)
    except (KeyError, ValueError):
        raise UserError(f"{path}: not a file of `restore export`: it does not say its scale") from None
    faces = facts.get("faces", str(unmask)) == "True"
    model = Model.of(network, kind="unmask" if unmask else "sr", scale=scale, size=size, faces=faces)
    model.arch = f"{facts.get('arch', 'network')} (ONNX)"
    return model._from(path)


def kind_of(name: str | Path, network_g: Mapping[str, Any] | None = None, kind: Kind | None = None) -> Kind:
    """What a model is for; its tensors are not read. Arguments and errors are those of `load_model`."""
    path = _path_of(name)
    if path.suffix == onnx_model.SUFFIX:
        return _exported(path).kind
    facts = _facts_of(path, network_g)
    network = dict(network_g) if network_g is not None else network_of(path, facts)
    return _kind(network, facts, kind)


class Model:
    """A network that makes pictures of pictures. May be called from several threads at once.

    Attributes:
        kind: `sr` enlarges, or cleans (`scale` 1); `unmask` rebuilds what a mask hides.
        scale: the result's size over the picture's.
        arch: the name of its network.
        size: the side in pixels of the results that it was trained on; None: unknown.
        faces: it was made for upright faces in FFHQ's frame, which `restore.inference.people` cuts out of photos.
        show_hole: of `unmask`: it sees what stands in the hole.
        name, path, sha256: of the file that it came from; empty for one that came from none.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        kind: Kind,
        scale: int = 1,
        network: nn.Module,
        device: torch.device,
        size: int | None = None,
        faces: bool = False,
        show_hole: bool = True,
    ) -> None:
        self._answer = answer
        self.kind, self.scale, self.size, self.faces, self.show_hole = kind, scale, size, faces, show_hole
        self.network, self.device, self.arch = network, device, type(network).__name__
        self.name, self.path, self.sha256 = self.arch, Path(), ""

    @classmethod
    def of(cls, network: nn.Module, *, kind: Kind = "sr", scale: int = 1, **facts: Any) -> "Model":
        """A network that is at hand: called with LQ, and with the mask where `forward` has one."""
        takes_mask = "mask" in inspect.signature(network.forward).parameters
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))

        def answer(lq: Tensor, mask: Tensor | None, candidate: int) -> Tensor:
            if candidate:
                require_latents(network)
            return cast(Tensor, network(lq, mask) if takes_mask else network(lq))

        return cls(answer, kind=kind, scale=scale, network=network.eval(), device=device, **facts)

    def _from(self, path: Path) -> "Model":
        """Notes which file it is of."""
        self.name, self.path = path.stem if path.is_file() else path.name, path
        self.sha256 = sha256_of(path if path.suffix == onnx_model.SUFFIX else locate(path))
        return self

    def answer(self, lq: Tensor, mask: Tensor | None = None, candidate: int = 0) -> Tensor:
        """The network's own answer, also where the mask says that LQ is right.

        Args:
            lq: (N, 3, h, w) in [0, 1].
            mask: (N, 1, h, w), 1 where pixels are missing.
            candidate: the number of the result, of several that some networks have for one picture.

        Returns:
            (N, 3, h * scale, w * scale), float32, on the CPU; values may leave [0, 1].

        Raises:
            UserError: the network cannot take pictures of that size, or makes none of the size that its scale says.
        """
        try:
            with torch.inference_mode():
                on_device = [each.to(self.device) if each is not None else None for each in (lq, mask)]
                pred = self._answer(cast(Tensor, on_device[0]), on_device[1], candidate).float().cpu()
        except ValueError as error:  # such as a picture that is too small
            raise UserError(f"{self.name}: {error}") from error
        wanted = (len(lq), 3, lq.shape[-2] * self.scale, lq.shape[-1] * self.scale)
        if pred.shape != wanted:
            raise UserError(f"{self.name}: makes {tuple(pred.shape)} of {tuple(lq.shape)}, where {wanted} is due")
        if pred.sum().isnan():
            raise UserError(f"{self.name}: makes values that are no numbers; broken weights, or a precision too low")
        return pred

    def picture(
        self, pixels: Image, mask: Mask | None = None, candidate: int = 0, tile: Tile = "auto"
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """A whole picture (H, W, 3), restored, at its depth: what `restore_picture` does in tiles.

        What a mask (H, W) hides is rebuilt in one piece, since a tile does not know what is beyond it; every other
        pixel stays as it is.

        Raises:
            UserError: a mask is missing, of another size, or not wanted; or see `answer`.
            Fault: out of memory.
        """
        if self.kind == "unmask":
            return self._rebuilt(pixels, mask, candidate)
        if mask is not None:
            raise UserError(f"{self.name}: has no use for a mask: it enlarges or cleans whole pictures")
        return restore_picture(lambda lq: self.answer(lq, None, candidate), pixels, self.scale, tile, self.device.type)

    def __call__(self, image: Picture, mask: Any = None, candidate: int = 0) -> Picture:
        """A picture, restored, as the same kind of thing.

        Args:
            image: an array (H, W, 3), (H, W) or (H, W, 4) of 8 bits, 16 bits, or floats in [0, 1]; a PIL image; or a
                tensor (3, H, W) or (N, 3, H, W) in [0, 1]. Alpha and grey are kept.
            mask: of the same height and width, an array, PIL image or tensor: missing where it is above half.

        Raises:
            UserError: what is wrong with the picture or mask; see `picture`.
        """
        restored: Picture = pictures.restored(self, image, mask, candidate)
        return restored

    def _rebuilt(self, pixels: Image, mask: Mask | None, candidate: int) -> Image:
        if mask is None:
            raise UserError(f"{self.name}: rebuilds what a mask hides: give one")
        if mask.shape != pixels.shape[:2]:
            raise UserError(f"{self.name}: the mask is {mask.shape}, its picture {pixels.shape[:2]}")
        return pictures.with_hole_filled(self.answer, pixels, mask, candidate)


def _answer_of(placed: Network, precision: str) -> Answer:
    """The network as it is called: with its task's way of showing the hole, in the precision that is asked for."""
    task, network = placed.task, placed.network
    ask = getattr(task, "answer", task.predict)  # for inpainting, what is there before known pixels are laid over it
    half = _HALVES.get(precision)
    kind = placed.device.type

    def answer(lq: Tensor, mask: Tensor | None, candidate: int) -> Tensor:
        with torch.autocast(kind, half) if half else nullcontext():
            return cast(Tensor, ask(network, lq, mask, candidate=candidate))

    return answer


def _path_of(name: str | Path) -> Path:
    """The file or folder that a name means. Raises `UserError`."""
    ships = shipped()
    if str(name) in ships:
        return ships[str(name)]
    path = Path(name)
    if not path.exists() and len(path.parts) == 1 and not path.suffix:
        own = f"; there are {', '.join(ships)}" if ships else ""
        raise UserError(f"{name}: no model of that name, no such file or folder{nearest(str(name), ships) or own}")
    return path


def network_of(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The network's section, as its file says it, or for spandrel to find out. Raises `UserError`."""
    if isinstance(facts.get("arch"), dict):
        return dict(facts["arch"])
    locate(path)  # raises where there is none
    import importlib.util

    if importlib.util.find_spec("spandrel"):
        return {"type": "Spandrel", "file": str(path.resolve())}
    raise UserError(
        f"{path}: does not say which network it is for; name it (--network_g '{{type: UNet, ...}}'), or "
        "`pip install 'restore-faces[spandrel]'`, which knows many published files"
    )


def _facts_of(path: Path, network: Mapping[str, Any] | None, task: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a file says of itself. Where the caller says otherwise it counts for nothing. Raises `UserError`."""
    facts = read_facts(path)
    if _trained_to(facts, "Segmentation"):
        raise UserError(f"{path}: finds what covers a face, and makes no picture; `--mask auto` is where it works")
    told = set(task or ()) - {"type"}
    said = {key: value for key, value in (facts.get("task") or {}).items() if key not in told}
    require_own({"arch": facts.get("arch") if network is None else None, "task": said or None}, path)
    return facts


def _is(path: Path, name: Any) -> bool:
    """Whether a name in a section means that file."""
    return isinstance(name, str) and resolve(name).resolve() == path.resolve()


def _validated(path: Path, data: dict[str, Any]) -> Options:
    """The model as an option file would say it. Raises `UserError`, in one line."""
    options, problems = check(Document(str(path), data, {(): Mark(str(path))}))
    if mistakes := [line.removeprefix(f"{path}: ") for line in problems.lines()]:
        raise UserError(f"{path}: {'; '.join(mistakes)}")
    assert options is not None
    return options


def _built(path: Path, options: Options, device: torch.device, tell: bool) -> Network:
    """The network, with its weights. Raises `UserError`."""
    try:
        with bounded(locate(path)):
            return Network(options, device, tell)
    except RestoreError:
        raise
    except Exception as error:
        raise not_built(path, options.network_g.type, error) from error


def _with_fidelity(path: Path, network: dict[str, Any], fidelity: float) -> dict[str, Any]:
    if network.get("type") != "Spandrel":
        raise UserError(f"{path}: {network.get('type')} has no fidelity to set; CodeFormer has")
    return network | {"fidelity": fidelity}


def _kind(network: Mapping[str, Any], facts: Mapping[str, Any], wanted: Kind | None) -> Kind:
    """What a file says that it is for; else what is wanted, where it may be that."""
    if predicts_noise(network) or wants_mask(network) or _trained_to(facts, "Inpainting"):
        return "unmask"
    silent = not facts.get("task") and (facts.get("scale") or scale_of(network)) == 1
    return "unmask" if wanted == "unmask" and silent else "sr"


def _trained_to(facts: Mapping[str, Any], kind: str) -> bool:
    task = facts.get("task")
    return isinstance(task, dict) and task.get("type") == kind
