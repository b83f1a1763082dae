"""The sides of `infer.py`, each a process of its own: it restores one photo as often as each line on stdin says.

`python benchmarks/infer_sides.py SIDE FOLDER`: the folder holds what `write_folder` put there. The result of the last
run goes to `FOLDER/SIDE.png`, for all sides to be compared.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch
from torch import nn

from benchmarks.peers import obeying

TILE = 400  # what Real-ESRGAN's users are told to set
PHOTO, NETWORK, EXPORTED, FACES = "photo.png", "network.pth", "network_int8.onnx", "faces.json"
FACE_SIZE = 512
Work = Callable[[], Any]  # restores the photo: BGR or RGB, (H, W, 3)


def enlarger() -> nn.Module:
    """The network that whole photos are enlarged with: realesr-animevideov3's form."""
    from restore.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=64, num_conv=16, upscale=4)


def cleaner() -> nn.Module:
    """The network for aligned faces."""
    from restore.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=24, num_conv=4, upscale=1)


def write_folder(folder: Path, photo: np.ndarray[Any, Any], network: nn.Module, landmarks: list[Any]) -> None:
    """What the sides read: a photo, a network's weights as BasicSR keeps them, and the faces' landmarks."""
    from restore import images

    folder.mkdir(parents=True)
    images.write(folder / PHOTO, photo)
    torch.save({"params": network.state_dict()}, folder / NETWORK)
    (folder / FACES).write_text(json.dumps(landmarks))


# ------------------------------------------------------------------------------------------------- whole photos


def ours(folder: Path, precision: str = "fp32") -> Work:
    """`Model.picture`."""
    from restore import images, load_model

    arch = {"type": "SRVGGNetCompact", "num_feat": 64, "num_conv": 16, "upscale": 4}
    model = load_model(folder / NETWORK, network_g=arch, precision=precision)  # type: ignore[arg-type]
    photo = images.read(folder / PHOTO)
    return lambda: model.picture(photo)[:, :, ::-1]


def ours_int8(folder: Path) -> Work:
    """The same, of the network as `restore export --int8` wrote it."""
    from restore import images, load_model

    model, photo = load_model(folder / EXPORTED), images.read(folder / PHOTO)
    return lambda: model.picture(photo)[:, :, ::-1]


def realesrgan(folder: Path, tile: int = TILE, half: bool = False) -> Work:
    """Real-ESRGAN's `RealESRGANer.enhance`, which `inference_realesrgan.py` calls for each photo."""
    from restore.guest import make_importable

    make_importable()
    from realesrgan import RealESRGANer

    sampler = RealESRGANer(
        4, str(folder / NETWORK), model=enlarger(), tile=tile, half=half, device=_device() if half else None
    )
    photo = cv2.imread(str(folder / PHOTO), cv2.IMREAD_UNCHANGED)
    return lambda: sampler.enhance(photo)[0]


# --------------------------------------------------------------------------------------------- faces put back


def ours_faces(folder: Path) -> Work:
    """`Enhancer`, twice the size, the background by interpolation."""
    from restore import images
    from restore.faces.face import Face
    from restore.inference.enhance import Enhancer
    from restore.inference.model import Model

    network = cleaner()
    network.load_state_dict(torch.load(folder / NETWORK, weights_only=True)["params"])
    model = Model.of(network.to(_device(), memory_format=torch.channels_last), size=FACE_SIZE)  # type: ignore[call-overload]
    enhancer = Enhancer(model, outscale=2, background="lanczos")
    photo = images.read(folder / PHOTO)
    faces = [Face.of_landmarks(np.float32(each)) for each in json.loads((folder / FACES).read_text())]
    return lambda: enhancer(photo, faces).picture[:, :, ::-1]


def facexlib(folder: Path) -> Work:
    """The steps of GFPGAN's `enhance` over facexlib's helper, with landmarks that are known, as ours gets them."""
    from restore.guest import make_importable

    make_importable()
    from basicsr.utils import img2tensor, tensor2img
    from facexlib.utils.face_restoration_helper import FaceRestoreHelper

    network = cleaner().eval()
    network.load_state_dict(torch.load(folder / NETWORK, weights_only=True)["params"])
    network.to(_device())
    photo = cv2.imread(str(folder / PHOTO))
    landmarks = [np.array(each) for each in json.loads((folder / FACES).read_text())]
    helper = FaceRestoreHelper.__new__(FaceRestoreHelper)  # its constructor loads detectors, which are not measured
    helper.upscale_factor, helper.face_size, helper.use_parse, helper.pad_blur = 2, (FACE_SIZE,) * 2, False, False
    helper.face_template = np.array(
        [
            [192.98138, 239.94708],
            [318.90277, 240.1936],
            [256.63416, 314.01935],
            [201.26117, 371.41043],
            [313.08905, 371.15118],
        ]
    )

    @torch.no_grad()
    def enhance() -> Any:
        helper.clean_all()
        helper.input_img, helper.all_landmarks_5 = photo, landmarks
        helper.align_warp_face()
        for face in helper.cropped_faces:
            output = network(img2tensor(face / 255.0, bgr2rgb=True, float32=True).unsqueeze(0).to(_device()))
            helper.add_restored_face(tensor2img(output.squeeze(0), rgb2bgr=True, min_max=(0, 1)).astype("uint8"))
        helper.get_inverse_affine(None)
        return helper.paste_faces_to_input_image()

    return enhance


# ------------------------------------------------------------------------------------------------------- memory


def memory(side: int) -> int:
    """Bytes that a picture of `side` x `side` takes beyond itself and its result, through a tiny x1 network."""
    from restore.archs.srvgg_arch import SRVGGNetCompact
    from restore.engine.device import peak_memory, prepare_backend
    from restore.inference.model import Model

    device = torch.device("cpu")
    prepare_backend(device, deterministic=False)
    torch.set_num_threads(1)
    model = Model.of(SRVGGNetCompact(num_feat=8, num_conv=1, upscale=1))
    model.answer(torch.rand(1, 3, 64, 64))  # what the libraries set up once
    before = _resident()
    picture = np.full((side, side, 3), 127, np.uint8)
    result = model.picture(picture)
    return peak_memory(device) - before - picture.nbytes - result.nbytes


def _resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


SIDES: dict[str, Callable[[Path], Work]] = {
    "ours": ours,
    "ours_bf16": lambda folder: ours(folder, "bf16"),
    "ours_fp16": lambda folder: ours(folder, "fp16"),
    "ours_int8": ours_int8,
    "realesrgan": realesrgan,
    "realesrgan_whole": lambda folder: realesrgan(folder, tile=0),
    "realesrgan_fp16": lambda folder: realesrgan(folder, half=True),
    "ours_faces": ours_faces,
    "facexlib": facexlib,
}


def main() -> None:
    """The process of one side; answers go to the stdout it was given, what the side prints to stderr."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if sys.argv[1] == "memory":
        print(memory(int(sys.argv[2])), file=channel)
        return
    side, folder = sys.argv[1], Path(sys.argv[2])
    restore = SIDES[side](folder)
    cv2.imwrite(str(folder / f"{side}.png"), restore())  # and the kernels are chosen
    for _ in obeying(iter(int, 1), _device(), lambda text: print(text, file=channel)):
        restore()


if __name__ == "__main__":
    main()
